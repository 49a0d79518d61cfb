"""The tables of the database that hold text about people: looked through, and cleared.

Erasure reaches into the tables of every noun: what is forgotten here stays for ever, so a test
compares TEXTS and PLAIN with the schema.

Knows: which columns hold text, which of them are about one person as a whole. Does not know: files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.erasure.identifier import MASK, Identifier
from core.ids import content_hash
from core.store.database import Row, Store

if TYPE_CHECKING:
    import duckdb

RESULTS = "Run results"
TEXTS: dict[str, tuple[str, tuple[str, ...]]] = {
    # table: (place, columns)
    "results": (RESULTS, ("output", "expected", "input_preview", "error")),
    "scores": (RESULTS, ("text", "explanation")),
    "traces": ("Traces", ("error", "prompt_label", "input_preview", "output_preview",
                          "conversation_id")),
    "trace_texts": ("Traces", ("messages", "rendered_prompt", "output", "generation")),
    "spans": ("Traces", ("name", "attributes")),
    "dataset_versions": ("Recipes and reports", ("source", "message", "recipe", "report")),
    "dataset_checks": ("Recipes and reports", ("checks",)),
    "pending_recipes": ("Drafts and pending recipes", ("steps",)),
    "drafts": ("Drafts and pending recipes", ("value",)),
    "prompts": ("Prompts", ("name", "description")),
    "prompt_versions": ("Prompts", ("system_template", "user_template", "generation",
                                    "variables", "message")),
    "datasets": ("Names, descriptions and cards", ("name", "description", "license")),
    "dataset_cards": ("Names, descriptions and cards", ("card",)),
    "runs": ("Names, descriptions and cards", ("name", "dataset_label", "scorers", "plan")),
    "run_variants": ("Names, descriptions and cards", ("name", "prompt_label", "generation")),
    "jobs": ("Names, descriptions and cards", ("title", "message", "error")),
    "finding_reviews": ("Reviews", ("replacement", "note")),
    "votes": ("Votes", ("reason",)),
    "finetunes": ("Names, descriptions and cards", ("name", "config", "result")),
    "audit_log": ("Audit log", ("object_id", "detail")),
}  # fmt: skip
PLAIN: dict[str, tuple[str, ...] | None] = {
    # columns that hold ids, kinds and settings; None: the whole table is no text about people
    "users": None, "sign_in_links": None, "sessions": None, "models": None, "calibrations": None,
    "ingest_offsets": None, "migrations": None, "dataset_tags": None, "prompt_tags": None,
    "audit_log": ("id", "user_id", "action"),
    "drafts": ("user_id", "key"),
    "jobs": ("id", "kind", "state", "subject_id", "created_by"),
    "prompts": ("id", "created_by"),
    "prompt_versions": ("id", "prompt_id", "content_hash", "created_by"),
    "datasets": ("id", "created_by"),
    "dataset_versions": ("id", "dataset_id", "content_hash", "parent_id", "columns", "created_by"),
    "dataset_checks": ("dataset_id", "changed_by"),
    "dataset_cards": ("dataset_id", "changed_by"),
    "pending_recipes": ("user_id", "version_id"),
    "finding_reviews": ("id", "batch", "dataset_id", "row_id", "column_name", "mark", "kind",
                        "type", "decision", "version_id", "decided_by"),
    "runs": ("id", "dataset_version_id", "job_id", "baseline_variant_id", "created_by"),
    "run_variants": ("id", "run_id", "prompt_version_id", "model_id", "model_name", "engine",
                     "quantization", "device", "adapter_id", "spec"),
    "results": ("run_id", "variant_id", "row_id", "state", "finish_reason", "trace_id"),
    "scores": ("run_id", "variant_id", "row_id", "name", "annotator_kind", "annotator"),
    "traces": ("id", "source", "state", "user_id", "prompt_id", "prompt_version_id", "model_id",
               "model_name", "engine", "quantization", "device", "adapter_id", "deployment_id",
               "run_id", "variant_id", "row_id", "finish_reason"),
    "trace_texts": ("trace_id",),
    "spans": ("id", "trace_id", "parent_id"),
    "votes": ("id", "run_id", "row_id", "left_variant_id", "right_variant_id", "choice", "queue",
              "user_id"),
    "finetunes": ("id", "method", "base_model_id", "dataset_version_id", "prompt_version_id",
                  "job_id", "sweep_id", "parent_id", "adapter_model_id", "run_id", "created_by"),
    "vote_orders": None, "vote_preferences": None,
}  # fmt: skip
WHOLE_STRINGS = ("recipe", "report", "steps", "detail")
"""JSON in which a string that has the identifier goes as a whole: it is a cell about the person."""
ABOUT = ("results", "scores", "traces", "trace_texts", "spans")
"""Cleared as a whole by `_clear_results` and `_clear_traces`: the rest says as much as the name."""
KEPT_KEYS = ("row_id", "column", "step")
EXAMPLES = 3


@dataclass(slots=True)
class Found:
    """What one place holds."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str, count: int = 1) -> None:
        """One more, with a masked example of it."""
        self.count += count
        if len(self.examples) < EXAMPLES and example not in self.examples:
            self.examples.append(example)


