"""A training survives what happens to it: stops, kill -9, a full disk; or says what it died of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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
    start,
    turns,
    wait_until,
)


def at_step(folder: Path, step: int) -> bool:
    return any(event["step"] >= step for event in events(folder, "checkpoint"))


def test_a_stopped_run_goes_on_to_the_weights_of_an_unbroken_one(
    warm: Warm, tiny_base: Path, unbroken: Path, tmp_path: Path
) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base, **DROPOUT)
    running = warm.start(folder)
    wait_until(lambda: bool(events(folder, "step")))
    (folder / "stop").touch()
    assert warm.wait(running) == 3, log_tail(folder)
    stopped = result(folder)
    assert stopped["state"] == "stopped"
    assert 1 <= stopped["step"] < 12
    assert not (folder / "stop").exists()
    assert not (folder / "adapter").exists()
    assert warm.train(folder) == 0, log_tail(folder)
    assert events(folder, "start")[-1]["resumed_from"] == stopped["step"]
    assert_same_adapter(folder, unbroken)
    whole, broken = result(unbroken), result(folder)
    for name in ("tokens", "steps", "loss_first", "loss_last", "eval_loss_base", "best_step"):
        assert broken[name] == whole[name], name
    assert sum(one["base"] for one in events(folder, "eval")) == 1


def test_sigterm_stops_it_with_a_checkpoint(warm: Warm, tiny_base: Path, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base, epochs=50.0)
    running = warm.start(folder)
    wait_until(lambda: bool(events(folder, "step")))
    os.kill(running, signal.SIGTERM)
    assert warm.wait(running) == 3, log_tail(folder)
    step = result(folder)["step"]
    assert (folder / "checkpoints" / f"checkpoint-{step}" / "complete.json").exists()


def half_a_checkpoint(folder: Path) -> bool:
    for path in (folder / "checkpoints").glob("checkpoint-*"):
        if not (path / "complete.json").exists():
            return True
    return False


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "while it starts": lambda folder: (folder / "lock").exists(),
    "before the first step": lambda folder: bool(events(folder, "eval")),
    "within a checkpoint": half_a_checkpoint,
    "after a checkpoint": lambda folder: at_step(folder, 4),
    "in the last steps": lambda folder: at_step(folder, 10),
    "while the adapter is saved": lambda folder: (folder / ".adapter.part").exists(),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_to_the_adapter_of_an_unbroken_one(
    moment: str, warm: Warm, tiny_base: Path, unbroken: Path, tmp_path: Path
) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base, **DROPOUT)
    running = warm.start(folder)
    wait_until(lambda: MOMENTS[moment](folder) or (folder / "result.json").exists())
    os.kill(running, signal.SIGKILL)
    code = warm.wait(running)
    assert code in (0, -signal.SIGKILL)
    if (folder / "adapter").exists():  # it was whole when it appeared
        assert_same_adapter(folder, unbroken)
    if code:
        assert not (folder / "result.json").exists() or result(folder)["state"] == "succeeded"
    assert warm.train(folder) == 0, log_tail(folder)
    assert_same_adapter(folder, unbroken)
    assert not half_a_checkpoint(folder)
    assert not list(folder.glob(".adapter*"))


def test_a_second_process_is_turned_away(warm: Warm, tiny_base: Path, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base, epochs=200.0)
    running = warm.start(folder)
    wait_until(lambda: bool(events(folder, "step")))
    assert warm.train(folder) == 4
    (folder / "stop").touch()
    assert warm.wait(running) == 3


@pytest.mark.slow
def test_it_ends_with_the_process_that_started_it(tmp_path: Path, tiny_base: Path) -> None:
    folder = run_folder(tmp_path / "run", base=tiny_base, epochs=1000.0)
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with start(folder, LATHE_PARENT_PID=str(parent.pid)) as process:
        wait_until(lambda: bool(events(folder, "step")), 60)
        parent.kill()
        parent.communicate()
        assert process.wait(timeout=20) == 1
    assert not (folder / "result.json").exists()


def test_a_full_disk_leaves_the_last_checkpoint_usable(
    warm: Warm, tiny_base: Path, unbroken: Path, tmp_path: Path
) -> None:
    """No file may grow past 100 kB, as if the disk were full within the optimizer's states."""
    folder = run_folder(tmp_path / "run", base=tiny_base, **DROPOUT)
    running = warm.start(folder)
    wait_until(lambda: at_step(folder, 2))
    (folder / "stop").touch()
    assert warm.wait(running) == 3
    step = result(folder)["step"]
    assert warm.train(folder, fsize=100_000) == 1, log_tail(folder)
    failed = result(folder)
    assert failed["error"]["code"] == "disk_full", failed
    assert "Make room" in failed["error"]["hint"]
    assert (folder / "checkpoints" / f"checkpoint-{step}" / "complete.json").exists()
    assert warm.train(folder) == 0, log_tail(folder)
    assert_same_adapter(folder, unbroken)


def test_running_out_of_memory_is_told_with_what_to_change(
    warm: Warm, tiny_base: Path, tmp_path: Path
) -> None:
    rows = [{"id": f"r{n}", "messages": turns(f"{n} " + "sky " * 100, "blue")} for n in range(512)]
    folder = run_folder(
        tmp_path / "run", base=tiny_base, rows=rows, held_out=[], batch_size=512, max_length=512
    )
    assert warm.train(folder, memory=150_000_000) == 1, log_tail(folder)
    error = result(folder)["error"]
    assert error["code"] == "out_of_memory", error
    assert error["changes"] == {"batch_size": 256, "accumulation": 2}


def test_a_loss_that_is_no_number_ends_it_with_advice(warm: Warm, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = save_tiny_model(tmp_path / "base")
    tensors = load_file(broken / "model.safetensors")
    name = next(name for name in tensors if "down_proj" in name)
    tensors[name][0, 0] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    folder = run_folder(tmp_path / "run", base=broken)
    assert warm.train(folder) == 1, log_tail(folder)
    error = result(folder)["error"]
    assert error["code"] == "nan"
    assert error["changes"] == {"learning_rate": 4e-05, "max_grad_norm": 0.3, "warmup_share": 0.1}
    assert [one["code"] for one in events(folder, "warning")] == ["nan"]
    assert not (folder / "checkpoints" / "checkpoint-1").exists()
