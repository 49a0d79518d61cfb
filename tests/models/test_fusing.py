"""Fused layers give what plain ones give, and layers built otherwise are left alone."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from core.models.engines.fusing import FusedLayer, fuse
from core.models.engines.packing import pack
from core.models.engines.slots import ATTENTION, Plan, Segment, SlotCache, use

WIDTH = 48
SHAPES = [(4, 4, 12), (6, 2, 8), (2, 1, 32)]


def made(config: Any, *, heads: int = 4, shared: int = 2, size: int = 12, **more: Any) -> Any:
    torch.manual_seed(0)
    settings = config(
        vocab_size=50,
        hidden_size=WIDTH,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=heads,
        num_key_value_heads=shared,
        head_dim=size,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **more,
    )
    model = AutoModelForCausalLM.from_config(settings, attn_implementation=ATTENTION)
    with torch.no_grad():  # gains and biases that are not all ones and zeros
        for name, weight in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                weight += torch.randn_like(weight) * 0.2
    return model.eval()


@torch.inference_mode()
def scores(model: Any) -> torch.Tensor:
    """Two prompts read, then one token of each together with more of a third prompt."""
    cache = SlotCache()
    cache.reserve(3, 32)
    use(cache)
    generator = torch.Generator().manual_seed(1)
    outs = []
    for lengths, segments, asked in (
        ([], [Segment(0, 0, 5), Segment(1, 0, 3)], [4, 7]),
        ([], [Segment(2, 0, 6)], [5]),
        ([5, 3], [Segment(2, 6, 4)], [0, 1, 5]),
    ):
        past = [torch.arange(s.past, s.past + s.size) for s in segments]
        positions = torch.cat([torch.tensor(lengths, dtype=torch.long), *past])
        cache.plan = Plan(lengths, segments, speaking=torch.tensor(asked))
        cache.plan.place(torch.device("cpu"), torch.float32)
        out = model(
            input_ids=torch.randint(0, 50, (1, len(positions)), generator=generator),
            position_ids=positions[None],
            past_key_values=cache,
            logits_to_keep=torch.tensor(asked),
            use_cache=True,
        )
        outs.append(out.logits[0])
    use(None)
    return torch.cat(outs)


@pytest.mark.parametrize(("heads", "shared", "size"), SHAPES)
@pytest.mark.parametrize("config", [LlamaConfig, MistralConfig, Qwen2Config])
def test_fused_layers_give_the_same_scores(config: Any, heads: int, shared: int, size: int) -> None:
    model = made(config, heads=heads, shared=shared, size=size)
    plain = scores(model)
    assert fuse(model) == 3
    assert all(type(layer) is FusedLayer for layer in model.model.layers)
    torch.testing.assert_close(scores(model), plain, atol=1e-3, rtol=1e-3)


def test_biases_everywhere_are_kept() -> None:
    model = made(LlamaConfig, attention_bias=True, mlp_bias=True)
    plain = scores(model)
    assert fuse(model) == 3
    torch.testing.assert_close(scores(model), plain, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("config", [Qwen3Config, GemmaConfig, Phi3Config])
def test_layers_built_otherwise_are_left_alone(config: Any) -> None:
    model = made(config)
    plain = scores(model)
    assert fuse(model) == 0
    assert pack(model) > 0
    torch.testing.assert_close(scores(model), plain, atol=1e-3, rtol=1e-3)


def test_a_factor_that_no_part_shows_is_found_by_its_numbers() -> None:
    assert fuse(made(GraniteConfig, residual_multiplier=0.22)) == 0
    assert fuse(made(LlamaConfig, hidden_act="gelu")) == 0


def test_other_precisions_are_left_alone() -> None:
    assert fuse(made(LlamaConfig).to(torch.bfloat16)) == 0
    assert fuse(torch.nn.Linear(3, 3)) == 0


@pytest.mark.parametrize("part", ["", "self_attn", "mlp.down_proj"])
def test_a_layer_somebody_listens_to_is_left_alone(part: str) -> None:
    model = made(LlamaConfig)
    seen: list[Any] = []
    model.model.layers[1].get_submodule(part).register_forward_hook(lambda *a: seen.append(a[0]))
    assert fuse(model) == 2
    scores(model)
    assert len(seen) == 3


def test_the_weights_that_were_packed_are_freed() -> None:
    model = made(LlamaConfig)
    layer = model.model.layers[0]
    held = [weakref.ref(p.weight) for p in (layer.self_attn.q_proj, layer.mlp.up_proj)]
    held += [weakref.ref(model.model.layers[1].self_attn.o_proj), weakref.ref(layer)]
    del layer
    assert fuse(model) == 3
    gc.collect()
    assert [ref() for ref in held] == [None] * 4
