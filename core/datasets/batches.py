"""A source as batches of rows: what is in them, what is wrong with them, and the rows as Arrow.

JSON lines go to `json_chunks`, which reads at the speed of memory and hands back whatever is odd;
everything else, and what is odd, is read row by row here. Both give the same rows and columns.

Knows: records, kinds, faults. Does not know: versions, files that are written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from core.datasets.content import arrow_type
from core.datasets.faults import Fault
from core.datasets.formats.csv_rows import Csv
from core.datasets.formats.json_rows import Jsonl
from core.datasets.mapping import Field
from core.datasets.readers import Record, Source
from core.datasets.values import (
    JSON,
    common_kind,
    fault_in,
    is_blank,
    kind_of,
    stored,
)

if TYPE_CHECKING:
    import duckdb

BATCH_ROWS = 5_000
BATCH_CHARACTERS = 16_000_000  # long documents: a batch ends here when its rows are few

Kinds = dict[str, str | None]


class Batch(Protocol):
    """Some rows of a source, in order."""

    @property
    def row_count(self) -> int:
        """Bad rows included."""
        ...

    @property
    def kinds(self) -> Kinds:
        """Every column that occurs, in order of appearance, and what its values are."""
        ...

    @property
    def faults(self) -> Sequence[Fault]:
        """What stands against importing these rows."""
        ...

    @property
    def position(self) -> int:
        """How much of the source has been read, in bytes; 0 where that cannot be told."""
        ...

    def table(
        self,
        fields: Sequence[Field],
        kinds: Mapping[str, str],
        connection: duckdb.DuckDBPyConnection,
    ) -> Any:
        """The fields as columns of an Arrow table, under their new names, as these kinds."""
        ...


def batches(
    source: Source, fields: Sequence[Field], connection: duckdb.DuckDBPyConnection
) -> Iterator[Batch]:
    """The whole source from its start; `fields` are what is looked into for faults."""
    if isinstance(source.reader, Jsonl):
        from core.datasets.json_chunks import json_batches

        yield from json_batches(source, source.reader, fields, connection)
        return
    seen: list[BinaryIO] = []
    reader = source.reader
    if isinstance(reader, Csv):
        opener = reader.open

        @contextlib.contextmanager
        def watched() -> Iterator[BinaryIO]:
            with opener() as file:
                seen.append(file)
                yield file

        reader = replace(reader, open=watched)
    yield from record_batches(reader.records(), fields, lambda: _place(seen))


def record_batches(
    records: Iterable[Record], fields: Sequence[Field], position: Any = lambda: 0
) -> Iterator[RecordBatch]:
    """Records, some thousands at a time."""
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += sum(len(value) for value in record.values.values() if isinstance(value, str))
        if len(batch) >= BATCH_ROWS or size >= BATCH_CHARACTERS:
            yield RecordBatch.of(batch, fields, position())
            batch, size = [], 0
    if batch:
        yield RecordBatch.of(batch, fields, position())


@dataclass(slots=True)
class RecordBatch:
    """Rows that were read one by one."""

    records: list[Record]
    kinds: Kinds
    faults: list[Fault] = field(default_factory=list)
    position: int = 0

    @classmethod
    def of(cls, records: list[Record], fields: Sequence[Field], position: int) -> RecordBatch:
        """Look into every row."""
        kinds: Kinds = {}
        faults: list[Fault] = []
        for record in records:
            for name, value in record.values.items():
                kinds[name] = common_kind(kinds.get(name), kind_of(value))
            faults.extend(record.faults or faults_of(record, fields))
        return cls(records, kinds, faults, position)

    @property
    def row_count(self) -> int:
        """How many records."""
        return len(self.records)

    def table(
        self,
        fields: Sequence[Field],
        kinds: Mapping[str, str],
        connection: duckdb.DuckDBPyConnection,
    ) -> Any:
        """See Batch."""
        import pyarrow as pa

        columns = {}
        for one in fields:
            kind = kinds[one.column]
            cells = [stored(record.values.get(one.column), kind) for record in self.records]
            made = pa.array(cells, arrow_type(kind))
            columns[one.name] = _compact(made, connection) if kind == JSON else made
        return pa.table(columns)


def faults_of(record: Record, fields: Sequence[Field]) -> Iterator[Fault]:
    """What is wrong with the mapped cells of a row that could be read."""
    for one in fields:
        value = record.values.get(one.column)
        if one.role == "input" and not one.optional and is_blank(value):
            yield Fault(
                record.index,
                one.column,
                f"the input {one.column!r} is blank",
                "Fill it in, or mark the column as optional.",
                record.line,
            )
        elif why := fault_in(value):
            yield Fault(
                record.index,
                one.column,
                f"{one.column!r} {why}",
                "Replace what cannot be kept as text or number.",
                record.line,
            )


def size_of(source: Source) -> int:
    """The bytes that `Batch.position` counts up to; 0 where they cannot be told."""
    if source.packing or source.data is None:
        return 0
    if isinstance(source.data, bytes):
        return len(source.data)
    return source.data.stat().st_size if Path(source.data).is_file() else 0


def _compact(cells: Any, connection: duckdb.DuckDBPyConnection) -> Any:
    """JSON texts without spaces and with numbers as DuckDB writes them: one value, one text."""
    import pyarrow as pa

    connection.register("texts", pa.table({"text": cells}))
    try:
        found = connection.sql("SELECT CAST(json(text) AS VARCHAR) AS t FROM texts")
        return found.to_arrow_table().column("t").cast(pa.string())
    finally:
        connection.unregister("texts")


def _place(files: list[BinaryIO]) -> int:
    try:
        return files[-1].tell() if files else 0
    except (OSError, ValueError, AttributeError):  # a packed file knows no place in itself
        return 0
