"""The step that keeps, drops or tags the rows that a SELECT names.

Knows: queries that `console` lets through. Does not know: pages; the same query runs there.
"""

from __future__ import annotations

from typing import Any

from core.curation.arguments import Argument
from core.curation.console import check_query, interrupted_after
from core.curation.rows import Report, Rows
from core.curation.steps.rows import tag
from core.curation.tools import Tools
from core.errors import Invalid

MODES = ("keep", "drop", "tag")

ARGUMENTS = {
    "query": (
        Argument("sql", "long_text", "Query", "One SELECT over rows that gives row_id"),
        Argument("mode", "choice", "Then", "What happens to the rows it gives", required=False,
                 default="keep", choices=MODES),
        Argument("tag", "text", "Tag", "For the mode tag", required=False),
        Argument("reason", "text", "Reason", "Stays in the recipe", required=False, default=""),
    ),
}  # fmt: skip


def _check(arguments: dict[str, Any]) -> str:
    """The query as it may run."""
    if arguments.get("mode") == "tag" and not str(arguments.get("tag") or "").strip():
        raise Invalid("There is no tag.", field="tag", hint="Name one.")
    return check_query(str(arguments.get("sql") or ""), {"rows"})


CHECKS = {"query": _check}


def query(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Keep, drop or tag the rows whose `row_id` (or `row_index`) the query gives."""
    sql = _check(arguments)
    mode = arguments.get("mode") or "keep"
    try:
        with interrupted_after(rows.connection, tools.query_timeout_s):
            rows.connection.execute(
                "CREATE OR REPLACE TEMP TABLE named AS SELECT row_id FROM rows WHERE"
                f" {_named(rows, sql)}"
            )
        there = "row_id IN (SELECT row_id FROM named)"
        if mode == "tag":
            return _tagged(rows, there, str(arguments["tag"]).strip(), tools)
        return Report(removed=rows.keep(there if mode == "keep" else f"NOT ({there})"))
    finally:
        rows.connection.execute("DROP TABLE IF EXISTS named")


def _named(rows: Rows, sql: str) -> str:
    """The condition that the query names a row, without keeping what it gives."""
    found = rows.connection.execute(f"DESCRIBE FROM ({sql}\n)").fetchall()
    names = {str(name).lower() for name, *_ in found}
    for key, kind in (("row_id", "VARCHAR"), ("row_index", "BIGINT")):
        if key in names:
            return f"{key} IN (SELECT TRY_CAST({key} AS {kind}) FROM ({sql}\n))"
    raise Invalid(
        "The query gives no row_id: it does not say which rows it means.",
        field="sql",
        hint="Select row_id, for example SELECT row_id FROM rows WHERE ...",
    )


def _tagged(rows: Rows, there: str, word: str, tools: Tools) -> Report:
    found = rows.connection.execute(f"SELECT row_id FROM rows WHERE {there}").fetchall()
    ids = [row_id for (row_id,) in found]
    return tag(rows, {"tags": [word], "row_ids": ids}, tools) if ids else Report()
