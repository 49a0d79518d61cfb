"""Nothing phones home: everything runs with the way out refused, and nobody asked for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from playwright.sync_api import Browser

from app.guard import COOKIE
from app.navigation import names_for
from app.remote import Remote
from core.models.starter import STARTERS, ensure_starter
from core.settings import PROJECT_ROOT, Settings
from core.workbench import OWNER
from tests.jobs.test_jobs import wait_for
from tests.running import RunningApp, running_app


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
        self.home = folder / "home"

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words],
            cwd=PROJECT_ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=600,
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


@pytest.mark.browser
@pytest.mark.slow
def test_the_app_its_pages_and_a_run_stay_on_this_machine(
    sealed: Sealed, tmp_path: Path, browser: Browser
) -> None:
    with (
        running_app(sealed.home, sealed.env) as app,
        Remote(app.card, Settings(home=app.home)) as remote,
    ):
        model_id = remote.models.add(OWNER, "echo", "scripted", "{}")
        evaluate(sealed, tmp_path, [{"model": "echo"}])
        play(remote, model_id)
        asked = visit_every_page(browser, app, session_of_admin(app))
        unload_all(remote)
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(app.url).netloc}
    assert sealed.attempts == ""


def play(remote: Remote, model_id: str) -> None:
    """One playground request, to its end."""
    column = {"id": "a", "system_template": "", "user_template": "{{x}}", "model_id": model_id}
    remote.playground.start(OWNER, [column], {"x": "hello"})
    wait_for(lambda: remote.playground.columns(OWNER)[0]["state"] == "done")
    assert remote.playground.columns(OWNER)[0]["text"] == "hello"


@pytest.mark.starter
@pytest.mark.slow
@pytest.mark.timeout(600)  # two engines and an embedding model are loaded
def test_real_models_are_loaded_and_run_without_asking_anybody(
    sealed: Sealed, tmp_path: Path
) -> None:
    ensure_starter(sealed.home, cache=Settings.from_env().cache)
    with (
        running_app(sealed.home, sealed.env) as app,
        Remote(app.card, Settings(home=app.home)) as remote,
    ):
        remote.models.register_starter(OWNER)
        ways = [("transformers", "nf4"), ("llama.cpp", "gguf")]
        variants = [{"model": STARTERS[0].name, "engine": e, "quantization": q} for e, q in ways]
        evaluate(sealed, tmp_path, variants, scorers=[{"kind": "embedding_similarity"}])
        unload_all(remote)
    assert sealed.attempts == ""


def evaluate(sealed: Sealed, folder: Path, variants: list[dict[str, str]], **more: object) -> None:
    """A run of two rows, asked for in a sealed process and done by the sealed app's workers."""
    (folder / "rows.csv").write_text("text,label\nThe sky is,blue\nGrass is,green\n")
    shared = {"prompt": {"user": "{{text}}"}, "generation": {"max_tokens": 4}}
    config = {
        "dataset": "rows.csv",
        "variants": [{**shared, **variant} for variant in variants],
        "scorers": [{"kind": "contains"}],
        **more,
    }
    (folder / "eval.yaml").write_text(yaml.safe_dump(config))
    done = sealed.python("-m", "app.cli", "eval", str(folder / "eval.yaml"), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(done.stdout)
    assert [v["ok_count"] for v in summary["variants"]] == [2] * len(variants), summary


def unload_all(remote: Remote) -> None:
    for state in remote.models.states(OWNER):
        remote.models.unload(OWNER, state["key"])


def session_of_admin(app: RunningApp) -> str:
    """A session's token: by the printed link, with the password set that it asks for."""
    link = re.search(r"/sign-in/link\?token=(\S+)", app.output)
    assert link, app.output
    headers = {"Origin": app.url}
    with httpx.Client(base_url=app.url, headers=headers, trust_env=False) as client:
        client.post("/sign-in/link", data={"token": link[1]})
        token = client.cookies[COOKIE]
        body = {"args": ["nobody has to know"], "kwargs": {"keep_session": token}}
        client.post("/api/actions/users/set_password", json=body).raise_for_status()
    return str(token)


def visit_every_page(browser: Browser, app: RunningApp, token: str) -> list[str]:
    """Open each page there is as an admin; every address that the browser asked for."""
    asked: list[str] = []
    context = browser.new_context()
    context.add_cookies([{"name": COOKIE, "value": token, "url": app.url}])
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    for name in names_for(OWNER):
        page.goto(f"{app.url}/{name}")
        page.get_by_role("heading", level=1).first.wait_for()
        page.wait_for_timeout(300)
    context.close()
    return [url for url in asked if not url.startswith(("data:", "blob:"))]
