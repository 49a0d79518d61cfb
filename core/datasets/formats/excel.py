"""Spreadsheets (.xlsx, .xlsb, .xls, .ods) as rows: the first row with cells is the header.

Knows: sheets, headers, blank rows and columns. Does not know: the file format; a process of its
own with a memory limit does (excel_worker).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.datasets.faults import Fault
from core.datasets.records import Data, Record, checked_header, unreadable
from core.settings import PROJECT_ROOT

MAX_BYTES = 256 * 1024**2

Row = tuple[int, list[Any]]
"""Its number in the sheet and its cells."""


@dataclass(frozen=True, slots=True)
class Excel:
    """A reader of one sheet."""

    data: Data
    sheet: str | None
    """None: the first that is visible."""

    def columns(self) -> list[str]:
        """The header's cells as text."""
        with _sheet(self.data, self.sheet) as (_, rows):
            return _header(rows)

    def records(self) -> Iterator[Record]:
        """Rows below the header that have any cell; `line` is the row's number in the sheet."""
        with _sheet(self.data, self.sheet) as (_, rows):
            columns = _header(rows)
            filled = (
                (number, cells) for number, cells in rows if any(c is not None for c in cells)
            )
            for index, (number, cells) in enumerate(filled):
                yield _record(index, number, columns, cells)


def sheets_of(data: Data, wanted: str | None) -> tuple[list[str], str]:
    """The names of all sheets, and of the one that is read; Invalid where there is no such one."""
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    if size > MAX_BYTES:
        raise unreadable("The spreadsheet is larger than 256 MiB.", "Save the sheet as CSV.")
    with _sheet(data, wanted) as (about, _):
        if about["sheet"] is None:
            raise unreadable(
                f"There is no sheet {wanted!r}." if wanted else "The file has no sheets.",
                f"There are {', '.join(about['sheets'][:20])}." if wanted else "Check the file.",
                "sheet",
            )
        return about["sheets"], about["sheet"]


def _header(rows: Iterator[Row]) -> list[str]:
    """The first row with cells, read off; columns to its right that are blank do not count."""
    for _, cells in rows:
        names = ["" if cell is None else str(cell) for cell in cells]
        while names and not names[-1].strip():
            names.pop()
        if names:
            return checked_header(names)
    raise unreadable("The sheet has no header.", "Put the column names first.")


def _record(index: int, number: int, columns: list[str], cells: list[Any]) -> Record:
    beyond = [cell for cell in cells[len(columns) :] if cell is not None]
    if beyond:
        fault = Fault(
            index, None, f"there is a value to the right of the last column, {columns[-1]!r}",
            "Give its column a name, or empty the cell.", number,
        )  # fmt: skip
        return Record(index, number, faults=(fault,))
    padded = [*cells[: len(columns)], *[None] * (len(columns) - len(cells))]
    return Record(index, number, dict(zip(columns, padded, strict=True)))


@contextlib.contextmanager
def _sheet(data: Data, wanted: str | None) -> Iterator[tuple[dict[str, Any], Iterator[Row]]]:
    """What the worker says about the file, and its rows as it writes them."""
    with contextlib.ExitStack() as stack:
        if isinstance(data, Path):
            file: Any = stack.enter_context(data.open("rb"))
        else:
            file = stack.enter_context(tempfile.TemporaryFile())
            file.write(data)
            file.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-m", "core.datasets.formats.excel_worker"]
            + ([] if wanted is None else [wanted.replace("\0", " ")]),
            cwd=PROJECT_ROOT,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            answers = _answers(process)
            about = next(answers)
            yield about, enumerate(answers, start=about["start"])
        finally:
            process.kill()
            process.communicate()


def _answers(process: subprocess.Popen[bytes]) -> Iterator[Any]:
    said = False
    for line in process.stdout or ():
        said = True
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise unreadable(answer["error"], answer["hint"])
        yield answer
    if process.wait() or not said:
        raise unreadable(
            "The spreadsheet takes more memory or time than it may.",
            "Save the sheet as CSV, and look for cells far from the others.",
        )
