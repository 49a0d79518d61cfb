"""Perplexity of texts under a local language model, for whoever asks for it: the dearest signal.

Knows: a checkpoint's folder, batches. Does not know: which rows are worth it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.curation.tools import Tools
from core.errors import ModelUnavailable

WINDOW = 256
"""Tokens of a text that are read."""
BATCH_TOKENS = 2_048


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Places of texts of two tokens and more, the shortest first, at most BATCH_TOKENS at a time.

    A batch costs its number of texts times its longest one: all are filled up to that.
    """
    batch: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        if lengths[at] < 2:
            continue
        if batch and (len(batch) + 1) * lengths[at] > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch


class Perplexity:
    """A causal language model in this process."""

    def __init__(self, tokenizer: Path | None) -> None:
        """`tokenizer` is the `tokenizer.json` in the checkpoint's folder; ModelUnavailable where
        there is no model beside it."""
        if tokenizer is None or not (tokenizer.parent / "config.json").exists():
            raise ModelUnavailable(
                "There is no language model in this workspace to compute perplexity with.",
                hint="`make setup` fetches the starter model.",
            )
        self._folder = tokenizer.parent
        self._model: Any = None
        self._encoder: Any = None

    def of(self, texts: Sequence[str], tools: Tools) -> list[float | None]:
        """exp of the mean negative log likelihood of each token after the first (Jelinek 1977).

        None for a text of fewer than two tokens. Read are the first 256 tokens.
        """
        if not texts:
            return []
        self._load()
        encoded = [
            encoding.ids[:WINDOW]
            for encoding in self._encoder.encode_batch_fast(
                [text[: WINDOW * 20] for text in texts], add_special_tokens=False
            )
        ]
        found: list[float | None] = [None] * len(texts)
        for batch in batches([len(ids) for ids in encoded]):
            tools.check()
            for at, value in zip(batch, self._batch([encoded[at] for at in batch]), strict=True):
                found[at] = value
        return found

    def _load(self) -> None:
        if self._model is not None:
            return
        import torch
        from transformers import AutoModelForCausalLM

        from core.curation.profile import load_tokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        # fp32: bf16 is 60 to 90 times slower on a CPU without its units
        self._model = AutoModelForCausalLM.from_pretrained(
            self._folder, dtype=torch.float32, local_files_only=True
        ).to(device)
        self._model.eval()
        self._encoder = load_tokenizer(self._folder / "tokenizer.json")

    def _batch(self, ids: list[list[int]]) -> list[float]:
        import torch

        width = max(len(row) for row in ids)
        device = self._model.device
        padded = torch.tensor([row + [0] * (width - len(row)) for row in ids], device=device)
        mask = torch.tensor(
            [[1] * len(row) + [0] * (width - len(row)) for row in ids], device=device
        )
        with torch.inference_mode():
            logits = self._model(input_ids=padded, attention_mask=mask).logits[:, :-1]
            losses = torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), padded[:, 1:], reduction="none"
            )
            weights = mask[:, 1:]
            means = (losses * weights).sum(1) / weights.sum(1)
        return [math.exp(min(float(mean), 50.0)) for mean in means]
