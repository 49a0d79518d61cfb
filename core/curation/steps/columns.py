"""Steps that change columns: names, roles, types, which there are.

Knows: the list of columns. Does not know: what is in the cells, but for changing their type.
"""

from __future__ import annotations

from typing import Any

from core.curation.arguments import Argument, checked_column_name
from core.curation.rows import TYPES, Report, Rows
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.table import quoted
from core.datasets.values import BOOLEAN, INTEGER, JSON, NUMBER, TEXT, kind_of
from core.errors import Invalid

KINDS = (TEXT, INTEGER, NUMBER, BOOLEAN, JSON)
ROLES = ("input", "expected", "metadata")

COLUMN = Argument("column", "column", "Column")

ARGUMENTS = {
    "rename_column": (COLUMN, Argument("to", "text", "New name")),
    "set_role": (COLUMN, Argument("role", "choice", "Role", choices=ROLES)),
    "retype": (
        COLUMN,
        Argument("type", "choice", "Type", choices=KINDS),
        Argument("unreadable", "choice", "Values that do not fit", "stop, or leave the cell empty",
                 required=False, default="stop", choices=("stop", "empty")),
    ),
    "add_column": (
        Argument("column", "text", "Name"),
        Argument("type", "choice", "Type", required=False, default=TEXT, choices=KINDS),
        Argument("role", "choice", "Role", required=False, default="metadata", choices=ROLES),
        Argument("value", "any", "Value in every row", required=False),
    ),
    "drop_columns": (Argument("columns", "columns", "Columns"),),
}  # fmt: skip


def rename_column(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Give a column another name."""
    column, name = rows.column(arguments["column"]), arguments["to"].strip()
    _refuse_taken(rows, name, but=column.name)
    if name == column.name:
        return Report()
    if name.lower() == column.name.lower():  # names in SQL do not tell case apart
        _rename(rows, column.name, "renamed column")
        _rename(rows, "renamed column", name)
    else:
        _rename(rows, column.name, name)
    rows.columns[rows.columns.index(column)] = Column(name, column.role, column.type)
    return Report(counts={"columns": 1})


def set_role(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Make a column an input, the expected answer, or metadata."""
    column = rows.column(arguments["column"])
    if column.role == arguments["role"]:
        return Report()
    made = Column(column.name, arguments["role"], column.type)
    rows.columns[rows.columns.index(column)] = made
    return Report(counts={"columns": 1})


def retype(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Store a column as another type; values that do not fit stop the step or become empty."""
    column, kind = rows.column(arguments["column"]), arguments["type"]
    if column.type == kind:
        return Report()
    cell = quoted(column.name)
    made = _cast(cell, column.type, kind)
    lost = rows.one(
        f"SELECT count(*), min(row_index), arg_min({cell}, row_index) FROM rows"
        f" WHERE {cell} IS NOT NULL AND ({made}) IS NULL"
    )
    if lost[0] and arguments.get("unreadable", "stop") != "empty":
        raise Invalid(
            f"{lost[0]:,} values of {column.name!r} are no {kind}, the first in row"
            f" {lost[1] + 1}: {str(lost[2])[:60]!r}.",
            field="type",
            hint="Mend them first, or let the cells become empty.",
        )
    rows.rewrite(f"SELECT * REPLACE (({made}) AS {cell}) FROM rows")
    rows.columns[rows.columns.index(column)] = Column(column.name, column.role, kind)
    return Report(counts={"columns": 1, **({"made empty": int(lost[0])} if lost[0] else {})})


def add_column(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """A new column with one value in every row, or empty."""
    import json

    name, kind = arguments["column"].strip(), arguments.get("type") or TEXT
    _refuse_taken(rows, name)
    rows.add_column(Column(name, arguments.get("role") or "metadata", kind))
    value = arguments.get("value")
    if value is None:
        return Report(counts={"columns": 1})
    given = json.dumps(value, ensure_ascii=False) if kind == JSON else value
    report = rows.update(name, f"CAST($value AS {TYPES.get(kind, 'VARCHAR')})", {"value": given})
    report.counts = {"columns": 1}
    return report


def check_add_column(arguments: dict[str, Any]) -> None:
    """The value is of the type."""
    checked_column_name(arguments["column"])
    value, kind = arguments.get("value"), arguments.get("type") or TEXT
    fits = kind_of(value) == kind or (kind == NUMBER and kind_of(value) == INTEGER)
    if value is not None and kind != JSON and not fits:
        raise Invalid(f"{value!r:.60} is no {kind}.", field="value")


def check_rename(arguments: dict[str, Any]) -> None:
    """The new name can be one."""
    checked_column_name(arguments["to"], "to")


def drop_columns(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Remove columns."""
    names = list(dict.fromkeys(arguments["columns"]))
    for name in names:
        rows.drop_column(name)
    return Report(counts={"columns": len(names)})


CHECKS = {"add_column": check_add_column, "rename_column": check_rename}


def _rename(rows: Rows, old: str, new: str) -> None:
    rows.connection.execute(f"ALTER TABLE rows RENAME COLUMN {quoted(old)} TO {quoted(new)}")


def _refuse_taken(rows: Rows, name: str, but: str = "") -> None:
    for column in rows.columns:
        if column.name.lower() == name.lower() and column.name != but:
            raise Invalid(f"There is a column {column.name!r} already.", field="column",
                          hint="Choose another name.")  # fmt: skip


def _cast(cell: str, kind: str, to: str) -> str:
    """An SQL expression that is NULL where the value does not fit."""
    if to == JSON:
        return f"CAST(to_json({cell}) AS VARCHAR)"
    if kind == JSON:  # a JSON text becomes that text, anything else what it is written as
        plain = f"CASE json_type({cell}::JSON) WHEN 'VARCHAR' THEN {cell}::JSON ->> '$'"
        cell = f"({plain} WHEN 'NULL' THEN NULL ELSE {cell} END)"
    if to == INTEGER:  # 3.7 is no integer: a cast would round it
        number = f"TRY_CAST({cell} AS DOUBLE)"
        return f"CASE WHEN {number} = trunc({number}) THEN TRY_CAST({number} AS BIGINT) END"
    if to == NUMBER:
        return f"CASE WHEN isfinite(TRY_CAST({cell} AS DOUBLE)) THEN TRY_CAST({cell} AS DOUBLE) END"
    if to == TEXT:
        return f"CAST({cell} AS VARCHAR)"
    return f"TRY_CAST({cell} AS {TYPES[to]})"
