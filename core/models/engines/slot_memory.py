"""Rows in slots: one ragged forward pass for the whole batch, shared prompt beginnings included.

Knows: which row is in which slot. Does not know: why rows come and go (`batching`).
Decoding rows are in slots 0..n-1, rows still being read behind them, so that attention looks at
one block of memory. For models whose every layer attends to everything; others: `plain`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from core.models.engines.batching import Row, forward_arguments
from core.models.engines.prefix import WORTH_TOKENS, PrefixCache, shared_length
from core.models.engines.screening import ScreenedHead
from core.models.engines.slots import Plan, Segment, SlotCache, use

PREFIX_BYTES = 128 * 1024**2
TOGETHER_ROWS = 4
TOGETHER_TOKENS = 32
"""From so many rows with so many tokens in common, attention to those is one product for all."""


class SlotMemory:
    """`batching.Memory` over a SlotCache."""

    def __init__(self, model: Any, *, budget_bytes: int, bytes_per_token: int) -> None:
        self._model = model
        self._budget_tokens = budget_bytes // bytes_per_token
        self._cache = SlotCache()
        self._prefixes = PrefixCache(PREFIX_BYTES)
        self._decoding: list[Row] = []
        self._reading: list[Row] = []
        self._keep: dict[int, int] = {}
        """How much of a row's prompt to remember once it is read, by the row's id()."""
        self._common = 0
        """Tokens that every decoding row begins with, when that is worth using."""

    def admits(self, row: Row, waiting: Sequence[Row]) -> bool:
        known, snapshot = self._prefixes.find(row.tokens)
        if any(shared_length(row.tokens, r.tokens) >= known + WORTH_TOKENS for r in self._reading):
            return False  # somebody is just computing what this one can share
        rows = [*self._decoding, *self._reading, row]
        longest = max(r.most_tokens for r in rows)
        if len(rows) > 1 and len(rows) * longest > self._budget_tokens:
            return False
        self._cache.reserve(len(rows), longest, most_tokens=self._budget_tokens)
        keep = self._prefixes.worth(row.tokens, [other.tokens for other in waiting], known)
        if keep:
            self._keep[id(row)] = keep
        if known:
            self._cache.restore(len(rows) - 1, snapshot, known)
            row.filled = row.shared = known
        self._reading.append(row)
        return True

    def forward(self, decoding: Sequence[Row], reading: Sequence[tuple[Row, int]]) -> torch.Tensor:
        device = self._model.device
        first = len(self._decoding)
        plan = Plan(
            [row.filled for row in self._decoding],
            [Segment(first + self._reading.index(row), row.filled, n) for row, n in reading],
            shared=self._common,
        )
        plan.place(device, self._model.dtype)
        self._cache.plan = plan
        tokens, positions, last = _batch(self._decoding, reading)
        at = {id(row): i for i, row in enumerate(self._decoding)}
        speaking = torch.tensor([*(at[id(row)] for row in decoding), *last], device=device)
        plan.speaking = speaking
        use(self._cache)
        asked = [*decoding, *(row for row, _ in reading)]
        head: Any = getattr(self._model, "lm_head", None)
        choosing = isinstance(head, ScreenedHead) and all(r.sampler.wants_best for r in asked)
        if isinstance(head, ScreenedHead):
            head.choosing = choosing
        out = self._model(
            input_ids=torch.from_numpy(tokens)[None].to(device),
            position_ids=torch.from_numpy(positions)[None].to(device),
            past_key_values=self._cache,
            logits_to_keep=speaking,
            **forward_arguments(),
        )
        found: torch.Tensor = head.chosen if choosing else out.logits[0]
        return found

    def promote(self, row: Row) -> None:
        keep = self._keep.pop(id(row), 0)
        slot = len(self._decoding) + self._reading.index(row)
        if keep:
            self._prefixes.keep(row.tokens[:keep], self._cache.snapshot(slot, keep))
        front = self._reading[0]
        if front is not row:
            aside = self._cache.snapshot(len(self._decoding), front.filled)
            self._cache.move(slot, len(self._decoding), row.filled)
            self._cache.restore(slot, aside, front.filled)
            self._reading[self._reading.index(row)] = front
        self._reading.pop(0)
        self._decoding.append(row)
        self._find_common()

    def remove(self, row: Row) -> None:
        """Fill the hole: the last decoding row moves in, the last one being read closes up."""
        self._close_up(row)
        self._find_common()

    def clear(self) -> None:
        self._decoding, self._reading, self._keep = [], [], {}
        self._common = 0
        self._cache.clear()

    def _find_common(self) -> None:
        rows = self._decoding
        common = 0
        if len(rows) >= TOGETHER_ROWS:
            common = min(shared_length(rows[0].tokens, row.tokens) for row in rows[1:])
        self._common = common if common >= TOGETHER_TOKENS else 0

    def _close_up(self, row: Row) -> None:
        self._keep.pop(id(row), None)
        count = len(self._decoding)
        if row in self._decoding:
            hole = self._decoding.index(row)
            last = self._decoding.pop()
            if last is not row:
                self._cache.move(count - 1, hole, last.filled)
                self._decoding[hole] = last
            if self._reading:
                self._cache.move(
                    count - 1 + len(self._reading), count - 1, self._reading[-1].filled
                )
                self._reading.insert(0, self._reading.pop())
        elif row in self._reading:
            hole = self._reading.index(row)
            last = self._reading.pop()
            if last is not row:
                self._cache.move(count + len(self._reading), count + hole, last.filled)
                self._reading[hole] = last


def _batch(
    decoding: Sequence[Row], reading: Sequence[tuple[Row, int]]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[int]]:
    """Tokens and positions of the ragged batch, and where each segment's last token is."""
    tokens = [np.array([row.last for row in decoding], dtype=np.int64)]
    positions = [np.array([row.filled for row in decoding], dtype=np.int64)]
    last_of_segment = []
    size_so_far = len(decoding)
    for row, size in reading:
        tokens.append(row.tokens[row.filled : row.filled + size])
        positions.append(np.arange(row.filled, row.filled + size, dtype=np.int64))
        size_so_far += size
        last_of_segment.append(size_so_far - 1)
    return np.concatenate(tokens), np.concatenate(positions), last_of_segment
