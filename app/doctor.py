"""What `lathe doctor` looks at: everything that has to be right before work can start.

Knows: how to look, and what to do about what it finds. Does not know: how it is printed.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from app.bootstrap import RUNTIME_LOCK, read_lock
from app.remote import Remote, open_workbench, read_card
from core.errors import LatheError
from core.settings import Settings
from core.store.migrations import MIGRATIONS
from core.workbench import OWNER, Workbench

OK, WARNING, FAILED = "ok", "warning", "failed"
NEEDED_DISK_BYTES = 2 * 10**9
NEEDED_MEMORY_BYTES = 2 * 10**9
SELFTEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    state: str
    """ok, warning or failed."""
    text: str
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, as soon as it is there; one that fails does not stop the others."""
    for name, look in LOOKS.items():
        try:
            yield look(name, settings)
        except LatheError as error:
            yield Finding(name, FAILED, error.message, error.hint or "")
        except Exception as error:  # the edge: a broken installation can fail in any way
            yield Finding(name, FAILED, f"{type(error).__name__}: {error}")


def _python(name: str, settings: Settings) -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(name, OK, f"{version} at {sys.executable}")


def _packages(name: str, settings: Settings) -> Finding:
    locked = read_lock(RUNTIME_LOCK)
    missing, other = [], []
    for package, version in locked.items():
        try:
            here = metadata.version(package).split("+")[0]
        except metadata.PackageNotFoundError:
            missing.append(package)
            continue
        if here != version:
            other.append(f"{package} {here} instead of {version}")
    if missing:
        return Finding(name, FAILED, f"missing: {', '.join(missing)}", "Run `make setup`.")
    if other:
        return Finding(name, WARNING, "; ".join(other), "`make setup` installs what is tested.")
    return Finding(name, OK, f"{len(locked)} as locked")


def _home(name: str, settings: Settings) -> Finding:
    settings.home.mkdir(parents=True, exist_ok=True)
    if not os.access(settings.home, os.W_OK):
        return Finding(
            name,
            FAILED,
            f"{settings.home} cannot be written",
            "Change its owner, or set LATHE_HOME to another folder.",
        )
    return Finding(name, OK, str(settings.home))


def _disk(name: str, settings: Settings) -> Finding:
    free = shutil.disk_usage(_existing(settings.home)).free
    text = f"{free / 1e9:,.1f} GB free"
    if free < NEEDED_DISK_BYTES:
        return Finding(name, FAILED, text, "Free some space: models and datasets need it.")
    return Finding(name, OK, text)


def _memory(name: str, settings: Settings) -> Finding:
    import psutil

    found = psutil.virtual_memory()
    text = f"{found.available / 1e9:,.1f} of {found.total / 1e9:,.1f} GB available"
    if found.available < NEEDED_MEMORY_BYTES:
        return Finding(name, WARNING, text, "Only the smallest models will fit.")
    return Finding(name, OK, text)


def _device(name: str, settings: Settings) -> Finding:
    import torch

    if not torch.cuda.is_available():
        cores = settings.threads or os.cpu_count()
        return Finding(name, OK, f"no GPU that torch can use; models run on {cores} CPU cores")
    free, total = torch.cuda.mem_get_info()
    title = torch.cuda.get_device_name()
    return Finding(name, OK, f"{title}, {free / 1e9:,.1f} of {total / 1e9:,.1f} GB free")


def _schema(name: str, settings: Settings) -> Finding:
    with open_workbench(settings) as workbench:
        if isinstance(workbench, Remote):
            return Finding(name, OK, f"open in the app at {workbench.url}")
    return Finding(name, OK, f"version {len(MIGRATIONS)}, the newest this Lathe knows")


def _port(name: str, settings: Settings) -> Finding:
    address = f"{settings.host}:{settings.port}"
    card = read_card(settings.home)
    if card is not None and _answers(card.url):
        return Finding(name, OK, f"the app answers at {card.url}")
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return Finding(
                name,
                FAILED,
                f"{address} cannot be used: {error.strerror}",
                "Stop what has it, or set LATHE_PORT to another.",
            )
    return Finding(name, OK, f"{address} is free")


def _selftest(name: str, settings: Settings) -> Finding:
    """One small job through its whole life: folder, process, spool, database."""
    began = time.monotonic()
    with open_workbench(settings, background=True) as workbench:
        state = _run_selftest(workbench, began + SELFTEST_S)
    if state != "succeeded":
        return Finding(name, FAILED, f"a small job ended as {state}", "`lathe jobs list` has it.")
    return Finding(name, OK, f"a small job ran in {time.monotonic() - began:.1f} s")


def _run_selftest(workbench: Workbench | Remote, deadline: float) -> str:
    job_id = workbench.jobs.start(OWNER, "selftest", "Doctor", {"steps": 3})
    while time.monotonic() < deadline:
        state = str(workbench.jobs.get(OWNER, job_id)["state"])
        if state not in ("queued", "running"):
            return state
        time.sleep(0.1)
    return "still running"


def _answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(f"{url}/healthz", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


LOOKS: dict[str, Callable[[str, Settings], Finding]] = {
    "Python": _python,
    "packages": _packages,
    "home": _home,
    "disk": _disk,
    "memory": _memory,
    "device": _device,
    "schema": _schema,
    "port": _port,
    "jobs": _selftest,
}
