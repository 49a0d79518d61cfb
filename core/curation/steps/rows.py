"""Steps that choose, order and mark rows.

Knows: ids, conditions, tags, splits. Does not know: why a person wants a row gone: the reason is
an argument and stays in the recipe.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from core.curation.arguments import Argument
from core.curation.conditions import MATCHES, check_conditions, where_sql
from core.curation.rows import Report, Rows
from core.curation.steps.text import target_column
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.table import quoted
from core.datasets.values import INTEGER, JSON, NUMBER
from core.errors import Invalid

TAGS, SPLIT = "tags", "split"

WHERE = Argument("where", "records", "Conditions", "column, op and value of each")
WHERE_OR = Argument("where", "records", "Conditions", "Which rows, instead of row ids",
                    required=False)  # fmt: skip
MATCH = Argument("match", "choice", "Rows that meet", required=False, default="all",
                 choices=MATCHES)  # fmt: skip
ROW_IDS = Argument("row_ids", "rows", "Rows", "Their ids", required=False)
REASON = Argument("reason", "text", "Reason", "Stays in the recipe", required=False, default="")

ARGUMENTS = {
    "drop_rows": (Argument("row_ids", "rows", "Rows", "Their ids"), REASON),
    "restore_rows": (
        Argument("rows", "records", "Rows", "row_id, row_index and values of each"), REASON,
    ),
    "filter": (WHERE, MATCH, REASON),
    "drop_where": (WHERE, MATCH, REASON),
    "tag": (Argument("tags", "words", "Tags"), ROW_IDS, WHERE_OR, MATCH),
    "untag": (Argument("tags", "words", "Tags"), ROW_IDS, WHERE_OR, MATCH),
    "set_split": (
        Argument("split", "text", "Split", "train, validation, test or another name"),
        ROW_IDS, WHERE_OR, MATCH,
    ),
    "sort": (
        Argument("by", "columns", "Columns", "The first counts most"),
        Argument("descending", "flag", "Largest first", required=False, default=False),
    ),
    "sample": (
        Argument("rows", "integer", "Rows", "How many stay", required=False, least=1),
        Argument("share", "number", "Share", "Or which share stays, 0 to 1", required=False,
                 least=0, most=1),
        Argument("seed", "integer", "Seed", "The same seed chooses the same rows", required=False,
                 default=0),
    ),
}  # fmt: skip


def drop_rows(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Remove rows by id; ids that are not there are counted."""
    with chosen(rows, arguments["row_ids"]) as wanted:
        removed = rows.keep("row_id NOT IN (SELECT row_id FROM chosen_rows)")
    return _report(removed=removed, missing=wanted - removed)


