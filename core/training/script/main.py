"""The script: a run folder in, an adapter out.

    python train.py [--folder .] [--fresh] [--measure N]

Exit codes: 0 succeeded, 3 stopped, 1 failed (result.json says why), 4 another process trains here.
Started again it goes on from the last complete checkpoint; --fresh begins anew.

Knows: the order of things. Does not know: how any of them is done.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from .faults import Failure, Stopped, explain
from .files import Locked, RunFolder
from .params import BadParam, Params
from .signals import Stop, end_with_parent
from .world import refuse_lone_process

BEGAN = time.perf_counter()
SUCCEEDED, FAILED, STOPPED, LOCKED = 0, 1, 3, 4


def main(argv: list[str] | None = None) -> int:
    """Train in a folder; returns the exit code."""
    asked = _arguments(argv)
    _quiet()
    rank = int(os.environ.get("RANK", "0"))
    folder = RunFolder(Path(asked.folder), writes=rank == 0 and not asked.measure)
    if asked.measure:
        from .measure import measure

        return measure(folder, asked.measure, BEGAN)
    if rank == 0:
        try:
            folder.take_lock()
        except Locked:
            sys.stderr.write("Another process trains in this folder.\n")
            return LOCKED
    if asked.fresh and rank == 0:
        _forget(folder)
    try:
        return _run(folder)
    finally:
        folder.close()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trains the adapter of this run folder.")
    parser.add_argument("--folder", default=".", help="the run folder; default: here")
    parser.add_argument("--fresh", action="store_true", help="begin anew, without checkpoints")
    parser.add_argument(
        "--measure",
        type=int,
        default=0,
        metavar="N",
        help="time N steps, print them, write nothing",
    )
    return parser.parse_args(argv)


def _quiet() -> None:
    """Nothing phones home, and the log holds what matters."""
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TRL_EXPERIMENTAL_SILENCE"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.setdefault("ACCELERATE_LOG_LEVEL", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)


def _forget(folder: RunFolder) -> None:
    for path in (folder.checkpoints, folder.adapter):
        shutil.rmtree(path, ignore_errors=True)
    (folder.path / "events.ndjson").unlink(missing_ok=True)


def _run(folder: RunFolder) -> int:
    params: Params | None = None
    end_with_parent()
    stop = Stop(folder.stop_path)
    stop.listen()
    try:
        folder.clear_result()
        refuse_lone_process(os.environ)
        config = folder.config()
        try:
            params = Params.from_dict(config.get("params") or {})
        except BadParam as error:
            raise Failure("other", "A setting cannot be", str(error)) from None
        from .session import train

        result = train(folder, config, params, stop)
        return _end(folder, SUCCEEDED, {"state": "succeeded", **result})
    except Stopped as stopped:
        folder.stop_path.unlink(missing_ok=True)
        return _end(folder, STOPPED, {"state": "stopped", "step": stopped.step})
    except BaseException as error:
        if isinstance(error, SystemExit | GeneratorExit):
            raise
        traceback.print_exc()
        failure = explain(error, params)
        return _end(folder, FAILED, {"state": "failed", "error": failure.to_dict()})


def _end(folder: RunFolder, code: int, result: dict[str, Any]) -> int:
    """Say how it ended. On a full disk the last words are tried again: the part files are gone."""
    for attempt in range(3):
        try:
            folder.event("end", state=result["state"])
            folder.result(result)
            return code
        except OSError:
            if attempt == 2:
                traceback.print_exc()
            time.sleep(0.2)
    return FAILED


if __name__ == "__main__":
    raise SystemExit(main())
