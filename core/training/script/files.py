"""The files of one run folder: what is asked, what happens, how it ended.

Knows: their names, that a file is whole or not there, the lock, the wish to stop. Does not know:
models, rows, training. `core/training` reads the same files from outside.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

FLUSH_SECONDS = 0.5
"""Events that can wait are written this often at most."""


class Locked(Exception):
    """Another process trains in this folder."""


def write_whole(path: Path, text: str) -> None:
    """A file that is there whole or not at all, also after a power cut."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON lines file; none where there is no file. ValueError names a bad line."""
    if not path.exists():
        return []
    rows = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    raise ValueError(f"{path.name}, line {number}: {error}") from None
    return rows


class RunFolder:
    """The files of one run. Only the process with rank 0 writes (`writes`)."""

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path.resolve()
        self.writes = writes
        self.checkpoints = self.path / "checkpoints"
        self.adapter = self.path / "adapter"
        self.stop_path = self.path / "stop"
        self._events: IO[str] | None = None
        self._flushed_at = 0.0
        self._lock: IO[str] | None = None

    def config(self) -> dict[str, Any]:
        """What is asked for; ValueError where config.json is none."""
        found = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("format") != 1:
            raise ValueError("config.json is not of format 1: a newer Lathe may have written it.")
        return found

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of data/<name>.jsonl."""
        return read_rows(self.path / "data" / f"{name}.jsonl")

    def take_lock(self) -> None:
        """Hold the folder until this process ends; Locked when another one does."""
        handle = (self.path / "lock").open("a")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            handle.close()
            if isinstance(error, BlockingIOError):
                raise Locked from None
            raise
        self._lock = handle

    def event(self, kind: str, *, at_once: bool = True, **detail: Any) -> None:
        """Append one line; without `at_once` it may wait half a second for others."""
        if not self.writes:
            return
        if self._events is None:
            self._events = self._open_events()
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"kind": kind, "at": stamp, **{k: _plain(v) for k, v in detail.items()}}
        self._events.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        now = time.monotonic()
        if at_once or now - self._flushed_at > FLUSH_SECONDS:
            self._events.flush()
            self._flushed_at = now

    def _open_events(self) -> IO[str]:
        path = self.path / "events.ndjson"
        if path.exists() and path.stat().st_size:
            with path.open("rb+") as file:  # the last writer may have died within a line
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
        return path.open("a", encoding="utf-8")

    def result(self, value: dict[str, Any]) -> None:
        """How it ended: the last thing that is written."""
        if self.writes:
            plain = {key: _plain(one) for key, one in value.items()}
            write_whole(self.path / "result.json", json.dumps(plain, indent=2, ensure_ascii=False))

    def clear_result(self) -> None:
        """A run that goes on has not ended: its old result and the wish to stop are gone."""
        if self.writes:
            (self.path / "result.json").unlink(missing_ok=True)
            self.stop_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write what waits, and let go of the lock."""
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: null; numbers are cut to nine digits."""
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return None
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
