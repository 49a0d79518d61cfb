"""The loop of a task as a timeline: rows, comparisons, votes, fine-tunes, and comparisons again.

A task is a dataset and what was made of the votes on its runs: preferences belong to the loop that
they came from, whichever of the two somebody asks for.

Knows: the table finetunes, what the other nouns say happened to a dataset. Does not know: how it is
drawn, what to do next (`next_step`).
"""

from __future__ import annotations

import json
from typing import Any

from core.datasets.history import dataset_of, history
from core.evals.uses import compared, learned_from_votes, voted
from core.store.database import Row, Store

KINDS = ("imported", "version", "tagged", "run", "vote", "fine_tune", "adapter", "comparison",
         "export")  # fmt: skip
PREFERENCES = ("dpo", "orpo", "kto")


def timeline(store: Store, dataset_id: str) -> list[Row]:
    """What happened, oldest first: `at`, `kind` (one of KINDS), `title`, `detail`, `numbers` and
    `link` (`page` and `params` of its URL).

    `numbers` of a run or comparison: `state`, `run_id`, `variants` (name, model_name, rate, low,
    high, n); of a vote: what `verdicts.tally` gives, and `names`; of a fine-tune: `id`, `method`,
    `state`; of rows: `row_count`, and `run_id` where they were made of votes. NotFound for no such
    dataset.
    """
    store.get("datasets", dataset_id, noun="dataset")
    datasets, made_of_votes = _task(store, dataset_id)
    versions = history(store, sorted(datasets))
    ids = sorted({row["version_id"] for row in versions})
    runs, tunes = compared(store, ids), _finetunes(store, ids)
    entries = [_rows(row, made_of_votes.get(row["version_id"])) for row in versions]
    tuned = {row["run_id"]: row["name"] for row in tunes if row["run_id"]}
    entries += [_run(run, tuned.get(run["id"])) for run in runs]
    entries += [_vote(row) for row in voted(store, runs)]
    entries += [_fine_tune(row) for row in tunes]
    adapters = _adapters(store, tunes)
    entries += [_adapter(row) for row in adapters]
    entries += [_export(row) for row in _exports(store, adapters)]
    return sorted(entries, key=lambda entry: (entry["at"], KINDS.index(entry["kind"])))


def _task(store: Store, dataset_id: str) -> tuple[set[str], dict[str, str]]:
    """The datasets of the task, and version id -> run id of those made of votes."""
    made = learned_from_votes(store)
    home = dataset_of(store, [row[key] for row in made for key in ("version_id", "run_version_id")])
    links = [
        (home[row["version_id"]], home[row["run_version_id"]])
        for row in made
        if row["version_id"] in home and row["run_version_id"] in home
    ]
    found, size = {dataset_id}, 0
    while len(found) > size:
        size = len(found)
        found |= {one for pair in links if found & {*pair} for one in pair}
    return found, {row["version_id"]: row["run_id"] for row in made}


def _finetunes(store: Store, version_ids: list[str]) -> list[Row]:
    rows = store.rows(
        """
        SELECT f.id, f.name, f.method, f.dataset_version_id, f.adapter_model_id, f.run_id, f.result,
            f.created_at, m.name AS base_name, coalesce(j.state, 'queued') AS state
        FROM finetunes f LEFT JOIN models m ON m.id = f.base_model_id
            LEFT JOIN jobs j ON j.id = f.job_id
        WHERE list_contains($ids::VARCHAR[], f.dataset_version_id) AND f.archived_at IS NULL
        ORDER BY f.id
        """,
        {"ids": version_ids},
    )
    for row in rows:
        row["result"] = json.loads(row["result"]) if row["result"] else {}
    return rows


