"""What is missing to go round the loop once more, from what has happened so far.

    compare -> vote blind -> learn from the votes -> compare with the base -> and again

Knows: entries of a timeline, which step follows which. Does not know: the database, pages' looks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from core.store.database import Row
from core.training.timeline import PREFERENCES

GOING = ("queued", "running")


def next_step(entries: Sequence[Row]) -> dict[str, Any]:
    """The step that follows the last thing that counts: `words`, `label` of its button, `link`.

    `entries` as `timeline` gives them, oldest first. `words` say why it is this one. A fine-tune
    that is going on, or ended without an adapter, comes first.
    """
    for entry in reversed(entries):
        found = _AFTER.get(entry["kind"], _nothing)(entry, entries)
        if found is not None:
            return found
    versions = [entry for entry in entries if entry["kind"] in ("imported", "version")]
    return _step(
        "Nothing is compared yet. A run asks two variants, such as two prompts or two models, "
        "every row, and shows which is better.",
        "Set up a comparison", "runs", new="1", **_version(versions),
    )  # fmt: skip


def _after_comparison(entry: Row, entries: Sequence[Row]) -> dict[str, Any] | None:
    state, run_id = entry["numbers"]["state"], entry["numbers"]["run_id"]
    if state in GOING:
        return _step(f"{entry['title']} is going on.", "Watch it", "compare", run=run_id)
    if state != "succeeded":
        return _step(f"{entry['title']} is {state}: rows are missing.", "Open the run", "runs",
                     run=run_id)  # fmt: skip
    pair = ",".join(variant["id"] for variant in entry["numbers"]["variants"][:2])
    return _step(
        f"{entry['title']} is compared by its scorers alone. People's blind votes on the rows "
        "whose answers differ say what scorers cannot, and a model can learn from them.",
        "Vote blind", "compare", run=run_id, vote=pair,
    )  # fmt: skip


def _after_vote(entry: Row, entries: Sequence[Row]) -> dict[str, Any] | None:
    wins = entry["numbers"]["first_wins"] + entry["numbers"]["second_wins"]
    if not wins:
        return _step("The votes so far prefer neither side: there is nothing to learn from yet.",
                     "Go on voting", **_target(entry, tally=None))  # fmt: skip
    rows = f"{wins} row{'' if wins == 1 else 's'}"
    return _step(
        f"The votes prefer one answer on {rows}, and no fine-tune has learned from them.",
        "Fine-tune on these votes", **_target(entry),
    )  # fmt: skip


def _after_version(entry: Row, entries: Sequence[Row]) -> dict[str, Any] | None:
    """Only preferences are a step of the loop: other rows are compared or learned from anyway."""
    if "run_id" not in entry["numbers"]:
        return None
    version_id = entry["numbers"]["version_id"]
    return _step(
        f"{entry['title']} holds the votes as preference pairs, and no fine-tune has used it.",
        "Fine-tune on them", "finetune", new="1", method="dpo", dataset=version_id,
    )  # fmt: skip


def _after_fine_tune(entry: Row, entries: Sequence[Row]) -> dict[str, Any] | None:
    numbers = entry["numbers"]
    target = {"page": "finetune", "id": numbers["id"]}
    if numbers["state"] in GOING:
        return _step(f"{entry['title']} is being trained.", "Watch it", **target)
    if numbers["adapter_model_id"] is None:
        return _step(f"{entry['title']} ended without an adapter ({numbers['state']}).",
                     "See why", **target)  # fmt: skip
    if numbers["run_id"] is not None and any(
        other["kind"] == "comparison" and other["numbers"]["run_id"] == numbers["run_id"]
        for other in entries
    ):
        return None  # its comparison is the later step, whatever the clock says
    learned = "the votes" if numbers["method"] in PREFERENCES else "the examples"
    return _step(
        f"{entry['title']} has learned from {learned}; nobody knows yet whether it got better.",
        "Compare with its base", **target,
    )  # fmt: skip


def _after_export(entry: Row, entries: Sequence[Row]) -> dict[str, Any] | None:
    return _step(
        f"{entry['title']}: it left the workspace. New rows from its use are what the next round "
        "learns from.",
        "Import rows", "datasets",
    )  # fmt: skip


def _nothing(entry: Row, entries: Sequence[Row]) -> dict[str, Any] | None:
    return None


_AFTER: dict[str, Callable[[Row, Sequence[Row]], dict[str, Any] | None]] = {
    "comparison": _after_comparison,
    "vote": _after_vote,
    "version": _after_version,
    "fine_tune": _after_fine_tune,
    "export": _after_export,
}


def _target(entry: Row, **changes: str | None) -> dict[str, Any]:
    params = {**entry["link"]["params"], **changes}
    return {"page": entry["link"]["page"], **{k: v for k, v in params.items() if v is not None}}


def _version(versions: Sequence[Row]) -> dict[str, str]:
    return {"dataset": versions[-1]["numbers"]["version_id"]} if versions else {}


def _step(words: str, label: str, page: str, **params: str) -> dict[str, Any]:
    return {"words": words, "label": label, "link": {"page": page, "params": params}}
