"""A job is a folder: everything about it is a file, so it outlives every process.

    spec.json      what is asked; atomic, first
    lock           an flock held for the worker's life
    events.ndjson  progress, metric and log lines
    output.log     what the process printed: its last words after a crash
    cancel         its existence asks the worker to stop
    spool/         rows for the database; kept, a resume reads what is done from them
    result.json    how it ended; atomic, last: its existence is completion

Knows: these files. Does not know: the database, who started it.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from core.clock import utc_iso
from core.store.files import is_locked, read_json, write_json

STATES = ("queued", "running", "succeeded", "failed", "cancelled", "interrupted")
ENDED = ("succeeded", "failed", "cancelled", "interrupted")


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a job is asked to do. `payload` holds all that the worker needs, as JSON."""

    id: str
    kind: str
    title: str
    payload: dict[str, Any]
    created_by: str
    created_at: str


class JobFolder:
    """The files of one job; any process may look, only its worker and its owner write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock_path = path / "lock"
        self.spool_path = path / "spool"
        self.log_path = path / "output.log"
        self._cancel = path / "cancel"
        self._result = path / "result.json"
        self._events = path / "events.ndjson"

    def write_spec(self, spec: JobSpec) -> None:
        """Make the folder with its spec: from here on the job exists."""
        write_json(self.path / "spec.json", asdict(spec), mode=0o600)

    def spec(self) -> JobSpec:
        """What was asked."""
        return JobSpec(**read_json(self.path / "spec.json"))

    def alive(self) -> bool:
        """True while a worker holds the lock."""
        return is_locked(self.lock_path)

    def request_cancel(self) -> None:
        """Ask the worker to stop at the next row."""
        self._cancel.touch()

    def cancel_requested(self) -> bool:
        """Whether somebody asked."""
        return self._cancel.exists()

    def write_result(self, state: str, **detail: Any) -> None:
        """Mark the end: succeeded, failed or cancelled."""
        write_json(self._result, {"state": state, "at": utc_iso(), **detail})

    def result(self) -> dict[str, Any] | None:
        """How it ended, or None while it has not."""
        found: dict[str, Any] | None = read_json(self._result)
        return found

    def reopen(self, attempt: int) -> None:
        """Set the last end aside, so that the worker may go on."""
        if self._result.exists():
            os.replace(self._result, self.path / f"result-{attempt}.json")
        self._cancel.unlink(missing_ok=True)

    def append_event(self, kind: str, **detail: Any) -> None:
        """One line for whoever watches."""
        line = json.dumps({"at": utc_iso(), "kind": kind, **detail}, ensure_ascii=False)
        with self._events.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def events(self, *, tail_bytes: int = 64 * 1024) -> list[dict[str, Any]]:
        """The newest events, oldest first; a torn line is left out."""
        found = []
        for line in _tail(self._events, tail_bytes).splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue  # the first line of the tail is cut, the last may be torn
        return found

    def progress(self) -> dict[str, Any]:
        """The newest progress event, or nothing yet."""
        for event in reversed(self.events(tail_bytes=16 * 1024)):
            if event["kind"] == "progress":
                found: dict[str, Any] = event
                return found
        return {}

    def last_words(self, *, tail_bytes: int = 8 * 1024) -> str:
        """The end of what the process printed."""
        return _tail(self.log_path, tail_bytes)


def unexpected(error: Exception, trace_id: str) -> dict[str, Any]:
    """What a result says of an error that is none of ours; the log has it under `trace_id`."""
    return {
        "type": "JobFailed",
        "title": "The job ended in an unexpected error",
        "message": f"{type(error).__name__}: {error}",
        "hint": f"The log has the details under {trace_id}.",
    }


def _tail(path: Path, size: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
