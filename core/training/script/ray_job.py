"""A run folder on a Ray cluster: sent through the Jobs API, followed, and what it made fetched.

    python launch/ray_job.py --address http://127.0.0.1:8265 [--processes N] [--gpus N]

The folder is Ray's working directory: the cluster trains in a copy of it. Where the cluster sees
this folder too (the same machine, or a shared disk) events are copied back while it trains, a
`stop` file laid here stops it, and adapter, checkpoints and result are brought back at the end;
else the last line of the log says on which machine and where they are.

Knows: the files of a run folder, Ray's Jobs API. Does not know: torch, how it is trained.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

STOPPED, LOCKED = 3, 4
HOME, MARK = "LATHE_RUN_FOLDER", "LATHE_RUN_MARK"
MARK_FILE = "launch/.submitted"
NOT_SENT = ("/lock", "/stop", "/adapter", "/result.json", "__pycache__")
BROUGHT_FILES = ("events.ndjson", "result.json")  # the result last: it is what says "ended"
TICK_S = 1.0


def main(argv: Sequence[str]) -> int:
    """Send the folder that holds launch/ and wait; the exit code of train.py on the cluster."""
    asked = _parser().parse_args(list(argv))
    folder = Path(asked.folder).resolve()
    if asked.inside:
        return train_here(folder, asked.processes, asked.rest)
    with _locked(folder) as mine:
        if not mine:
            sys.stderr.write("Another process trains in this folder.\n")
            return LOCKED
        return submit(folder, asked)


def submit(folder: Path, asked: argparse.Namespace) -> int:
    """Hand the folder to the cluster, print its log as it comes, return the exit code."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    from ray.job_submission import JobSubmissionClient

    mark = secrets.token_hex(16)
    client = JobSubmissionClient(asked.address)  # asks the cluster: nothing is changed before
    for old in ("result.json", "stop"):  # of a training before this one
        (folder / old).unlink(missing_ok=True)
    (folder / MARK_FILE).write_text(mark, encoding="utf-8")
    job_id = client.submit_job(
        entrypoint=_entrypoint(asked),
        entrypoint_num_gpus=asked.gpus or None,
        runtime_env={
            "working_dir": str(folder),
            "excludes": list(NOT_SENT),
            "env_vars": {HOME: str(folder), MARK: mark},
        },
    )
    sys.stdout.write(f"job {job_id}\n")
    try:
        asyncio.run(_follow(client, job_id))
    except KeyboardInterrupt:
        client.stop_job(job_id)
        return STOPPED
    finally:
        (folder / MARK_FILE).unlink(missing_ok=True)
    return _exit_code(client.get_job_info(job_id))


def train_here(copy: Path, processes: int, rest: Sequence[str]) -> int:
    """On the cluster: train in this copy of the folder and bring back what it made."""
    home = _home()
    process = subprocess.Popen(_command(processes, rest), cwd=copy)
    seen = -1
    while process.poll() is None:
        time.sleep(TICK_S)
        if home is None:
            continue
        if (home / "stop").exists():
            (copy / "stop").touch()
        seen = _bring_events(copy, home, seen)
    if home is None:
        sys.stdout.write(f"The adapter is on {socket.gethostname()} in {copy / 'adapter'}\n")
    else:
        bring_back(copy, home)
    return _how_it_ended(copy, process.returncode)


def bring_back(copy: Path, home: Path) -> None:
    """Copy checkpoints, adapter, events and result; each appears whole, the result last."""
    for checkpoint in sorted((copy / "checkpoints").glob("checkpoint-*")):
        if (checkpoint / "complete.json").exists():
            _bring_folder(checkpoint, home / "checkpoints" / checkpoint.name)
    if (copy / "adapter").is_dir():
        _bring_folder(copy / "adapter", home / "adapter")
    for name in BROUGHT_FILES:
        if (copy / name).exists():
            _bring_file(copy / name, home / name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ray_job.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--address", default="http://127.0.0.1:8265", help="the dashboard's URL")
    parser.add_argument("--processes", type=int, default=1, help="more than one: through torchrun")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs to ask the cluster for")
    parser.add_argument("--python", default=sys.executable, help="the interpreter on the cluster")
    parser.add_argument("--folder", default=".", help="the run folder")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help="after --: arguments of train.py")
    return parser


def _entrypoint(asked: argparse.Namespace) -> str:
    words = [asked.python, "launch/ray_job.py", "--inside", "--processes", str(asked.processes)]
    return shlex.join([*words, "--", *asked.rest])


def _command(processes: int, rest: Sequence[str]) -> list[str]:
    if processes == 1:
        return [sys.executable, "train.py", *rest]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    return [sys.executable, *launcher, "train.py", *rest]


async def _follow(client: Any, job_id: str) -> None:
    async for lines in client.tail_job_logs(job_id):
        sys.stdout.write(lines)
        sys.stdout.flush()


def _exit_code(info: Any) -> int:
    if info.driver_exit_code is not None:
        return int(info.driver_exit_code)
    if str(info.status) == "SUCCEEDED":
        return 0
    sys.stderr.write(f"The cluster says: {info.status}. {info.message or ''}\n")
    return STOPPED if str(info.status) == "STOPPED" else 1


def _how_it_ended(copy: Path, returncode: int) -> int:
    """What train.py would have said itself: torchrun makes a 1 of every code but 0."""
    try:
        state = json.loads((copy / "result.json").read_text(encoding="utf-8")).get("state")
    except (OSError, ValueError):
        return returncode
    return {"succeeded": 0, "stopped": STOPPED}.get(state, returncode or 1)


def _home() -> Path | None:
    """The folder it was sent from, where that very submission can be seen from here."""
    home = Path(os.environ.get(HOME, ""))
    with contextlib.suppress(OSError):
        if (home / MARK_FILE).read_text(encoding="utf-8") == os.environ.get(MARK):
            return home
    return None


def _bring_events(copy: Path, home: Path, seen: int) -> int:
    """Copy the events when there are more than `seen` bytes; how many there are now."""
    events = copy / "events.ndjson"
    size = events.stat().st_size if events.exists() else -1
    if size > seen:
        _bring_file(events, home / events.name)
    return size


def _bring_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    passing = target.with_name(f".{target.name}.coming")
    shutil.copyfile(source, passing)
    os.replace(passing, target)


def _bring_folder(source: Path, target: Path) -> None:
    passing = target.with_name(f".{target.name}.coming")
    shutil.rmtree(passing, ignore_errors=True)
    shutil.copytree(source, passing)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(passing, target)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold the folder's lock while the cluster has its copy; False: another holds it."""
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
