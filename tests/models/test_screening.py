"""The best token by a cheap product first: always that of fp32, and used only where it is asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.generation import Generation
from core.models.engines.sampling import Drawn, Sampler, draw_all
from core.models.engines.screening import ScreenedHead, has_units, screen

pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bf16 here"
)


def head_of(weight: torch.Tensor) -> ScreenedHead:
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    linear.weight = torch.nn.Parameter(weight, requires_grad=False)
    return ScreenedHead(linear)


def exact(rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (rows.double() @ weight.double().T).argmax(dim=-1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tokens=st.sampled_from([1, 31, 512, 700, 2048]),
    width=st.sampled_from([8, 64, 96]),
    rows=st.integers(1, 9),
    spread=st.sampled_from([1e-3, 1.0, 30.0]),
    near=st.sampled_from([None, 1e-4, 1e-2]),
)
def test_the_choice_is_that_of_exact_scores(
    seed: int, tokens: int, width: int, rows: int, spread: float, near: float | None
) -> None:
    torch.manual_seed(seed)
    weight = torch.randn(tokens, width) * spread
    if near is not None:  # tokens that bf16 cannot tell apart
        weight = weight[:1] + near * spread * torch.randn(tokens, width)
    given_rows = torch.randn(rows, width) * 3
    with torch.inference_mode():
        chosen = head_of(weight).best(given_rows)
    wanted = exact(given_rows, weight)
    scores = given_rows.double() @ weight.double().T
    lost = scores.gather(1, wanted[:, None]) - scores.gather(1, chosen[:, None])
    # nothing but what fp32 itself cannot tell apart
    lengths = given_rows.double().norm(dim=1, keepdim=True) * weight.double().norm(dim=1).max()
    assert bool((lost <= 1e-6 * lengths).all())


def test_all_scores_negative_and_a_vocabulary_that_fills_no_block() -> None:
    weight = torch.ones(600, 16) * torch.linspace(2, 1, 600)[:, None]
    rows = -torch.ones(2, 16)
    assert head_of(weight).best(rows).tolist() == [599, 599]


def test_of_equal_tokens_the_first_is_chosen() -> None:
    weight = torch.randn(1024, 16)
    weight[[40, 700]] = 9.0
    assert head_of(weight).best(torch.ones(1, 16)).tolist() == [40]


def test_when_too_many_are_close_all_scores_are_computed() -> None:
    weight = torch.ones(2048, 16)
    weight[1234] += 1e-3
    assert head_of(weight).best(torch.ones(3, 16)).tolist() == [1234] * 3


def test_scores_that_are_no_numbers_end_no_batch() -> None:
    rows = torch.ones(2, 16)
    rows[1] = float("nan")
    weight = torch.randn(1024, 16)
    assert head_of(weight).best(rows)[0] == exact(rows[:1], weight)[0]


def test_a_head_that_is_not_choosing_gives_all_scores() -> None:
    weight, rows = torch.randn(700, 32), torch.randn(1, 3, 32)
    head = head_of(weight)
    torch.testing.assert_close(head(rows), rows @ weight.T, rtol=1e-4, atol=1e-4)
    head.choosing = True
    assert head(rows).shape == (1, 3, 1)
    assert head.chosen.tolist() == exact(rows[0], weight).tolist()


@pytest.mark.parametrize(
    ("changes", "top_logprobs", "wanted"),
    [({}, None, True), ({}, 0, False), ({"temperature": 1.0}, None, False)],
)
def test_only_greedy_rows_without_log_probabilities_do_with_the_best(
    changes: dict[str, Any], top_logprobs: int | None, wanted: bool
) -> None:
    assert Sampler(Generation(**changes), top_logprobs).wants_best is wanted


def test_tokens_chosen_already_are_drawn_as_they_are() -> None:
    sampler = Sampler(Generation(), None)
    assert draw_all(torch.tensor([3, 5]), [sampler, sampler]) == [Drawn(3), Drawn(5)]


def llama(**changes: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 32_768, "hidden_size": 512, "intermediate_size": 64}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, **changes)).eval()


def test_a_head_with_weights_of_its_own_stays() -> None:
    model = llama(tie_word_embeddings=False)
    assert not screen(model)
    assert type(model.lm_head) is torch.nn.Linear


@pytest.mark.skipif(not has_units(), reason="this processor does not multiply bf16")
def test_where_there_are_units_it_is_either_faster_or_not_used() -> None:
    model = llama(tie_word_embeddings=True)
    used = screen(model)
    assert isinstance(model.lm_head, ScreenedHead) is used
