"""What every format gives: rows with their values, or with what is wrong with them.

Knows: the shape of a row as read, the bounds that hold for every format, the error for a file as
a whole. Does not know: formats, roles, versions.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from core.datasets.faults import Fault
from core.errors import Invalid

MAX_LINE_BYTES = 64 * 1024**2
"""One line, one cell or one JSON object: what is held in memory at a time."""
MAX_COLUMNS = 500

Data = bytes | Path


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it was read: its values by column, or what is wrong with it."""

    index: int
    line: int | None
    values: dict[str, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


class Reader(Protocol):
    """A format: it reads from the start each time it is asked."""

    def columns(self) -> list[str]:
        """The columns that the file declares; none where every row has its own."""
        ...

    def records(self) -> Iterator[Record]:
        """Every row. Raises Invalid where the file as a whole cannot be read."""
        ...


def unreadable(message: str, hint: str, field: str = "file") -> Invalid:
    """The error for a file that cannot be imported at all."""
    return Invalid(message, field=field, title="The file cannot be imported", hint=hint)


def checked_columns(names: list[str]) -> list[str]:
    """The names, if there are not too many and no two are alike; Invalid otherwise."""
    if len(names) > MAX_COLUMNS:
        raise unreadable(f"The file has {len(names):,} columns; the most is {MAX_COLUMNS}.",
                          "Check the separator, or leave columns out.")  # fmt: skip
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        listed = ", ".join(repr(name) for name in twice)
        raise unreadable(f"More than one column is named {listed}.", "Give each its own name.")
    return names


def checked_header(cells: list[str]) -> list[str]:
    """A header row as column names; Invalid names the column that has none or is not text."""
    cells = [cell.strip() for cell in cells]
    for number, cell in enumerate(cells[: MAX_COLUMNS + 1], start=1):
        if not cell:
            raise unreadable(f"Column {number} of {len(cells)} has no name.", "Name it.")
        if "\0" in cell or "\ufffd" in cell:
            raise unreadable(f"The name of column {number} is not clean text.", "Save as UTF-8.")
    return checked_columns(cells)


@contextlib.contextmanager
def opened(data: Data) -> Iterator[BinaryIO]:
    """The bytes or the file, for reading."""
    file: BinaryIO = data.open("rb") if isinstance(data, Path) else io.BytesIO(data)
    try:
        yield file
    finally:
        file.close()


@contextlib.contextmanager
def as_path(data: Data, suffix: str) -> Iterator[Path]:
    """The file, or the bytes in a file that is gone afterwards: for drivers that take a path."""
    if isinstance(data, Path):
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="lathe-") as folder:
        path = Path(folder) / f"upload{suffix}"
        path.write_bytes(data)
        yield path
