"""The step that a person's hand leaves: cells with new values.

Knows: cells by row id and column. Does not know: who edited; the audit log does.
"""

from __future__ import annotations

from typing import Any

from core.curation.arguments import Argument
from core.curation.rows import EXAMPLES, Report, Rows
from core.curation.steps.rows import chosen
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.table import quoted
from core.datasets.values import INTEGER, JSON, NUMBER, TEXT, kind_of, stored
from core.errors import Invalid

ARGUMENTS = {
    "edit_cells": (
        Argument("cells", "records", "Cells", "row_id, column, value and before of each"),
    ),
}
KEYS = {"row_id", "column", "value", "before"}


def edit_cells(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Set cells. A row that is not there, and a cell that held something else than `before` says,
    are counted; the latter is set all the same."""
    by_row: dict[str, dict[str, dict[str, Any]]] = {}
    for cell in arguments["cells"]:
        by_row.setdefault(cell["row_id"], {})[cell["column"]] = cell
    columns = {c["column"]: rows.column(c["column"]) for c in arguments["cells"]}
    report = Report(counts={"edited": 0})
    with chosen(rows, list(by_row)):
        listed = ", ".join(["row_id", "row_index", *map(quoted, columns)])
        found = rows.connection.execute(
            f"SELECT {listed} FROM rows WHERE row_id IN (SELECT row_id FROM chosen_rows)"
            " ORDER BY row_index"
        ).fetchall()
    new: dict[str, list[tuple[int, Any]]] = {name: [] for name in columns}
    for row_id, row_index, *values in found:
        old = dict(zip(columns, values, strict=True))
        for name, cell in by_row.pop(row_id).items():
            value = _stored(cell["value"], columns[name])
            if "before" in cell and _stored(cell["before"], columns[name]) != old[name]:
                _count(report, "was something else")
            if value == old[name]:
                continue
            new[name].append((row_index, value))
            report.changed += 1
            if len(report.examples) < EXAMPLES:
                report.examples.append({"row_id": row_id, "row_index": row_index, "column": name,
                                        "before": old[name], "after": value})  # fmt: skip
    for _ in by_row:
        _count(report, "row not there")
    rows.set_cells(new)
    report.counts["edited"] = report.changed
    return report


def check_edit_cells(arguments: dict[str, Any]) -> None:
    """Every cell has a row, a column and a value."""
    for number, cell in enumerate(arguments["cells"]):
        where = f"cells.{number}"
        if not set(cell) <= KEYS or "value" not in cell:
            raise Invalid("A cell has row_id, column, value and before.", field=where)
        for key in ("row_id", "column"):
            if not isinstance(cell.get(key), str):
                raise Invalid(f"A cell needs a {key}.", field=f"{where}.{key}")


CHECKS = {"edit_cells": check_edit_cells}


def fits(value: Any, kind: str) -> bool:
    """Whether a value can be in a column of that type."""
    found = kind_of(value)
    if found is None or kind in (TEXT, JSON):
        return True
    return found == kind or (kind == NUMBER and found == INTEGER)


def _stored(value: Any, column: Column) -> Any:
    if not fits(value, column.type):
        raise Invalid(f"{value!r:.60} is no {column.type}: the column {column.name!r} holds those.",
                      field="cells")  # fmt: skip
    return stored(value, column.type)


def _count(report: Report, what: str) -> None:
    report.counts[what] = report.counts.get(what, 0) + 1
