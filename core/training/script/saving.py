"""Checkpoints and the adapter on disk: whole or not there.

A checkpoint is complete with its `complete.json`, which is written last and lists the others with
their sizes. What has none is the remains of a process that died, and is removed at the next start.

Knows: folders, renames, fsync. Does not know: what is trained.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from .files import sync_folder, write_whole

COMPLETE = "complete.json"
KEPT = 2
"""Newest checkpoints that are kept, beside the best one."""
_NAME = re.compile(r"checkpoint-(\d+)")


def step_of(folder: Path) -> int:
    """The step that a checkpoint was saved after."""
    found = _NAME.fullmatch(folder.name)
    return int(found.group(1)) if found else -1


def is_complete(folder: Path) -> bool:
    """Whether all the files are there that were saved, in their full size."""
    try:
        listed = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in listed.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def complete_checkpoints(checkpoints: Path) -> list[Path]:
    """The complete ones, oldest first."""
    if not checkpoints.is_dir():
        return []
    found = [path for path in checkpoints.iterdir() if step_of(path) >= 0 and is_complete(path)]
    return sorted(found, key=step_of)


def remove_incomplete(checkpoints: Path) -> None:
    """Remove what a process left that died while it saved."""
    whole = set(complete_checkpoints(checkpoints))
    if checkpoints.is_dir():
        for path in checkpoints.iterdir():
            if path not in whole and path.is_dir():
                shutil.rmtree(path, ignore_errors=True)


def finish(folder: Path, **detail: Any) -> None:
    """Make a checkpoint whose files are written durable, then complete."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != COMPLETE:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            files[str(path.relative_to(folder))] = path.stat().st_size
    sync_folder(folder)
    write_whole(folder / COMPLETE, json.dumps({"files": files, **detail}, indent=1))


def rotate(checkpoints: Path, best_step: int | None) -> None:
    """Remove all complete checkpoints but the newest two and the best."""
    for path in complete_checkpoints(checkpoints)[:-KEPT]:
        if step_of(path) != best_step:
            (path / COMPLETE).unlink(missing_ok=True)  # first: a torn removal is no checkpoint
            shutil.rmtree(path, ignore_errors=True)


def copy_adapter(checkpoint: Path, tokenizer: Any, base_path: str, target: Path) -> None:
    """The adapter of a checkpoint as a folder that PEFT, transformers and vLLM load.

    safetensors only, with the tokenizer and its chat template; the config names the base's folder.
    It appears by one rename, so it is whole or not there.
    """
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        shutil.copy2(checkpoint / "adapter_model.safetensors", part)
        config = json.loads((checkpoint / "adapter_config.json").read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = base_path
        (part / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        tokenizer.save_pretrained(part)
        _appear(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _appear(part: Path, target: Path) -> None:
    for path in part.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(part)
    if target.exists():
        shutil.rmtree(target)
    os.replace(part, target)
    sync_folder(target.parent)
