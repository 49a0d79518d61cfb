"""A version on disk: an immutable Parquet file named by its content, and a manifest beside it.

    datasets/<dataset id>/<content hash>.parquet     row_id, row_index, then the columns
    datasets/<dataset id>/<content hash>.json        the manifest

A version is written under another name and renamed when it is whole: a full disk, a crash or a
bad row leaves nothing behind that could be taken for one.

Knows: files, row identity, content hashes. Does not know: the database.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.datasets.mapping import Field
from core.datasets.readers import Source
from core.datasets.scan import faults_of
from core.datasets.values import BOOLEAN, INTEGER, NUMBER, stored, text_of
from core.errors import Invalid, LatheError
from core.ids import canonical_json

UNFINISHED = ".importing-"  # how a file begins that is not a version yet
BATCH_ROWS = 5_000
BATCH_CHARACTERS = 16_000_000  # long documents: a batch ends here when its rows are few
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a version, as the manifest and the database list it."""

    name: str
    role: str
    type: str

    def to_dict(self) -> dict[str, str]:
        """As JSON."""
        return {"name": self.name, "role": self.role, "type": self.type}


@dataclass(frozen=True, slots=True)
class Written:
    """A whole file under a name of its own; `Datasets.commit_written` makes it a version."""

    path: Path
    content_hash: str
    row_count: int
    sha256: str

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Written:
        """From `to_dict`, as a job returned it."""
        return cls(
            Path(value["path"]), value["content_hash"], int(value["row_count"]), value["sha256"]
        )

    def to_dict(self) -> dict[str, Any]:
        """As the value of a job has it: for `of`."""
        return {
            "path": str(self.path),
            "content_hash": self.content_hash,
            "row_count": self.row_count,
            "sha256": self.sha256,
        }

    def drop(self) -> None:
        """Leave nothing of it, nor an empty folder."""
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()


def columns_of(fields: Sequence[Field], kinds: dict[str, str]) -> list[Column]:
    """The version's columns for the mapped columns of a file."""
    return [Column(field.name, field.role, kinds[field.column]) for field in fields]


def write(folder: Path, source: Source, fields: Sequence[Field], columns: list[Column]) -> Written:
    """Read the source again and write its rows; LatheError when the disk is full.

    `row_id` is a hash of the row's inputs, with a number from the second occurrence on: rows that
    are in two versions carry the same id in both.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=UNFINISHED, suffix=".parquet")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            content_hash, row_count = _write_rows(file, source, fields, columns)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(path, 0o644)
        with path.open("rb") as whole:
            sha256 = hashlib.file_digest(whole, "sha256").hexdigest()
    except BaseException as error:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()  # the dataset's first version: leave no empty folder either
        if is_disk_full(error):
            raise disk_full() from error
        raise
    return Written(path, content_hash, row_count, sha256)


def is_disk_full(error: BaseException) -> bool:
    """True for a write that found no room, as the system or DuckDB says it."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    text = str(error)
    return any(os.strerror(number) in text for number in _FULL)


def disk_full() -> LatheError:
    """What to tell the person whose import did not fit."""
    return LatheError(
        "There was not enough room to write the dataset; nothing was imported.",
        title="The disk is full",
        hint="Make room on the disk that holds the workspace, then import again.",
    )


def _write_rows(
    file: Any, source: Source, fields: Sequence[Field], columns: list[Column]
) -> tuple[str, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {INTEGER: pa.int64(), NUMBER: pa.float64(), BOOLEAN: pa.bool_()}
    schema = pa.schema(
        [("row_id", pa.string()), ("row_index", pa.int64())]
        + [(column.name, types.get(column.type, pa.string())) for column in columns]
    )
    digest = hashlib.sha256(canonical_json(sorted(map(_described, columns))).encode())
    row_count = 0
    writer = pq.ParquetWriter(file, schema, compression="zstd")
    try:
        for rows in _batches(_rows(source, fields, columns)):
            for row in rows:
                digest.update(canonical_json({k: row[k] for k in row if k != "row_id"}).encode())
            row_count += len(rows)
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    except BaseException:
        with contextlib.suppress(Exception):
            writer.close()  # it writes a footer and may fail in the same way again
        raise
    writer.close()
    return digest.hexdigest(), row_count


def _described(column: Column) -> list[str]:
    return [column.name, column.role, column.type]


def _rows(
    source: Source, fields: Sequence[Field], columns: list[Column]
) -> Iterator[dict[str, Any]]:
    inputs = [(field.column, field.name) for field in fields if field.role == "input"]
    pairs = [(field.column, column) for field, column in zip(fields, columns, strict=True)]
    seen: dict[int, int] = {}
    for record in source.records():
        if record.faults or any(faults_of(record, fields)):
            raise Invalid("The file changed while it was read.", field="file", row=record.index)
        values = record.values
        identity = row_hash({name: values.get(column) for column, name in inputs})
        seen[identity] = occurrence = seen.get(identity, 0) + 1
        yield {
            "row_id": f"row_{identity:016x}" + (f"-{occurrence}" if occurrence > 1 else ""),
            "row_index": record.index,
            **{c.name: stored(values.get(column), c.type) for column, c in pairs},
        }


def row_hash(inputs: dict[str, Any]) -> int:
    """64 bits of sha256 over the inputs as text; equal hashes are told apart by occurrence."""
    texts = {name: text_of(value) for name, value in inputs.items()}
    return int.from_bytes(hashlib.sha256(canonical_json(texts).encode()).digest()[:8])


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(batch) >= BATCH_ROWS or size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
