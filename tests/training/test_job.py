"""A fine-tune's job under faults: killed, stopped, resumed, short of memory, never two at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.errors import Conflict
from core.jobs.folder import JobFolder
from core.settings import Settings
from core.store.files import FileLock
from core.training.folder import RunFolder
from core.workbench import OWNER, Workbench
from tests.models.tiny import save_tiny_model
from tests.training.finetuning import Tuning, ticket_rows, wait_for

pytestmark = pytest.mark.timeout(900)
LONG = {"epochs": 400.0, "eval_every": 20, "save_every": 5, "sample_count": 0}


@pytest.fixture
def tuning(tmp_path: Path) -> Iterator[Tuning]:
    with Workbench.open(Settings(home=tmp_path / "home", threads=1)) as workbench:
        made = Tuning.make(workbench, tmp_path)
        yield made
        made.close()


def job_folder(tuning: Tuning, finetune_id: str) -> JobFolder:
    return JobFolder(tuning.settings.home / "jobs" / tuning.get(finetune_id)["job_id"])


def worker(tuning: Tuning, finetune_id: str) -> psutil.Process:
    events = job_folder(tuning, finetune_id).events()
    return psutil.Process([e["pid"] for e in events if e.get("state") == "running"][-1])


def trainer(tuning: Tuning, finetune_id: str) -> psutil.Process:
    [child] = worker(tuning, finetune_id).children()
    return child


def steps(folder: RunFolder) -> list[int]:
    return [event["step"] for event in folder.every_event("step")]


def begin(tuning: Tuning, **params: Any) -> tuple[str, RunFolder]:
    """A long training that has kept a step."""
    finetune_id = tuning.start(params={**LONG, **params}, evaluate=False)
    folder = tuning.folder(finetune_id)
    wait_for(lambda: folder.checkpoints() or tuning.get(finetune_id)["state"] == "failed")
    assert folder.checkpoints(), tuning.finetunes.log(OWNER, finetune_id)
    return finetune_id, folder


def shorten(folder: RunFolder, epochs: float) -> None:
    """Let it end soon."""
    path = folder.path / "config.json"
    config = json.loads(path.read_text())
    config["params"]["epochs"] = epochs
    path.write_text(json.dumps(config))


@pytest.mark.slow
def test_kill_9_of_the_jobs_process_ends_the_trainer_and_a_resume_completes(
    tuning: Tuning,
) -> None:
    finetune_id, folder = begin(tuning)
    child, parent = trainer(tuning, finetune_id), worker(tuning, finetune_id)
    parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not child.is_running() or child.status() == "zombie", 60)
    tuning.finish(finetune_id, "interrupted")
    kept = folder.checkpoints()[-1]
    wait_for(lambda: not folder.locked(), 60)
    shorten(folder, kept / 5 + 1)
    tuning.finetunes.resume(OWNER, finetune_id)
    row = tuning.finish(finetune_id)
    assert row["adapter_model_id"]
    begun = folder.events()[0]
    resumed = [e["resumed_from"] for e in begun if e["kind"] == "start"]
    assert resumed[0] is None
    assert resumed[-1] >= kept
    assert steps(folder) == sorted(set(steps(folder))), "no step is told twice"


@pytest.mark.slow
def test_kill_9_of_the_trainer_is_told_with_less_to_try_and_a_resume_completes(
    tuning: Tuning,
) -> None:
    finetune_id, folder = begin(tuning)
    trainer(tuning, finetune_id).send_signal(signal.SIGKILL)
    row = tuning.finish(finetune_id, "failed")
    assert row["error"]["title"] == "The training was killed"
    assert "out of memory" in row["error"]["message"]
    assert row["error"]["changes"] == {"batch_size": 2, "accumulation": 2}
    assert row["adapter_model_id"] is None
    models = [m["source"] for m in tuning.workbench.models.list(OWNER)]
    assert "adapter" not in models, "nothing half is listed"
    shorten(folder, folder.checkpoints()[-1] / 5 + 1)
    wait_for(lambda: not job_folder(tuning, finetune_id).alive())
    tuning.finetunes.resume(OWNER, finetune_id)
    assert tuning.finish(finetune_id)["error"] is None


@pytest.mark.slow
def test_stop_keeps_a_step_and_resume_goes_on_from_there(tuning: Tuning) -> None:
    finetune_id, folder = begin(tuning)
    tuning.finetunes.stop(OWNER, finetune_id)
    row = tuning.finish(finetune_id, "cancelled")
    kept = row["checkpoint_steps"][-1]
    assert kept == steps(folder)[-1], "the step it was at is kept, not the one before"
    assert row["result"]["loss_last"] is not None
    with pytest.raises(Conflict):
        tuning.finetunes.extend(OWNER, finetune_id, 1)
    shorten(folder, kept / 5 + 1)
    wait_for(lambda: not job_folder(tuning, finetune_id).alive())
    tuning.finetunes.resume(OWNER, finetune_id)
    tuning.finish(finetune_id)
    assert steps(folder) == list(range(1, steps(folder)[-1] + 1))
    with pytest.raises(Conflict, match="done already"):
        tuning.finetunes.resume(OWNER, finetune_id)


@pytest.mark.slow
def test_a_loss_that_is_no_number_fails_in_words_with_settings_to_try(
    tuning: Tuning, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = save_tiny_model(tmp_path / "broken") / "model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"] = torch.full_like(tensors["model.norm.weight"], float("inf"))
    save_file(tensors, weights, metadata={"format": "pt"})
    broken = tuning.workbench.models.add(OWNER, "broken", "directory", str(weights.parent))
    finetune_id = tuning.start(base_model_id=broken, params={"sample_count": 0})
    row = tuning.finish(finetune_id, "failed")
    assert row["error"]["code"] == "nan"
    assert "not a number" in row["error"]["title"]
    assert row["error"]["changes"]["learning_rate"] < 1e-3
    assert row["adapter_model_id"] is None


@pytest.mark.slow
def test_a_fine_tune_waits_for_its_turn_and_can_leave_the_queue(tuning: Tuning) -> None:
    first = tuning.start(params=LONG, evaluate=False)
    second = tuning.start(params=LONG, evaluate=False)
    wait_for(lambda: tuning.get(first)["state"] == "running")
    assert tuning.get(second)["state"] == "queued", "one at a time on a device"
    tuning.finetunes.stop(OWNER, second)
    wait_for(lambda: tuning.get(second)["state"] == "cancelled")
    tuning.finetunes.stop(OWNER, first)
    wait_for(lambda: tuning.get(first)["state"] == "cancelled")
    with pytest.raises(Conflict, match="already ended"):
        tuning.finetunes.stop(OWNER, first)


@pytest.mark.slow
def test_a_trainer_by_hand_in_the_folder_is_not_joined_by_a_second(
    tuning: Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds the folder's lock trains; the job waits, then says so."""
    from core.jobs.context import JobContext
    from core.training import job as training

    finetune_id = tuning.start(params=LONG, evaluate=False)
    folder = tuning.folder(finetune_id)
    wait_for(lambda: folder.ready() or None)
    tuning.finetunes.stop(OWNER, finetune_id)
    tuning.finish(finetune_id, "cancelled")
    wait_for(lambda: not job_folder(tuning, finetune_id).alive())
    by_hand = FileLock(folder.path / "lock")
    wait_for(by_hand.acquire)
    monkeypatch.setattr(training, "LOCK_S", 0.3)
    held = job_folder(tuning, finetune_id)
    held.reopen(99)
    with pytest.raises(Exception, match="Another process trains"):
        training.work(JobContext(held))
    by_hand.release()


