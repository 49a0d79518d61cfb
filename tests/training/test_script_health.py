"""Each thing that can be wrong with a training is told once, in words, and nothing else is."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from core.training.script.faults import explain, lighter
from core.training.script.health import WINDOW, Health
from core.training.script.params import Params


def told(health: Health, losses: list[float], **named: Any) -> list[str]:
    speed, eta = named.get("speed", 100.0), named.get("eta", 60.0)
    return [one.code for loss in losses for one in health.step(loss, speed, eta)]


def test_a_falling_loss_is_nothing_to_tell() -> None:
    health = Health()
    noisy = [3 * 0.97**n + (0.3 if n % 3 else 0) for n in range(200)]
    assert told(health, noisy) == []
    assert [one.code for loss in (2.0, 1.5, 1.4, 1.41, 1.4) for one in health.evaluated(loss)] == []


def test_a_jump_is_told_once() -> None:
    health = Health()
    assert told(health, [1.0] * WINDOW + [9.0, 9.5]) == ["spike"]


def test_a_jump_within_the_usual_noise_is_none() -> None:
    assert told(Health(), [1.0, 3.0] * WINDOW + [4.0]) == []


def test_a_rising_loss_is_diverging() -> None:
    assert told(Health(), [1 + n / 20 for n in range(100)]) == ["diverging"]


def test_held_out_loss_that_rises_while_training_loss_falls_is_overfitting() -> None:
    health = Health()
    codes: list[str] = []
    for number, loss in enumerate((1.0, 0.8, 0.9, 1.0, 1.1, 1.2)):
        health.step(1.0 - number / 10, 100, 60)
        codes += [one.code for one in health.evaluated(loss)]
        assert codes == ([] if number < 4 else ["overfitting"])


def test_held_out_loss_above_the_base_is_diverging() -> None:
    health = Health()
    health.base(1.0)
    assert [one.code for loss in (2.0, 2.0) for one in health.evaluated(loss)] == ["diverging"]


def test_slowing_down_is_told() -> None:
    health = Health()
    assert told(health, [1.0] * WINDOW) == []
    assert told(health, [1.0] * 6, speed=10.0) == ["slow"]


def test_a_day_to_go_is_told() -> None:
    assert told(Health(), [1.0] * 12, eta=30 * 3600.0) == ["slow"]


def test_what_was_told_stays_told_after_a_resume() -> None:
    health = Health()
    told(health, [1.0] * WINDOW + [9.0])
    again = Health()
    again.restore(health.state())
    assert told(again, [30.0]) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.EFBIG, "File too large"), "disk_full"),
        (
            RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/0"),
            "disk_full",
        ),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk_full"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out_of_memory"),
        (KeyError("x"), "other"),
    ],
)
def test_errors_of_libraries_are_told_apart(error: Exception, code: str) -> None:
    assert explain(error, Params()).code == code


def test_an_error_behind_another_is_found() -> None:
    error = RuntimeError("saving failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert explain(error, None).code == "disk_full"


def test_what_needs_less_memory_comes_in_the_order_of_what_it_costs() -> None:
    """Half the batch with twice the accumulation is the same training; the rest costs something."""
    params = Params(batch_size=2)
    seen = []
    while (changes := lighter(params)) is not None:
        seen.append(changes)
        params = Params.from_dict({**params.to_dict(), **changes})
        assert len(seen) < 20
    assert seen[:3] == [
        {"batch_size": 1, "accumulation": 2},
        {"gradient_checkpointing": "on"},
        {"max_length": 512},
    ]
    assert seen[-1] == {"quantization": "nf4"}
