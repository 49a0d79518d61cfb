"""JSON lines at the speed of memory: Arrow parses them in chunks, DuckDB cuts out nested values.

A chunk with anything odd in it goes to the reader of single rows, which names every fault: what
Arrow refuses, mixed kinds, numbers that are not exact, null characters, blank inputs, nesting that
is deep enough to matter. So nothing is accepted here that is refused there, and a value is stored
as it is stored there.

Knows: lines, chunks, Arrow's idea of JSON. Does not know: how faults are worded, versions.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from core.datasets.batches import Batch, Kinds, record_batches, size_of
from core.datasets.content import arrow_type
from core.datasets.faults import Fault
from core.datasets.formats.json_rows import Jsonl
from core.datasets.formats.text import BOM
from core.datasets.identity import as_text
from core.datasets.json_strictness import is_clean, is_strict, kind_of_type
from core.datasets.mapping import Field
from core.datasets.readers import MAX_COLUMNS, MAX_LINE_BYTES, Record, Source, unreadable
from core.datasets.values import JSON, NUMBER

if TYPE_CHECKING:
    import duckdb
    import numpy as np

SMALLEST_CHUNK, LARGEST_CHUNK = 2**20, 2**25
SCAN_ROWS = 4_096  # Arrow batches of this size let DuckDB use every core
CHUNKS = 16  # of a small file: its memory stays a fraction of its size
BLOCK_BYTES = 2**22
MANY_BRACKETS = 4_000  # in one line: from here on its real depth is looked at
SAMPLED_LINES = 64  # of a chunk, looked at for how many keys there are


def json_batches(
    source: Source,
    reader: Jsonl,
    fields: Sequence[Field],
    connection: duckdb.DuckDBPyConnection,
) -> Iterator[Batch]:
    """The rows of a file of JSON lines."""
    total = size_of(source)
    size = min(max(total // CHUNKS, SMALLEST_CHUNK), LARGEST_CHUNK) if total else LARGEST_CHUNK
    texts: set[str] = set()
    position = rows = lines = 0
    with reader.open() as file:
        for data in _chunks(file, size):
            at = position
            position += len(data)
            if at == 0:
                data = data.removeprefix(BOM)
            marks = _line_ends(data)
            _refuse_long_lines(marks, lines)
            fast = _fast(data, marks, fields, texts, connection)
            if fast is not None:
                yield replace(fast, position=position)
                rows += fast.row_count
            else:
                held = functools.partial(_held, data)
                found = _moved(replace(reader, open=held).records(), rows, lines)
                for batch in record_batches(found, fields, functools.partial(int, position)):
                    yield batch
                    rows += batch.row_count
            lines += len(marks)


@dataclass(frozen=True, slots=True)
class JsonBatch:
    """Rows that Arrow has parsed and nothing stands against."""

    lines: Any
    """The text of each row, an Arrow array."""
    parsed: Any
    """An Arrow table; what is nested is only there for its kind."""
    kinds: Kinds
    position: int = 0
    faults: Sequence[Fault] = field(default_factory=tuple)

    @property
    def row_count(self) -> int:
        """How many lines that are not blank."""
        return len(self.lines)

    def table(
        self,
        fields: Sequence[Field],
        kinds: Mapping[str, str],
        connection: duckdb.DuckDBPyConnection,
    ) -> Any:
        """See Batch."""
        import pyarrow as pa

        nested = [one for one in fields if kinds[one.column] == JSON and one.column in self.kinds]
        columns = {}
        for one in fields:
            own, wanted = self.kinds.get(one.column), kinds[one.column]
            if own is None or wanted == JSON:
                columns[one.name] = pa.nulls(self.row_count, arrow_type(wanted))
            elif own == wanted:
                columns[one.name] = self.parsed.column(one.column)
            elif wanted == NUMBER:
                columns[one.name] = self.parsed.column(one.column).cast(pa.float64())
            else:
                columns[one.name] = as_text(self.parsed.column(one.column), own)
        cut = _cut_out(self.lines, [one.column for one in nested], connection)
        columns |= {one.name: cells for one, cells in zip(nested, cut, strict=True)}
        return pa.table(columns)


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Whole lines, about `size` bytes of them at a time."""
    while data := file.read(size):
        if not data.endswith(b"\n"):
            data += file.readline(MAX_LINE_BYTES + 1)
        yield data


def _held(data: bytes) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.closing(io.BytesIO(data))


def _moved(records: Iterator[Record], rows: int, lines: int) -> Iterator[Record]:
    """Records of a chunk as they are in the whole file."""
    for record in records:
        index, line = record.index + rows, (record.line or 0) + lines
        faults = tuple(
            replace(fault, row=index, line=line, message=_renumbered(fault, line))
            for fault in record.faults
        )
        yield Record(index, line, record.values, faults)


def _renumbered(fault: Fault, line: int) -> str:
    return fault.message.replace(f"line {fault.line} ", f"line {line} ", 1)


def _line_ends(data: bytes) -> np.ndarray[Any, Any]:
    """Where each line ends: the place after its newline."""
    import numpy as np

    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    return ends


def _refuse_long_lines(ends: np.ndarray[Any, Any], before: int) -> None:
    import numpy as np

    lengths = np.diff(ends, prepend=0)
    if len(lengths) and lengths.max() > MAX_LINE_BYTES:
        number = before + int(lengths.argmax()) + 1
        raise unreadable(
            f"Line {number} is longer than 64 MiB.", "Check that it is the right file."
        )