@pytest.mark.slow
def test_the_folder_trains_by_hand_without_lathe(tuning: Tuning, tmp_path: Path) -> None:
    """It is all there: another interpreter, nothing of Lathe on its path."""
    finetune_id = tuning.start(params={"sample_count": 0}, evaluate=False)
    tuning.finish(finetune_id)
    made = tuning.folder(finetune_id).path
    config = json.loads((made / "config.json").read_text())
    assert set(config) == {"format", "name", "base", "start_from", "params", "lathe_version"}
    assert set(config["base"]) == {"path", "name", "sha256"}
    assert (made / "launch" / "README.md").is_file()
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "train.py", "--fresh"], cwd=made, env=env, capture_output=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert RunFolder(made).result()["state"] == "succeeded"  # type: ignore[index]


@pytest.mark.slow
def test_a_row_of_a_hundred_thousand_tokens_is_left_out_and_told(tuning: Tuning) -> None:
    rows = [*ticket_rows(16), {"text": "fox " * 100_000, "label": "bug"}]
    version_id = tuning.import_rows(rows, name="long")
    finetune_id = tuning.start(
        dataset_version_id=version_id, hold_out={"share": 0.0}, params={"sample_count": 0}
    )
    row = tuning.finish(finetune_id)
    [start] = tuning.folder(finetune_id).every_event("start")
    assert start["dropped_rows"] == {"too long": 1}
    assert row["run_id"] is None, "nothing is held out, so nothing is compared"