def look(store: Store, identifier: Identifier, found: Mapping[str, Found]) -> None:
    """Count what the tables hold into `found`, by place.

    A trace counts once, whatever part has it, and so does a result with its scores.
    """
    seen: set[str] = set()
    for table, (place, _) in TEXTS.items():
        for row in matching(store.rows, table, identifier):
            if table in ABOUT:
                of = _key(row) if place == RESULTS else str(row.get("trace_id") or row["id"])
                if of in seen:
                    continue
                seen.add(of)
            found[place].add(row["_example"])


def matching(
    ask: Callable[[str, Mapping[str, Any]], list[Row]], table: str, identifier: Identifier
) -> Iterator[Row]:
    """Rows of a table that have it, whole, with `_rowid` and a masked `_example`."""
    columns = TEXTS[table][1]
    likely = " OR ".join(identifier.likely(name) for name in columns)
    rows = ask(
        f"SELECT rowid AS _rowid, * FROM {table} WHERE {likely}",
        {"needle": identifier.needle},
    )
    for row in rows:
        hit = next((row[name] for name in columns if identifier.found(row[name])), None)
        if hit is not None:
            yield {**row, "_example": identifier.example(hit)}


@dataclass(frozen=True, slots=True)
class Gone:
    """Rows of datasets that are erased: what refers to them is cleared too."""

    rows: Mapping[str, Sequence[str]]
    """dataset id -> row ids."""

    def row_ids(self) -> set[str]:
        """Of all datasets."""
        return {row_id for ids in self.rows.values() for row_id in ids}


def clear(store: Store, identifier: Identifier, gone: Gone) -> None:
    """Take it out of every table, in one transaction."""
    with store.transaction() as connection:

        def ask(sql: str, parameters: Mapping[str, Any]) -> list[Row]:
            cursor = connection.execute(sql, dict(parameters))
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]

        runs = _runs(ask, gone)
        results = _results(ask, identifier, runs, gone)
        traces = _traces(ask, identifier, runs, gone, results)
        _clear_results(connection, ask, traces, set(results))
        _clear_traces(connection, ask, traces)
        _clear_votes(connection, runs, results)
        for dataset_id, row_ids in gone.rows.items():
            connection.execute(
                "DELETE FROM finding_reviews WHERE dataset_id = $id"
                " AND list_contains($rows::VARCHAR[], row_id)",
                {"id": dataset_id, "rows": list(row_ids)},
            )
        for table, (_, columns) in TEXTS.items():
            for row in list(matching(ask, table, identifier)):
                fresh = {name: _masked(identifier, name, row[name]) for name in columns}
                if table == "prompt_versions":
                    fresh["content_hash"] = _prompt_hash(row | fresh)
                _update(connection, table, row["_rowid"], fresh)
        _clear_recipes(connection, ask, gone)


def clear_runs(store: Store, version_ids: Sequence[str]) -> None:
    """Take every text of rows out of the runs over these versions; scores and timings stay."""
    with store.transaction() as connection:

        def ask(sql: str, parameters: Mapping[str, Any]) -> list[Row]:
            return [{"id": row[0]} for row in connection.execute(sql, dict(parameters)).fetchall()]

        runs = [row["id"] for row in ask(_RUNS, {"versions": list(version_ids)})]
        of_runs = "SELECT id FROM traces WHERE list_contains($runs::VARCHAR[], run_id)"
        traces = {str(row["id"]) for row in ask(of_runs, {"runs": runs})}
        of_results = f"SELECT {_KEY} FROM results r WHERE list_contains($runs::VARCHAR[], r.run_id)"
        results = {str(row["id"]) for row in ask(of_results, {"runs": runs})}
        _clear_results(connection, ask, traces, results)
        _clear_traces(connection, ask, traces)
        _clear_votes(connection, {}, results)


