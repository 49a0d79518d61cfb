"""Row ids: what a row is called, by the text of its inputs.

    row_<first 16 hex figures of md5 over the inputs>      and -2, -3 for its repeats

The inputs go in by name, each name and each text with its length before it, `-` for none. A number
reads as its text, so that 1 and 1.0 are one row. Two versions that hold a row name it alike.

Knows: hashes, repeats. Does not know: files, batches of what. md5 names, it protects nothing:
rows that were made to collide are told apart as repeats are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.datasets.files import Column
from core.datasets.table import quoted
from core.datasets.values import BOOLEAN, INTEGER, JSON, NUMBER, text_of

if TYPE_CHECKING:
    import duckdb
    import numpy as np

SCAN_ROWS = 4_096  # Arrow batches of this size let DuckDB use every core


class RowIds:
    """Gives ids to rows, batch by batch, in order."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, columns: Sequence[Column]) -> None:
        self._connection = connection
        self._inputs = sorted((c for c in columns if c.role == "input"), key=lambda c: c.name)
        self._seen = Occurrences()
        parts = [
            f"'{len(c.name.encode())}:{c.name}', coalesce(strlen({t}) || ':' || {t}, '-')"
            for c, t in ((c, _text(c)) for c in self._inputs)
        ]
        self._sql = f"SELECT left(md5(concat({', '.join(parts)})), 16) AS h FROM batch"

    def of(self, table: Any) -> Any:
        """An Arrow array of ids for the rows of a table that has the input columns."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = pa.table({c.name: as_text(table.column(c.name), c.type) for c in self._inputs})
        batches = pa.Table.from_batches(texts.to_batches(max_chunksize=SCAN_ROWS), texts.schema)
        self._connection.register("batch", batches)
        try:
            found = self._connection.sql(self._sql).to_arrow_table()
        finally:
            self._connection.unregister("batch")
        figures = pa.chunked_array(found.column("h").chunks, pa.string())
        text = b"".join(_bytes(chunk) for chunk in figures.chunks)
        numbers = np.frombuffer(bytes.fromhex(text.decode()), ">u8").astype(np.uint64)
        repeats = self._seen.of(numbers)
        ids = pc.binary_join_element_wise("row_", figures, "")
        if (repeats == 1).all():
            return ids
        ends = ["" if number == 1 else f"-{number}" for number in repeats.tolist()]
        return pc.binary_join_element_wise(ids, pa.array(ends), "")


class Occurrences:
    """Counts how often each number has come, for numbers that come in millions.

    Sorted arrays that are merged as they grow: 16 bytes a distinct number, no Python objects.
    """

    def __init__(self) -> None:
        self._levels: list[tuple[Any, Any]] = []

    def of(self, numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """For each number its how manieth occurrence it is, from 1, over all calls."""
        import numpy as np

        order = np.argsort(numbers, kind="stable")
        inside = numbers[order]
        distinct, starts, counts = np.unique(inside, return_index=True, return_counts=True)
        before = np.zeros(len(distinct), np.int64)
        for known, times in self._levels:
            at = np.minimum(np.searchsorted(known, distinct), len(known) - 1)
            before += np.where(known[at] == distinct, times[at], 0)
        rank = np.arange(len(inside)) - np.repeat(starts, counts) + np.repeat(before, counts) + 1
        found = np.empty(len(inside), np.int64)
        found[order] = rank
        if len(distinct):
            self._add(distinct, counts.astype(np.int64))
        return found

    def _add(self, numbers: Any, counts: Any) -> None:
        import numpy as np

        while self._levels and len(self._levels[-1][0]) <= 2 * len(numbers):
            more, times = self._levels.pop()
            both = np.concatenate([more, numbers])
            numbers, place = np.unique(both, return_inverse=True)
            sums = np.zeros(len(numbers), np.int64)
            np.add.at(sums, place, np.concatenate([times, counts]))
            counts = sums
        self._levels.append((numbers, counts))


def as_text(cells: Any, kind: str) -> Any:
    """A column of an Arrow table as texts, numbers as `values.text_of` has them."""
    import pyarrow as pa

    if kind == NUMBER:
        return pa.array([text_of(value) for value in cells.to_pylist()], pa.string())
    return cells.cast(pa.string()) if kind in (INTEGER, BOOLEAN) else cells


def _bytes(texts: Any) -> bytes:
    """The bytes of an Arrow array of texts, one after the other."""
    import numpy as np

    _, offsets, values = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)
    return bytes(memoryview(values)[ends[texts.offset] : ends[texts.offset + len(texts)]])


def _text(column: Column) -> str:
    """The text of a cell in SQL; a text in a column of mixed kinds reads as in one of texts."""
    name = quoted(column.name)
    if column.type != JSON:
        return name
    return f"CASE WHEN starts_with({name}, '\"') THEN {name} ->> '$' ELSE {name} END"