def filter(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Keep the rows that meet the conditions."""
    where, parameters = _where(rows, arguments)
    return Report(removed=rows.keep(where, parameters))


def drop_where(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Remove the rows that meet the conditions."""
    where, parameters = _where(rows, arguments)
    return Report(removed=rows.keep(f"{where} IS NOT TRUE", parameters))


def restore_rows(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Put back rows that an earlier version had; one that is there already stays as it is."""
    import pyarrow as pa

    known = {column.name: column.type for column in rows.columns}
    given = arguments["rows"]
    report = Report()
    with chosen(rows, [row["row_id"] for row in given]):
        there = {
            row[0]
            for row in rows.connection.execute(
                "SELECT row_id FROM rows WHERE row_id IN (SELECT row_id FROM chosen_rows)"
            ).fetchall()
        }
    back = [row for row in given if row["row_id"] not in there]
    report.counts = {"restored": len(back)}
    if there:
        report.counts["there already"] = len(there)
    if not back:
        return report
    values = {name: [row["values"].get(name) for row in back] for name in known}
    table = pa.table({
        "row_id": [row["row_id"] for row in back],
        "after": pa.array([row.get("row_index") for row in back], pa.int64()),
        **{f"v_{n}": pa.array(v, _arrow(known[name])) for n, (name, v) in
           enumerate(values.items())},
    })  # fmt: skip
    rows.connection.register("restored_rows", table)
    # after the row whose number it had: numbers are made anew when the version is written
    listed = ", ".join(quoted(name) for name in known)
    picked = ", ".join(f"v_{n}" for n in range(len(known)))
    try:
        rows.connection.execute("UPDATE rows SET row_index = row_index * 2 + 1")
        rows.connection.execute(
            f"INSERT INTO rows (row_id, row_index, {listed})"
            f" SELECT row_id, coalesce(after, 4611686018427387903) * 2, {picked} FROM restored_rows"
        )
    finally:
        rows.connection.unregister("restored_rows")
    _renumber(rows, "row_index, row_id")
    return report


def check_restore_rows(arguments: dict[str, Any]) -> None:
    """Each row has an id and values, and no id comes twice."""
    seen = set()
    for number, row in enumerate(arguments["rows"]):
        where = f"rows.{number}"
        if not isinstance(row.get("row_id"), str) or not isinstance(row.get("values"), dict):
            raise Invalid("A row to restore has a row_id and values.", field=where)
        if row["row_id"] in seen:
            raise Invalid(f"The row {row['row_id']} comes twice.", field=where)
        seen.add(row["row_id"])


def tag(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Add words to the list in the column `tags`."""
    return _tagged(rows, arguments, "list_distinct(list_concat({old}, $tags::VARCHAR[]))")


def untag(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Take words off the list in the column `tags`."""
    if not any(column.name == TAGS for column in rows.columns):
        return Report()
    return _tagged(
        rows, arguments, "list_filter({old}, lambda t: NOT list_contains($tags::VARCHAR[], t))"
    )


def set_split(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Put rows into a split."""
    target_column(rows, SPLIT)
    with _where_or_ids(rows, arguments) as (where, parameters):
        return rows.update(
            SPLIT,
            f"CASE WHEN {where} THEN $split ELSE {quoted(SPLIT)} END",
            {**parameters, "split": arguments["split"]},
        )


def sort(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Order the rows; equal ones stay in the order they had, empty cells come last."""
    down = " DESC" if arguments.get("descending") else " ASC"
    order = [f"{quoted(rows.column(name).name)}{down} NULLS LAST" for name in arguments["by"]]
    return Report(counts={"moved": _renumber(rows, ", ".join([*order, "row_index"]))})


def sample(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Keep a random part of the rows, chosen by seed and row id: order and threads change nothing.

    A smaller share of the same seed is a part of a larger one.
    """
    total = rows.count()
    share = arguments.get("share")
    wanted = round(total * share) if share is not None else arguments["rows"]
    removed = rows.keep(
        "row_id IN (SELECT row_id FROM rows ORDER BY md5($seed || row_id), row_id LIMIT $wanted)",
        {"seed": f"{arguments.get('seed') or 0}:", "wanted": wanted},
    )
    return Report(removed=removed)


def check_sample(arguments: dict[str, Any]) -> None:
    """Either rows or a share."""
    if (arguments.get("rows") is None) == (arguments.get("share") is None):
        raise Invalid("Say how many rows stay, or which share, not both.", field="rows")


def _check_where(arguments: dict[str, Any]) -> None:
    check_conditions(arguments["where"])


def _check_rows_or_where(arguments: dict[str, Any]) -> None:
    if (arguments.get("row_ids") is None) == (arguments.get("where") is None):
        raise Invalid("Say which rows: by row_ids or by where, not both.", field="row_ids")
    if arguments.get("where") is not None:
        check_conditions(arguments["where"])


CHECKS = {
    "filter": _check_where,
    "drop_where": _check_where,
    "restore_rows": check_restore_rows,
    "tag": _check_rows_or_where,
    "untag": _check_rows_or_where,
    "set_split": _check_rows_or_where,
    "sample": check_sample,
}


@contextlib.contextmanager
def chosen(rows: Rows, row_ids: list[str]) -> Iterator[int]:
    """The ids as the table `chosen_rows` while the block runs; how many distinct ones."""
    import pyarrow as pa

    distinct = list(dict.fromkeys(row_ids))
    rows.connection.register("chosen_rows", pa.table({"row_id": pa.array(distinct, pa.string())}))
    try:
        yield len(distinct)
    finally:
        rows.connection.unregister("chosen_rows")


def _where(rows: Rows, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return where_sql(arguments["where"], rows.columns, match=arguments.get("match") or "all")


@contextlib.contextmanager
def _where_or_ids(rows: Rows, arguments: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if arguments.get("where") is not None:
        where, parameters = _where(rows, arguments)
        yield f"coalesce({where}, false)", parameters
        return
    with chosen(rows, arguments["row_ids"]):
        yield "row_id IN (SELECT row_id FROM chosen_rows)", {}


def _tagged(rows: Rows, arguments: dict[str, Any], new: str) -> Report:
    """Tags as a sorted list, so that the order of tagging changes no content."""
    rows.add_column(Column(TAGS, "metadata", JSON))
    if rows.column(TAGS).type != JSON:
        raise Invalid("The column 'tags' holds no list of words.", field="tags",
                      hint="Rename it first.")  # fmt: skip
    cell = quoted(TAGS)
    old = f"coalesce(CAST(TRY_CAST({cell} AS JSON) AS VARCHAR[]), []::VARCHAR[])"
    with _where_or_ids(rows, arguments) as (where, parameters):
        made = f"list_sort({new.format(old=old)})"
        text = f"CASE WHEN len({made}) = 0 THEN NULL ELSE CAST(to_json({made}) AS VARCHAR) END"
        return rows.update(
            TAGS,
            f"CASE WHEN {where} THEN {text} ELSE {cell} END",
            {**parameters, "tags": arguments["tags"]},
        )


def _renumber(rows: Rows, order: str) -> int:
    """Make `row_index` follow an order, and the table too; how many rows have another number."""
    made = f"row_number() OVER (ORDER BY {order}) - 1"
    (moved,) = rows.one(
        f"SELECT count(*) FROM (SELECT row_index, row_number() OVER (ORDER BY row_index) - 1 AS o,"
        f" {made} AS n FROM rows) WHERE o <> n"
    )
    rows.rewrite(f"SELECT * REPLACE ({made} AS row_index) FROM rows ORDER BY row_index")
    return int(moved)


def _report(*, removed: int, missing: int) -> Report:
    return Report(removed=removed, counts={"not there": missing} if missing else {})


def _arrow(kind: str) -> Any:
    import pyarrow as pa

    return {INTEGER: pa.int64(), NUMBER: pa.float64(), "boolean": pa.bool_()}.get(kind, pa.string())
