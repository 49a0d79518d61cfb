"""The memory forecast: what changes it and in which direction; against measured peaks, a band."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import OutOfMemory
from core.models import checkpoint
from core.training.folder import RunFolder
from core.training.memory import Sizes, adapter_parameters, forecast, parts
from core.training.script.params import Params
from tests.models.tiny import save_tiny_model

BAND = (0.65, 1.5)
"""Forecast over measured peak. The activations of a step depend on kernels and allocators."""
# Llama 3.1 8B, from its config
LARGE: dict[str, Any] = {
    "parameter_count": 8_030_261_248,
    "details": {"layer_count": 32, "hidden_size": 4096, "kv_head_count": 8, "head_size": 128,
                "vocabulary_size": 128_256, "linear_parameter_count": 6_979_321_856},
}  # fmt: skip


def params(**changes: Any) -> Params:
    return Params.from_dict({"max_length": 512, **changes})


def total(on: str = "cpu", **changes: Any) -> int:
    return sum(parts(Sizes.of(LARGE), params(**changes), on, 512).values())


def test_an_adapters_size_is_lora_s() -> None:
    """PEFT says 41,943,040 for rank 16 on all linear layers of Llama 3.1 8B."""
    sizes = Sizes.of(LARGE)
    assert sizes.feed_forward == 14_336
    assert adapter_parameters(sizes, params(rank=16)) == 41_943_040
    assert adapter_parameters(sizes, params(rank=16, target_modules="q_proj, v_proj")) == 6_815_744


def test_what_should_need_less_needs_less() -> None:
    usual = total()
    assert total(batch_size=4, accumulation=2) < usual
    assert total(gradient_checkpointing="on") < usual
    assert total(quantization="nf4") < total(quantization="int8") < usual
    assert total(rank=4) < usual
    assert total(optimizer="adamw-8bit") < usual
    assert total(method="dpo") > usual
    assert total(assistant_only=False) > usual


def test_qlora_of_8_billion_fits_a_card_of_24_gb() -> None:
    """What the QLoRA paper is about; 16-bit LoRA does not fit there."""
    small = total("cuda", quantization="nf4", batch_size=1, accumulation=8)
    assert 5e9 < small < 16e9
    assert total("cuda", batch_size=1, accumulation=8) > small + 8e9


def test_levers_are_named_the_largest_first_and_save_what_they_say() -> None:
    asked = params()
    found = forecast(LARGE, asked, device="cpu").to_dict()
    assert not found["fits"] or found["free_bytes"] > found["total_bytes"]
    saved = [lever["saves_bytes"] for lever in found["levers"]]
    assert saved == sorted(saved, reverse=True)
    for lever in found["levers"]:
        changed = Params.from_dict({**asked.to_dict(), **lever["changes"]})
        length = min(512, changed.max_length)
        less = sum(parts(Sizes.of(LARGE), changed, "cpu", length).values())
        assert found["total_bytes"] - less == lever["saves_bytes"]


def test_what_no_lever_fits_on_this_machine_is_refused_with_the_biggest_named() -> None:
    huge = {"parameter_count": 8e12, "details": {**LARGE["details"], "hidden_size": 65_536,
                                                  "linear_parameter_count": 7e12}}  # fmt: skip
    with pytest.raises(OutOfMemory, match="GB in all") as raised:
        forecast(huge, params(), device="cpu").require_possible()
    assert "Biggest lever" in str(raised.value.hint)


def measured(base: Path, folder: RunFolder, asked: Params, length: int) -> int:
    """The peak of three real steps over rows of so many words."""
    turns = [{"role": "user", "content": "fox " * length}, {"role": "assistant", "content": "dog"}]
    rows = [("train", {"id": f"r{n}", "messages": turns}) for n in range(asked.rows_per_step * 4)]
    config = {"name": "m", "base": {"path": str(base), "name": "b", "sha256": None},
              "start_from": None, "params": asked.to_dict(), "lathe_version": "0"}  # fmt: skip
    folder.write(config, rows)
    done = subprocess.run(
        [sys.executable, "train.py", "--measure", "2"], cwd=folder.path, capture_output=True,
        text=True, timeout=280, check=True,
    )  # fmt: skip
    return int(json.loads(done.stdout.splitlines()[-1])["peak_memory_bytes"])


def held_against(base: Path, tmp_path: Path, asked: Params, words: int) -> float:
    found = checkpoint.read(base, kind="chat")
    model = {"parameter_count": found.parameter_count, "details": found.details}
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(base))
    length = len(tokenizer("fox " * words)["input_ids"])
    told = forecast(model, asked, device="cpu", longest=length, answer_share=1 / length)
    peak = measured(base, RunFolder(tmp_path / "run"), asked, words)
    ratio = told.total_bytes / peak
    print(f"{length} tokens: forecast {told.total_bytes / 1e9:.2f} GB, measured {peak / 1e9:.2f} GB"
          f", {ratio:.2f} times; {told.parts}")  # fmt: skip
    return ratio


@pytest.mark.slow
def test_a_tiny_models_forecast_is_within_the_band(tmp_path: Path) -> None:
    base = save_tiny_model(tmp_path / "tiny")
    asked = params(batch_size=4, rank=4, threads=1)
    assert BAND[0] < held_against(base, tmp_path, asked, 100) < BAND[1]


@pytest.mark.slow
def test_the_starters_forecast_is_within_the_band(starter_home: Path, tmp_path: Path) -> None:
    base = starter_home / "models" / "starter" / "smollm2-135m-instruct" / "safetensors"
    asked = params(batch_size=4, threads=1)
    assert BAND[0] < held_against(base, tmp_path, asked, 120) < BAND[1]
