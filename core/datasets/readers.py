"""Files as streams of rows: CSV, TSV, JSONL and Parquet, each row with what is wrong with it.

A source is opened anew for every reading, and one row is in memory at a time (a thousand, for
Parquet). A bad row does not end the reading: it comes as a Record without values.

Knows: formats, encodings, where a row starts. Does not know: roles, versions.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from core.datasets.faults import Fault
from core.datasets.values import plain
from core.errors import Invalid

MAX_FILE_BYTES = 1024**3
MAX_LINE_BYTES = 64 * 1024**2
MAX_COLUMNS = 500

# The csv module's limit for one cell is 128 KiB for the whole process; long documents have more.
csv.field_size_limit(MAX_LINE_BYTES)

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_MAGIC = {
    b"PK\x03\x04": "The file is a ZIP archive or a spreadsheet. Save the sheet as CSV.",
    b"\x1f\x8b": "The file is compressed. Unpack it first.",
    b"\xff\xfe": "The file is in UTF-16. Save it as UTF-8.",
    b"\xfe\xff": "The file is in UTF-16. Save it as UTF-8.",
    b"%PDF": "The file is a PDF. Save the rows as CSV.",
}
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Record:
    """One row as it was read: its values by column, or what is wrong with it."""

    index: int
    line: int | None
    values: dict[str, Any] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A file to import; make it by `open_source`, which finds out the format."""

    filename: str
    data: bytes | Path
    format: str
    delimiter: str = ","

    def records(self) -> Iterator[Record]:
        """Every row from the start. Raises Invalid where the file as a whole cannot be read."""
        with _opened(self.data) as file:
            if self.format == "parquet":
                yield from _parquet(file)
            elif self.format == "jsonl":
                yield from _jsonl(file)
            else:
                yield from _csv(file, self.delimiter)

    def columns(self) -> list[str]:
        """The columns that the file declares; none for JSONL, where every row has its own."""
        if self.format == "jsonl":
            return []
        with _opened(self.data) as file:
            if self.format == "parquet":
                return _parquet_columns(_parquet_file(file))
            return _header(csv.reader(_Lines(file), delimiter=self.delimiter, strict=True))


def open_source(filename: str, data: bytes | Path) -> Source:
    """Find out what a file is, by its content first and its suffix second."""
    name = PurePath(filename.replace("\\", "/")).name or "upload"
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    if size > MAX_FILE_BYTES:
        raise unreadable(f"{name} has {size / 1024**3:.1f} GiB; the most is 1 GiB.", "Split it.")
    with _opened(data) as file:
        head = file.read(64 * 1024)
    if not head.removeprefix(_BOM).strip():
        raise unreadable(f"{name} is empty.", "Choose another file.")
    for magic, hint in _MAGIC.items():
        if head.startswith(magic):
            raise unreadable(f"{name} is not text that can be imported.", hint)
    kind = SUFFIXES.get(PurePath(name).suffix.lower())
    if head.startswith(b"PAR1"):
        return Source(name, data, "parquet")
    if kind == "parquet":
        raise unreadable(f"{name} is not a Parquet file.", "Check how it was written.")
    first = head.removeprefix(_BOM).lstrip()
    if kind == "jsonl" and first[:1] == b"[":
        raise unreadable(
            f"{name} holds one JSON array.",
            "Write one object a line instead, for example with: jq -c '.[]' FILE.",
        )
    if kind == "jsonl" or _is_json_object(first.split(b"\n", 1)[0]):
        return Source(name, data, "jsonl")
    if kind == "tsv":
        return Source(name, data, "tsv", "\t")
    return Source(name, data, "csv", _guess_delimiter(head))


@contextlib.contextmanager
def _opened(data: bytes | Path) -> Iterator[BinaryIO]:
    file: BinaryIO = data.open("rb") if isinstance(data, Path) else io.BytesIO(data)
    try:
        yield file
    finally:
        file.close()


def unreadable(message: str, hint: str) -> Invalid:
    """The error for a file that cannot be imported at all."""
    return Invalid(message, field="file", title="The file cannot be imported", hint=hint)


