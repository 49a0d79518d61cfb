"""Nothing phones home: everything runs with the way out refused, and nobody asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.settings import PROJECT_ROOT


class Sealed:
    """Commands that cannot leave this machine, and the log of who tried."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "refused.log"
        hook = str(PROJECT_ROOT / "tests" / "no_network")
        self.env = {
            # Switches that only hide an attempt are taken away: Lathe must set its own.
            **{k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))},
            "PYTHONPATH": hook,
            "LATHE_TEST_SOCKET_LOG": str(self.log),
            "LATHE_HOME": str(folder / "home"),
        }

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=PROJECT_ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def attempts(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


@pytest.fixture
def sealed(tmp_path: Path) -> Sealed:
    return Sealed(tmp_path)


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.create_connection(('192.0.2.1', 80), timeout=1)",
        "socket.getaddrinfo('example.org', 443)",
        "socket.gethostbyname('example.org')",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "socket.socket(type=socket.SOCK_DGRAM).connect(('192.0.2.1', 53))",
        "__import__('httpx').get('http://192.0.2.1/', trust_env=False)",
        "subprocess.run([sys.executable, '-c',"
        " 'import socket; socket.gethostbyname(\"example.org\")'], check=True)",
    ],
)
def test_the_seal_holds_and_tells(sealed: Sealed, attempt: str) -> None:
    done = sealed.python("-c", f"import socket, subprocess, sys; {attempt}")
    assert done.returncode != 0
    assert "192.0.2.1" in sealed.attempts or "example.org" in sealed.attempts


def test_the_seal_lets_this_machine_through(sealed: Sealed) -> None:
    code = (
        "import socket\n"
        "with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "    socket.create_connection(('localhost', server.getsockname()[1])).close()\n"
    )
    assert sealed.python("-c", code).returncode == 0
    assert sealed.attempts == ""


def test_the_doctor_and_a_job_stay_on_this_machine(sealed: Sealed) -> None:
    sealed.env["LATHE_PORT"] = "0"
    done = sealed.python("-m", "app.cli", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sealed.attempts == ""
