"""Decoder layers in fewer and larger products, for the CPU.

Knows: the pre-norm layer with a gated MLP that Llama, Mistral and Qwen2 share, and oneDNN's
products with an activation, a factor or a summand taken along. Does not know: which model it is.
A layer is replaced only where it is built like that and gives the same numbers; others stay.
What is saved: queries, keys and values in one product; the norms' gains and the scale of scores
inside the weights; rotation as one product of complex numbers; no pass over memory for activation,
gate and residual.
"""

from __future__ import annotations

from typing import Any

import torch

from core.models.engines.packing import has_kernels, suits
from core.models.engines.slots import Plan, Segment, SlotCache, attend, use

PARTS = {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"}
ATTENTION_PARTS = {"q_proj", "k_proj", "v_proj", "o_proj"}
MLP_PARTS = {"gate_proj", "up_proj", "down_proj"}
TRIED_TOKENS = 7
CLOSE_SHARE = 1e-4


class Product:
    """A packed weight, with what oneDNN does to the product while it is at hand."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self._packed: Any = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous())
        self._bias = bias

    def __call__(self, rows: torch.Tensor, then: str = "none") -> torch.Tensor:
        """rows times the weight, then nothing or "swish"."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._packed, self._bias, then, [], ""
        )
        return out

    def with_other(self, rows: torch.Tensor, other: torch.Tensor, how: str) -> torch.Tensor:
        """rows times the weight, then "add" or "mul" with the other."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            rows, other, self._packed, self._bias, how
        )
        return out


class FusedLayer(torch.nn.Module):  # type: ignore[misc]
    """A decoder layer over `SlotCache`, (1, tokens, width) in and out."""

    def __init__(self, layer: Any, *, is_last: bool = False) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self._index, self._is_last = attention.layer_idx, is_last
        self._size = attention.head_dim
        self._heads = attention.q_proj.out_features // self._size
        self._shared = attention.k_proj.out_features // self._size
        self._before = _epsilon(layer.input_layernorm)
        self._between = _epsilon(layer.post_attention_layernorm)
        gain = layer.input_layernorm.weight
        turned = [_interleaved(p, self._size) for p in (attention.q_proj, attention.k_proj)]
        turned[0] = _scaled(*turned[0], attention.scaling)
        parts = [*turned, (attention.v_proj.weight, attention.v_proj.bias)]
        biases = [bias for _, bias in parts if bias is not None]
        weight = torch.cat([weight for weight, _ in parts]) * gain
        self._read = Product(weight, torch.cat(biases) if len(biases) == len(parts) else None)
        self._write = Product(attention.o_proj.weight, attention.o_proj.bias)
        gain = layer.post_attention_layernorm.weight
        self._gate = Product(mlp.gate_proj.weight * gain, mlp.gate_proj.bias)
        self._up = Product(mlp.up_proj.weight * gain, mlp.up_proj.bias)
        self._down = Product(mlp.down_proj.weight, mlp.down_proj.bias)
        if hasattr(layer, "attention_type"):  # the models ask their layers for it
            self.attention_type = layer.attention_type

    def forward(
        self,
        hidden_states: torch.Tensor,
        *_: Any,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        past_key_values: SlotCache,
        **__: Any,
    ) -> torch.Tensor:
        """The layer; in the last one only the tokens that are asked for get their due."""
        plan = past_key_values.plan
        rows = before = hidden_states[0]
        attended = self._attend(rows, position_embeddings, past_key_values)
        asked = plan.speaking if self._is_last else None
        if asked is not None:
            rows, attended = rows[asked], attended[asked]
        rows = self._write.with_other(attended, rows, "add")
        normed = _normed(rows, self._between)
        inner = self._up.with_other(normed, self._gate(normed, "swish"), "mul")
        out = self._down.with_other(inner, rows, "add")
        if asked is not None:
            out = before.index_copy(0, asked, out)
        return out[None]

    def _attend(
        self, rows: torch.Tensor, angles: tuple[torch.Tensor, torch.Tensor], cache: SlotCache
    ) -> torch.Tensor:
        count, turned = len(rows), self._heads + self._shared
        read = self._read(_normed(rows, self._before)).view(count, -1, self._size)
        pairs = torch.view_as_complex(read[:, :turned].unflatten(-1, (-1, 2)))
        both = torch.view_as_real(pairs * _turns(angles, cache.plan)).flatten(-2)
        both = both.transpose(0, 1)[None]
        key, value = cache.update(
            both[:, self._heads :], read[:, turned:].transpose(0, 1)[None], self._index
        )
        out, _ = attend(self, both[:, : self._heads], key, value, None, scaling=1.0)
        return out.reshape(count, -1)


@torch.inference_mode()  # type: ignore[untyped-decorator]
def fuse(model: Any) -> int:
    """Replace the layers that can be by fused ones; how many were. Call it before `pack`."""
    decoder = getattr(model, "model", None)
    layers, rotation = getattr(decoder, "layers", None), getattr(decoder, "rotary_emb", None)
    if not isinstance(layers, torch.nn.ModuleList) or rotation is None or not has_kernels():
        return 0
    count = 0
    for index, layer in enumerate(layers):
        fused = _fused(layer, rotation, is_last=index == len(layers) - 1)
        if fused is None:
            continue
        layers[index] = fused
        count += 1
    return count


def _fused(layer: torch.nn.Module, rotation: Any, *, is_last: bool) -> FusedLayer | None:
    """The fused layer, or None where it is built otherwise or gives other numbers."""
    if not _looks_right(layer):
        return None
    try:
        fused = FusedLayer(layer, is_last=is_last)
        width = int(layer.get_submodule("input_layernorm").weight.shape[0])
        rows = torch.randn(1, TRIED_TOKENS, width, generator=torch.Generator().manual_seed(0))
        positions = torch.arange(TRIED_TOKENS)[None]
        angles = rotation(rows, position_ids=positions)
        outs = [_tried(each, rows, positions, angles) for each in (layer, fused)]
    except (RuntimeError, AttributeError, TypeError, ValueError, NotImplementedError):
        return None
    return fused if _same(outs[0], outs[1], rows) else None


def _same(plain: Any, fused: torch.Tensor, rows: torch.Tensor) -> bool:
    """Measured by what the layer adds to its input, however little that is."""
    if not isinstance(plain, torch.Tensor) or plain.shape != fused.shape:
        return False
    return bool((plain - fused).norm() <= CLOSE_SHARE * (plain - rows).norm())


def _tried(layer: Any, rows: torch.Tensor, positions: torch.Tensor, angles: Any) -> Any:
    try:
        return _outs(layer, rows, positions, angles)
    finally:
        use(None)


def _outs(layer: Any, rows: torch.Tensor, positions: torch.Tensor, angles: Any) -> Any:
    cache = _OneLayer()
    cache.reserve(2, TRIED_TOKENS)
    halves = ((0, 4), (4, TRIED_TOKENS - 5), (TRIED_TOKENS - 1, 1))
    outs = []
    for past, size in halves:  # a prompt, more of it, a token by decoding
        last = past == TRIED_TOKENS - 1
        cache.plan = Plan([past], []) if last else Plan([], [Segment(0, past, size)])
        cache.plan.place(rows.device, rows.dtype)
        use(cache)
        part = slice(past, past + size)
        outs.append(
            layer(
                rows[:, part],
                attention_mask=None,
                position_ids=positions[:, part],
                past_key_values=cache,
                use_cache=True,
                position_embeddings=tuple(angle[:, part] for angle in angles),
            )
        )
    return torch.cat(outs, dim=1)


class _OneLayer(SlotCache):
    """Memory for one layer, whatever its number."""

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *_: Any,
        **__: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return super().update(key_states, value_states, 0)


def _looks_right(layer: torch.nn.Module) -> bool:
    """Exactly the parts we know: a norm, a gate or a hook more would be left out silently."""
    if any(module._forward_hooks or module._forward_pre_hooks for module in layer.modules()):
        return False
    if {name for name, _ in layer.named_children()} != PARTS:
        return False
    attention, mlp = layer.get_submodule("self_attn"), layer.get_submodule("mlp")
    if {name for name, _ in attention.named_children()} != ATTENTION_PARTS:
        return False
    if {name for name, _ in mlp.named_children()} - {"act_fn"} != MLP_PARTS:
        return False
    if not getattr(attention, "use_rope", True):
        return False
    products = [attention.get_submodule(name) for name in ATTENTION_PARTS]
    products += [mlp.get_submodule(name) for name in MLP_PARTS]
    return all(type(p) is torch.nn.Linear and suits(p.weight) for p in products)


def _epsilon(norm: Any) -> float:
    found = getattr(norm, "variance_epsilon", None)
    return float(norm.eps if found is None else found)


def _normed(rows: torch.Tensor, epsilon: float) -> torch.Tensor:
    """RMS norm without its gain, in one pass to measure and one to scale."""
    length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows * length.square_().div_(rows.shape[-1]).add_(epsilon).rsqrt_()


def _interleaved(linear: Any, size: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias with the two halves of each head as pairs; scores do not see the order."""

    def reorder(tensor: torch.Tensor) -> torch.Tensor:
        halves = tensor.unflatten(0, (-1, 2, size // 2))
        return halves.transpose(1, 2).flatten(0, 2)

    return reorder(linear.weight), None if linear.bias is None else reorder(linear.bias)


def _scaled(
    weight: torch.Tensor, bias: torch.Tensor | None, factor: float
) -> tuple[torch.Tensor, torch.Tensor | None]:
    return weight * factor, None if bias is None else bias * factor


def _turns(angles: tuple[torch.Tensor, torch.Tensor], plan: Plan) -> torch.Tensor:
    """The pass's rotations as complex numbers, (tokens, 1, size / 2): made in its first layer."""
    cos, sin = angles
    if plan.turns is None or plan.turns[0] is not cos:
        half = cos.shape[-1] // 2
        made = torch.complex(cos[0, :, :half].contiguous(), sin[0, :, :half].contiguous())
        plan.turns = (cos, made[:, None])
    return plan.turns[1]
