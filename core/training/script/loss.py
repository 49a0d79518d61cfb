"""The loss of the answers: the head of the model is computed for the tokens that count, no others.

A support ticket has 150 tokens of prompt and 3 of answer: a head over 49,000 words for all of them
is a quarter of the work and most of the memory. The sum is the same, and so are its gradients.

Knows: hidden states, heads, cross entropy. Does not know: rows, PEFT, the training loop.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch.nn.functional import cross_entropy

CHUNK_BYTES = 64 * 1024 * 1024
"""Logits that are held at once."""


class HeadLoss(torch.autograd.Function):  # type: ignore[misc]
    """Summed cross entropy of `head(hidden)` and `targets` without holding all logits.

    The head is frozen, so the gradient of the hidden states is made while the logits are there and
    kept in their place: two products with the head and none again in backward.
    hidden: (tokens, width), targets: (tokens,); returns a scalar in fp32.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, head: Any) -> torch.Tensor:
        wanted = ctx.needs_input_grad[0]
        gradient = torch.empty_like(hidden) if wanted else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        rows = max(1, CHUNK_BYTES // (4 * head.words))
        for at in range(0, len(targets), rows):
            part = slice(at, at + rows)
            if gradient is None:
                total += cross_entropy(head(hidden[part]).float(), targets[part], reduction="sum")
                continue
            with torch.enable_grad():
                states = hidden[part].detach().requires_grad_()
                loss = cross_entropy(head(states).float(), targets[part], reduction="sum")
                gradient[part] = torch.autograd.grad(loss, states)[0]
            total += loss.detach()
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * scale.to(gradient.dtype), None, None


class Head:
    """From hidden states to logits as the model itself does: scaled and capped where it is."""

    def __init__(self, model: Any) -> None:
        config = model.config.get_text_config()
        self.layer = model.get_output_embeddings()
        self.words = self.layer.weight.shape[0]
        self.cap = getattr(config, "final_logit_softcapping", None)
        self.scale = 1.0
        for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
            if getattr(config, name, None) is not None:
                self.scale = float(getattr(config, name))
                break
        else:
            divided = getattr(config, "logits_scaling", None)
            if divided is not None:
                own = config.model_type == "hyperclovax"
                self.scale = float(divided if own else 1 / divided)

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """(tokens, width) -> (tokens, words)"""
        logits = self.layer(hidden)
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.cap:
            logits = self.cap * torch.tanh(logits / self.cap)
        return logits


def add_answer_loss(model: Any) -> None:
    """Give a causal model `forward(..., answers=(positions, targets))` -> summed loss.

    `positions` index the flattened (row, token) hidden states that predict `targets`. Without
    `answers` the forward is what it was, so that generation stays as it is. The forward is the
    model's own, so DDP and PEFT wrap it as ever; NEFTune's hook on the embeddings fires.
    """
    before = model.forward

    def forward(self: Any, *given: Any, answers: Any = None, **named: Any) -> Any:
        if answers is None:
            return before(*given, **named)
        positions, targets = answers
        named = {name: one for name, one in named.items() if one is not None}  # PEFT names all
        states = self.base_model(*given, **{**named, "use_cache": False}).last_hidden_state
        picked = states.reshape(-1, states.shape[-1])[positions]
        return HeadLoss.apply(picked, targets, Head(self))

    # `generate` checks its arguments against the signature of the class' own forward
    forward.__wrapped__ = type(model).forward  # type: ignore[attr-defined]
    model.forward = MethodType(forward, model)
