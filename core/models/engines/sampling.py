"""Drawing the next token from scores.

Knows: temperature, nucleus, seeds, log probabilities. Does not know: where scores come from.
Nucleus sampling: Holtzman et al., 2020, https://arxiv.org/abs/1904.09751
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from core.generation import Generation


class Sampler:
    """One request's way of drawing; seeded ones repeat themselves."""

    def __init__(self, generation: Generation, top_logprobs: int | None) -> None:
        self.greedy = generation.temperature == 0
        self.top_logprobs = top_logprobs
        self._temperature = generation.temperature
        self._top_p = generation.top_p
        self._random = torch.Generator()
        if generation.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(generation.seed)

    @property
    def wants_best(self) -> bool:
        """True where the likeliest token is all that is asked for."""
        return self.greedy and self.top_logprobs is None

    def draw(self, scores: torch.Tensor) -> int:
        """A token from one row of scores, (vocabulary,)."""
        chances = torch.softmax(scores.float() / self._temperature, dim=-1)
        if self._top_p < 1:
            ordered, order = torch.sort(chances, descending=True)
            before = torch.cumsum(ordered, dim=-1) - ordered
            chances = chances.clone()
            chances[order[before >= self._top_p]] = 0
        # on the CPU, where a seed gives the same draw whatever the device
        return int(torch.multinomial(chances.cpu(), 1, generator=self._random).item())


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token, and where asked its log probability and the best alternatives'."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


def draw_all(scores: torch.Tensor, samplers: Sequence[Sampler]) -> list[Drawn]:
    """One token a row of scores, (rows, vocabulary), or of tokens chosen already, (rows,)."""
    if scores.dim() == 1:
        return [Drawn(token) for token in scores.tolist()]
    best = torch.argmax(scores, dim=-1).tolist()
    return [
        _told(scores[i], sampler, best[i] if sampler.greedy else sampler.draw(scores[i]))
        for i, sampler in enumerate(samplers)
    ]


def _told(scores: torch.Tensor, sampler: Sampler, token: int) -> Drawn:
    if sampler.top_logprobs is None:
        return Drawn(token)
    logs = torch.log_softmax(scores.float(), dim=-1)
    top: tuple[tuple[int, float], ...] = ()
    if sampler.top_logprobs:
        values, tokens = torch.topk(logs, sampler.top_logprobs)
        top = tuple(zip(tokens.tolist(), values.tolist(), strict=True))
    return Drawn(token, float(logs[token]), top)


def logprob_entry(drawn: Drawn, piece: Any) -> dict[str, Any]:
    """OpenAI's shape of one token's log probability; `piece` turns a token into its text."""

    def entry(token: int, logprob: float) -> dict[str, Any]:
        text = piece(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    own = entry(drawn.token, drawn.logprob or 0.0)
    return {**own, "top_logprobs": [entry(token, value) for token, value in drawn.top]}
