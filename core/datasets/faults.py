"""What is wrong with an import, row by row.

Knows: rows, fields, messages. Does not know: formats.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import Invalid

MOST_LISTED = 10_000  # faults kept in full; a file with more is counted to the end all the same


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one row."""

    row: int
    """Zero-based, not counting a header or blank lines."""
    field: str | None
    """The column, where the fault is in one cell."""
    message: str
    """What is wrong, without the row."""
    hint: str
    """What to do about it."""
    line: int | None = None
    """One-based line of the file where the row starts, in text formats."""

    def to_dict(self) -> dict[str, Any]:
        """For tables and JSON."""
        return asdict(self)


class Faults:
    """Collects faults and counts all of them, also those it no longer keeps."""

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[Fault] = []

    def add(self, faults: Iterable[Fault]) -> None:
        """Take note of some more."""
        for fault in faults:
            self.count += 1
            if len(self.listed) < MOST_LISTED:
                self.listed.append(fault)


class BadRows(Invalid):
    """Rows that cannot be imported; nothing was. `errors` lists them, `count` counts them."""

    def __init__(self, faults: Faults) -> None:
        first = faults.listed[0]
        rows = len({fault.row for fault in faults.listed})
        what = "1 row has" if rows == 1 else f"{rows:,} rows have"
        if faults.count > len(faults.listed):
            what = f"More than {rows:,} rows have"
        super().__init__(
            f"{what} something wrong. The first is row {first.row}: {first.message}",
            row=first.row,
            field=first.field,
            title="Nothing was imported",
            hint=first.hint,
        )
        self.errors: list[Fault] = faults.listed
        self.count = faults.count

    def to_dict(self) -> dict[str, Any]:
        """Invalid to whoever reads it elsewhere, with the rows."""
        rows = [fault.to_dict() for fault in self.errors]
        return {**super().to_dict(), "type": "Invalid", "errors": rows}