def uncleared(store: Store, version_ids: Sequence[str]) -> int:
    """How many results of runs over these versions have texts still."""
    texts = " OR ".join(f"{name} <> $mask" for name in TEXTS["results"][1])
    found = store.row(
        f"SELECT count(*) AS n FROM results WHERE run_id IN ({_RUNS}) AND ({texts})",
        {"versions": list(version_ids), "mask": MASK},
    )
    return int(found["n"]) if found else 0


_RUNS = "SELECT id FROM runs WHERE list_contains($versions::VARCHAR[], dataset_version_id)"
_KEY = "concat_ws('/', r.run_id, r.variant_id, r.row_id, r.attempt)"
Ask = Callable[[str, Mapping[str, Any]], list[Row]]


def _runs(ask: Ask, gone: Gone) -> dict[str, set[str]]:
    """Run id -> the erased rows of its dataset."""
    rows = ask(
        "SELECT r.id, v.dataset_id FROM runs r JOIN dataset_versions v"
        " ON v.id = r.dataset_version_id WHERE list_contains($ids::VARCHAR[], v.dataset_id)",
        {"ids": list(gone.rows)},
    )
    return {row["id"]: set(gone.rows[row["dataset_id"]]) for row in rows}


def _results(
    ask: Ask, identifier: Identifier, runs: Mapping[str, set[str]], gone: Gone
) -> dict[str, str | None]:
    """Key -> trace id of every result that has it, is of an erased row, or has a score with it."""
    rows = [*matching(ask, "results", identifier)]
    rows += ask(
        "SELECT * FROM results WHERE list_contains($runs::VARCHAR[], run_id)"
        " AND list_contains($rows::VARCHAR[], row_id)",
        {"runs": list(runs), "rows": list(gone.row_ids())},
    )
    kept = [r for r in rows if "_rowid" in r or r["row_id"] in runs[r["run_id"]]]
    found = {_key(row): row["trace_id"] for row in kept}
    return found | {_key(row): None for row in matching(ask, "scores", identifier)}


def _traces(
    ask: Ask,
    identifier: Identifier,
    runs: Mapping[str, set[str]],
    gone: Gone,
    results: Mapping[str, str | None],
) -> set[str]:
    found = {str(trace_id) for trace_id in results.values() if trace_id}
    found |= {row["id"] for row in matching(ask, "traces", identifier)}
    for table in ("trace_texts", "spans"):
        found |= {row["trace_id"] for row in matching(ask, table, identifier)}
    rows = ask(
        "SELECT id, run_id, row_id FROM traces WHERE list_contains($runs::VARCHAR[], run_id)"
        " AND list_contains($rows::VARCHAR[], row_id)",
        {"runs": list(runs), "rows": list(gone.row_ids())},
    )
    return found | {row["id"] for row in rows if row["row_id"] in runs[row["run_id"]]}


def _clear_results(
    connection: duckdb.DuckDBPyConnection, ask: Ask, traces: set[str], keys: set[str]
) -> None:
    """Texts go, scores and timings stay."""
    given = {"keys": list(keys), "traces": list(traces), "mask": MASK}
    mine = f"list_contains($keys::VARCHAR[], {_KEY})"
    connection.execute(
        "UPDATE results AS r SET"
        + ", ".join(
            f" {name} = CASE WHEN {name} IS NULL THEN NULL ELSE $mask END"
            for name in TEXTS["results"][1]
        )
        + f" WHERE {mine} OR list_contains($traces::VARCHAR[], r.trace_id)",
        given,
    )
    connection.execute(
        "UPDATE scores AS r SET text = CASE WHEN text IS NULL THEN NULL ELSE $mask END,"
        " explanation = CASE WHEN explanation IS NULL THEN NULL ELSE $mask END"
        f" WHERE {mine}",
        {"keys": given["keys"], "mask": MASK},
    )


