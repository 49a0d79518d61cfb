"""The process that does one job: `python -m core.jobs.worker FOLDER`.

Knows: how a job starts and how each way of ending is written down.
Does not know: what the work is, nor the database.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import LatheError
from core.ids import new_id
from core.jobs.context import Cancelled, JobContext
from core.jobs.folder import JobFolder, unexpected
from core.jobs.kinds import KINDS
from core.store.files import FileLock

ALREADY_RUNNING = 3


def main(path: str) -> int:
    """Do the job in the folder; the exit code is 0 however the work itself ended."""
    folder = JobFolder(Path(path))
    lock = FileLock(folder.lock_path)
    if not lock.acquire():
        print("another worker has this job", file=sys.stderr)  # noqa: T201
        return ALREADY_RUNNING
    folder.append_event("state", state="running", pid=os.getpid())
    context = JobContext(folder)
    try:
        value = _function(folder.spec().kind)(context)
        context.spool.close()
        folder.write_result("succeeded", value=value)
    except Cancelled:
        context.spool.close()
        folder.write_result("cancelled")
    except LatheError as error:
        context.spool.close()
        folder.write_result("failed", error=error.to_dict())
    except Exception as error:  # the process edge: written down with an id to quote
        trace_id = new_id("err")
        traceback.print_exc()
        print(f"error id {trace_id}", file=sys.stderr)  # noqa: T201
        context.spool.close()
        folder.write_result("failed", error=unexpected(error, trace_id))
    return 0


def _function(kind: str) -> Callable[[JobContext], Any]:
    module, name = KINDS[kind].work.split(":")
    found: Callable[[JobContext], Any] = getattr(importlib.import_module(module), name)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