def _adapters(store: Store, tunes: list[Row]) -> list[Row]:
    names = {row["adapter_model_id"]: row["name"] for row in tunes if row["adapter_model_id"]}
    rows = store.rows(
        "SELECT id, name, created_at FROM models WHERE list_contains($ids::VARCHAR[], id)"
        " AND archived_at IS NULL",
        {"ids": list(names)},
    )
    return [{**row, "finetune": names[row["id"]]} for row in rows]


def _exports(store: Store, adapters: list[Row]) -> list[Row]:
    names = {row["id"]: row["name"] for row in adapters}
    rows = store.rows(
        "SELECT id, title, subject_id, coalesce(ended_at, created_at) AS at FROM jobs"
        " WHERE kind = 'adapter.export' AND state = 'succeeded'"
        " AND list_contains($ids::VARCHAR[], subject_id)",
        {"ids": list(names)},
    )
    return [{**row, "adapter": names[row["subject_id"]]} for row in rows]


def _rows(row: Row, run_id: str | None) -> Row:
    made = row["kind"] != "tagged" and run_id is not None
    kind = "version" if made else row["kind"]
    title = f"{row['label']} is now {row['words']}" if kind == "tagged" else row["label"]
    detail = "" if kind == "tagged" else row["words"]
    numbers: Row = {"row_count": row["row_count"], "version_id": row["version_id"]}
    if made:
        numbers["run_id"] = run_id
    link = _link("datasets", dataset=row["dataset_id"])
    return _entry(row["at"], kind, title, detail, numbers, link)


def _run(run: Row, tuned: str | None) -> Row:
    kind = "comparison" if len(run["variants"]) > 1 else "run"
    names = " against ".join(variant["name"] for variant in run["variants"])
    detail = f"{names}, over {run['row_count']:,} rows"
    if tuned is not None:
        detail += f": what the fine-tune {tuned} has learned"
    numbers = {"state": run["state"], "variants": run["variants"], "run_id": run["id"]}
    return _entry(run["created_at"], kind, run["name"], detail, numbers,
                  _link("compare", run=run["id"]))  # fmt: skip


def _vote(row: Row) -> Row:
    count = row["vote_count"]
    title = f"{count} blind vote{'' if count == 1 else 's'}"
    first, second = row["names"]
    detail = (
        f"{second} preferred on {row['second_wins']}, {first} on {row['first_wins']} of "
        f"{row['row_count']} rows; {row['ties']} ties, {row['both_bad']} both bad"
    )
    link = _link("compare", run=row["run_id"], vote=",".join(row["pair"]), tally="1")
    return _entry(row["last_at"], "vote", title, detail, row, link)


def _fine_tune(row: Row) -> Row:
    losses = [row["result"].get(name) for name in ("eval_loss_first", "eval_loss_last")]
    said = f"{row['method'].upper()} on {row['base_name'] or 'a model that is gone'}"
    if all(loss is not None for loss in losses):
        said += f", loss on held-out rows {losses[0]:.3g} to {losses[1]:.3g}"
    numbers = {name: row[name] for name in ("id", "method", "state", "dataset_version_id", "run_id",
                                            "adapter_model_id")}  # fmt: skip
    return _entry(row["created_at"], "fine_tune", row["name"], said, numbers,
                  _link("finetune", id=row["id"]))  # fmt: skip


def _adapter(row: Row) -> Row:
    detail = f"from the fine-tune {row['finetune']}"
    link = _link("models", model=row["id"])
    return _entry(row["created_at"], "adapter", row["name"], detail, {"id": row["id"]}, link)


def _export(row: Row) -> Row:
    link = _link("models", model=row["subject_id"])
    return _entry(row["at"], "export", row["title"], f"of {row['adapter']}", {}, link)


def _link(page: str, **params: str) -> dict[str, Any]:
    return {"page": page, "params": params}


def _entry(at: Any, kind: str, title: str, detail: str, numbers: Row, link: Row) -> Row:
    return {"at": at, "kind": kind, "title": title, "detail": detail, "numbers": numbers,
            "link": link}  # fmt: skip
