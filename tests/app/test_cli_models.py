"""`lathe models`: what a location is taken for, keys that are never shown, serving over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.cli_models import source_of
from core.settings import PROJECT_ROOT, Settings
from core.workbench import OWNER, Workbench


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATHE_HOME", str(home))


def lathe(*words: str, given: str | None = None) -> Result:
    return CliRunner().invoke(main, list(words), input=given)


@pytest.mark.parametrize(
    ("location", "source"),
    [
        ("https://llm.example/v1", "endpoint"),
        ("http://127.0.0.1:8000", "endpoint"),
        ("models/tiny.GGUF", "gguf"),
        ("~/models/tiny", "directory"),
        ("./tiny", "directory"),
        ("/models/tiny", "directory"),
        ("one/two/three", "directory"),
        ("owner/name", "hub"),
    ],
)
def test_a_location_tells_its_source(location: str, source: str) -> None:
    assert source_of(location) == source


def test_a_folder_that_is_there_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner/name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert source_of("owner/name") == "directory"


def test_an_endpoint_is_added_with_a_key_that_is_never_shown() -> None:
    done = lathe("models", "add", "http://127.0.0.1:9/v1", "--revision", "big-model",
                 "--with-key", "--json", given="sk-hidden\n")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "sk-hidden" not in done.output
    row = json.loads(done.output)
    assert (row["name"], row["source"]) == ("big-model", "endpoint")
    listed = lathe("models", "list", "--json").output
    assert "big-model" in listed
    assert "sk-hidden" not in listed


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["./nowhere"], "Check this value"),
        (["model.gguf"], "not a file"),
        (["owner/name"], "pinned revision"),
        (["owner/name", "--revision", "a" * 40], "Downloads are off"),
    ],
)
def test_a_bad_location_is_an_error_in_words(words: list[str], says: str) -> None:
    done = lathe("models", "add", *words)
    assert done.exit_code == 1
    assert says in done.stderr


def test_serving_what_is_not_there_or_where_the_port_is_taken() -> None:
    assert "no model 'gone'" in lathe("models", "serve", "gone", "--port", "0").stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"Port {port} cannot be used" in lathe("models", "serve", "x", "--port", port).stderr


def test_an_endpoint_is_not_served_again() -> None:
    lathe("models", "add", "http://127.0.0.1:9/v1", "--revision", "far")
    done = lathe("models", "serve", "far", "--port", "0")
    assert (done.exit_code, "an endpoint already" in done.stderr) == (1, True)


@pytest.mark.parametrize("keyless", [False, True])
def test_a_model_is_served_until_it_is_stopped(settings: Settings, keyless: bool) -> None:
    with Workbench.open(settings, background=False) as workbench:
        workbench.models.add(OWNER, "yes", "scripted", '{"default": "yes"}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = ["--no-key"] if keyless else ["--key", "open sesame"]
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "models", "serve", "yes", "--port", str(port), *key],
        cwd=PROJECT_ROOT,
        env=os.environ.copy(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        body = {"model": "yes", "messages": [{"role": "user", "content": "?"}]}
        answer = _until_it_answers(f"http://127.0.0.1:{port}/v1/chat/completions", body)
        assert answer.status_code == (200 if keyless else 401)
        if not keyless:
            headers = {"Authorization": "Bearer open sesame"}
            answer = httpx.post(str(answer.url), json=body, headers=headers, trust_env=False)
        assert answer.json()["choices"][0]["message"]["content"] == "yes"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    assert f"http://127.0.0.1:{port}/v1 as 'yes'" in errors
    assert "Traceback" not in errors


def _until_it_answers(url: str, body: dict[str, object]) -> httpx.Response:
    for _ in range(200):
        try:
            return httpx.post(url, json=body, trust_env=False)
        except httpx.ConnectError:
            time.sleep(0.1)
    raise AssertionError("it never answered")
