"""An evaluation as a file: what it may say, what it does, its exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from app import evaluate
from app.cli import main
from app.evaluate import read_config
from core.errors import Invalid
from core.models.pool import WorkerPool
from core.settings import Settings
from core.workbench import OWNER, Workbench

ROWS = "\n".join(json.dumps({"text": f"t{n}", "label": "yes" if n % 2 else "no"}) for n in range(6))


@pytest.fixture
def folder(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with rows, and a home whose model always says yes."""
    monkeypatch.setenv("LATHE_HOME", str(settings.home))
    with Workbench.open(settings, background=False) as workbench:
        workbench.models.add(OWNER, "yes", "scripted", json.dumps({"default": "yes"}))
    (tmp_path / "rows.jsonl").write_text(ROWS)
    yield tmp_path
    WorkerPool(settings.home).stop_all()


def write(folder: Path, **changes: Any) -> str:
    config = {
        "name": "Yes or no",
        "dataset": "rows.jsonl",
        "variants": [
            {"name": "one", "prompt": {"user": "Say {{text}}"}, "model": "yes"},
            {"name": "two", "prompt": {"system": "S", "user": "{{text}}"}, "model": "yes"},
        ],
        "scorers": [{"kind": "exact_match"}],
        **changes,
    }
    path = folder / "eval.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in config.items() if v is not None}))
    return str(path)


def lathe(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_a_file_becomes_a_run_and_a_table(folder: Path) -> None:
    done = lathe("eval", write(folder, baseline="two"))
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert "50.0 % [" in done.output
    assert "0 fixed, 0 broke" in done.output
    run = json.loads(lathe("runs", "list", "--json").output)[0]
    shown = lathe("runs", "show", run["id"])
    assert shown.output == done.output
    exported = lathe("runs", "export", run["id"], "--format", "jsonl")
    assert len(exported.output.splitlines()) == 12


def test_the_same_file_again_makes_no_new_versions(folder: Path) -> None:
    for _ in range(2):
        assert lathe("eval", write(folder)).exit_code == 0
    prompts = json.loads(lathe("prompts", "list", "--json").output)
    assert sorted(p["name"] for p in prompts) == ["Yes or no: one", "Yes or no: two"]
    assert {p["version_count"] for p in prompts} == {1}
    datasets = json.loads(lathe("datasets", "list", "--json").output)
    assert [(d["name"], d["version_count"]) for d in datasets] == [("rows", 1)]


def test_what_is_required_and_missed_is_exit_code_one(folder: Path) -> None:
    path = write(folder, require={"pass_rate": 0.6}, rows=4)
    done = lathe("eval", path, "--json")
    assert done.exit_code == 1
    assert "one: the pass rate is 50.0 %, required is 60.0%." in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["row_count"], len(summary["missed"])) == (4, 2)
    assert lathe("eval", write(folder, require={"pass_rate": 0.5})).exit_code == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dataset": None}, "needs a dataset"),
        ({"variants": []}, "needs a variants"),
        ({"variants": "all"}, "a list of at least one"),
        ({"variants": [{"prompt": "p"}]}, "variant 1 needs a model"),
        ({"colour": "red"}, "no 'colour'"),
        ({"baseline": "three"}, "'three' is no variant's name"),
        ({"require": {"pass_rate": 2}}, "between 0 and 1"),
        ({"require": {"speed": 2}}, "no 'speed'"),
    ],
)
def test_a_file_that_is_wrong_says_where(folder: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        read_config(Path(write(folder, **changes)))


@pytest.mark.parametrize("text", ["a: [", "- just\n- a list", "", "\xff"])
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(Invalid):
        read_config(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dataset": "nowhere"}, "no dataset named 'nowhere'"),
        ({"variants": [{"prompt": "nothing", "model": "yes"}]}, "no prompt named 'nothing'"),
        ({"variants": [{"prompt": {"user": "x"}, "model": "gone"}]}, "no model 'gone'"),
        ({"scorers": [{"kind": "vibes"}]}, "vibes"),
        ({"variants": [{"prompt": {"user": "x", "tone": 1}, "model": "yes"}]}, "no 'tone'"),
    ],
)
def test_a_name_that_is_not_there_is_an_error_in_words(
    folder: Path, changes: dict[str, Any], says: str
) -> None:
    done = lathe("eval", write(folder, **changes))
    assert done.exit_code == 1
    assert says in done.stderr


def test_detaching_needs_the_app(folder: Path) -> None:
    done = lathe("eval", write(folder), "--detach")
    assert (done.exit_code, "lathe app" in done.stderr) == (1, True)


def test_samples_are_found_by_their_names(folder: Path, settings: Settings) -> None:
    with Workbench.open(settings, background=False) as workbench:
        version = evaluate.find_dataset(workbench, "support-tickets", folder)
        assert version["row_count"] > 100
        prompt = evaluate.find_prompt(workbench, {"prompt": "Triage a ticket@1"}, "x")
        assert prompt["number"] == 1


def test_a_file_is_imported_with_the_roles_asked_for(folder: Path) -> None:
    done = lathe("datasets", "import", str(folder / "rows.jsonl"), "--name", "mine",
                 "--input", "label", "--expected", "text", "--json")  # fmt: skip
    version = json.loads(done.output)
    assert (version["inputs"], version["expected"]) == (["label"], "text")
    wrong = lathe("datasets", "import", str(folder / "rows.jsonl"), "--expected", "nope")
    assert "no column 'nope'" in wrong.stderr
