"""Files that are whole or not there, and locks that end with their holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Invalid
from core.settings import PROJECT_ROOT
from core.store.files import FileLock, inside, is_locked, read_json, read_lines, write_atomic

HOLD = """
import sys
from pathlib import Path
from core.store.files import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "\ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_file_that_is_not_there_reads_as_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json") is None


def test_a_lock_ends_with_its_holder_however_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert is_locked(path)
        assert not FileLock(path).acquire()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    lock = FileLock(path)
    assert lock.acquire()
    lock.release()
    assert not is_locked(path)


@given(
    lines=st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b""))),
    torn=st.binary(max_size=10).map(lambda b: b.replace(b"\n", b"")),
    limit=st.integers(1, 50),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_are_read_whole_and_once_whatever_the_limit(
    tmp_path: Path, lines: list[bytes], torn: bytes, limit: int
) -> None:
    # splitlines splits at more than \n: the segments are JSON, which escapes those
    lines = [b"x" + bytes(c for c in line if c >= 32) for line in lines]
    path = tmp_path / "lines"
    path.write_bytes(b"".join(line + b"\n" for line in lines) + torn)
    found: list[bytes] = []
    offset = 0
    while True:
        part, offset = read_lines(path, offset, limit)
        if not part:
            break
        found += part
    assert found == lines
    assert path.stat().st_size - offset == len(torn)


@pytest.mark.parametrize(
    "parts", [("..", "x"), ("/etc/passwd",), ("a", "..", "..", "b"), ("link",)]
)
def test_no_path_leads_out_of_its_folder(tmp_path: Path, parts: tuple[str, ...]) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(Invalid, match="outside"):
        inside(root, *parts)
    assert inside(root, "a", "b") == root.resolve() / "a" / "b"
