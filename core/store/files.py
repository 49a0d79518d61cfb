"""Files that are either whole or not there.

Knows: atomic replace, flock, cutting a torn line. Does not know: what the files mean.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import Invalid


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o644) -> None:
    """Write beside the target, fsync, rename: a reader sees the old file or the new one.

    One fsync a call: meant for files that mark a state, not for streams.
    """
    payload = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def write_json(path: Path, value: Any, *, mode: int = 0o644) -> None:
    """`write_atomic` with JSON."""
    write_atomic(path, json.dumps(value, ensure_ascii=False, indent=1), mode=mode)


def read_json(path: Path) -> Any:
    """The JSON in a file, or None when there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


class FileLock:
    """An flock held for the life of its holder: liveness without pid tricks.

    The kernel drops it when the process ends, however it ends.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        self.path = path
        self._shared = shared
        self._descriptor: int | None = None

    def acquire(self, *, wait: bool = False) -> bool:
        """Take the lock; False when another process has it and `wait` is off."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        kind = fcntl.LOCK_SH if self._shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @property
    def held(self) -> bool:
        """True while this object holds the lock."""
        return self._descriptor is not None


def is_locked(path: Path) -> bool:
    """True while some process holds the flock on `path`."""
    if not path.exists():
        return False
    probe = FileLock(path)
    if probe.acquire():
        probe.release()
        return False
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock, hold it for the block."""
    lock = FileLock(path)
    lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()


def read_lines(
    path: Path, offset: int = 0, limit_bytes: int | None = None
) -> tuple[list[bytes], int]:
    """Whole lines from byte `offset` on, and the offset after the last of them.

    What follows the last newline is a line still being written, or torn by a crash: left alone.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read() if limit_bytes is None else file.read(limit_bytes)
            while limit_bytes is not None and b"\n" not in data:
                more = file.read(limit_bytes)  # one line longer than the limit
                if not more:
                    break
                data += more
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return data[:end].splitlines(), offset + end


def inside(root: Path, *parts: str) -> Path:
    """`root/parts`, refused with Invalid when it would leave `root` (also through links)."""
    path = root.joinpath(*parts).resolve()
    if not path.is_relative_to(root.resolve()):
        raise Invalid(f"{'/'.join(parts)!r} leads outside of its folder.")
    return path
