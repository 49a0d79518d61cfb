"""A process that has imported what training needs, and forks one that trains for each request.

Importing takes five seconds, a training of the tiny model half of one. What is forked is a process
of its own: it can be killed, limited, and has its own signals. Requests are JSON lines on stdin:
{"folder", "arguments", "fsize", "memory"} answers {"pid"}; {"wait": pid} answers {"code"}.

Run by `tests/training/folders.Warm`; no test of its own.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import Any


def limit(request: dict[str, Any]) -> None:
    if request.get("fsize"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["fsize"], request["fsize"]))
    if request.get("memory"):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + request["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def train(request: dict[str, Any]) -> None:
    """In the forked process: train and leave."""
    code = 70
    try:
        log = os.open(
            Path(request["folder"]) / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND
        )
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(request.get("env") or {})
        limit(request)
        from core.training.script.main import main

        code = main(["--folder", request["folder"], *request.get("arguments", [])])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def serve() -> None:
    import bitsandbytes  # noqa: F401 - peft imports it late
    import torch

    from core.training.script import main, measure, session  # noqa: F401

    torch.set_num_threads(1)  # threads do not live on through a fork
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            pid = os.fork()
            if not pid:
                train(request)
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
