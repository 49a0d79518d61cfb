"""What a model can be loaded as, and what auto makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.models.choices import SLOW_BF16, Choice, choices, pick
from core.models.devices import Device

CPU = Device("cpu", "a CPU", 16_000_000_000, 8_000_000_000, cores=2, bf16=False)
NEW_CPU = Device("cpu", "a CPU", 16_000_000_000, 8_000_000_000, cores=2, bf16=True)
GPU = Device("cuda:0", "a card", 24_000_000_000, 20_000_000_000, cores=2, bf16=True)
STARTER: dict[str, Any] = {
    "source": "starter",
    "kind": "chat",
    "path": "/somewhere",
    "details": {"gguf_type": "Q4_1"},
}
CALIBRATION = {"device": "cpu", "single_tokens_per_s": None, "decode_tokens_per_s": None}


def chosen(
    device: Device = CPU,
    purpose: str = "interactive",
    calibrations: Any = (),
    fits: Any = lambda choice: True,
    model: dict[str, Any] = STARTER,
) -> tuple[Choice, str]:
    return pick(
        choices(model, device),
        purpose=purpose,
        device=device,
        calibrations=calibrations,
        fits=fits,
    )


def measured(engine: str, quantization: str, single: float, batch: float) -> dict[str, Any]:
    return {
        **CALIBRATION,
        "engine": engine,
        "quantization": quantization,
        "single_tokens_per_s": single,
        "decode_tokens_per_s": batch,
    }


def names(model: dict[str, Any], device: Device = CPU) -> list[str]:
    return [choice.label for choice in choices(model, device)]


def test_the_starter_can_be_loaded_in_six_ways() -> None:
    assert names(STARTER) == [
        "transformers fp32",
        "transformers bf16",
        "transformers int8",
        "transformers NF4",
        "transformers NF4, double quantization",
        "llama.cpp Q4_1",
    ]
    assert all(choice.why_not is None for choice in choices(STARTER, CPU))


def test_bf16_on_a_cpu_without_its_units_is_possible_and_warned_of() -> None:
    notes = {c.quantization: c.note for c in choices(STARTER, CPU)}
    assert notes["bf16"] == SLOW_BF16
    assert {c.quantization: c.note for c in choices(STARTER, NEW_CPU)}["bf16"] == ""


def test_a_gguf_that_is_not_converted_says_so() -> None:
    gguf = {**STARTER, "source": "gguf", "path": None}
    assert {c.why_not for c in choices(gguf, CPU) if c.engine == "transformers"} == {
        "Convert the GGUF to safetensors first."
    }
    assert chosen(model=gguf)[0].engine == "llama.cpp"
    hub = {**STARTER, "source": "hub", "path": None}
    with pytest.raises(Invalid, match="not been downloaded"):
        chosen(model=hub)


def test_endpoints_and_embeddings_have_one_way() -> None:
    assert names({**STARTER, "source": "endpoint"}) == ["endpoint"]
    assert names({**STARTER, "kind": "embedding"}) == ["transformers fp32"]


def test_llama_cpp_stays_on_the_cpu_beside_a_card() -> None:
    assert {c.engine: c.device for c in choices(STARTER, GPU)} == {
        "transformers": "cuda:0",
        "llama.cpp": "cpu",
    }


@pytest.mark.parametrize(
    ("device", "purpose", "label"),
    [
        (CPU, "interactive", "llama.cpp Q4_1"),
        (CPU, "batch", "transformers fp32"),
        (GPU, "interactive", "transformers bf16"),
        (GPU, "batch", "transformers bf16"),
    ],
)
def test_the_rule_where_nothing_was_measured(device: Device, purpose: str, label: str) -> None:
    choice, why = chosen(device, purpose)
    assert choice.label == label
    assert "not measured on a quiet machine yet" in why


def test_the_fastest_measured_wins_by_purpose() -> None:
    rows = [
        measured("transformers", "fp32", 4, 104),
        measured("llama.cpp", "gguf", 78, 94),
        measured("transformers", "nf4", 2, 20),
    ]
    choice, why = chosen(purpose="interactive", calibrations=rows)
    assert (choice.label, why) == (
        "llama.cpp Q4_1",
        "the fastest measured here for one reader: 78 tok/s; next is transformers fp32 with 4",
    )
    assert chosen(purpose="batch", calibrations=rows)[0].label == "transformers fp32"


def test_one_measurement_alone_decides_nothing() -> None:
    rows = [measured("transformers", "nf4", 2, 20)]
    assert chosen(calibrations=rows)[0].label == "llama.cpp Q4_1"


def test_what_was_measured_beside_other_work_does_not_count() -> None:
    rows = [
        {**measured("transformers", "nf4", 900, 900), "busy_percent": 97.0},
        {**measured("llama.cpp", "gguf", 8, 8), "busy_percent": 3.0},
        {**measured("transformers", "int8", 9, 9), "busy_percent": 20.0},
    ]
    assert chosen(calibrations=rows)[0].label == "transformers int8"
    assert chosen(calibrations=rows[:2])[0].label == "llama.cpp Q4_1"


def test_measurements_of_another_device_do_not_count() -> None:
    rows = [measured("transformers", "nf4", 900, 900), measured("transformers", "int8", 800, 800)]
    assert chosen(GPU, calibrations=rows)[0].label == "transformers bf16"


def test_what_does_not_fit_is_not_chosen() -> None:
    small = chosen(GPU, fits=lambda c: c.quantization.startswith("nf4"))[0]
    assert small.quantization == "nf4"
    smallest, why = chosen(CPU, fits=lambda c: False)
    assert smallest.label == "llama.cpp Q4_1"
    assert "nothing fits" in why


def test_a_folder_on_a_cpu_is_fp32_then_int8() -> None:
    folder = {**STARTER, "source": "directory"}
    assert chosen(model=folder)[0].quantization == "fp32"
    assert chosen(model=folder, fits=lambda c: c.quantization != "fp32")[0].quantization == "int8"


@given(
    purpose=st.sampled_from(["interactive", "batch"]),
    fitting=st.sets(st.sampled_from(["fp32", "bf16", "int8", "nf4", "nf4-dq", "gguf"]), min_size=1),
)
def test_auto_never_takes_bf16_on_a_cpu_without_its_units(purpose: str, fitting: set[str]) -> None:
    choice, why = chosen(CPU, purpose, fits=lambda c: c.quantization in fitting)
    assert choice.quantization in fitting
    assert choice.quantization != "bf16" or fitting == {"bf16"}
    assert why
