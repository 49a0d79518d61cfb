"""A run folder trains by itself: what it leaves, what it says, every setting."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.models.tiny import save_tiny_model
from tests.training.folders import (
    DROPOUT,
    Warm,
    assert_same_adapter,
    events,
    log_tail,
    result,
    run_folder,
    sft_rows,
    train,
    turns,
    weights,
)


@pytest.mark.slow
def test_a_folder_trains_by_hand_as_its_files_say(tmp_path: Path, tiny_base: Path) -> None:
    """The copy in the folder runs alone: nothing of Lathe's is on its path."""
    folder = run_folder(tmp_path / "run", base=tiny_base, epochs=1.0)
    assert train(folder, PYTHONPATH="") == 0, log_tail(folder)
    done = result(folder)
    assert done["state"] == "succeeded"
    assert sorted(path.name for path in (folder / "adapter").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja",
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


def test_an_adapter_is_loaded_by_plain_peft(unbroken: Path, tiny_base: Path) -> None:
    import torch
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    model = AutoPeftModelForCausalLM.from_pretrained(unbroken / "adapter").eval()
    tokenizer = AutoTokenizer.from_pretrained(unbroken / "adapter")
    ids = torch.tensor([tokenizer("what colour has the sea")["input_ids"]])
    with torch.no_grad():
        tuned = model(input_ids=ids).logits
        with model.disable_adapter():
            assert not torch.equal(model(input_ids=ids).logits, tuned)
    config = json.loads((unbroken / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_base)
    assert sorted(config["target_modules"]) == [
        "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj",
    ]  # fmt: skip


def test_what_happens_is_told(unbroken: Path) -> None:
    told = events(unbroken)
    assert [event["kind"] for event in told[:3]] == ["start", "eval", "sample"]
    assert told[-1] == {"kind": "end", "at": told[-1]["at"], "state": "succeeded"}
    begun = told[0]
    assert (begun["total_steps"], begun["train_rows"], begun["eval_rows"]) == (12, 24, 6)
    assert (begun["world_size"], begun["device"], begun["dtype"]) == (1, "cpu", "float32")
    assert begun["trainable_parameters"] == sum(
        t.numel() for t in weights(unbroken / "adapter").values()
    )
    steps = events(unbroken, "step")
    assert [step["step"] for step in steps] == list(range(1, 13))
    assert all(a["tokens"] < b["tokens"] for a, b in pairwise(steps))
    for name in ("loss", "learning_rate", "grad_norm", "tokens_per_s", "seconds", "memory_bytes",
                 "eta_s", "epoch"):  # fmt: skip
        assert all(isinstance(step[name], int | float) for step in steps), name
    evals = events(unbroken, "eval")
    assert [(one["step"], one["base"]) for one in evals] == [
        (0, True), (4, False), (8, False), (12, False),
    ]  # fmt: skip
    samples = events(unbroken, "sample")
    assert [(one["step"], one["base"]) for one in samples] == [
        (0, True), (4, False), (8, False), (12, False),
    ]  # fmt: skip
    assert samples[0]["row_id"] == "r24"
    assert samples[0]["expected"] == "red"
    assert samples[0]["prompt"].endswith("<|assistant|>")
    assert [one["step"] for one in events(unbroken, "checkpoint")] == [2, 4, 6, 8, 10, 12]


def test_how_it_ended_is_told(unbroken: Path) -> None:
    done = result(unbroken)
    evals = [one["loss"] for one in events(unbroken, "eval")]
    assert done["eval_loss_base"] == evals[0]
    assert done["eval_loss_first"] == evals[1]
    assert done["eval_loss_last"] == evals[-1]
    assert done["eval_loss_best"] == min(evals[1:])
    assert (done["steps"], done["epochs"], done["adapter"]) == (12, 2.0, "adapter")
    assert done["tokens"] == events(unbroken, "step")[-1]["tokens"]
    assert done["peak_memory_bytes"] > 1e8
    assert set(done["versions"]) >= {"torch", "transformers", "trl", "peft"}
    assert (done["energy_wh"] is None) == done["energy_basis"].startswith("not measured")


def test_the_newest_two_checkpoints_and_the_best_are_kept(unbroken: Path) -> None:
    best = result(unbroken)["best_step"]
    kept = {int(path.name.split("-")[1]) for path in (unbroken / "checkpoints").iterdir()}
    assert kept == {10, 12, best}
    for path in (unbroken / "checkpoints").iterdir():
        listed = json.loads((path / "complete.json").read_text())["files"]
        assert listed["adapter_model.safetensors"] > 0
        assert {name: (path / name).stat().st_size for name in listed} == listed


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [
        ([], "empty", "The split has no rows"),
        ([{"id": "a", "messages": turns("a", " ")}], "empty", "1 empty answer"),
    ],
)
def test_an_empty_split_is_told(
    warm: Warm, tiny_base: Path, tmp_path: Path, rows: list[Any], code: str, words: str
) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base, rows=rows)
    assert warm.train(folder) == 1
    error = result(folder)["error"]
    assert error["code"] == code
    assert words in error["message"] + error["hint"]


