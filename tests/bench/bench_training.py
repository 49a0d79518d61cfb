"""Fine-tuning the starter on the sample tickets, against the plain script of TRL's own pages.

Baseline: SFTTrainer over prompt and completion with a LoRA config, in a process of its own; the
same base, rows, LoRA, batch, learning rate, epochs, seed, threads, no evaluation and no samples.
Gradient checkpointing is off in both (TRL's default is on: slower, and not what we compare with).

BENCH_ROWS (96) tickets and BENCH_ROUNDS (1) rounds, in which the variants take turns: of each the
fastest round counts. Every variant runs as a user runs it: `python train.py`, adapter saved.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from core.models import starter
from core.prompts.samples import sample_prompts
from core.prompts.template import render
from core.settings import PROJECT_ROOT, Settings
from tests.training.folders import events, result, run_folder, train_here

pytestmark = [pytest.mark.bench, pytest.mark.starter]

ROWS = int(os.environ.get("BENCH_ROWS", "96"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1"))
WATCHED_ROWS = 40
SETTINGS: dict[str, Any] = {
    "rank": 16, "alpha": 32, "batch_size": 8, "epochs": 1.0, "learning_rate": 2e-4, "seed": 42,
    "schedule": "linear", "warmup_share": 0.0, "max_length": 1024, "sample_count": 0,
    "threads": 0, "gradient_checkpointing": "off", "optimizer": "adamw",
}  # fmt: skip
VARIANTS: dict[str, dict[str, Any]] = {
    "same settings": {"group_by_length": False, "packing": False},
    "grouped by length": {"group_by_length": True, "packing": False},
    "packed": {"group_by_length": True, "packing": True},
}

BARE = """
import json, sys, time

from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

base, rows = sys.argv[1:3]
stamps = []

class Clock(TrainerCallback):
    def on_step_begin(self, *given, **named):
        stamps.append(time.time())

trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(base, dtype="float32"),
    args=SFTConfig(
        output_dir="out",
        num_train_epochs=1,
        per_device_train_batch_size=8,
        learning_rate=2e-4,
        lr_scheduler_type="linear",
        seed=42,
        optim="adamw_torch",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        report_to="none",
    ),
    train_dataset=load_dataset("json", data_files=rows, split="train"),
    processing_class=AutoTokenizer.from_pretrained(base),
    peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"),
    callbacks=[Clock()],
)
trainer.train()
trainer.save_model()
losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
json.dump({"first_step_at": stamps[0], "losses": losses}, open("told.json", "w"))
"""


@dataclass(frozen=True)
class Took:
    """One run of a variant, in seconds from the start of its process."""

    all_s: float
    first_step_s: float
    """Until the first step begins."""
    loss_last: float


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("bench")
    starter.ensure_starter(home, cache=Settings.from_env().cache)
    return Path(starter.inspection(home, starter.STARTERS[0].slug).path)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """The tickets through the first version of their prompt, with the label as answer."""
    lines = (PROJECT_ROOT / "data/samples/support-tickets.jsonl").read_text().splitlines()
    version = next(p for p in sample_prompts() if p.dataset == "support-tickets").versions[0]
    found = []
    for row in map(json.loads, lines[:ROWS]):
        turns = render(version.system_template, version.user_template, row)
        answer = {"role": "assistant", "content": row["label"]}
        found.append({"id": row["id"], "messages": [*turns, answer]})
    return found


def test_wall_time_against_a_bare_script(
    base: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    took: dict[str, list[Took]] = {name: [] for name in ("bare", *VARIANTS)}
    for number in range(ROUNDS):
        took["bare"].append(run_bare(tmp_path / f"bare{number}", base, rows))
        for name, changes in VARIANTS.items():
            folder = tmp_path / f"{name}{number}".replace(" ", "-")
            took[name].append(run_ours(folder, base, rows, changes))
    best = {name: min(runs, key=lambda run: run.all_s) for name, runs in took.items()}
    first = {name: min(run.first_step_s for run in runs) for name, runs in took.items()}
    bare = best["bare"]
    print(f"\n{len(rows)} tickets, one epoch, batches of 8, rank 16, fp32, {os.cpu_count()} cores")
    for name, one in best.items():
        print(
            f"  {name:18} {one.all_s:7.1f} s  {one.all_s / bare.all_s:5.2f}x the bare script,"
            f" first step after {first[name]:5.1f} s ({first[name] / first['bare']:.2f}x),"
            f" last loss {one.loss_last:.3f}"
        )
    faster = bare.all_s / min(best["grouped by length"].all_s, best["packed"].all_s)
    print(f"  the faster of grouping and packing: {faster:.2f} times as fast as the bare script")
    assert best["same settings"].all_s <= 1.05 * bare.all_s
    assert faster >= 1.5
    assert first["same settings"] <= 1.2 * first["bare"]


def test_live_curves_cost_less_than_a_hundredth(
    base: Path, rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the hooks that tell of a step take, as a share of the steps' time."""
    from core.training.script.watch import Watch

    spent = [0.0]
    for name in ("on_step_end", "on_log"):
        monkeypatch.setattr(Watch, name, timed(getattr(Watch, name), spent))
    folder = run_folder(
        tmp_path / "watched", base=base, rows=rows[:WATCHED_ROWS], held_out=[], **SETTINGS
    )
    assert train_here(folder) == 0
    ended = result(folder)
    seconds = ended["train_seconds"]
    share = spent[0] / seconds
    told = len(events(folder, "step"))
    print(
        f"\n  telling of {told} steps took {spent[0] * 1000:.1f} ms of {seconds:.1f} s"
        f" of training: {share:.3%}"
    )
    assert told == ended["steps"]
    assert share < 0.01


