"""A version on disk: an immutable Parquet file named by its content, and a manifest beside it.

    datasets/<dataset id>/<content hash>.parquet     row_id, row_index, then the columns
    datasets/<dataset id>/<content hash>.json        the manifest

A version is written under another name and renamed when it is whole: a full disk, a crash or a
bad row leaves nothing behind that could be taken for one.

Knows: names of files, what is said of them. Does not know: how rows are written, the database.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.datasets.mapping import Field
from core.errors import LatheError

STAGED = ".staged-"  # how the files of an import begin that waits to be accepted
UNFINISHED = ".importing-"  # how a file begins that is not a version yet
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
