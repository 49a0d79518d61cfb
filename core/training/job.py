"""The work of a fine-tune's job: the folder filled, its script run as a child, its events told.

Knows: the run folder, the child, how each way of ending is told. Does not know: the database, how
anything is trained; torch is loaded in the child alone. The child ends with this process, however
that ends; a resumed job goes on from the last complete checkpoint.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.errors import JobFailed
from core.jobs.context import Cancelled, JobContext
from core.models import devices
from core.training.data import Asked, divide, records
from core.training.folder import TAKEN, RunFolder
from core.training.script.faults import lighter
from core.training.script.params import BadParam, Params

POLL_S = 0.2
STOP_S = 600.0
"""So long a script may take to end the step it is at and save; then it is killed."""
LOCK_S = 30.0
"""So long another process's hold on the folder is waited for: one that is being ended lets go."""
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
_PR_SET_PDEATHSIG = 1


def work(job: JobContext) -> dict[str, Any]:
    """Train until the adapter is there; Cancelled when stopped, with a checkpoint kept."""
    folder = RunFolder(folder_of(job))
    if (folder.result() or {}).get("state") != "succeeded":
        _prepare(job, folder)
        _train(job, folder)
    result = folder.result() or {}
    steps = int(result.get("steps") or 1)
    job.progress(steps, steps, "done")
    return {"finetune_id": job.payload["finetune_id"], "result": result}


def folder_of(job: JobContext) -> Path:
    """The run folder of a job."""
    return job.folder.path.parents[1] / "training" / str(job.payload["finetune_id"])


def _prepare(job: JobContext, folder: RunFolder) -> None:
    if folder.ready():
        return
    job.progress(0, 1, "preparing the rows")
    asked = Asked.of(job.payload["rows"])
    division = divide(asked)
    job.raise_if_cancelled()
    folder.write(job.payload["config"], records(asked, division))
    job.log(f"{division.counts['train']} rows to train on, {division.counts['eval']} held out")
    for reason, count in division.skipped.items():
        job.log(f"{count} rows left out: {reason}")


def _train(job: JobContext, folder: RunFolder) -> None:
    job.raise_if_cancelled()
    _wait_for_lock(job, folder)
    folder.reopen()
    job.progress(0, 1, "starting")
    mirror = Mirror(job, folder)
    child = run_script(folder.path, device=str(job.payload.get("device") or "auto"))
    try:
        code = _watched(job, folder, child, mirror)
    finally:
        end(child)
    mirror.read()
    state = (folder.result() or {}).get("state")
    if state == "succeeded":
        return
    if state == "stopped" or (state is None and job.cancelled()):
        raise Cancelled
    raise _failure(folder, code)


def _watched(
    job: JobContext, folder: RunFolder, child: subprocess.Popen[bytes], mirror: Mirror
) -> int:
    asked_at: float | None = None
    while (code := child.poll()) is None:
        mirror.read()
        if asked_at is None and job.cancelled():
            asked_at = time.monotonic()
            folder.request_stop()
            job.log("asked to stop: it saves a checkpoint and ends")
        if asked_at is not None and not mirror.begun:
            end(child)  # it still loads: there is no step to save
        if asked_at is not None and time.monotonic() - asked_at > STOP_S:
            end(child)
        time.sleep(POLL_S)
    return code


class Mirror:
    """Tells a script's events as the job's progress and log."""

    def __init__(self, job: JobContext, folder: RunFolder) -> None:
        self._job = job
        self._folder = folder
        self._offset = folder.events()[1]
        self._total = 1
        self.begun = False
        """Whether the script has loaded everything."""

    def read(self) -> None:
        """Tell what is new."""
        events, self._offset = self._folder.events(self._offset)
        for event in events:
            tell = _TOLD.get(event["kind"])
            if tell is not None:
                tell(self, event)

    def start(self, event: Mapping[str, Any]) -> None:
        """How much there is to do."""
        self.begun = True
        self._total = int(event.get("total_steps") or 1)
        done = int(event.get("resumed_from") or 0)
        again = f", from step {done} on" if done else ""
        rows, device = event.get("train_rows"), event.get("device")
        self._job.log(f"{rows} rows, {self._total} steps on {device}{again}")
        self._job.progress(done, self._total, "begun")

    def step(self, event: Mapping[str, Any]) -> None:
        """How far it is."""
        loss = event.get("loss")
        told = "" if loss is None else f"loss {loss:.3g}"
        # only the job's end may look like one
        done = min(int(event["step"]), self._total - 1)
        self._job.progress(done, self._total, told, eta_s=event.get("eta_s"))

    def eval(self, event: Mapping[str, Any]) -> None:
        """What the held-out rows say."""
        if event.get("loss") is None:
            return
        whose = "the base's loss" if event.get("base") else "loss"
        self._job.log(f"step {event['step']}: {whose} on held-out rows is {event['loss']:.4g}")

    def warning(self, event: Mapping[str, Any]) -> None:
        """What to know."""
        advice = f" {event['advice']}" if event.get("advice") else ""
        self._job.log(f"step {event.get('step', 0)}: {event.get('message')}{advice}")

    def checkpoint(self, event: Mapping[str, Any]) -> None:
        """What is kept."""
        self._job.log(f"step {event['step']} is kept")


