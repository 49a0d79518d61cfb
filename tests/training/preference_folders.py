"""Run folders of small trainings on preferences, and how they are run: for tests.

The rows are about nothing: short answers of one kind are preferred, whatever is asked. A tiny
model learns that within seconds, and it holds for prompts that it has not seen.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from core.training.folder import RunFolder

WORDS = ["fox", "dog", "brown", "lazy", "quick", "over", "jump", "the"]
Row = dict[str, Any]


def turn(content: str, role: str = "assistant") -> Row:
    return {"role": role, "content": content}


def pairs(count: int, seed: int = 0) -> list[Row]:
    """Pairs in which the friendly answer is chosen."""
    drawn = random.Random(seed)
    rows = []
    for number in range(count):
        asked = " ".join(drawn.choices(WORDS, k=drawn.randint(2, 8)))
        name = drawn.choice(WORDS)
        rows.append(
            {
                "id": f"{seed}-{number}",
                "prompt": [turn(f"{asked}?", "user")],
                "chosen": [turn(f"yes {name}")],
                "rejected": [turn(f"no way {name}")],
            }
        )
    return rows


def verdicts(count: int, seed: int = 0) -> list[Row]:
    """The same as single answers, good and bad in turn."""
    return [
        {
            "id": row["id"],
            "prompt": row["prompt"],
            "completion": row["chosen" if number % 2 else "rejected"],
            "label": bool(number % 2),
        }
        for number, row in enumerate(pairs(count, seed))
    ]


def conversations(count: int, seed: int = 0) -> list[Row]:
    """The prompts with the chosen answers, for SFT."""
    return [
        {"id": row["id"], "messages": [*row["prompt"], *row["chosen"]]}
        for row in pairs(count, seed)
    ]


def make_folder(
    path: Path,
    base: Path,
    params: Row,
    train: list[Row],
    held_out: list[Row],
    start_from: Path | None = None,
) -> Path:
    """A whole run folder for a base model's folder."""
    config = {
        "name": path.name,
        "base": {"path": str(base), "name": base.name, "sha256": ""},
        "start_from": str(start_from) if start_from else None,
        "params": {"threads": 1, "sample_count": 0, **params},
        "lathe_version": "0",
    }
    rows = [("train", row) for row in train] + [("eval", row) for row in held_out]
    RunFolder(path).write(config, rows)
    return path


def environment(**changes: str) -> dict[str, str]:
    """An environment in which nothing of this project can be imported."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **changes}


def run(folder: Path, *command: str, expect: int = 0, timeout: float = 200) -> str:
    """Run train.py (or a launcher) in the folder; what it printed. AssertionError otherwise."""
    done = subprocess.run(
        list(command) or [sys.executable, "train.py"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout


def events(folder: Path, kind: str) -> list[Row]:
    """The events of one kind."""
    lines = (folder / "events.ndjson").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def weights(folder: Path) -> dict[str, Any]:
    """The adapter's tensors by name."""
    from safetensors.torch import load_file

    return dict(load_file(folder / "adapter" / "adapter_model.safetensors"))
