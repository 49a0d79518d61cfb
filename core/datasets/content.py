"""The content hash of a version: one number for its columns, its rows and their order.

    sha256 over the columns, then over two digests a column, `row_id` first:
      text and JSON   the length of every cell (-1 for none), the bytes of all cells
      numbers, flags  which cells are filled, the values

It does not depend on how rows were cut into batches or written to a file, and it runs at the speed
of sha256: nothing is converted.

Knows: Arrow's memory. Does not know: where the rows came from, files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from core.datasets.files import Column
from core.datasets.values import BOOLEAN, INTEGER, NUMBER
from core.ids import canonical_json

ROW_ID = Column("row_id", "", "text")


class ContentHash:
    """Takes the rows batch by batch, in order."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = [ROW_ID, *columns]
        self._described = canonical_json([column.to_dict() for column in columns])
        self._digests = [(hashlib.sha256(), hashlib.sha256()) for _ in self._columns]
        self.row_count = 0

    def add(self, batch: Any) -> None:
        """The next rows, an Arrow table or record batch with `row_id` and the columns by name."""
        self.row_count += batch.num_rows
        for column, (shape, data) in zip(self._columns, self._digests, strict=True):
            cells = batch.column(column.name)
            for chunk in getattr(cells, "chunks", [cells]):
                if column.type in (INTEGER, NUMBER, BOOLEAN):
                    _add_values(chunk, column.type, shape, data)
                else:
                    _add_texts(chunk, shape, data)

    def hexdigest(self) -> str:
        """The hash of everything that was added."""
        digest = hashlib.sha256(self._described.encode())
        for shape, data in self._digests:
            digest.update(shape.digest() + data.digest())
        return digest.hexdigest()


def _add_texts(cells: Any, shape: Any, data: Any) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if cells.type != pa.string():
        cells = cells.cast(pa.string())
    missing = None
    if cells.null_count:
        missing = cells.is_null().to_numpy(zero_copy_only=False)
        cells = pc.fill_null(cells, "")  # what lies under a missing cell is not content
    _, offsets, values = cells.buffers()
    ends = np.frombuffer(offsets, np.int32)[cells.offset : cells.offset + len(cells) + 1]
    lengths = np.diff(ends).astype("<i8")
    if missing is not None:
        lengths[missing] = -1
    shape.update(lengths.data)
    if len(ends) and values is not None:
        data.update(memoryview(values)[int(ends[0]) : int(ends[-1])])


def _add_values(cells: Any, kind: str, shape: Any, data: Any) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = arrow_type(kind)
    filled = pc.fill_null(cells.cast(wanted), pa.scalar(0).cast(wanted))
    values = filled.to_numpy(zero_copy_only=False)
    shape.update(cells.is_valid().to_numpy(zero_copy_only=False).astype(np.int8).data)
    data.update(np.ascontiguousarray(values).astype({NUMBER: "<f8"}.get(kind, "<i8")).data)


def arrow_type(kind: str) -> Any:
    """How cells of a kind are kept: JSON and text both as text."""
    import pyarrow as pa

    return {INTEGER: pa.int64(), NUMBER: pa.float64(), BOOLEAN: pa.bool_()}.get(kind, pa.string())
