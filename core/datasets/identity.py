"""Row ids: what a row is called, by the text of its inputs.

    row_<16 hex figures: XXH3 of the inputs>      and -2, -3 for its repeats

Every input is hashed by itself, with its name as the seed; the hashes of several are hashed again,
in the order of the names. A number reads as its text, so that 1 and 1.0 are one row. Two versions
that hold a row name it alike. https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md

Knows: hashes, repeats. Does not know: files, batches of what. The hash names, it protects nothing:
rows that were made to collide are told apart as repeats are.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.datasets.files import Column
from core.datasets.values import BOOLEAN, INTEGER, JSON, NUMBER, text_of

if TYPE_CHECKING:
    import numpy as np

MISSING = b"\0"  # no text has it


class RowIds:
    """Gives ids to rows, batch by batch, in order."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._inputs = sorted((c for c in columns if c.role == "input"), key=lambda c: c.name)
        self._seen = Occurrences()

    def of(self, table: Any) -> Any:
        """An Arrow array of ids for the rows of a table that has the input columns."""
        import pyarrow as pa
        import pyarrow.compute as pc

        numbers = self.hashes(table)
        repeats = self._seen.of(numbers)
        ids = pc.binary_join_element_wise("row_", _in_hex(numbers), "")
        if (repeats == 1).all():
            return ids
        ends = ["" if number == 1 else f"-{number}" for number in repeats.tolist()]
        return pc.binary_join_element_wise(ids, pa.array(ends), "")

    def hashes(self, table: Any) -> np.ndarray[Any, Any]:
        """The hash of each row, before repeats are told apart."""
        import numpy as np
        from xxhash import xxh3_64_intdigest

        found = []
        for column in self._inputs:
            seed = xxh3_64_intdigest(column.name.encode())
            texts = as_text(table.column(column.name), column.type, plain=True)
            found.append(_hashes(texts, seed))
        if len(found) == 1:
            return found[0]
        joined = memoryview(np.stack(found, axis=1).astype("<u8").tobytes())
        size = 8 * len(found)
        return np.array(
            [xxh3_64_intdigest(joined[at : at + size]) for at in range(0, len(joined), size)],
            np.uint64,
        )


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


def as_text(cells: Any, kind: str, *, plain: bool = False) -> Any:
    """A column of an Arrow table as texts, numbers as `values.text_of` has them.

    With `plain`, a text in a column of mixed kinds reads as it does in one of texts.
    """
    import json

    import pyarrow as pa

    if kind == NUMBER:
        return pa.array([text_of(value) for value in cells.to_pylist()], pa.string())
    if kind == JSON and plain:
        texts = cells.to_pylist()
        read = [json.loads(t) if t is not None and t[0] == '"' else t for t in texts]
        return pa.array(read, pa.string())
    return cells.cast(pa.string()) if kind in (INTEGER, BOOLEAN) else cells


def _hashes(texts: Any, seed: int) -> np.ndarray[Any, Any]:
    """XXH3 of every text of an Arrow array."""
    import numpy as np
    from xxhash import xxh3_64_intdigest as xxh3

    found: list[int] = []
    for chunk in getattr(texts, "chunks", [texts]):
        _, offsets, values = chunk.buffers()
        ends = np.frombuffer(offsets, np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        data = memoryview(values) if values is not None else memoryview(b"")
        places = ends.tolist()
        hashed = [xxh3(data[a:b], seed) for a, b in itertools.pairwise(places)]
        if chunk.null_count:
            none = xxh3(MISSING, seed)
            missing = chunk.is_null().to_numpy(zero_copy_only=False)
            hashed = [none if gone else one for gone, one in zip(missing, hashed, strict=True)]
        found += hashed
    return np.array(found, np.uint64)


def _in_hex(numbers: np.ndarray[Any, Any]) -> Any:
    """An Arrow array of 16 hex figures each."""
    import numpy as np
    import pyarrow as pa

    figures = numbers.astype(">u8").tobytes().hex().encode()
    ends = np.arange(0, 16 * len(numbers) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(ends), pa.py_buffer(figures))
