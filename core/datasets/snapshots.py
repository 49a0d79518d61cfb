"""Snapshots: a table of a DuckDB written down as a version's file, in one pass and one order.

Knows: Parquet, DuckDB. Does not know: where the rows came from, the store's database.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.datasets.content import ContentHash
from core.datasets.files import UNFINISHED, Column, Written, disk_full, is_disk_full
from core.datasets.table import quoted
from core.store.database import literal

if TYPE_CHECKING:
    import duckdb

ROW_GROUP_ROWS = 20_000
HASH_ROWS = 4_096


def write_snapshot(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    columns: Sequence[Column],
    folder: Path,
    *,
    check: Callable[[], None] = lambda: None,
) -> Written:
    """Write `relation` (row_id, row_index and the columns; rows by row_index) into the folder.

    Row numbers are made anew, 0 to n-1. `check` may raise to stop in between. LatheError when the
    disk is full; whatever happens, nothing is left that could be taken for a version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=UNFINISHED, suffix=".parquet")
    os.close(handle)
    path = Path(name)
    try:
        names = ", ".join(quoted(column.name) for column in columns)
        connection.execute(
            f"COPY (SELECT row_id, row_number() OVER (ORDER BY row_index) - 1 AS row_index, {names}"
            f" FROM {relation} ORDER BY row_index)"
            f" TO {literal(path)}"
            f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
        )
        check()
        content_hash, row_count = content_hash_of(path, columns, check=check)
        with path.open("rb") as whole:
            os.fsync(whole.fileno())
            sha256 = hashlib.file_digest(whole, "sha256").hexdigest()
        os.chmod(path, 0o644)
    except BaseException as error:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()
        if is_disk_full(error):
            raise disk_full() from error
        raise
    return Written(path, content_hash, row_count, sha256)


def content_hash_of(
    path: Path, columns: Sequence[Column], *, check: Callable[[], None] = lambda: None
) -> tuple[str, int]:
    """The content hash of a version's file (see core.datasets.content), and its row count."""
    import pyarrow.parquet as pq

    found = ContentHash(columns)
    names = ["row_id", *(column.name for column in columns)]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=HASH_ROWS, columns=names):
            check()
            found.add(batch)
    return found.hexdigest(), found.row_count
