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
from core.datasets.mapping import Field
from core.datasets.readers import MAX_COLUMNS, MAX_LINE_BYTES, Record, Source, unreadable
from core.datasets.values import BOOLEAN, INTEGER, JSON, LARGEST_EXACT, NUMBER, TEXT

if TYPE_CHECKING:
    import duckdb
    import numpy as np

SMALLEST_CHUNK, LARGEST_CHUNK = 2**20, 2**25
SCAN_ROWS = 4_096  # Arrow batches of this size let DuckDB use every core
CHUNKS = 16  # of a small file: its memory stays a fraction of its size
BLOCK_BYTES = 2**22
MANY_BRACKETS = 4_000  # in one line: from here on its real depth is looked at
SAMPLED_LINES = 64  # of a chunk, looked at for how many keys there are
DEEPEST = 32  # levels; Arrow's own recursion is safe to more than MANY_BRACKETS


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
        kinds[name] = _kind(parsed.schema.field(name).type)
        if kinds[name] in (NUMBER, JSON) and not _is_strict(parsed.column(name)):
            return None
    for one in fields:
        if not _is_clean(one, parsed, kinds):
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


def _kind(type_: Any) -> str | None:
    import pyarrow as pa

    if pa.types.is_null(type_):
        return None
    if pa.types.is_string(type_):
        return TEXT
    if pa.types.is_int64(type_):
        return INTEGER
    if pa.types.is_float64(type_):
        return NUMBER
    return BOOLEAN if pa.types.is_boolean(type_) else JSON


def _is_flat(type_: Any, levels: int = DEEPEST) -> bool:
    """Whether a type has no more levels than this, and no null character in a key."""
    if not levels:
        return False
    inner = [type_.field(at) for at in range(type_.num_fields)]
    return all("\0" not in one.name and _is_flat(one.type, levels - 1) for one in inner)


def _is_clean(one: Field, parsed: Any, kinds: Kinds) -> bool:
    """Whether nothing stands against the cells of a mapped column, as far as can be seen here."""
    import pyarrow.compute as pc

    required = one.role == "input" and not one.optional
    if one.column not in kinds:
        return not required
    cells, kind = parsed.column(one.column), kinds[one.column]
    if required and (cells.null_count or kind is None):
        return False
    if kind == INTEGER:
        most = pc.max(pc.abs(cells)).as_py()
        return most is None or bool(most <= LARGEST_EXACT)
    if kind == NUMBER:
        return _is_exact(cells)
    if kind == JSON:
        return not any(mark in one.column for mark in "\"\\*'")  # paths have signs of their own
    if kind == TEXT and not _has_no_null(cells):
        return False
    if kind == TEXT and required:
        plain = pc.match_substring_regex(cells, "[!-~]")
        if not pc.all(plain).as_py():
            rest = cells.filter(pc.invert(plain))
            return all(text.strip() for text in rest.to_pylist())
    return True


def _is_exact(cells: Any) -> bool:
    """Whether these doubles are what was written: among them, a whole number beyond 2**53 has been
    rounded by now, and -0, which is the integer 0, cannot be told from -0.0."""
    import numpy as np

    for chunk in cells.chunks:
        values = chunk.fill_null(1.0).to_numpy(zero_copy_only=False)
        if len(values) and np.abs(values).max() >= LARGEST_EXACT:
            return False
        if (np.signbit(values) & (values == 0)).any():
            return False
    return True


def _is_strict(cells: Any) -> bool:
    """Whether no number is infinite or not a number, however deep, and no value nested too deep."""
    import pyarrow.compute as pc

    if not _is_flat(cells.type):
        return False
    return all(pc.all(pc.is_finite(a)).as_py() is not False for a in _leaves(cells, "double"))


def _has_no_null(cells: Any) -> bool:
    """Whether no text has a null character in it, however deep."""
    import numpy as np

    for texts in _leaves(cells, "string"):
        _, offsets, values = texts.buffers()
        ends = np.frombuffer(offsets, np.int32)
        first, last = ends[texts.offset], ends[texts.offset + len(texts)]
        if last > first and np.frombuffer(values, np.uint8)[first:last].min() == 0:
            return False
    return True


def _leaves(cells: Any, kind: str) -> Iterator[Any]:
    """The arrays of this type, `double` or `string`, inside nested values."""
    import pyarrow as pa

    for array in getattr(cells, "chunks", [cells]):
        if str(array.type) == kind:
            yield array
        elif pa.types.is_list(array.type):
            yield from _leaves(array.flatten(), kind)
        elif pa.types.is_struct(array.type):
            for inner in array.flatten():
                yield from _leaves(inner, kind)


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
