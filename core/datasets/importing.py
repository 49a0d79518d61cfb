"""An import: a source read once, checked and written at the same time, all of it or nothing.

The file is written on the guess that the columns stay what they were in the first batch. Where a
later one has another kind, or something wrong, the rest is only looked through; then either every
fault is raised, or the source is read once more with the kinds that are known by now.

Knows: sources in, a `Written` out. Does not know: the database, jobs.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.datasets.batches import Batch, batches, size_of
from core.datasets.files import Column, Written, columns_of
from core.datasets.mapping import ColumnMapping, Field, check_present, fields_of
from core.datasets.readers import Reader, Record, Source
from core.datasets.repair import repair
from core.datasets.scan import Scan, Tell
from core.datasets.table import connect
from core.datasets.values import TEXT
from core.datasets.writing import VersionWriter
from core.errors import Invalid

if TYPE_CHECKING:
    import duckdb

REPAIR = "repair_encoding"
HASH_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Imported:
    """A written import and what is kept of how it came about."""

    written: Written
    columns: list[Column]
    source: str
    """What it was imported from, in words."""
    recipe: dict[str, Any]
    """Mapping and options, as a recipe begins."""
    report: dict[str, Any]
    """File name, format, bytes, sha256, rows."""


def import_source(
    source: Source,
    mapping: ColumnMapping,
    folder: Path,
    *,
    options: Mapping[str, Any] | None = None,
    tell: Tell = lambda done, total, rows: None,
    check: Callable[[], None] = lambda: None,
) -> Imported:
    """Read, check and write. Memory is that of a chunk, whatever the size of the source.

    All rows or none: BadRows (an Invalid) carries every fault. `check` may raise to stop in
    between; then, as with every failure, nothing is left in the folder. Of the options, the
    source was opened with those of its format; `repair_encoding` is for here: text that was
    decoded wrongly is put right.
    """
    fields = fields_of(mapping)
    if declared := source.columns():
        check_present(fields, declared)
    asked = {name: value for name, value in (options or {}).items() if value}
    repaired = Repaired(source.reader) if REPAIR in asked else None
    read = replace(source, reader=repaired) if repaired else source
    connection, stop = connect(memory="512MB"), threading.Event()
    with ThreadPoolExecutor(3, thread_name_prefix="lathe-import") as pool:
        digest = pool.submit(_digest, source, stop)
        try:
            work = _Import(read, fields, folder, connection, pool, tell, check)
            written, columns = work.run()
        except BaseException:
            stop.set()
            raise
        finally:
            connection.close()
        report = {"file": source.filename, "format": source.format, **digest.result()}
    report |= {"rows": written.row_count, **source.details}
    if repaired:
        report["repaired_cells"] = repaired.cell_count
    recipe = {"recipe": 1, "import": {"mapping": dict(mapping), "options": asked}, "steps": []}
    words = f"{source.filename} ({source.format})"
    return Imported(written, columns, words, recipe, {"import": report})


def format_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options that opening the source takes."""
    return {name: value for name, value in (options or {}).items() if name != REPAIR}


