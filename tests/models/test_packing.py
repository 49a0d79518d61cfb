"""Packed layers give what plain ones give, and nothing else is touched."""

from __future__ import annotations

import pytest
import torch

from core.models.engines.packing import PackedLinear, pack


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 24), (7, 24), (1, 5, 24), (2, 3, 24)])
def test_a_packed_layer_gives_the_same(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(24, 40, bias=bias)
    rows = torch.randn(shape)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(linear)(rows), linear(rows))


def test_only_plain_fp32_layers_are_packed() -> None:
    class Special(torch.nn.Linear):
        """Such as bitsandbytes' own."""

    model = torch.nn.Sequential(
        torch.nn.Linear(8, 8), Special(8, 8), torch.nn.Linear(8, 8).to(torch.bfloat16)
    )
    assert pack(model) == 1
    assert [type(layer).__name__ for layer in model] == ["PackedLinear", "Special", "Linear"]


def test_an_embedding_tied_to_the_last_layer_stays() -> None:
    model = torch.nn.ModuleDict(
        {"embed": torch.nn.Embedding(10, 8), "head": torch.nn.Linear(8, 10)}
    )
    model["head"].weight = model["embed"].weight
    assert pack(model) == 1
    assert model["embed"](torch.tensor([3])).shape == (1, 8)