def test_a_template_that_does_not_fit_is_told(warm: Warm, tmp_path: Path) -> None:
    plain = save_tiny_model(tmp_path / "base")
    (plain / "chat_template.jinja").write_text("{% for m in messages %}{% endfor %}")
    folder = run_folder(tmp_path / "run", base=plain)
    assert warm.train(folder) == 1
    assert result(folder)["error"]["code"] == "template"


def test_a_setting_that_cannot_be_is_told(warm: Warm, tiny_base: Path, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base, batch_size=0)
    assert warm.train(folder) == 1
    assert "at least 1" in result(folder)["error"]["message"]


def test_rows_left_out_are_told_at_the_start(warm: Warm, tiny_base: Path, tmp_path: Path) -> None:
    long = {"id": "long", "messages": turns("sky " * 500, "blue")}
    folder = run_folder(tmp_path / "run", base=tiny_base, rows=[*sft_rows(8), long])
    assert warm.train(folder) == 0
    assert events(folder, "start")[0]["dropped_rows"] == {"too long": 1}
    (warning,) = events(folder, "warning")
    assert warning["code"] == "dropped"
    assert "1 of 9 rows are left out: 1 too long" in warning["message"]


def test_it_stops_early_and_keeps_the_best(warm: Warm, tiny_base: Path, tmp_path: Path) -> None:
    folder = run_folder(
        tmp_path / "run", base=tiny_base, epochs=40.0, learning_rate=0.05, early_stop=2,
        eval_every=2, warmup_share=0.0,
    )  # fmt: skip
    assert warm.train(folder) == 0, log_tail(folder)
    done = result(folder)
    assert done["stopped_early"]
    assert done["steps"] == done["best_step"] + 4 < 240
    assert done["adapter_step"] == done["best_step"]
    assert warm.train(folder) == 0  # started again it has nothing more to do
    assert result(folder)["steps"] == done["steps"]


def test_a_run_goes_on_from_an_adapter(
    warm: Warm, tiny_base: Path, unbroken: Path, tmp_path: Path
) -> None:
    """Its base evaluation is still the base's: the adapter is switched off for it."""
    folder = run_folder(tmp_path / "run", base=tiny_base, start_from=unbroken / "adapter")
    assert warm.train(folder) == 0, log_tail(folder)
    assert result(folder)["eval_loss_base"] == result(unbroken)["eval_loss_base"]
    assert result(folder)["eval_loss_first"] < result(unbroken)["eval_loss_first"]


def test_fresh_begins_anew(warm: Warm, tiny_base: Path, unbroken: Path, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base, **DROPOUT)
    assert warm.train(folder) == 0
    assert warm.train(folder, "--fresh") == 0
    assert [one["resumed_from"] for one in events(folder, "start")] == [None]
    assert_same_adapter(folder, unbroken)


def test_measuring_prints_one_line_and_writes_nothing(
    warm: Warm, tiny_base: Path, tmp_path: Path
) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base)
    before = sorted(folder.rglob("*"))
    assert warm.train(folder, "--measure", "2") == 0
    line = json.loads((folder / "output.log").read_text().splitlines()[-1])
    assert set(line) == {"seconds_per_step", "tokens_per_step", "peak_memory_bytes", "load_seconds"}
    assert all(value > 0 for value in line.values())
    (folder / "output.log").unlink()
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_an_adapter_over_a_quantized_base(
    warm: Warm, tiny_base: Path, tmp_path: Path, quantization: str
) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base, quantization=quantization, epochs=1.0)
    assert warm.train(folder) == 0, log_tail(folder)
    assert all(str(t.dtype) == "torch.float32" for t in weights(folder / "adapter").values())


@pytest.mark.parametrize(
    "changes",
    [
        {"packing": True, "accumulation": 2},
        {"gradient_checkpointing": "on", "neftune": 5.0},
        {"schedule": "constant", "optimizer": "adamw-8bit", "max_steps": 3},
        {"assistant_only": False, "too_long": "truncate", "max_length": 24},
        {"target_modules": "q_proj, v_proj", "sample_count": 0, "group_by_length": False},
    ],
)
def test_every_setting_trains(
    warm: Warm, tiny_base: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base, **changes)
    assert warm.train(folder) == 0, log_tail(folder)
    done = result(folder)
    assert done["steps"] == events(folder, "start")[0]["total_steps"]
