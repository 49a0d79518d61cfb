"""What a crash left between a version's file and its row: found at the start, and removed.

A file gets its name before the database gets its row. Who dies in between leaves a file that no
version has. It is removed, unless somebody will still make a version of it: the finisher of a job
that has a result and has not ended, or whoever accepts an import that waits.

Knows: names of files, rows of versions and jobs. Does not know: what is in the files.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from core.datasets.files import STAGED
from core.store.database import Store

log = logging.getLogger(__name__)


def sweep(store: Store) -> list[Path]:
    """Remove the files of versions that no version has and nobody waits for; which they were.

    For the owner of the database, before anything else makes versions.
    """
    files = [
        path
        for path in (store.home / "datasets").glob("*/*.parquet")
        if not path.name.startswith(".")
    ]
    if not files:
        return []
    rows = store.rows("SELECT DISTINCT dataset_id, content_hash FROM dataset_versions")
    known = {(row["dataset_id"], row["content_hash"]) for row in rows}
    lost = [path for path in files if (path.parent.name, path.stem) not in known]
    waiting = "".join(_promised(store)) if lost else ""
    swept = [path for path in lost if path.stem not in waiting]
    for path in swept:
        log.warning("%s is the file of no version: removed", path.name)
        _remove(path)
    return swept


def _promised(store: Store) -> list[str]:
    """The texts of results that are not in the database yet, and of imports that wait."""
    rows = store.rows("SELECT id FROM jobs WHERE state IN ('queued', 'running', 'interrupted')")
    results = [store.home / "jobs" / row["id"] / "result.json" for row in rows]
    staged = (store.home / "datasets").glob(f"*/{STAGED}*.json")
    files = [path for path in (*results, *staged) if path.is_file()]
    return [path.read_text(encoding="utf-8", errors="replace") for path in files]


def _remove(path: Path) -> None:
    """The file last: while it is there, the rest is found again."""
    for beside in path.parent.glob(f"{path.stem}.*"):
        if beside.is_dir():
            shutil.rmtree(beside, ignore_errors=True)
        elif beside != path:
            beside.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
