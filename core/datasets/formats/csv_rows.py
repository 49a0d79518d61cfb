"""CSV and TSV: rows of cells under a header, with every row that does not fit it named.

Knows: separators, quotes, where a row starts. Does not know: kinds of values.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO

from core.datasets.faults import Fault
from core.datasets.formats.text import BOM, Lines
from core.datasets.records import MAX_LINE_BYTES, Record, checked_header, unreadable

# The csv module's limit for one cell is 128 KiB for the whole process; long documents have more.
csv.field_size_limit(MAX_LINE_BYTES)


@dataclass(frozen=True, slots=True)
class Csv:
    """A reader of rows between separators."""

    open: Callable[[], AbstractContextManager[BinaryIO]]
    delimiter: str
    encoding: str

    def columns(self) -> list[str]:
        """The header."""
        with self.open() as file:
            return _header(csv.reader(Lines(file), delimiter=self.delimiter, strict=True))

    def records(self) -> Iterator[Record]:
        """One row at a time; a bad one does not end the reading."""
        with self.open() as file:
            yield from _rows(Lines(file, self.encoding), self.delimiter)


def guess_delimiter(head: bytes) -> str:
    """The separator that gives the first lines the most columns, all the same number of them."""
    lines = head.removeprefix(BOM).decode(errors="replace").splitlines(keepends=True)[:20]

    def score(delimiter: str) -> tuple[int, int]:
        widths: list[int] = []
        with contextlib.suppress(csv.Error):
            widths += [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        same = sum(width == widths[0] for width in widths) if widths else 0
        return (same if widths and widths[0] > 1 else 0, widths[0] if widths else 0)

    return max(",;\t|", key=score)


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        return checked_header(next(row for row in reader if row))
    except csv.Error as error:
        raise unreadable(f"The header cannot be read: {error}.", "Check its quotes.") from None
    except StopIteration:
        raise unreadable("The file has no header.", "Put the column names first.") from None


def _rows(lines: Lines, delimiter: str) -> Iterator[Record]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    columns = _header(reader)
    if lines.bad:
        raise unreadable("The header is not UTF-8 text.", "Save the file as UTF-8.")
    index = 0
    while True:
        line = reader.line_num + 1
        cells: list[str] = []
        problem: tuple[str, str] | None = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = _problem(error, line)
        fault = lines.take_fault(index, line)
        if fault is None and problem is None:
            if not cells:
                continue  # a blank line
            problem = _width_problem(cells, columns, delimiter)
        if fault is None and problem is not None:
            fault = Fault(index, None, *problem, line)
        if fault is not None:
            yield Record(index, line, faults=(fault,))
        else:
            yield Record(index, line, dict(zip(columns, cells, strict=True)))
        index += 1


def _problem(error: csv.Error, line: int) -> tuple[str, str]:
    text = str(error)
    if "unexpected end of data" in text:
        return f"a quote opened in line {line} is never closed", "Close it; the rest is unread."
    if "field larger than field limit" in text:
        return f"a cell that begins in line {line} is larger than 64 MiB", "Check its quotes."
    if "expected after" in text:
        return "there is text after a closing quote", 'Write a quote inside a cell as "".'
    if "new-line" in text:
        return "there is a lone carriage return", "Save the file with Unix or Windows line ends."
    return f"the row cannot be read: {text}", "Check its quotes and separators."


def _width_problem(cells: list[str], columns: list[str], delimiter: str) -> tuple[str, str] | None:
    if len(cells) == len(columns):
        return None
    name = {"\t": "tab", ",": "comma", ";": "semicolon"}.get(delimiter, delimiter)
    few = len(cells) < len(columns)
    count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    return (
        f"the row has {count}, the header has {len(columns)}",
        f"Add the missing {name}s." if few else f"Put cells that contain a {name} in quotes.",
    )
