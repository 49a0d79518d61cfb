"""A version's file, written as its rows come: ids, the content hash and Parquet in one pass.

The file has a name of its own until it is whole: a full disk, a crash or a bad row leaves nothing
behind that could be taken for a version.

Knows: Arrow tables in, a `Written` out. Does not know: where rows come from, the database.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from core.datasets.content import ContentHash, arrow_type
from core.datasets.files import UNFINISHED, Column, Written, disk_full, is_disk_full
from core.datasets.identity import RowIds
from core.datasets.values import TEXT

COMPRESSION = "snappy"
"""Files are up to twice those of zstd, at a third of the work: an import keeps up with reading."""
ROW_GROUP_ROWS = 20_000
"""What a page of the grid has to unpack: one group."""


class VersionWriter:
    """Takes the columns of a version in Arrow tables, in row order."""

    def __init__(self, folder: Path, columns: Sequence[Column]) -> None:
        import pyarrow.parquet as pq

        self._folder = folder
        self._columns = list(columns)
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=UNFINISHED, suffix=".parquet")
        self._path = Path(name)
        self._file = _Hashed(os.fdopen(handle, "wb"))
        self._ids = RowIds(columns)
        self._hash = ContentHash(columns)
        self._writer = pq.ParquetWriter(
            self._file,
            schema_of(columns),
            compression=COMPRESSION,
            use_dictionary=[c.name for c in columns if c.type == TEXT and c.role == "metadata"],
            write_statistics=["row_index"],
        )

    @property
    def row_count(self) -> int:
        """How many rows are prepared."""
        return self._hash.row_count

    def prepare(self, table: Any) -> Any:
        """Give the next rows their ids and count them into the hash: an Arrow table for `append`.

        The two may run at the same time, in threads of their own, each in row order.
        """
        import numpy as np
        import pyarrow as pa

        start = self.row_count
        arrays = {
            "row_id": self._ids.of(table),
            "row_index": pa.array(np.arange(start, start + table.num_rows)),
            **{column.name: table.column(column.name) for column in self._columns},
        }
        rows = pa.table(arrays, schema=schema_of(self._columns))
        self._hash.add(rows)
        return rows

    def append(self, rows: Any) -> None:
        """Write what `prepare` gave; LatheError when the disk is full."""
        with _room():
            self._writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
            self._file.flush()
        with contextlib.suppress(OSError):  # begin to bring it to the disk now, not at the end
            os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def finish(self) -> Written:
        """Close the file; LatheError when the disk is full, and then nothing is left of it."""
        try:
            with _room():
                self._writer.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
            os.chmod(self._path, 0o644)
        except BaseException:
            self.abandon()
            raise
        return Written(self._path, self._hash.hexdigest(), self.row_count, self._file.sha256)

    def abandon(self) -> None:
        """Leave nothing of the file, nor a folder that it alone was in; twice is harmless."""
        with contextlib.suppress(Exception):
            self._writer.close()  # it writes a footer and may fail as what went before did
        with contextlib.suppress(OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class _Hashed(io.RawIOBase):
    """A file that is only written on, and knows the sha256 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._inner = file
        self._digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return self._inner.write(data)

    def flush(self) -> None:
        if not self._inner.closed:
            self._inner.flush()

    def fileno(self) -> int:
        return self._inner.fileno()

    def tell(self) -> int:
        return self._inner.tell()

    def close(self) -> None:
        self._inner.close()
        super().close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def schema_of(columns: Sequence[Column]) -> Any:
    """The Arrow schema of a version's file."""
    import pyarrow as pa

    return pa.schema(
        [("row_id", pa.string()), ("row_index", pa.int64())]
        + [(column.name, arrow_type(column.type)) for column in columns]
    )


@contextlib.contextmanager
def _room() -> Any:
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise disk_full() from error
        raise
