"""A warm-up without a step at a rate of zero, and afterwards transformers' own rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import get_scheduler

from core.training.script.schedule import Warming
from tests.training.folders import events, result, run_folder, sft_rows, train_here
from tests.training.preference_rows import pairs

STEPS = 10


class Plain:
    """What stands behind Warming: transformers' own."""

    def __init__(self, schedule: str, warm: int) -> None:
        self.schedule, self.warm = schedule, warm
        self.args = self
        self.lr_scheduler_type = schedule
        self.lr_scheduler: Any = None
        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)

    def get_warmup_steps(self, _: int) -> int:
        return self.warm

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        self.lr_scheduler = get_scheduler(
            self.schedule, self.optimizer, num_warmup_steps=self.warm,
            num_training_steps=num_training_steps,
        )  # fmt: skip
        return self.lr_scheduler

    def rates(self) -> list[float]:
        """The rate that each step is taken with."""
        scheduler, found = self.create_scheduler(STEPS), []
        for _ in range(STEPS):
            found.append(float(self.optimizer.param_groups[0]["lr"]))
            self.optimizer.step()
            scheduler.step()
        return found


class Ours(Warming, Plain):
    """As the trainers have it."""


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant_with_warmup"])
@pytest.mark.parametrize("warm", [0, 1, 3])
def test_only_the_warm_up_differs_from_transformers(schedule: str, warm: int) -> None:
    ours, theirs = Ours(schedule, warm).rates(), Plain(schedule, warm).rates()
    assert ours[warm:] == pytest.approx(theirs[warm:])
    assert ours[:warm] == pytest.approx([0.5 * (k + 1) / (warm + 1) for k in range(warm)])


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_the_first_step_of_a_short_training_trains(
    tmp_path: Path, tiny_base: Path, method: str
) -> None:
    rows = sft_rows(16) if method == "sft" else pairs(16)
    folder = run_folder(
        tmp_path / "run", base=tiny_base, rows=rows, held_out=[], method=method, epochs=1.0,
        batch_size=4, warmup_share=0.05, schedule="linear", learning_rate=1e-3, sample_count=0,
    )  # fmt: skip
    assert train_here(folder) == 0, result(folder)
    rates = [event["learning_rate"] for event in events(folder, "step")]
    assert len(rates) == 4
    assert rates[:2] == pytest.approx([5e-4, 1e-3])
