"""Prompt beginnings that several requests share: computed once, copied into each slot.

Knows: token sequences and what their snapshots weigh. Does not know: the model.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import numpy as np

WORTH_TOKENS = 16
"""A shared beginning shorter than this costs more to copy than to compute."""
REMEMBERED = 64

Tokens = np.ndarray[Any, np.dtype[np.int64]]


def shared_length(a: Tokens, b: Tokens) -> int:
    """How many tokens two sequences have in common from the start."""
    size = min(len(a), len(b))
    different = np.nonzero(a[:size] != b[:size])[0]
    return int(different[0]) if len(different) else size


class PrefixCache:
    """Snapshots of prompt beginnings, least recently used out first; one thread uses it."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._entries: OrderedDict[bytes, tuple[Tokens, list[Any], int]] = OrderedDict()
        self._recent: deque[Tokens] = deque(maxlen=REMEMBERED)

    def find(self, tokens: Tokens) -> tuple[int, list[Any]]:
        """The longest known beginning: its length, at most all but one token, and its snapshot."""
        best, key = 0, b""
        for name, (known, _, _) in self._entries.items():
            length = min(shared_length(known, tokens), len(tokens) - 1)
            if length > best:
                best, key = length, name
        if best < WORTH_TOKENS:
            return 0, []
        self._entries.move_to_end(key)
        return best, self._entries[key][1]

    def worth(self, tokens: Tokens, others: Sequence[Tokens], known: int) -> int:
        """How long a beginning to keep, seen what else was asked; 0 when `known` is enough."""
        lengths = [shared_length(tokens, other) for other in (*others, *self._recent)]
        self._recent.append(tokens)
        longest = min(max(lengths, default=0), len(tokens) - 1)
        return longest if longest >= known + WORTH_TOKENS else 0

    def keep(self, tokens: Tokens, snapshot: list[Any]) -> None:
        """Remember a beginning; entries that it covers and the oldest beyond the budget go."""
        weight = sum(t.numel() * t.element_size() for t in snapshot)
        for name, (known, _, _) in list(self._entries.items()):
            if shared_length(known, tokens) == len(known):
                del self._entries[name]
        self._entries[tokens.tobytes()] = (tokens, snapshot, weight)
        while sum(w for _, _, w in self._entries.values()) > self._budget_bytes:
            self._entries.popitem(last=False)
