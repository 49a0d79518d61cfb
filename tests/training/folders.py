"""Run folders made by hand, as a person without Lathe would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core.settings import PROJECT_ROOT
from tests.models.tiny import save_tiny_model

SCRIPT = PROJECT_ROOT / "core" / "training" / "script"
COLOURS = ("red", "green", "blue", "black", "white", "brown")
DROPOUT = {"dropout": 0.1, "save_every": 2, "eval_every": 4}
"""Params of a run that would show a resume that is not exact."""
THINGS = ("fox", "dog", "sky", "sea", "leaf", "stone")


def turns(question: str, answer: str, system: str = "") -> list[dict[str, str]]:
    """A conversation of one answer."""
    first = [{"role": "system", "content": system}] if system else []
    return [
        *first,
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer},
    ]


def sft_rows(count: int, *, start: int = 0, system: str = "") -> list[dict[str, Any]]:
    """Rows of different lengths whose answers follow from the questions."""
    rows = []
    for number in range(start, start + count):
        thing = THINGS[number % len(THINGS)]
        colour = COLOURS[number % len(COLOURS)]
        asked = f"what colour has the {thing}" + " over there" * (number % 5) + f" {number % 7}"
        rows.append({"id": f"r{number}", "messages": turns(asked, colour, system)})
    return rows


def run_folder(
    path: Path,
    *,
    base: Path | None = None,
    rows: Sequence[dict[str, Any]] | None = None,
    held_out: Sequence[dict[str, Any]] | None = None,
    start_from: Path | None = None,
    **params: Any,
) -> Path:
    """A whole run folder: config.json, train.py, lathe_train/, data/; a tiny model without `base`.

    Without `params` it takes a second or two: two epochs of 24 rows.
    """
    path.mkdir(parents=True, exist_ok=True)
    if base is None:
        base = path.parent / "base"
        if not base.exists():
            save_tiny_model(base)
    (path / "data").mkdir(exist_ok=True)
    write_rows(path / "data" / "train.jsonl", sft_rows(24) if rows is None else rows)
    write_rows(
        path / "data" / "eval.jsonl", sft_rows(6, start=24) if held_out is None else held_out
    )
    shutil.copytree(
        SCRIPT, path / "lathe_train", ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )  # fmt: skip
    (path / "train.py").write_text(
        "from lathe_train.main import main\n\nraise SystemExit(main())\n"
    )
    small = {
        "rank": 4, "alpha": 8, "batch_size": 4, "epochs": 2.0, "max_length": 128, "threads": 1,
        "sample_count": 1, "sample_tokens": 4,
    }  # fmt: skip
    config = {
        "format": 1,
        "name": path.name,
        "base": {"path": str(base.resolve()), "name": "tiny", "sha256": ""},
        "start_from": str(start_from.resolve()) if start_from else None,
        "params": {**small, **params},
        "lathe_version": "test",
    }
    (path / "config.json").write_text(json.dumps(config))
    return path


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def start(folder: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """Start the script of a folder in a process of its own; its output goes to output.log."""
    with (folder / "output.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "train.py", *arguments], cwd=folder, stdout=log, stderr=log, text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **env},
        )  # fmt: skip


def train(folder: Path, *arguments: str, **env: str) -> int:
    """Run the script of a folder to its end; returns the exit code."""
    with start(folder, *arguments, **env) as process:
        return process.wait(timeout=120)


def train_here(folder: Path) -> int:
    """The same in this process: seconds sooner, for tests that need no process of their own."""
    import signal

    from core.training.script.main import main

    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return main(["--folder", str(folder)])
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


class Warm:
    """Trains in forked processes, without the seconds that imports take; see `warm`."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.training.warm"],
            cwd=PROJECT_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        )  # fmt: skip

    def start(self, folder: Path, *arguments: str, **request: Any) -> int:
        """Start a training; returns its process id. `fsize`, `memory`: its limits in bytes."""
        asked = {"folder": str(folder), "arguments": arguments, **request}
        return int(self._ask(asked)["pid"])

    def wait(self, pid: int) -> int:
        """Its exit code; minus the signal that ended it."""
        return int(self._ask({"wait": pid})["code"])

    def train(self, folder: Path, *arguments: str, **request: Any) -> int:
        """Run a training to its end; returns the exit code."""
        return self.wait(self.start(folder, *arguments, **request))

    def close(self) -> None:
        """End the process that forks; trainings it forked live on."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.kill()  # it has nothing to finish, and leaving takes torch seconds
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found


def events(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of events.ndjson."""
    path = folder / "events.ndjson"
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]  # the last may be half written
    found = [json.loads(line) for line in lines]
    return [event for event in found if kind is None or event["kind"] == kind]


def result(folder: Path) -> dict[str, Any]:
    """result.json."""
    found: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return found


def weights(folder: Path) -> dict[str, Any]:
    """The tensors of a folder's adapter, or of a checkpoint."""
    from safetensors.torch import load_file

    return dict(load_file(folder / "adapter_model.safetensors"))


def assert_same_adapter(folder: Path, other: Path) -> None:
    """To the bit."""
    import torch

    mine, theirs = weights(folder / "adapter"), weights(other / "adapter")
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name]), name


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Look every millisecond."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)


def log_tail(folder: Path) -> str:
    """The end of what a training printed."""
    return (folder / "output.log").read_text()[-2000:]