def _is_json_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _guess_delimiter(head: bytes) -> str:
    """The separator that gives the first lines the most columns, all the same number of them."""
    lines = head.removeprefix(_BOM).decode(errors="replace").splitlines(keepends=True)[:20]

    def score(delimiter: str) -> tuple[int, int]:
        widths: list[int] = []
        with contextlib.suppress(csv.Error):
            widths += [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        same = sum(width == widths[0] for width in widths) if widths else 0
        return (same if widths and widths[0] > 1 else 0, widths[0] if widths else 0)

    return max(",;\t|", key=score)


class _Lines:
    """Decoded lines of a file, with the bad ones noted in `bad` for whoever reads rows."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0
        self.bad: list[int] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(MAX_LINE_BYTES + 1)
        if not raw:
            raise StopIteration
        self.number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise unreadable(
                f"Line {self.number} is longer than 64 MiB.", "Check that it is the right file."
            )
        if self.number == 1:
            raw = raw.removeprefix(_BOM)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.bad.append(self.number)
            return raw.decode(errors="replace")

    def take_fault(self, row: int, line: int) -> Fault | None:
        """The fault of the lines read since the last call, if they were not UTF-8."""
        if not self.bad:
            return None
        numbers, self.bad = self.bad, []
        return Fault(
            row, None, f"line {numbers[0]} is not UTF-8 text", "Save the file as UTF-8.", line
        )


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        cells = [cell.strip() for cell in next(row for row in reader if row)]
    except csv.Error as error:
        raise unreadable(f"The header cannot be read: {error}.", "Check its quotes.") from None
    except StopIteration:
        raise unreadable("The file has no header.", "Put the column names first.") from None
    for number, cell in enumerate(cells, start=1):
        if not cell:
            raise unreadable(f"Column {number} of {len(cells)} has no name.", "Name it.")
        if "\0" in cell or "\ufffd" in cell:
            raise unreadable(f"The name of column {number} is not clean text.", "Save as UTF-8.")
    return _checked_columns(cells)


def _checked_columns(names: list[str]) -> list[str]:
    if len(names) > MAX_COLUMNS:
        raise unreadable(f"The file has {len(names):,} columns; the most is {MAX_COLUMNS}.",
                          "Check the separator, or leave columns out.")  # fmt: skip
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        listed = ", ".join(repr(name) for name in twice)
        raise unreadable(f"More than one column is named {listed}.", "Give each its own name.")
    return names


def _csv(file: BinaryIO, delimiter: str) -> Iterator[Record]:
    lines = _Lines(file)
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
            problem = _csv_problem(error, line)
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


def _csv_problem(error: csv.Error, line: int) -> tuple[str, str]:
    text = str(error)
    if "unexpected end of data" in text:
        return f"a quote opened in line {line} is never closed", "Close it; the rest is unread."
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


def _jsonl(file: BinaryIO) -> Iterator[Record]:
    lines = _Lines(file)
    index = 0
    for text in lines:
        line = lines.number
        fault = lines.take_fault(index, line)
        if not text.strip() and fault is None:
            continue
        values: dict[str, Any] = {}
        if fault is None:
            try:
                values = _json_object(text)
            except ValueError as error:
                fault = Fault(index, None, str(error), "Write one JSON object a line.", line)
            except RecursionError:
                fault = Fault(index, None, "the values are nested too deep", "Flatten them.", line)
        yield Record(index, line, values, (fault,) if fault else ())
        index += 1


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"the line is not JSON: {error.msg}, at column {error.colno}") from None
    if not isinstance(value, dict):
        kind = {list: "an array", str: "a text", type(None): "null"}.get(type(value), "a value")
        raise ValueError(f"the line is {kind}, not an object")
    if not all(name.strip() for name in value):
        raise ValueError("a key is blank")
    return _no_duplicates([(name.strip(), item) for name, item in value.items()])


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _parquet_file(file: BinaryIO) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise unreadable(f"The Parquet file is damaged: {error}.", "Write it again.") from None


def _parquet_columns(parquet: Any) -> list[str]:
    return _checked_columns([str(name) for name in parquet.schema_arrow.names])


def _parquet(file: BinaryIO) -> Iterator[Record]:
    import pyarrow as pa

    parquet = _parquet_file(file)
    _parquet_columns(parquet)
    index = 0
    try:
        for batch in parquet.iter_batches(batch_size=1_000):
            for values in batch.to_pylist():
                yield Record(index, None, {name: plain(item) for name, item in values.items()})
                index += 1
    except (pa.ArrowException, OSError) as error:
        raise unreadable(f"The Parquet file is damaged: {error}.", "Write it again.") from None