def _clear_traces(connection: duckdb.DuckDBPyConnection, ask: Ask, traces: set[str]) -> None:
    """What was said goes; who asked which model when, and how long it took, stays."""
    given = {"ids": list(traces), "mask": MASK}
    connection.execute(
        "UPDATE traces SET "
        + ", ".join(
            f"{name} = CASE WHEN {name} IS NULL THEN NULL ELSE $mask END"
            for name in ("error", "input_preview", "output_preview")
        )
        + " WHERE list_contains($ids::VARCHAR[], id)",
        given,
    )
    connection.execute(
        "UPDATE trace_texts SET rendered_prompt = CASE WHEN rendered_prompt IS NULL THEN NULL"
        " ELSE $mask END, output = CASE WHEN output IS NULL THEN NULL ELSE $mask END,"
        " messages = $messages WHERE list_contains($ids::VARCHAR[], trace_id)",
        given | {"messages": json.dumps([{"role": "user", "content": MASK}])},
    )
    connection.execute(
        "UPDATE spans SET attributes = '{}' WHERE list_contains($ids::VARCHAR[], trace_id)",
        {"ids": given["ids"]},
    )


def _clear_votes(
    connection: duckdb.DuckDBPyConnection, runs: Mapping[str, set[str]], keys: Iterable[str]
) -> None:
    """What voters wrote about erased rows and answers goes; how they voted stays."""
    about = {f"{run_id}/{row_id}" for run_id, row_ids in runs.items() for row_id in row_ids}
    about |= {f"{run_id}/{row_id}" for run_id, _, row_id, _ in (key.split("/") for key in keys)}
    connection.execute(
        "UPDATE votes SET reason = $mask WHERE reason <> ''"
        " AND list_contains($about::VARCHAR[], concat_ws('/', run_id, row_id))",
        {"mask": MASK, "about": list(about)},
    )


def _clear_recipes(connection: duckdb.DuckDBPyConnection, ask: Ask, gone: Gone) -> None:
    """What recipes, reports and the audit log quote of the erased rows, by their row ids."""
    ids = gone.row_ids()
    places = {"dataset_versions": ("recipe", "report"), "pending_recipes": ("steps",),
              "audit_log": ("detail",)}  # fmt: skip
    for table, columns in places.items() if ids else ():
        for name in columns:
            rows = ask(
                f"SELECT rowid AS _rowid, {name} FROM {table}"
                f" WHERE contains(CAST({name} AS VARCHAR), 'row_id')",
                {},
            )
            for row in rows:
                value = json.loads(row[name])
                fresh = _without(value, ids)
                if fresh != value:
                    text = json.dumps(fresh, ensure_ascii=False)
                    _update(connection, table, row["_rowid"], {name: text})


def _without(value: Any, row_ids: set[str]) -> Any:
    """A JSON value in which whatever names an erased row keeps only which row and step it was."""
    if isinstance(value, list):
        return [_without(item, row_ids) for item in value]
    if not isinstance(value, dict):
        return value
    row_id = value.get("row_id")  # a mapping may have a column of this name
    if isinstance(row_id, str) and row_id in row_ids:
        return {key: item if key in KEPT_KEYS else _blank(item) for key, item in value.items()}
    return {key: _without(item, row_ids) for key, item in value.items()}


def _blank(value: Any) -> Any:
    if isinstance(value, str):
        return MASK
    if isinstance(value, list):
        return [_blank(item) for item in value]
    return {key: _blank(item) for key, item in value.items()} if isinstance(value, dict) else value


def _masked(identifier: Identifier, name: str, text: str | None) -> str | None:
    if text is None or not identifier.found(text):
        return text
    if name in WHOLE_STRINGS:
        masked = identifier.mask_value(json.loads(text), whole=True)
        return json.dumps(masked, ensure_ascii=False)
    return identifier.mask(text)


def _prompt_hash(row: Row) -> str:
    """As `Prompts.save_version` makes it."""
    plain = {name: row[name] for name in ("system_template", "user_template")}
    return content_hash({**plain, "generation": json.loads(row["generation"])})


def _update(
    connection: duckdb.DuckDBPyConnection, table: str, rowid: int, values: Mapping[str, Any]
) -> None:
    told = ", ".join(f"{name} = ${name}" for name in values)
    connection.execute(
        f"UPDATE {table} SET {told} WHERE rowid = $_rowid",
        {**values, "_rowid": rowid},
    )


def _key(row: Row) -> str:
    return "/".join(str(row[name]) for name in ("run_id", "variant_id", "row_id", "attempt"))
