"""What a training takes in memory, by parts, before a byte of it is loaded.

    weights        the frozen base, in its quantization
    adapter        the LoRA weights, always in fp32 on a CPU
    gradients      as many again
    optimizer      AdamW's two moments: 8 bytes a weight, 2 in 8 bits
    activations    what is kept of each layer for the way back, by batch and length
    logits         a number for each word of the vocabulary, at the answers' tokens alone
    process        Python, torch, transformers, TRL

Knows: sizes. Does not know: torch, the registry. Measured peaks are held against this in the tests;
the band is stated there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from core.errors import OutOfMemory
from core.models import devices
from core.models.quantization import QUANTIZATIONS
from core.training.script.params import BadParam, Params

MB = 1_000_000
PROCESS_BYTES = {"plain": 620 * MB, "bitsandbytes": 720 * MB, "cuda": 900 * MB}
ANSWER_SHARE = 0.25
"""Of a row's tokens, where only the answers count; a check measures it."""
LOGIT_COPIES = 3
"""The logits, their softmax, and the gradient of both."""
KEPT_OF_A_LAYER = (14, 5)
"""Numbers kept for a token in one layer: so many of the hidden size, and of the feed-forward's."""
LEAST_LENGTH = 32


@dataclass(frozen=True, slots=True)
class Forecast:
    """The parts on one device, against what is free there."""

    device: str
    parts: dict[str, int]
    free_bytes: int
    total_memory_bytes: int
    length: int
    """Tokens of the longest row that it is counted for."""
    levers: tuple[dict[str, Any], ...] = ()

    @property
    def total_bytes(self) -> int:
        """All parts together, at the peak."""
        return sum(self.parts.values())

    def require_possible(self) -> None:
        """Raise OutOfMemory where the whole device is too small; what others hold may be freed."""
        if self.total_bytes <= self.total_memory_bytes:
            return
        lever = self.levers[0] if self.levers else None
        raise OutOfMemory(
            f"It needs about {self.total_bytes / 1e9:.1f} GB on {self.device}, which has"
            f" {self.total_memory_bytes / 1e9:.1f} GB in all.",
            hint=f"Biggest lever: {lever['words']}." if lever else "Use a smaller model.",
        )

    def to_dict(self) -> dict[str, Any]:
        """As a page takes it."""
        return {
            "device": self.device,
            "total_bytes": self.total_bytes,
            "free_bytes": self.free_bytes,
            "fits": self.total_bytes <= self.free_bytes,
            "length": self.length,
            "parts": [{"name": name, "bytes": size} for name, size in self.parts.items()],
            "levers": list(self.levers),
        }


@dataclass(frozen=True, slots=True)
class Sizes:
    """A model's shape, from its registry row."""

    layers: int
    hidden: int
    query: int
    keys: int
    feed_forward: int
    vocabulary: int
    parameters: int
    linear: int

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Sizes:
        """Of a row of the registry; what it does not say is taken as usual for Llama's kind."""
        details = model.get("details") or {}

        def size(name: str) -> int:
            return int(details.get(name) or 0)

        hidden, layers = size("hidden_size"), max(1, size("layer_count"))
        keys = size("kv_head_count") * size("head_size")
        linear = size("linear_parameter_count")
        left = linear / layers - 2 * hidden * hidden - 2 * hidden * keys
        feed_forward = int(left / (3 * hidden)) if hidden and left > 0 else 3 * hidden
        return cls(
            layers, hidden, hidden, keys, feed_forward, size("vocabulary_size"),
            int(model.get("parameter_count") or 0), linear,
        )  # fmt: skip


def forecast(
    model: Mapping[str, Any],
    params: Params,
    *,
    device: str = "auto",
    longest: int | None = None,
    answer_share: float | None = None,
) -> Forecast:
    """Forecast a training of `model`, a registry row, with the levers that would save most.

    `longest` is the longest row in tokens, `answer_share` how much of the rows the loss counts.
    """
    chosen = devices.pick(device)
    length = max(LEAST_LENGTH, min(params.max_length, longest or params.max_length))
    length = params.max_length if params.packing else length
    on = "cuda" if chosen.is_gpu else "cpu"
    sizes = Sizes.of(model)
    made = Forecast(
        device=chosen.label,
        parts=parts(sizes, params, on, length, answer_share),
        free_bytes=chosen.free_bytes,
        total_memory_bytes=chosen.total_bytes,
        length=length,
    )
    return replace(made, levers=levers(sizes, params, on, length, answer_share))


