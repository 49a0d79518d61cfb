"""The command line while the app has the home: the same words, through the app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.remote import Card, Remote, open_workbench, read_card, write_card
from core.errors import Conflict, Forbidden, Invalid, NotFound, StoreLocked, Upstream
from core.generation import Generation
from core.settings import PROJECT_ROOT, Settings
from core.workbench import OWNER, Workbench
from tests.running import RunningApp, running_app


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    with running_app(tmp_path_factory.mktemp("remote") / "home") as started:
        yield started


@pytest.fixture
def remote(app: RunningApp) -> Iterator[Remote]:
    opened = open_workbench(Settings(home=app.home))
    assert isinstance(opened, Remote)
    with opened:
        yield opened


def lathe(app: RunningApp, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *words],
        cwd=PROJECT_ROOT,
        env={**os.environ, "LATHE_HOME": str(app.home)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_card_is_the_owners_alone(app: RunningApp) -> None:
    assert (app.home / "cli-token").stat().st_mode & 0o777 == 0o600
    assert app.card.token not in repr(app.card)
    assert app.card.token not in app.output


def test_the_same_calls_work_through_the_app(remote: Remote) -> None:
    prompt_id = remote.prompts.create(OWNER, "over http", description="ä")
    version = remote.prompts.save_version(
        OWNER,
        prompt_id,
        system_template="",
        user_template="Hello {{name}}",
        generation=Generation(max_tokens=5),
    )
    assert version["variables"] == ["name"]
    row = remote.prompts.get(OWNER, prompt_id)
    assert row["description"] == "ä"
    assert row["created_at"].year >= 2026


def test_errors_arrive_as_themselves(remote: Remote) -> None:
    remote.prompts.create(OWNER, "twice")
    with pytest.raises(Conflict, match="twice"):
        remote.prompts.create(OWNER, "twice")
    with pytest.raises(NotFound):
        remote.jobs.get(OWNER, "job_none")
    with pytest.raises(Invalid):
        remote.jobs.get(OWNER, colour="red")


def test_what_is_no_action_is_not_there(remote: Remote) -> None:
    with pytest.raises(AttributeError):
        remote.prompts.explode(OWNER)
    with pytest.raises(AttributeError):
        remote.sockets  # noqa: B018


def test_the_command_line_works_while_the_app_runs(app: RunningApp) -> None:
    made = lathe(app, "call", "prompts.create", "name=from the shell")
    assert made.returncode == 0, made.stderr
    assert "from the shell" in lathe(app, "prompts", "list").stdout
    doctor = json.loads(lathe(app, "doctor", "--json").stdout)
    assert {finding["name"]: finding["state"] for finding in doctor}["port"] == "ok"
    link = lathe(app, "link").stdout.strip()
    assert link.startswith(f"{app.url}/sign-in/link?token=")


def test_without_the_token_there_is_no_way_in(app: RunningApp) -> None:
    path = f"{app.url}/api/actions/prompts/list"
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer"}):
        answer = httpx.post(path, headers=headers, json={}, trust_env=False)
        assert answer.status_code in (401, 403)


def test_a_card_with_a_wrong_token_is_told_so(app: RunningApp) -> None:
    card = Card(app.url, "wrong")
    with Remote(card, Settings(home=app.home)) as stranger, pytest.raises(Forbidden):
        stranger.prompts.list(OWNER)


def test_a_free_home_is_opened_itself(settings: Settings) -> None:
    write_card(settings.home, "http://127.0.0.1:9")  # left behind by an app that was killed
    with open_workbench(settings) as opened:
        assert isinstance(opened, Workbench)


def test_a_taken_home_without_an_app_that_answers_is_refused(
    workbench: Workbench, settings: Settings
) -> None:
    with pytest.raises(StoreLocked):
        open_workbench(settings)
    write_card(settings.home, "http://127.0.0.1:9")
    with pytest.raises(StoreLocked, match="Another Lathe"):
        open_workbench(settings)


def test_an_app_that_is_gone_is_named(settings: Settings) -> None:
    card = write_card(settings.home, "http://127.0.0.1:9")
    with Remote(card, settings) as remote, pytest.raises(Upstream, match=r"127\.0\.0\.1:9"):
        remote.jobs.list(OWNER)


def test_many_at_once_get_their_own_answers(remote: Remote) -> None:
    ids = [remote.prompts.create(OWNER, f"many {n}") for n in range(8)]
    got: dict[str, str] = {}

    def ask(prompt_id: str) -> None:
        got[prompt_id] = remote.prompts.get(OWNER, prompt_id)["name"]

    threads = [threading.Thread(target=ask, args=(prompt_id,)) for prompt_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[prompt_id] for prompt_id in ids] == [f"many {n}" for n in range(8)]


def test_the_card_goes_with_the_app(tmp_path: Path) -> None:
    with running_app(tmp_path / "home") as started:
        assert started.stop() == 0, started.output
        assert read_card(started.home) is None
