"""The job that makes a model loadable: download a pinned hub revision, or convert a GGUF.

Knows: the target folder and its manifest. Does not know: the registry; it adopts the folder
when it sees it. The folder appears whole, with `lathe.json` in it, or not at all.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.errors import Invalid
from core.jobs.context import JobContext
from core.models import checkpoint, convert, hub
from core.store.files import read_json, write_json

MANIFEST = "lathe.json"
STEPS = 100


def work(job: JobContext) -> dict[str, Any]:
    """Fill `target` from `source`; nothing to do when an earlier attempt did."""
    asked = job.payload
    target = Path(asked["target"])
    if manifest(target) is not None:
        return {"path": str(target)}
    os.environ.setdefault("TQDM_DISABLE", "1")

    def tell(share: float, message: str) -> None:
        job.raise_if_cancelled()
        job.progress(int(share * STEPS), STEPS, message)

    with convert.appearing(target) as folder:
        if asked["source"] == "hub":
            _download(asked, folder, tell)
        elif asked["source"] == "gguf":
            convert.convert_into(Path(asked["gguf_path"]), folder, tell)
        else:
            raise Invalid(f"A {asked['source']} model needs no preparing.", field="source")
        tell(0.95, "checking")
        found = checkpoint.read(folder, kind=asked["kind"])
        digest = checkpoint.sha256_of(checkpoint.weight_files(folder))
        write_json(folder / MANIFEST, {**asdict(found), "sha256": digest})
    job.progress(STEPS, STEPS, "ready to load")
    return {"path": str(target)}


def manifest(target: Path) -> dict[str, Any] | None:
    """What a finished preparation found, or None while there is none."""
    found: dict[str, Any] | None = read_json(target / MANIFEST)
    return found


def _download(asked: dict[str, Any], folder: Path, tell: convert.Progress) -> None:
    if not hub.allowed(offline=asked["offline"]):
        raise hub.refused(asked["location"])
    tell(0.01, f"downloading {asked['location']}")
    hub.download(asked["location"], asked["revision"], folder)
