"""The command line: exit codes, what goes to stdout and stderr, and the doctor."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from app import doctor, listing
from app.cli import main
from core.governance.permissions import ACTIONS, PUBLIC
from core.settings import PROJECT_ROOT, Settings
from core.workbench import OWNER, Workbench


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATHE_HOME", str(home))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("LATHE_PORT", str(free.getsockname()[1]))


def lathe(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def commands(group: click.Group, path: str = "") -> dict[str, click.Command]:
    """Every command with its whole name."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found[f"{path} {name}".strip()] = command
        if isinstance(command, click.Group):
            found |= commands(command, f"{path} {name}".strip())
    return found


@pytest.mark.parametrize("name", ["prompts", "datasets", "models", "runs", "jobs"])
def test_an_empty_home_lists_as_nothing_yet(name: str) -> None:
    plain = lathe(name, "list")
    assert "ID" in plain.output or "No " in plain.output
    done = lathe(name, "list", "--json")
    assert done.exit_code == 0, done.output
    assert isinstance(json.loads(done.output), list)


def test_every_command_explains_itself() -> None:
    for name, command in commands(main).items():
        assert command.help, name
        assert lathe(*name.split(), "--help").exit_code == 0


def test_a_job_can_be_listed_read_and_not_cancelled_twice() -> None:
    assert lathe("doctor").exit_code == 0
    job = json.loads(lathe("jobs", "list", "--json").output)[0]
    assert (job["kind"], job["state"]) == ("selftest", "succeeded")
    assert job["id"] in lathe("jobs", "list").output
    assert lathe("jobs", "log", job["id"]).exit_code == 0
    again = lathe("jobs", "cancel", job["id"])
    assert again.exit_code == 1
    assert "already ended" in again.stderr
    assert again.stdout == ""


def test_an_error_is_title_message_and_hint_on_stderr() -> None:
    done = lathe("jobs", "log", "job_none")
    assert done.exit_code == 1
    assert done.stderr == "Not found: There is no job with the id 'job_none'.\n"


def test_wrong_usage_is_exit_code_two() -> None:
    assert lathe("jobs", "log").exit_code == 2
    assert lathe("dance").exit_code == 2
    assert lathe("call", "prompts.create", "novalue").exit_code == 2


def test_any_action_can_be_called() -> None:
    made = lathe("call", "prompts.create", "name=triage", "description=Sorts tickets")
    assert made.exit_code == 0, made.stderr
    prompt_id = json.loads(made.output)
    saved = lathe(
        "call",
        "prompts.save_version",
        f"prompt_id={prompt_id}",
        "system_template=",
        "user_template=Sort {{text}}",
        'generation={"max_tokens": 8}',
    )
    assert saved.exit_code == 0, saved.stderr
    assert json.loads(saved.output)["generation"]["max_tokens"] == 8
    shown = lathe("prompts", "show", "triage")
    assert "Sort {{text}}" in shown.output
    assert json.loads(lathe("prompts", "show", "triage", "--json").output)["number"] == 1
    assert "no version 7" in lathe("prompts", "show", "triage", "--version", "7").stderr


def test_an_argument_may_be_a_files_text(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("From a file")
    made = lathe("call", "prompts.create", "name=x", f"description=@{tmp_path / 'text.txt'}")
    got = lathe("call", "prompts.get", f"prompt_id={json.loads(made.output)}")
    assert json.loads(got.output)["description"] == "From a file"


def test_a_wrong_action_or_argument_says_what_there_is() -> None:
    assert "prompts.create" in lathe("call", "prompts.dance").stderr
    assert "datasets" in lathe("call", "dance.now").stderr
    assert "missing a required argument" in lathe("call", "prompts.get").stderr
    bad = lathe("call", "prompts.get", "prompt_id=x", "colour=red")
    assert (bad.exit_code, "colour" in bad.stderr) == (1, True)


@pytest.mark.parametrize("name", [n for n, needs in ACTIONS.items() if needs == PUBLIC])
def test_signing_in_is_no_business_of_call(name: str) -> None:
    assert lathe("call", name).exit_code == 1


def test_a_link_signs_its_user_in(settings: Settings) -> None:
    done = lathe("link")
    assert done.exit_code == 0, done.stderr
    token = done.output.strip().partition("token=")[2]
    with Workbench.open(settings, background=False) as workbench:
        session = workbench.sessions.redeem_link(token)
        assert session
        workbench.users.create(OWNER, "ann", "engineer")
    assert "/sign-in/link?token=" in lathe("link", "ann").output
    assert "Users: admin, ann" in lathe("link", "bob").stderr


def test_the_doctor_names_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("LATHE_PORT", str(taken.getsockname()[1]))
        done = lathe("doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(done.output)}
    assert done.exit_code == 1
    assert found["port"]["state"] == "failed"
    assert "LATHE_PORT" in found["port"]["hint"]
    assert {n for n, f in found.items() if f["state"] == "failed"} == {"port"}
    assert list(found) == list(doctor.LOOKS)


def test_the_doctor_survives_a_home_that_is_a_file(home: Path) -> None:
    home.parent.mkdir(exist_ok=True)
    home.write_text("not a folder")
    done = lathe("doctor", "--json")
    assert done.exit_code == 1
    states = {finding["name"]: finding["state"] for finding in json.loads(done.output)}
    assert (states["home"], states["schema"], states["memory"]) == ("failed", "failed", "ok")


def test_a_home_that_another_process_has_is_refused_in_words(workbench: Workbench) -> None:
    # No app with a card has it, so there is nobody to talk to.
    code = "from app.cli import main; main(['jobs', 'list'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("This workspace is open elsewhere: Another Lathe")
    assert "Traceback" not in done.stderr


def test_a_table_lines_up_and_keeps_to_one_line() -> None:
    rows = [
        {"name": "a\nb", "n": 1234567, "at": datetime(2026, 1, 2, 3, 4, 5), "f": 0.123456},
        {"name": "x" * 99, "n": None, "at": None, "f": 2.0},
    ]
    text = listing.table(rows, {"name": "NAME", "n": "N", "at": "AT", "f": "F"})
    heading, first, second = text.splitlines()
    assert heading.index("AT") == first.index("2026")
    assert "a b" in first
    assert "1,234,567" in first
    assert "0.123" in first
    assert "…" in second
    assert second.count("-") == 2
