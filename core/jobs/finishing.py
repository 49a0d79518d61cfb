"""Finishers: what the owner of the database does once a job's work has succeeded.

Knows: calling one in a thread of its own, so that one that hangs holds up its own job alone.
Does not know: jobs, what a finisher does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import duckdb

log = logging.getLogger(__name__)

Finisher = Callable[[str, dict[str, Any], str], None]
"""Takes a job's id, the value its work returned, and who started it. It may be called again for
the same job after a crash, so it does nothing the second time; an error fails the job."""

TRIES = 3
PAUSE_S = 0.2
"""Before the next try, where the disk or the database did not take it."""


class Finishing:
    """A finisher at work."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.error: Exception | None = None
        """What it failed with, once it has ended."""
        self._thread = threading.Thread(
            target=self._run, args=(work,), name="lathe-finisher", daemon=True
        )
        self._thread.start()

    def running(self) -> bool:
        """True until it has ended."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float) -> None:
        """Wait for its end, so long at most."""
        self._thread.join(timeout_s)

    def _run(self, work: Callable[[], None]) -> None:
        for left in reversed(range(TRIES)):
            try:
                return work()
            except (duckdb.Error, OSError) as error:
                if not left:
                    self.error = error
                    return
                log.warning("a finisher stumbled, it will be tried again: %s", error)
                time.sleep(PAUSE_S)
            except Exception as error:  # the thread's edge: the supervisor writes it down
                self.error = error
                return