_TOLD: dict[str, Callable[[Mirror, Mapping[str, Any]], None]] = {
    "start": Mirror.start,
    "step": Mirror.step,
    "eval": Mirror.eval,
    "warning": Mirror.warning,
    "checkpoint": Mirror.checkpoint,
}


def run_script(
    folder: Path, *arguments: str, device: str = "auto", stdout: Any = None
) -> subprocess.Popen[bytes]:
    """Start train.py as a child that ends with this process; on every card where there are several.

    What it prints goes where this process prints.
    """
    cards = [one.name for one in devices.devices() if one.is_gpu]
    if device != "auto":
        cards = [name for name in cards if name == device]
    env = {
        **os.environ,
        "LATHE_PARENT_PID": str(os.getpid()),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as nvidia-smi counts them
        "CUDA_VISIBLE_DEVICES": ",".join(name.partition(":")[2] for name in cards),
    }
    env.pop("PYTHONPATH", None)
    several = len(cards) > 1 and not arguments
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={len(cards)}"]
    return subprocess.Popen(
        [sys.executable, *(launcher if several else []), "train.py", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        env=env,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )


def end(child: subprocess.Popen[bytes]) -> None:
    """Kill a child that lives still; harmless when it has ended."""
    if child.poll() is None:
        child.kill()
        with suppress(subprocess.TimeoutExpired):
            child.wait(10)


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it dies; prctl(2)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for_lock(job: JobContext, folder: RunFolder) -> None:
    until = time.monotonic() + LOCK_S
    while folder.locked():
        if time.monotonic() > until:
            raise JobFailed(
                "Another process trains in the folder of this fine-tune.",
                title="It is being trained already",
                hint="Somebody started train.py by hand. Wait for its end, then resume.",
            )
        job.raise_if_cancelled()
        time.sleep(POLL_S)


def _failure(folder: RunFolder, code: int) -> JobFailed:
    """What the script said, or what its exit amounts to where it could say nothing."""
    if code == TAKEN:
        return JobFailed(
            "Another process trains in the folder of this fine-tune.",
            title="It is being trained already",
            hint="Wait for its end, then resume.",
        )
    result = folder.result() or {}
    if result.get("state") != "failed":
        folder.write_failure(_unsaid(folder, code))
        result = folder.result() or {}
    error = result["error"]
    return JobFailed(
        str(error.get("message") or "The script gave no reason."),
        title=error.get("title") or "The training failed",
        hint=error.get("hint"),
    )


def _unsaid(folder: RunFolder, code: int) -> dict[str, Any]:
    if code not in KILLED:
        return {
            "code": "other",
            "title": "The training ended early",
            "message": f"Its process ended with the exit code {code} and gave no reason.",
            "hint": "The log has its last words. Resume it: it goes on from the last checkpoint.",
            "changes": None,
        }
    try:
        changes = lighter(Params.from_dict(folder.config().get("params") or {}))
    except BadParam:
        changes = None
    less = ", ".join(f"{name} {value}" for name, value in (changes or {}).items())
    clone = f", or clone it with {less}" if less else ""
    return {
        "code": "out_of_memory",
        "title": "The training was killed",
        "message": "The system killed it: probably out of memory.",
        "hint": f"Unload models and resume: it goes on from the last checkpoint{clone}.",
        "changes": changes,
    }
