"""The job that exports an adapter: as PEFT's folder, merged safetensors, or one GGUF file.

Knows: the target folder, what goes into it. Does not know: the registry; `Models._finish_export`
takes a GGUF in. A target appears whole or not at all; what killed exports left is swept by the
next one of the same adapter.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import Invalid
from core.jobs.context import JobContext
from core.models import adapters, convert
from core.store.files import FileLock, write_json
from core.training import gguf_write, merging
from core.training.exports import FACTS, KINDS, README, found

STEPS = 100
WAIT_S = 0.2


def work(job: JobContext) -> dict[str, Any]:
    """Fill `target` with the export that the payload asks for; nothing to do when it is there."""
    asked = job.payload
    target = Path(asked["target"])
    if asked["kind"] not in KINDS:
        raise Invalid(f"There is no export {asked['kind']!r}.", field="kind",
                      hint=f"There are {', '.join(KINDS)}.")  # fmt: skip

    def tell(share: float, text: str) -> None:
        job.raise_if_cancelled()
        job.progress(int(share * STEPS), STEPS, text)

    lock = FileLock(target.parent / ".lock")
    while not lock.acquire():  # another export of this adapter is being written
        tell(0.0, "waiting for another export of this adapter")
        _pause()
    try:
        if not target.is_dir():
            convert.sweep(target.parent)
            export(asked, tell)
    finally:
        lock.release()
    job.progress(STEPS, STEPS, "exported")
    done = found(target)
    return {name: done[name] for name in ("kind", "path", "files", "bytes")} | {
        "model_id": asked["model_id"]
    }


def export(asked: dict[str, Any], tell: gguf_write.Tell) -> None:
    """Write the target folder of a payload as `exports.payload` makes it.

    Raises Invalid where it cannot be done right, and whatever `tell` raises to stop.
    """
    target = Path(asked["target"])
    with convert.appearing(target) as folder:
        facts = _WRITERS[asked["kind"]](asked, folder, tell)
        if asked.get("card"):
            (folder / README).write_text(asked["card"], encoding="utf-8")
        tell(0.97, "checking")
        write_json(folder / FACTS, {"kind": asked["kind"], **facts})


def _peft(asked: dict[str, Any], folder: Path, tell: gguf_write.Tell) -> dict[str, Any]:
    tell(0.2, "copying the adapter")
    folder.rmdir()
    adapters.copy(Path(asked["adapter_path"]), folder)
    if asked.get("base_hub_id"):  # a path on this machine means nothing on another
        path = folder / adapters.CONFIG
        config = json.loads(path.read_text(encoding="utf-8"))
        config["base_model_name_or_path"] = asked["base_hub_id"]
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    return {}


def _merged(asked: dict[str, Any], folder: Path, tell: gguf_write.Tell) -> dict[str, Any]:
    tell(0.1, "merging")
    difference = merging.merge_into(Path(asked["base_path"]), Path(asked["adapter_path"]), folder)
    return {"max_logit_difference": difference}


def _gguf(asked: dict[str, Any], folder: Path, tell: gguf_write.Tell) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=".merged.", suffix=".partial"
    ) as scratch:
        merged = Path(scratch)
        facts = _merged(asked, merged, tell)
        own = asked.get("base_gguf_path")

        def part(share: float, text: str) -> None:
            tell(0.4 + 0.55 * share, text)

        gguf_write.write(
            merged,
            folder / asked["file"],
            name=asked["name"],
            kind=asked["gguf_type"],
            base=Path(asked["base_path"]),
            base_gguf=Path(own) if own else None,
            tell=part,
        )
    return {**facts, "file": asked["file"], "gguf_type": asked["gguf_type"]}


_WRITERS: dict[str, Callable[[dict[str, Any], Path, gguf_write.Tell], dict[str, Any]]] = {
    "peft": _peft,
    "merged": _merged,
    "gguf": _gguf,
}


def _pause() -> None:
    import time

    time.sleep(WAIT_S)
