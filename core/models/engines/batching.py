"""Continuous batching: requests join and leave the batch at every token.

Knows: who waits, who is read, who decodes, and when each has ended. Does not know: tensors'
layout (`slots`, `plain`), HTTP. One thread computes; everything else only hands it requests.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from core.errors import LatheError, OutOfMemory
from core.models.engines import Delta, Event, Finished, Request, Sink
from core.models.engines.prefix import Tokens
from core.models.engines.sampling import Drawn, Sampler, draw_all, logprob_entry
from core.models.engines.text import TextAssembler

log = logging.getLogger(__name__)

IDLE_S = 20.0
"""After this long without a request the key/value memory is given back."""


@dataclass(eq=False, slots=True)
class Row:
    """One request in the batch."""

    request: Request
    sink: Sink
    tokens: Tokens
    """The prompt."""
    limit: int
    """Most new tokens."""
    text: TextAssembler
    sampler: Sampler
    arrived_at: float = field(default_factory=time.perf_counter)
    admitted_at: float = 0.0
    first_at: float = 0.0
    filled: int = 0
    """Tokens whose keys and values are stored."""
    shared: int = 0
    """Prompt tokens that came from the prefix cache."""
    last: int = 0
    """The newest token: what the next pass is given."""
    count: int = 0
    """New tokens so far."""
    reason: str | None = None
    """Why it has ended, once it has."""

    @property
    def read(self) -> bool:
        """True once the whole prompt is stored."""
        return self.filled >= len(self.tokens)

    @property
    def most_tokens(self) -> int:
        """Tokens it may come to hold."""
        return len(self.tokens) + self.limit


class Memory(Protocol):
    """Where rows' keys and values live, and the forward pass over them."""

    def admits(self, row: Row, waiting: Sequence[Row]) -> bool:
        """Take the row in, or say that it has to wait; a row alone is always taken."""

    def forward(self, decoding: Sequence[Row], reading: Sequence[tuple[Row, int]]) -> torch.Tensor:
        """Scores, (rows, vocabulary): one row each for `decoding`, then for `reading`.

        Where all that the rows want is the best token it may give these instead, (rows,).
        """

    def promote(self, row: Row) -> None:
        """The row's prompt is read: from now on it decodes."""

    def remove(self, row: Row) -> None:
        """The row has left."""

    def clear(self) -> None:
        """Give everything back."""


