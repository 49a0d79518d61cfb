"""The spool: how processes that do not own the database hand it rows.

Knows: append-only NDJSON segments, one writer each. Does not know: what the rows mean.
A segment is `<folder>/<writer>-<n>.ndjson`; its writer holds the flock of `<segment>.lock`.
A line is `{"table": ..., "row": {...}}`. Delivery is at least once; primary keys make it once.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.ids import new_id
from core.store.files import FileLock

SEGMENT_BYTES = 16 * 1024 * 1024


class SpoolWriter:
    """Appends rows to segments of its own; safe from several threads.

    A row is one write(2) to a file opened for append, so a crash tears at most the last line.
    No fsync: what the kernel has survives the process; a power cut may cost the last seconds.
    """

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._name = new_id("spool")
        self._segment_bytes = segment_bytes
        self._number = 0
        self._size = 0
        self._descriptor = -1
        self._lock: FileLock | None = None
        self._guard = threading.Lock()

    def write(self, table: str, row: dict[str, Any]) -> None:
        """Append one row; raises OSError when the disk is full, with no half row kept."""
        self.write_all([(table, row)])

    def write_all(self, rows: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Append rows that belong together with one write(2): all of them or, on error, none."""
        line = "".join(
            json.dumps({"table": table, "row": row}, ensure_ascii=False) + "\n"
            for table, row in rows
        ).encode(errors="replace")  # half of a surrogate pair, as a broken endpoint may send it
        with self._guard:
            if self._descriptor < 0 or self._size + len(line) > self._segment_bytes:
                self._next_segment()
            self._append(line)

    def close(self) -> None:
        """Finish the segment: the ingest may delete it once it has read it."""
        with self._guard:
            self._finish()

    def _append(self, line: bytes) -> None:
        try:
            written = os.write(self._descriptor, line)
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        if written < len(line):  # the disk filled up in the middle of the line
            os.ftruncate(self._descriptor, self._size)
            raise OSError(28, "No space left on device", str(self._folder))
        self._size += written

    def _next_segment(self) -> None:
        self._finish()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._name}-{self._number:06d}.ndjson"
        self._lock = FileLock(path.with_suffix(".lock"))
        self._lock.acquire()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o600)
        self._number += 1
        self._size = 0

    def _finish(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def read_rows(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Every whole row in a folder's segments, oldest first: what a resumed job has done already."""
    from core.store.files import read_lines

    found = []
    for segment in sorted(folder.glob("*.ndjson")):
        lines, _ = read_lines(segment)
        for line in lines:
            try:
                entry = json.loads(line)
                found.append((entry["table"], entry["row"]))
            except (ValueError, KeyError, TypeError):
                continue  # the ingest reports unreadable lines; a resume computes the row again
    return found
