"""Rows in memory and a step done to them: what the tests of steps share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.curation.replay import replay
from core.curation.rows import TYPES, Report, Rows
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.table import connect, quoted
from core.datasets.values import stored

TOOLS = Tools(cache=Path("/nonexistent"))


def rows_of(values: Sequence[Mapping[str, Any]], columns: Mapping[str, str] | None = None) -> Rows:
    """Rows `r0`, `r1` ... with these values. `columns`: name -> type, or type and role."""
    given = columns or dict.fromkeys(values[0] if values else ("a",), "text")
    made = [
        Column(name, *reversed(kind.split()))
        if " " in kind
        else Column(name, "input" if number == 0 else "metadata", kind)
        for number, (name, kind) in enumerate(given.items())
    ]
    connection = connect()
    listed = "".join(f", {quoted(c.name)} {TYPES.get(c.type, 'VARCHAR')}" for c in made)
    connection.execute(f"CREATE TABLE rows (row_id VARCHAR, row_index BIGINT{listed})")
    one = f"({', '.join(['?'] * (len(made) + 2))})"
    cells = [
        cell
        for number, value in enumerate(values)
        for cell in (f"r{number}", number, *(stored(value.get(c.name), c.type) for c in made))
    ]
    if cells:
        every = ", ".join([one] * len(values))
        connection.execute(f"INSERT INTO rows VALUES {every}", cells)
    return Rows(connection, made)


def do(rows: Rows, step: str, /, **arguments: Any) -> Report:
    """One step."""
    return replay(rows, [{"step": step, **arguments}], TOOLS)[0]


def cells(rows: Rows, name: str) -> list[Any]:
    """A column in row order."""
    return [
        row[0]
        for row in rows.connection.execute(
            f"SELECT {quoted(name)} FROM rows ORDER BY row_index"
        ).fetchall()
    ]