class Batcher:
    """The loop that computes. `submit` may be called from any thread.

    Batchers of one process share a `turn`, held for a pass: they would share the processor's cores
    anyway, and `slots` knows one pass at a time.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        slots: int,
        step_tokens: int,
        ends: frozenset[int],
        piece: Callable[[int], str],
        turn: threading.Lock,
    ) -> None:
        self._memory = memory
        self._turn = turn
        self._slots = slots
        self._step_tokens = step_tokens
        self._ends = ends
        self._piece = piece
        self._arrivals: queue.SimpleQueue[Row | None] = queue.SimpleQueue()
        self._waiting: list[Row] = []
        self._reading: list[Row] = []
        self._decoding: list[Row] = []
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="lathe-batcher", daemon=True)
        self._thread.start()

    def submit(self, row: Row) -> None:
        """Add a row; its sink is called from the computing thread."""
        self._arrivals.put(row)

    def close(self) -> None:
        """Stop after the current pass."""
        self._arrivals.put(None)
        self._thread.join(timeout=30)

    def _loop(self) -> None:
        while not self._closed:
            self._take_arrivals()
            rows = [*self._waiting, *self._reading, *self._decoding]
            try:
                with torch.inference_mode():
                    self._drop_cancelled()
                    self._step()
            except Exception as error:  # the thread's edge: it must outlive any one batch
                log.exception("the batch failed")
                self._fail(rows, _explained(error))

    def _take_arrivals(self) -> None:
        busy = bool(self._waiting or self._reading or self._decoding)
        try:
            while True:
                row = self._arrivals.get(block=not busy, timeout=None if busy else IDLE_S)
                if row is None:
                    self._closed = True
                    return
                self._waiting.append(row)
                busy = True
        except queue.Empty:
            if not busy:
                self._memory.clear()

    def _drop_cancelled(self) -> None:
        for row in [r for r in self._waiting if r.request.cancelled.is_set()]:
            self._waiting.remove(row)
            row.reason = "cancelled"
            self._finish(row)
        for row in [*self._decoding, *self._reading]:
            if row.request.cancelled.is_set():
                row.reason = "cancelled"
        self._remove_ended()

    def _step(self) -> None:
        reading = self._plan()
        if not reading and not self._decoding:
            return
        decoding = list(self._decoding)
        with self._turn:
            scores = self._memory.forward(decoding, reading)
        for row in decoding:
            row.filled += 1
        for row, size in reading:
            row.filled += size
        rows = [*decoding, *(row for row, _ in reading)]
        speaking = [i for i, row in enumerate(rows) if row.read]
        if len(speaking) < len(rows):
            scores = scores[speaking]
        rows = [rows[i] for i in speaking]
        drawn = draw_all(scores, [row.sampler for row in rows]) if rows else []
        for row, token in zip(rows, drawn, strict=True):
            self._say(row, token)
        for row, _ in reading:
            if row.read:
                self._memory.promote(row)
                self._reading.remove(row)
                self._decoding.append(row)
        self._remove_ended()

    def _plan(self) -> list[tuple[Row, int]]:
        """Which prompts are read in this pass, and how far: partial ones first, then new ones."""
        left = self._step_tokens
        plan = []
        for row in self._reading:
            size = min(left, len(row.tokens) - row.filled)
            if size:
                plan.append((row, size))
                left -= size
        for row in list(self._waiting):
            if left <= 0 or len(self._reading) + len(self._decoding) >= self._slots:
                break
            others = [other for other in self._waiting if other is not row]
            if not self._memory.admits(row, others):
                continue
            self._waiting.remove(row)
            self._reading.append(row)
            row.admitted_at = time.perf_counter()
            size = min(left, len(row.tokens) - row.filled)
            plan.append((row, size))
            left -= size
        return plan

    def _say(self, row: Row, drawn: Drawn) -> None:
        row.first_at = row.first_at or time.perf_counter()
        row.last = drawn.token
        row.count += 1
        if drawn.token in self._ends:
            row.reason = "stop"
            return
        text = row.text.push(drawn.token)
        if row.text.stopped:
            row.reason = "stop"
        elif row.count >= row.limit:
            row.reason = "length"
        entries = () if drawn.logprob is None else (logprob_entry(drawn, self._piece),)
        if text or entries:
            self._tell(row, Delta(text, 1, entries))

    def _remove_ended(self) -> None:
        for rows in (self._reading, self._decoding):
            for row in [r for r in reversed(rows) if r.reason is not None]:
                self._memory.remove(row)
                rows.remove(row)
                self._finish(row)

    def _finish(self, row: Row) -> None:
        rest = "" if row.reason == "cancelled" else row.text.flush()
        if rest:
            self._tell(row, Delta(rest, 0))
        now = time.perf_counter()
        admitted = row.admitted_at or now
        done = Finished(
            reason=row.reason or "stop",
            prompt_token_count=len(row.tokens),
            completion_token_count=row.count,
            queue_ms=(admitted - row.arrived_at) * 1000,
            prefill_ms=((row.first_at or now) - admitted) * 1000,
            cached_token_count=row.shared,
        )
        self._tell(row, done)

    def _fail(self, rows: Sequence[Row], error: LatheError) -> None:
        self._waiting, self._reading, self._decoding = [], [], []
        self._memory.clear()
        for row in rows:
            self._tell(row, error)

    def _tell(self, row: Row, event: Event) -> None:
        try:
            row.sink(event)
        except Exception:  # a listener that broke must not stop the others
            log.exception("a listener failed")


def as_tokens(ids: Sequence[int]) -> Tokens:
    """Token ids as the batch keeps them."""
    return np.asarray(ids, dtype=np.int64)


def _explained(error: Exception) -> LatheError:
    if isinstance(error, LatheError):
        return error
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in text:
        return OutOfMemory(
            f"The model ran out of memory: {text}",
            hint="Ask for fewer new tokens or fewer rows at once, or unload another model.",
        )
    return LatheError(text, title="The model failed")


def forward_arguments(**extra: Any) -> dict[str, Any]:
    """Arguments of every forward pass: no copies of what is not read."""
    return {"use_cache": True, "return_dict": True, **extra}
