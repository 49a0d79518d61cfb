"""Forecasts: sums that can be done by hand, refusals that help, and real workers measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import OutOfMemory
from core.models.devices import Device
from core.models.forecast import Forecast, cache_bytes, forecast, weight_bytes
from core.models.spec import WorkerSpec

CPU = Device("cpu", "a CPU", 16_000_000_000, 8_000_000_000, cores=2, bf16=False)
GPU = Device("cuda:0", "a card", 24_000_000_000, 20_000_000_000, cores=2, bf16=True)
MODEL: dict[str, Any] = {
    "parameter_count": 7_000_000_000,
    "weight_bytes": 14_000_000_000,
    "details": {
        "layer_count": 32,
        "kv_head_count": 8,
        "head_size": 128,
        "hidden_size": 4096,
        "vocabulary_size": 32_000,
        "linear_parameter_count": 6_500_000_000,
        "gguf_bytes": 4_200_000_000,
        "dtypes": ["BF16"],
        "checkpoint_bytes": 14_000_000_000,
    },
}


def spec(quantization: str, device: str = "cpu", **more: Any) -> WorkerSpec:
    return WorkerSpec("m", "Seven", "transformers", quantization, device=device, **more)


@pytest.mark.parametrize(
    ("quantization", "device", "expected"),
    [
        ("fp32", "cpu", 28.0e9),
        ("bf16", "cpu", 14.0e9),
        ("int8", "cpu", 6.5e9 + 0.5e9 * 4),
        ("int8", "cuda:0", 6.5e9 + 0.5e9 * 2),
        ("nf4", "cuda:0", 6.5e9 * 0.5625 + 0.5e9 * 2),
        ("nf4-dq", "cuda:0", 6.5e9 * (0.5 + 1 / 64 + 4 / 16384) + 0.5e9 * 2),
    ],
)
def test_weights_by_quantization(quantization: str, device: str, expected: float) -> None:
    assert weight_bytes(MODEL, spec(quantization, device)) == pytest.approx(expected, rel=1e-6)


def test_a_gguf_takes_what_its_file_holds() -> None:
    llama = WorkerSpec("m", "Seven", "llama.cpp", "gguf")
    assert weight_bytes(MODEL, llama) == 4_200_000_000


def test_the_cache_holds_at_least_one_whole_context_and_no_more_than_the_engine_takes() -> None:
    token = 2 * 32 * 8 * 128 * 4
    details = MODEL["details"]
    assert cache_bytes(details, spec("fp32", slots=1, context_length=100)) == token * 100
    assert cache_bytes(details, spec("fp32", slots=64, context_length=2048)) == 1536 * 1024**2
    assert cache_bytes(details, spec("fp32", slots=64, context_length=32768)) == token * 32768


def test_the_cache_limits_are_the_engines_own() -> None:
    from core.models import forecast as module
    from core.models.engines import llamacpp, transformers

    assert module.CACHE_LIMIT_BYTES == transformers.KV_BYTES == llamacpp.KV_BYTES
    assert module.LLAMA_CPP_SLOTS == llamacpp.MOST_SLOTS


def test_what_does_not_fit_is_refused_with_the_biggest_lever() -> None:
    made = forecast(MODEL, spec("fp32"), CPU)
    assert not made.fits
    assert "alone" not in made.lever
    with pytest.raises(
        OutOfMemory, match=r"needs about .* GB on cpu .*; 8\.00 GB is free"
    ) as caught:
        made.require_fit()
    assert "NF4 with double quantization" in str(caught.value.hint)
    assert "alone it is not enough" in forecast(MODEL, spec("fp32"), CPU, free_bytes=10**9).lever


def test_the_lever_is_whatever_frees_most() -> None:
    tight = replace(GPU, free_bytes=5_000_000_000)
    loaded = {"Other · transformers · bf16": 15_000_000_000}
    made = forecast(MODEL, spec("nf4-dq", "cuda:0"), tight, loaded=loaded)
    assert "unload Other" in made.lever
    assert "alone" not in made.lever


def test_a_quantized_model_fits_on_a_card_where_bf16_does_not() -> None:
    card = replace(GPU, free_bytes=12_000_000_000)
    assert not forecast(MODEL, spec("bf16", "cuda:0"), card).fits
    assert forecast(MODEL, spec("nf4", "cuda:0"), card).fits


def test_the_mapped_source_is_told_and_refuses_nothing() -> None:
    on_cpu = forecast(MODEL, spec("nf4", slots=1, context_length=512), CPU)
    assert on_cpu.mapped_bytes == 14_000_000_000
    assert on_cpu.fits
    assert forecast(MODEL, spec("nf4", "cuda:0"), GPU).mapped_bytes == 0
    assert forecast(MODEL, spec("bf16"), CPU).mapped_bytes == 0  # it is bf16 already


def test_an_endpoint_takes_nothing_here() -> None:
    remote = WorkerSpec("m", "far", "endpoint", "remote", device="remote")
    assert forecast({}, remote, CPU).total_bytes == 0


@given(
    quantization=st.sampled_from(["fp32", "bf16", "int8", "nf4", "nf4-dq"]),
    slots=st.integers(1, 256),
    context=st.integers(1, 200_000),
    free=st.integers(0, 10**12),
)
def test_any_forecast_adds_up(quantization: str, slots: int, context: int, free: int) -> None:
    asked = spec(quantization, slots=slots, context_length=context)
    made = forecast(MODEL, asked, CPU, free_bytes=free)
    assert made.total_bytes > made.weight_bytes > 0
    assert made.fits == (made.total_bytes <= free)
    if not made.fits:
        with pytest.raises(OutOfMemory):
            made.require_fit()


def test_a_registry_row_without_facts_is_no_error() -> None:
    assert isinstance(forecast({"details": {}}, spec("fp32"), CPU), Forecast)
