"""Who used the model how much, when many use it at once.

Knows: how many requests are in flight, and since when. Does not know: what they are.
While n requests run together each is charged 1/n of the time (processor sharing), so the
charges add up to the time the model was busy.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator


class Meter:
    """Splits busy time over the requests in flight."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._count = 0
        self._virtual_s = 0.0
        """What a request in flight since the beginning would have been charged."""
        self._at = clock()

    @contextlib.contextmanager
    def measure(self) -> Iterator[Callable[[], float]]:
        """Count one request for the block; the value tells its charge so far, in milliseconds."""
        with self._guard:
            start = self._advance()
            self._count += 1
        try:
            yield lambda: self._charged(start)
        finally:
            with self._guard:
                self._advance()
                self._count -= 1

    def _charged(self, start: float) -> float:
        with self._guard:
            return (self._advance() - start) * 1000

    def _advance(self) -> float:
        now = self._clock()
        if self._count:
            self._virtual_s += (now - self._at) / self._count
        self._at = now
        return self._virtual_s
