"""Rows with a cache of their own: for models whose layers do not all attend to everything.

Knows: transformers' own caches, whatever their kind (sliding windows, recurrent states).
Does not know: how to share work between rows: each is computed alone, a token at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from core.models.engines.batching import Row, forward_arguments


class PlainMemory:
    """`batching.Memory` over one DynamicCache a row."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._caches: dict[int, Any] = {}

    def admits(self, row: Row, waiting: Sequence[Row]) -> bool:
        from transformers import DynamicCache

        self._caches[id(row)] = DynamicCache(config=self._model.config.get_text_config())
        return True

    def forward(self, decoding: Sequence[Row], reading: Sequence[tuple[Row, int]]) -> torch.Tensor:
        scores = [self._one(row, [row.last]) for row in decoding]
        for row, size in reading:
            scores.append(self._one(row, row.tokens[row.filled : row.filled + size].tolist()))
        return torch.stack(scores)

    def promote(self, row: Row) -> None:
        pass

    def remove(self, row: Row) -> None:
        self._caches.pop(id(row), None)

    def clear(self) -> None:
        self._caches.clear()

    def _one(self, row: Row, tokens: list[int]) -> torch.Tensor:
        out = self._model(
            input_ids=torch.tensor([tokens], device=self._model.device),
            past_key_values=self._caches[id(row)],
            logits_to_keep=1,
            **forward_arguments(),
        )
        last: torch.Tensor = out.logits[0, -1]
        return last