def parts(
    sizes: Sizes, params: Params, on: str, length: int, answer_share: float | None = None
) -> dict[str, int]:
    """Bytes by part, at the peak of a step."""
    number = 2 if on == "cuda" else 4
    quantization = {"none": "bf16" if on == "cuda" else "fp32", "nf4": "nf4-dq"}.get(
        params.quantization, params.quantization
    )
    linear_bytes = QUANTIZATIONS[quantization].linear_bytes
    weights = sizes.linear * linear_bytes + (sizes.parameters - sizes.linear) * number
    adapter = adapter_parameters(sizes, params)
    in_8_bits = params.optimizer in ("adamw-8bit", "adamw-paged") or (
        params.optimizer == "auto" and on == "cuda"
    )
    tokens = _sequences(params) * length
    share = 1.0 if params.method != "sft" or not params.assistant_only else answer_share
    answers = tokens * (ANSWER_SHARE if share is None else share)
    return {
        "Base weights": int(weights),
        "Adapter": adapter * 4,
        "Gradients": adapter * 4,
        "Optimizer": adapter * (2 if in_8_bits else 8),
        "Activations": int(_activations(sizes, params, on, tokens) * number),
        "Logits": int(answers * sizes.vocabulary * 4 * LOGIT_COPIES),
        "Process": PROCESS_BYTES[
            "cuda" if on == "cuda" else "plain" if params.quantization == "none" else "bitsandbytes"
        ],
    }


def adapter_parameters(sizes: Sizes, params: Params) -> int:
    """LoRA's two matrices for each layer that it changes (arXiv:2106.09685)."""
    h, q, k, f = sizes.hidden, sizes.query, sizes.keys, sizes.feed_forward
    ends = {
        "q_proj": h + q, "k_proj": h + k, "v_proj": h + k, "o_proj": q + h,
        "gate_proj": h + f, "up_proj": h + f, "down_proj": f + h,
    }  # fmt: skip
    named = [name.strip() for name in params.target_modules.split(",") if name.strip()]
    chosen = ends if named == ["auto"] else {n: ends.get(n, h + f) for n in named}
    return params.rank * sum(chosen.values()) * sizes.layers


def levers(
    sizes: Sizes, params: Params, on: str, length: int, answer_share: float | None = None
) -> tuple[dict[str, Any], ...]:
    """What would lessen it: words, the changes, and what they save; the largest first."""
    asked: list[tuple[str, dict[str, Any]]] = []
    if params.batch_size > 1:
        half = params.batch_size // 2
        asked.append(
            (f"batch {half}, accumulation {params.accumulation * 2}",
             {"batch_size": half, "accumulation": params.accumulation * 2})
        )  # fmt: skip
    if not checkpointed(params, on):
        asked.append(("gradient checkpointing", {"gradient_checkpointing": "on"}))
    if params.quantization != "nf4":
        asked.append(("the base in NF4", {"quantization": "nf4"}))
    if params.max_length >= 2 * LEAST_LENGTH and length > params.max_length // 2:
        half = params.max_length // 2
        asked.append((f"rows of at most {half} tokens", {"max_length": half}))
    if params.optimizer in ("auto", "adamw") and on == "cpu":
        asked.append(("an 8-bit optimizer", {"optimizer": "adamw-8bit"}))
    if params.rank > 8:
        asked.append(("rank 8", {"rank": 8, "alpha": 16}))
    now = sum(parts(sizes, params, on, length, answer_share).values())
    found = []
    for words, changes in asked:
        try:
            changed = Params.from_dict({**params.to_dict(), **changes})
        except BadParam:
            continue
        short = min(length, changed.max_length)
        saved = now - sum(parts(sizes, changed, on, short, answer_share).values())
        if saved > now // 100:
            found.append({"words": words, "changes": changes, "saves_bytes": saved})
    return tuple(sorted(found, key=lambda lever: -lever["saves_bytes"]))


def checkpointed(params: Params, on: str) -> bool:
    """Whether activations are computed again on the way back instead of kept."""
    switch = params.gradient_checkpointing
    return switch == "on" or (switch, on) == ("auto", "cuda")


def _sequences(params: Params) -> int:
    """Rows at once; a preference is two of them."""
    return params.batch_size * (1 if params.method == "sft" else 2)


def _activations(sizes: Sizes, params: Params, on: str, tokens: int) -> float:
    """Numbers kept for the way back. With checkpointing: the input of each layer, and one layer
    whole (arXiv:1604.06174)."""
    of_hidden, of_feed_forward = KEPT_OF_A_LAYER
    layer = tokens * (of_hidden * sizes.hidden + of_feed_forward * sizes.feed_forward)
    if checkpointed(params, on):
        return layer + tokens * sizes.hidden * sizes.layers
    return float(layer * sizes.layers)
