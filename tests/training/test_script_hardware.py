"""What a training says of its machine, where a system tells less than Linux usually does."""

from __future__ import annotations

import errno
import resource
from pathlib import Path

import pytest

from core.training.script import files, hardware


def test_the_peak_is_this_process_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t   2048 kB\n")
    monkeypatch.setattr(hardware, "STATUS", status)
    assert hardware.memory_peak() == 2048 * 1024


@pytest.mark.parametrize("text", ["Name:\tpython\n", None])
def test_a_system_without_that_line_is_asked_otherwise(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = tmp_path / "status"
    if text is not None:
        status.write_text(text)
    monkeypatch.setattr(hardware, "STATUS", status)
    assert hardware.memory_peak() >= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_disk_without_locks_is_not_a_training_of_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    with pytest.raises(OSError, match="No locks"):
        files.RunFolder(tmp_path).take_lock()
