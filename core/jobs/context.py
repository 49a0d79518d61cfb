"""What a job's function is given: its payload, and how to tell and to stop.

Knows: the job folder. Does not know: the database; rows leave through the spool.
"""

from __future__ import annotations

import os
import time
from typing import Any

from core.jobs.folder import JobFolder, JobSpec
from core.store.spool import SpoolWriter, read_rows

SECRET = "LATHE_JOB_SECRET"  # noqa: S105  # a name
"""The environment variable of a job's process that its secret comes in; taken out at once."""


class Cancelled(Exception):
    """Raised inside a worker when somebody asked it to stop."""


class JobContext:
    """The worker's side of a job folder."""

    def __init__(self, folder: JobFolder) -> None:
        self.folder = folder
        self._spec: JobSpec = folder.spec()
        self.id = self._spec.id
        self.title = self._spec.title
        self.payload: dict[str, Any] = self._spec.payload
        self.created_by = self._spec.created_by
        self.spool = SpoolWriter(folder.spool_path)
        self._last_progress_at = 0.0
        self.secret = os.environ.pop(SECRET, None)

    def done_rows(self) -> list[tuple[str, dict[str, Any]]]:
        """(table, row) of everything earlier attempts have written."""
        return read_rows(self.folder.spool_path)

    def progress(self, done: int, total: int, message: str = "", **detail: Any) -> None:
        """Tell how far it is; at most five lines a second, the last always."""
        now = time.monotonic()
        if done < total and now - self._last_progress_at < 0.2:
            return
        self._last_progress_at = now
        self.folder.append_event("progress", done=done, total=total, message=message, **detail)

    def metric(self, name: str, value: float, step: int) -> None:
        """One point of a live curve."""
        self.folder.append_event("metric", name=name, value=value, step=step)

    def log(self, text: str) -> None:
        """One line of the log that people see."""
        self.folder.append_event("log", text=text)

    def cancelled(self) -> bool:
        """Whether somebody asked the job to stop."""
        return self.folder.cancel_requested()

    def raise_if_cancelled(self) -> None:
        """Leave the work through Cancelled when somebody asked."""
        if self.cancelled():
            raise Cancelled
