"""Processes that outlive whoever starts them.

Knows: starting one in a session of its own, noticing its end, and giving back what this one has
freed. Does not know: what it does.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from core.settings import PROJECT_ROOT


class Detached:
    """A Python module run in the background; it goes on when this process ends."""

    def __init__(self, module: str, *arguments: str, log: Path, env: Mapping[str, str]) -> None:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **env},
            )
        self.pid = process.pid
        self._ended = False
        # Popen warns of a child it never waited for; this one is waited for below, or by init
        process.returncode = 0

    def running(self) -> bool:
        """True while it lives; an ended one is reaped here."""
        if not self._ended:
            try:
                self._ended = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
            except ChildProcessError:
                self._ended = True
        return not self._ended

    def wait(self) -> None:
        """Block until it has ended."""
        if not self._ended:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self._ended = True


def give_back_memory() -> None:
    """Hand what has been freed back to the system; nothing happens where the C library cannot.

    Loading a model frees what it converted, and glibc may keep that: 0 to 500 MB of the starter
    in NF4, as the threads that converted it happened to come.
    """
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
