"""Lanes: a few threads that take items from one iterator until it is empty.

Knows: threads, stopping, the first error. Does not know: what is done with an item.
The iterator is drawn from one item at a time, so nothing piles up in memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

TICK_S = 0.05


class Lanes(Generic[T]):
    """`count` threads over `items`. `stopping` is asked by long work between its steps."""

    def __init__(self, items: Iterator[T], do: Callable[[T], None], count: int) -> None:
        self._items = items
        self._do = do
        self._stop = threading.Event()
        self._draw = threading.Lock()
        self._error: BaseException | None = None
        # Daemons: work that is stopped waits for nobody, its request ends with the process.
        self._threads = [
            threading.Thread(target=self._lane, name=f"lane-{i}", daemon=True) for i in range(count)
        ]

    def stopping(self) -> bool:
        """Whether the work is to be given up."""
        return self._stop.is_set()

    def run(self, tick: Callable[[], None]) -> None:
        """Block until all is done; raises the first error of a lane, or what `tick` raises.

        Either way no lane takes another item; one in the middle of an item is left behind.
        """
        for thread in self._threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in self._threads):
                tick()
                if self._error is not None:
                    raise self._error
                time.sleep(TICK_S)
            tick()
        finally:
            self._stop.set()
        if self._error is not None:
            raise self._error

    def _lane(self) -> None:
        try:
            while not self._stop.is_set():
                with self._draw:
                    item = next(self._items, None)
                if item is None:
                    return
                self._do(item)
        except BaseException as error:  # handed to the thread that waits in run()
            self._error = self._error or error
            self._stop.set()