def _fast(
    data: bytes,
    ends: np.ndarray[Any, Any],
    fields: Sequence[Field],
    texts: set[str],
    connection: duckdb.DuckDBPyConnection,
) -> JsonBatch | None:
    """The rows of a chunk, or None where something in it is odd."""
    if b"\\u0000" in data or not _is_narrow(data, ends):
        return None
    lines = _rows(data, ends)
    if lines is None or not _is_shallow(data, ends, connection):
        return None
    parsed = _parsed(data, ends, texts)
    if parsed is None or parsed.num_rows != len(lines) or len(parsed.column_names) > MAX_COLUMNS:
        return None
    kinds: Kinds = {}
    for name in parsed.column_names:
        if name != name.strip() or not name or "\0" in name:
            return None
        kinds[name] = kind_of_type(parsed.schema.field(name).type)
        if kinds[name] in (NUMBER, JSON) and not is_strict(parsed.column(name)):
            return None
    for one in fields:
        if not is_clean(one, parsed, kinds):
            return None
    return JsonBatch(lines, parsed, kinds)


def _rows(data: bytes, ends: np.ndarray[Any, Any]) -> Any:
    """The lines that are not blank as an Arrow array over the same memory; None where one is not
    UTF-8 or does not look like an object from its first character to its last."""
    import numpy as np
    import pyarrow as pa

    octets = np.frombuffer(data, np.uint8)
    starts = np.concatenate([[0], ends[:-1]])
    last = octets[np.maximum(ends - 2, 0)]
    last = np.where(last == 13, octets[np.maximum(ends - 3, 0)], last)
    if not data.endswith(b"\n"):
        last[-1] = octets[-1]
    odd = np.flatnonzero((octets[starts] != 123) | (last != 125))
    blank = []
    for at in odd.tolist():
        line = data[starts[at] : ends[at]].strip(b" \t\r\n")
        if not line:
            blank.append(at)
        elif line[:1] != b"{" or line[-1:] != b"}":
            return None
    offsets = np.append(starts, ends[-1]).astype(np.int32)
    lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(data))
    try:
        lines.validate(full=True)
    except pa.ArrowInvalid:
        return None
    return lines.take(pa.array(np.delete(np.arange(len(ends)), blank))) if blank else lines


def _is_narrow(data: bytes, ends: np.ndarray[Any, Any]) -> bool:
    """Whether lines from all over the chunk have no more keys than columns there may be: Arrow
    takes minutes over a hundred thousand."""
    import orjson

    keys: set[str] = set()
    for at in range(0, len(ends), max(1, len(ends) // SAMPLED_LINES)):
        try:
            found = orjson.loads(data[ends[at - 1] if at else 0 : ends[at]])
        except orjson.JSONDecodeError:
            continue
        keys.update(found if isinstance(found, dict) else ())
    return len(keys) <= MAX_COLUMNS


def _is_shallow(
    data: bytes, ends: np.ndarray[Any, Any], connection: duckdb.DuckDBPyConnection
) -> bool:
    """Whether no line is nested so deep that Arrow would run out of stack."""
    import duckdb
    import numpy as np
    import pyarrow as pa

    if np.diff(ends, prepend=0).max() <= MANY_BRACKETS:
        return True
    octets = np.frombuffer(data, np.uint8)
    opening = np.bitwise_or(octets, 32) == 123  # { and [, which differ in one bit
    if np.count_nonzero(opening) <= len(ends) + MANY_BRACKETS:
        return True
    counts = np.add.reduceat(opening, np.concatenate([[0], ends[:-1]]), dtype=np.int32)
    if counts.max() <= MANY_BRACKETS:
        return True
    starts = ends - np.diff(ends, prepend=0)
    many = [data[starts[at] : ends[at]] for at in np.flatnonzero(counts > MANY_BRACKETS)]
    connection.register("many", pa.table({"line": pa.array(many, pa.binary()).cast(pa.string())}))
    try:  # DuckDB refuses what is nested more than 128 deep
        connection.sql("SELECT max(json_structure(line)::VARCHAR) FROM many").fetchall()
    except duckdb.Error:
        return False
    finally:
        connection.unregister("many")
    return True


def _parsed(data: bytes, ends: np.ndarray[Any, Any], texts: set[str]) -> Any:
    """The chunk as an Arrow table, dates as the texts that they are; None where Arrow refuses.

    `texts` collects the columns that looked like dates, for the chunks that follow.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.json as pj

    longest = int(np.diff(ends, prepend=0).max())
    block = pj.ReadOptions(block_size=max(BLOCK_BYTES, longest + 16))
    for _ in range(2):
        schema = pa.schema([(name, pa.string()) for name in sorted(texts)])
        try:
            found = pj.read_json(
                pa.BufferReader(data), block, pj.ParseOptions(explicit_schema=schema)
            )
        except pa.ArrowException:
            return None
        dates = [one.name for one in found.schema if pa.types.is_temporal(one.type)]
        if not dates:
            return found
        texts.update(dates)
    return None


def _cut_out(lines: Any, names: Sequence[str], connection: duckdb.DuckDBPyConnection) -> list[Any]:
    """The values under these keys as JSON text, null as none; see `batches._compact`."""
    import pyarrow as pa

    if not names:
        return []
    table = pa.table({"line": lines})
    table = pa.Table.from_batches(table.to_batches(max_chunksize=SCAN_ROWS))
    cells = ", ".join(
        f"nullif(CAST(json_extract(line, '$.\"{name}\"') AS VARCHAR), 'null') AS c{at}"
        for at, name in enumerate(names)
    )
    connection.register("lines", table)
    try:
        found = connection.sql(f"SELECT {cells} FROM lines").to_arrow_table()
        return [found.column(f"c{at}").cast(pa.string()) for at in range(len(names))]
    finally:
        connection.unregister("lines")