class _Import:
    """One import on its way."""

    def __init__(
        self,
        source: Source,
        fields: Sequence[Field],
        folder: Path,
        connection: duckdb.DuckDBPyConnection,
        pool: ThreadPoolExecutor,
        tell: Tell,
        check: Callable[[], None],
    ) -> None:
        self._source, self._fields, self._folder = source, fields, folder
        self._connection, self._pool = connection, pool
        self._tell, self._check = tell, check
        self._sink: _Sink | None = None

    def run(self) -> tuple[Written, list[Column]]:
        """Once, or twice where the kinds were not known in time."""
        try:
            found = self._first()
            found.check(self._fields)
            sink = self._sink or self._again(found)
            return sink.finish(), columns_of(self._fields, found.kinds)
        except BaseException:
            self._abandon()
            raise

    def _first(self) -> Scan:
        found = Scan(dict.fromkeys(self._source.columns()))
        writing = True
        for batch in self._batches(found):
            if not writing:
                continue
            kinds = {one.column: found.found.get(one.column) or TEXT for one in self._fields}
            if found.faults.count or (self._sink and self._sink.kinds != kinds):
                self._abandon()
                writing = False
            else:
                self._write(batch, kinds)
        return found

    def _again(self, known: Scan) -> _Sink:
        kinds = {one.column: known.kinds[one.column] for one in self._fields}
        found = Scan(dict(known.found))
        for batch in self._batches(found):
            if found.faults.count or found.found != known.found:
                raise Invalid("The file changed while it was read.", field="file")
            self._write(batch, kinds)
        if found.row_count != known.row_count or self._sink is None:
            raise Invalid("The file changed while it was read.", field="file")
        return self._sink

    def _batches(self, found: Scan) -> Iterator[Batch]:
        total = size_of(self._source)
        for batch in batches(self._source, self._fields, self._connection):
            self._check()
            found.add(batch)
            yield batch
            self._tell(batch.position, total, found.row_count)

    def _write(self, batch: Batch, kinds: dict[str, str]) -> None:
        if self._sink is None:
            columns = columns_of(self._fields, kinds)
            self._sink = _Sink(VersionWriter(self._folder, columns), kinds, self._pool)
        self._sink.write(batch.table(self._fields, kinds, self._connection))

    def _abandon(self) -> None:
        if self._sink is not None:
            self._sink.abandon()
            self._sink = None


class _Sink:
    """A writer in two threads: while one batch is parsed, the one before gets its ids, and the one
    before that is packed and written."""

    def __init__(
        self, writer: VersionWriter, kinds: dict[str, str], pool: ThreadPoolExecutor
    ) -> None:
        self.kinds = kinds
        self._writer, self._pool = writer, pool
        self._preparing: Future[None] | None = None
        self._appending: Future[None] | None = None

    def write(self, table: Any) -> None:
        """Wait for the table before, and hand this one over."""
        if self._preparing is not None:
            self._preparing.result()
        self._preparing = self._pool.submit(self._prepare, table)

    def finish(self) -> Written:
        """The file, whole."""
        for pending in self._pending():
            pending.result()
        return self._writer.finish()

    def abandon(self) -> None:
        """Nothing is left of it."""
        for pending in self._pending():
            wait([pending])
        self._writer.abandon()

    def _prepare(self, table: Any) -> None:
        rows = self._writer.prepare(table)
        if self._appending is not None:
            self._appending.result()
        self._appending = self._pool.submit(self._writer.append, rows)

    def _pending(self) -> Iterator[Future[None]]:
        if self._preparing is not None:
            yield self._preparing
        if self._appending is not None:  # which the one before may just have set
            yield self._appending


class Repaired:
    """A reader whose texts are put right where they were decoded wrongly."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.cell_count = 0
        """Cells that are not as they were, in the last reading."""

    def columns(self) -> list[str]:
        """As the reader has them."""
        return self._reader.columns()

    def records(self) -> Iterator[Record]:
        """As the reader has them, but for the texts."""
        self.cell_count = 0
        for record in self._reader.records():
            values = {name: _repaired(value) for name, value in record.values.items()}
            self.cell_count += sum(values[name] != value for name, value in record.values.items())
            yield replace(record, values=values)


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return repair(value)
    if isinstance(value, list):
        return [_repaired(item) for item in value]
    if isinstance(value, dict):
        return {name: _repaired(item) for name, item in value.items()}
    return value


def _digest(source: Source, stop: threading.Event) -> dict[str, Any]:
    """Size and sha256 of the file as it lies there; nothing for a folder or a query."""
    data, digest = source.data, hashlib.sha256()
    if isinstance(data, bytes):
        return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if data is None or not data.is_file():
        return {}
    size = 0
    with data.open("rb") as file:
        while (block := file.read(HASH_BYTES)) and not stop.is_set():
            digest.update(block)
            size += len(block)
    return {"bytes": size, "sha256": digest.hexdigest()}