def timed(method: Any, spent: list[float]) -> Any:
    def measured(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return method(*given, **named)
        finally:
            spent[0] += time.perf_counter() - began

    return measured


def run_bare(folder: Path, base: Path, rows: list[dict[str, Any]]) -> Took:
    """The plain script in a folder of its own."""
    folder.mkdir()
    (folder / "bare.py").write_text(BARE)
    with (folder / "rows.jsonl").open("w") as file:
        for row in rows:
            turns = row["messages"]
            file.write(json.dumps({"prompt": turns[:-1], "completion": turns[-1:]}) + "\n")
    began, all_s = run(folder, "bare.py", str(base), "rows.jsonl")
    told = json.loads((folder / "told.json").read_text())
    losses = told["losses"]
    return Took(all_s, told["first_step_at"] - began, mean_of_last(losses))


def run_ours(folder: Path, base: Path, rows: list[dict[str, Any]], changes: dict[str, Any]) -> Took:
    """A run folder with its own script."""
    run_folder(folder, base=base, rows=rows, held_out=[], **{**SETTINGS, **changes})
    began, all_s = run(folder, "train.py")
    steps = events(folder, "step")
    ended_at = datetime.fromisoformat(steps[0]["at"]).timestamp()
    losses = [step["loss"] for step in steps]
    return Took(all_s, ended_at - steps[0]["seconds"] - began, mean_of_last(losses))


def mean_of_last(losses: list[float]) -> float:
    last = losses[-3:]
    return sum(last) / len(last)


def run(folder: Path, *command: str) -> tuple[float, float]:
    """(when the process was started, seconds until it ended)."""
    began, clock = time.time(), time.perf_counter()
    cache = {"HF_HOME": str(folder / "hf"), "HF_DATASETS_CACHE": str(folder / "hf")}
    with (folder / "output.log").open("w") as log:
        subprocess.run(
            [sys.executable, *command], cwd=folder, stdout=log, stderr=log, check=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **cache},
        )  # fmt: skip
    return began, time.perf_counter() - clock
