"""How often somebody may guess: a sliding window of failures per key, in memory.

Knows: keys and times. Does not know: passwords. A restart forgets; a guess costs 0.1 s anyway.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from core.errors import Forbidden

MAX_KEYS = 10_000  # beyond that the oldest are dropped, so that made-up names fill no memory


class Attempts:
    """`check` raises once a key failed `limit` times within `window_s` seconds."""

    def __init__(
        self, limit: int, window_s: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._failures: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, key: str) -> None:
        """Raise Forbidden, saying how long to wait, when the key has failed too often."""
        with self._lock:
            failures = self._recent(key)
            if len(failures) < self._limit:
                return
            wait_s = self._window_s - (self._clock() - failures[0])
        raise Forbidden(
            "There were too many failed attempts.",
            title="Wait a moment",
            hint=f"Try again in {max(1, round(wait_s))} seconds, or use a one-time link.",
        )

    def failed(self, key: str) -> None:
        """Count one failure."""
        with self._lock:
            failures = self._recent(key)
            failures.append(self._clock())
            self._failures[key] = failures
            while len(self._failures) > MAX_KEYS:
                del self._failures[next(iter(self._failures))]

    def forget(self, key: str) -> None:
        """Start again from none, after a success."""
        with self._lock:
            self._failures.pop(key, None)

    def _recent(self, key: str) -> deque[float]:
        failures = self._failures.get(key, deque())
        oldest = self._clock() - self._window_s
        while failures and failures[0] <= oldest:
            failures.popleft()
        return failures
