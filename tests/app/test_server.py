"""Starting and stopping the real process, and what it refuses."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from app import server
from core.errors import Conflict, Invalid
from core.settings import PROJECT_ROOT, Settings
from core.workbench import Workbench
from tests.running import running_app


def start(home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", "--home", str(home), "--port", "0"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_second_app_on_the_same_home_is_refused_in_words(
    workbench: Workbench, home: Path
) -> None:
    done = start(home)
    assert done.returncode == 1
    assert f"process {os.getpid()}" in done.stderr
    assert "LATHE_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_first_start_says_how_to_get_in_and_the_second_does_not(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_app(home) as app:
        link = re.search(r"http\S+/sign-in/link\?token=\S+", app.output)
        password = re.search(r"password (\S+)", app.output)
        assert link is not None
        assert password is not None
        assert httpx.get(link[0], trust_env=False).status_code == 200
        assert app.stop() == 0, app.output
    with running_app(home) as app:
        assert app.url in app.output
        assert "token=" not in app.output
        form = {"name": "admin", "password": password[1]}
        done = httpx.post(
            f"{app.url}/sign-in", data=form, headers={"Origin": app.url}, trust_env=False
        )
        assert done.headers["location"] == "/account"
        leftover = {path.name for path in home.rglob("*") if path.is_file()}
        assert not any(password[1] in (home / name).read_text(errors="ignore") for name in leftover
                       if (home / name).is_file())  # fmt: skip


def test_the_agent_interface_of_streamlit_is_off(tmp_path: Path) -> None:
    with running_app(tmp_path / "home") as app:
        for path in ("/_stcore/agent/openapi.json", "/_stcore/agent/mcp", "/_stcore/metrics"):
            assert httpx.get(f"{app.url}{path}", trust_env=False).status_code == 401


def test_a_taken_port_is_named(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=f"127.0.0.1:{port}") as error:
            server.bind(replace(settings, port=port))
    assert "--port" in (error.value.hint or "")


def test_beyond_this_machine_only_with_named_hosts(settings: Settings) -> None:
    everywhere = replace(settings, host="0.0.0.0", port=0)
    with pytest.raises(Invalid, match="other machines"):
        server.bind(everywhere)
    named = replace(everywhere, allowed_hosts=("lathe.example",))
    with server.bind(named) as listening:
        assert server.url_of(named, listening).startswith("http://127.0.0.1:")


def test_a_setting_that_is_wrong_is_said_in_words(tmp_path: Path) -> None:
    done = start(tmp_path / "home", LATHE_THREADS="many")
    assert done.returncode == 1
    assert "LATHE_THREADS must be a number" in done.stderr
