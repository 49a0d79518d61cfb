"""The real app in a process of its own, for tests that talk to it as a person's machine does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from app.remote import Card, read_card
from core.settings import PROJECT_ROOT


@dataclass
class RunningApp:
    """A started `python -m app`."""

    process: subprocess.Popen[bytes]
    home: Path
    card: Card
    log: Path

    @property
    def url(self) -> str:
        return self.card.url

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextlib.contextmanager
def running_app(home: Path, env: Mapping[str, str] = os.environ) -> Iterator[RunningApp]:
    """Start it on a free port and wait until it answers; stopped, if need be killed, after."""
    home.mkdir(parents=True, exist_ok=True)
    log = home.parent / f"{home.name}-app.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app"],
            cwd=PROJECT_ROOT,
            env={"LATHE_MEASURE": "0", **env, "LATHE_HOME": str(home), "LATHE_PORT": "0"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield RunningApp(process, home, _wait(process, home, log), log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], home: Path, log: Path) -> Card:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        card = read_card(home)
        if card is not None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{card.url}/healthz", trust_env=False).is_success:
                    return card
        time.sleep(0.1)
    raise AssertionError(f"the app did not start:\n{log.read_text(errors='replace')}")
