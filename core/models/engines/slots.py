"""Slots: the key/value memory of the requests in flight, and attention over it.

One forward pass takes a ragged batch as one sequence of tokens: first one token for each row
that is decoding (row i lives in slot i), then the segments of prompts that are being read. The
linear layers see no padding; attention looks at each row's own slot.
Knows: tensors. Does not know: requests, text, when to stop.
The idea of token-level batches is Orca's (Yu et al., OSDI 2022); mixing prompt chunks with
decoding is Sarathi's (Agrawal et al., 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import Cache
from transformers.modeling_utils import AttentionInterface

from core.models.engines import bags

ATTENTION = "lathe_slots"
GROW_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a prompt: `size` tokens that follow the `past` ones already in `slot`."""

    slot: int
    past: int
    size: int


@dataclass(slots=True)
class Plan:
    """What one forward pass does."""

    lengths: list[int]
    """Tokens already in slots 0..n-1, one entry a decoding row."""
    segments: list[Segment]
    shared: int = 0
    """Tokens that all decoding rows begin with: read once for all of them."""
    rows: torch.Tensor = field(init=False)
    positions: torch.Tensor = field(init=False)
    mask: torch.Tensor | None = field(init=False)
    """(rows, 1, 1, longest): minus infinity past each row's end; None when all are equal."""
    causal: list[torch.Tensor | None] = field(init=False)
    """One mask a segment, (size, past + size); None where there is no past to see in full."""
    speaking: torch.Tensor | None = None
    """The tokens whose scores are asked for; the last layer may leave out the others."""
    turns: tuple[torch.Tensor, torch.Tensor] | None = None
    """The model's cosines, and what `fusing` made of them for all layers."""
    bags: bags.Bags | None = None
    """What decoding rows sum, made in the first layer."""

    def __post_init__(self) -> None:
        count = len(self.lengths)
        self.causal = [None] * len(self.segments)
        self.rows = torch.arange(count)
        self.positions = torch.tensor(self.lengths, dtype=torch.long)
        self.mask = None

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the index tensors to the device and make the masks, once for all layers."""
        self.rows, self.positions = self.rows.to(device), self.positions.to(device)
        if self.lengths and min(self.lengths) != max(self.lengths):
            steps = torch.arange(self.longest, device=device)
            beyond = steps[None, :] > self.positions[:, None]
            mask = torch.zeros(beyond.shape, dtype=dtype, device=device)
            self.mask = mask.masked_fill_(beyond, float("-inf"))[:, None, None, :]
        self.causal = [_causal(segment, device, dtype) for segment in self.segments]

    @property
    def longest(self) -> int:
        """Tokens that the longest decoding row has after this pass."""
        return max(self.lengths, default=0) + 1


class SlotCache(Cache):  # type: ignore[misc]
    """Keys and values of every slot, layer by layer: (slots, heads, tokens, size)."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.plan = Plan([], [])
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._slots = 0
        self._tokens = 0

    @property
    def slot_count(self) -> int:
        """Slots that there is room for."""
        return self._slots

    def reserve(self, slots: int, tokens: int, *, most_tokens: int | None = None) -> None:
        """Make room; what is there is kept. Memory is touched only when it is written.

        Slots double: one more at a time would copy everything for every row that joins. But all
        of them together do not take more than `most_tokens` for that.
        """
        self._tokens = max(self._tokens, -(-tokens // GROW_TOKENS) * GROW_TOKENS)
        if slots > self._slots:
            doubled = 2 * self._slots
            if most_tokens is not None:
                doubled = min(doubled, most_tokens // self._tokens)
            self._slots = max(slots, doubled)
        for store in (self._keys, self._values):
            for layer, old in enumerate(store):
                if old.shape[0] < self._slots or old.shape[2] < self._tokens:
                    store[layer] = self._grown(old)

    def clear(self) -> None:
        """Give all memory back."""
        self._keys, self._values = [], []
        self._slots = self._tokens = 0

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy the first tokens of one slot over another."""
        for store in (self._keys, self._values):
            for layer in store:
                layer[target, :, :tokens] = layer[source, :, :tokens]

    def snapshot(self, slot: int, tokens: int) -> list[torch.Tensor]:
        """A copy of the first tokens of a slot: for `restore`."""
        return [
            layer[slot, :, :tokens].clone()
            for store in (self._keys, self._values)
            for layer in store
        ]

    def restore(self, slot: int, saved: list[torch.Tensor], tokens: int) -> None:
        """Write the first tokens of a snapshot into a slot."""
        if not self._keys:  # the memory was given back since
            half = len(saved) // 2
            self._keys = [self._empty(tensor[None]) for tensor in saved[:half]]
            self._values = [self._empty(tensor[None]) for tensor in saved[half:]]
        for layer, tensor in zip([*self._keys, *self._values], saved, strict=True):
            layer[slot, :, :tokens] = tensor[:, :tokens]

    # what the model calls

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store the pass's keys and values, (1, heads, tokens, size); attention reads the slots."""
        if layer_idx == len(self._keys):
            self._keys.append(self._empty(key_states))
            self._values.append(self._empty(value_states))
        for store, new in ((self._keys, key_states), (self._values, value_states)):
            self._write(store[layer_idx], new[0])
        return self._keys[layer_idx], self._values[layer_idx]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        return query_length, 0

    def _write(self, buffer: torch.Tensor, new: torch.Tensor) -> None:
        plan = self.plan
        count = len(plan.lengths)
        if count:
            buffer[plan.rows, :, plan.positions] = new[:, :count].transpose(0, 1)
        start = count
        for segment in plan.segments:
            part = new[:, start : start + segment.size]
            buffer[segment.slot, :, segment.past : segment.past + segment.size] = part
            start += segment.size

    def _empty(self, like: torch.Tensor) -> torch.Tensor:
        shape = (self._slots, like.shape[1], self._tokens, like.shape[3])
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def _grown(self, old: torch.Tensor) -> torch.Tensor:
        shape = (self._slots, old.shape[1], self._tokens, old.shape[3])
        new = torch.zeros(shape, dtype=old.dtype, device=old.device)
        new[: old.shape[0], :, : old.shape[2]] = old
        return new


_current: SlotCache | None = None


def use(cache: SlotCache | None) -> None:
    """Name the cache whose plan the next forward pass follows; one engine a process."""
    global _current
    _current = cache


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of a ragged batch: query (1, heads, tokens, size), key and value are the slots."""
    if _current is None:
        raise RuntimeError("a forward pass needs a plan: see `use`")
    plan = _current.plan
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    parts = []
    count = len(plan.lengths)
    if count:
        parts.append(_decode(query[0, :, :count].transpose(0, 1), key, value, plan, scale))
    start = count
    for segment, mask in zip(plan.segments, plan.causal, strict=True):
        part = query[:, :, start : start + segment.size]
        parts.append(_read(part, key, value, segment, mask, scale))
        start += segment.size
    joined = parts[0] if len(parts) == 1 else torch.cat(parts)
    return joined.unsqueeze(0), None


def _decode(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: Plan, scale: float
) -> torch.Tensor:
    """One query token a row, (rows, heads, size) -> the same; heads that share keys go together."""
    rows, heads, size = query.shape
    shared = key.shape[1]
    own = slice(plan.shared, plan.longest)
    keys = key[:rows, :, own]
    grouped = query.reshape(rows, shared, heads // shared, size)
    if scale != 1:
        grouped = grouped * scale
    weights = torch.matmul(grouped, keys.transpose(2, 3))
    if plan.mask is not None:
        weights += plan.mask[..., own]
    if plan.shared:
        common = key[0, :, : plan.shared].transpose(1, 2)
        weights = torch.cat([_together(grouped, common), weights], dim=-1)
    weights = torch.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    out = _summed(weights[..., plan.shared :], value, plan, own)
    if plan.shared:
        out += _together(weights[..., : plan.shared], value[0, :, : plan.shared])
    return out.reshape(rows, heads, -1)


def _summed(weights: torch.Tensor, value: torch.Tensor, plan: Plan, own: slice) -> torch.Tensor:
    """Weights (rows, heads, queries, own) times each row's own values."""
    if not bags.suits(value):
        return torch.matmul(weights, value[: len(weights), :, own])
    if plan.bags is None:
        plan.bags = bags.make(plan.positions, plan.shared, value, weights.shape[2])
    return plan.bags.sums(weights, value)


def _together(rows: torch.Tensor, common: torch.Tensor) -> torch.Tensor:
    """(rows, heads, queries, n) times what all rows share, (heads, n, m): one product a head."""
    count, heads, queries, size = rows.shape
    flat = rows.transpose(0, 1).reshape(heads, count * queries, size)
    product = torch.bmm(flat, common)
    return product.view(heads, count, queries, -1).transpose(0, 1)


def _read(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segment: Segment,
    mask: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """A segment of one prompt, (1, heads, size, dim) -> (size, heads, dim), causal."""
    end = segment.past + segment.size
    out = torch.nn.functional.scaled_dot_product_attention(
        query,
        key[segment.slot : segment.slot + 1, :, :end],
        value[segment.slot : segment.slot + 1, :, :end],
        attn_mask=mask,
        is_causal=mask is None and segment.size > 1,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out[0].transpose(0, 1)


def _causal(segment: Segment, device: torch.device, dtype: torch.dtype) -> torch.Tensor | None:
    if not segment.past or segment.size == 1:
        return None
    mask = torch.full((segment.size, segment.past + segment.size), float("-inf"), device=device)
    return mask.triu(diagonal=segment.past + 1).to(dtype)


AttentionInterface.register(ATTENTION, attend)
