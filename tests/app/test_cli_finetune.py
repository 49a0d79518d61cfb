"""`lathe finetune`: a file of names becomes an adapter, alone and through a running app."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from app.cli import main
from app.cli_finetune import SAMPLE, outcome, read_config, report, resolved
from core.errors import Invalid
from core.models.pool import WorkerPool
from core.settings import Settings
from core.workbench import OWNER, Workbench
from tests.training.finetuning import QUICK, Tuning, ticket_rows


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with a tiny base and a prompt in it, closed: the command opens it."""
    path = tmp_path / "home"
    monkeypatch.setenv("LATHE_HOME", str(path))
    monkeypatch.setenv("LATHE_THREADS", "1")
    with Workbench.open(Settings.from_env(), background=False) as workbench:
        Tuning.make(workbench, tmp_path)
    yield path
    WorkerPool(path).stop_all()


def write(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "tune.yaml"
    config = {
        "base": "tiny", "dataset": "tickets", "prompt": "label it@1", "hold_out": {"share": 0.25},
        "params": {**QUICK, "sample_count": 0}, **changes,
    }  # fmt: skip
    path.write_text(yaml.safe_dump({k: v for k, v in config.items() if v is not None}))
    return path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["finetune", *words])


@pytest.mark.slow
def test_a_file_becomes_an_adapter_and_one_json_object(home: Path, tmp_path: Path) -> None:
    done = run(str(write(tmp_path)), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    keys = {"adapter", "base", "steps", "loss_first", "loss_last", "evaluation"}
    assert keys <= set(found)
    assert (found["base"], found["steps"], found["name"]) == ("tiny", 5, "tune")
    assert (Path(found["adapter"]) / "adapter_model.safetensors").is_file()
    evaluation = found["evaluation"]
    assert evaluation["rows"] == 6
    for side in ("base", "adapter"):
        assert evaluation[side]["judged"] == 6
        assert evaluation[side]["interval"]["low"] <= evaluation[side]["pass_rate"]
    assert evaluation["interval"]["low"] <= evaluation["difference"]
    assert 0 <= evaluation["p_value"] <= 1
    again = json.loads(run(str(write(tmp_path, evaluate=False)), "--json").stdout)
    assert again["evaluation"] is None
    assert again["name"] == "tune (2)"


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"base": None}, "base", "needs a base"),
        ({"dataset": None}, "dataset", "needs a dataset"),
        ({"magic": 1}, "magic", "has no 'magic'"),
        ({"params": [1]}, "params", "names with values"),
        ({"sweep": {"rank": 4}}, "sweep", "a list of values"),
        ({"hold_out": {"rows": 3}}, "hold_out", "has no 'rows'"),
        ({"hold_out": {"share": "much"}}, "hold_out", "is a number"),
        ({"evaluate": "maybe"}, "evaluate", "true or false"),
    ],
)
def test_a_bad_file_names_the_field(
    tmp_path: Path, changes: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(Invalid, match=said) as raised:
        read_config(write(tmp_path, **changes))
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base": "nobody"}, "nobody"),
        ({"dataset": "nothing"}, "nothing"),
        ({"start_from": "nobody"}, "nobody"),
        ({"params": {"rank": 0}}, "LoRA rank must be at least 1"),
        ({"params": {"speed": 3}}, "no setting 'speed'"),
        ({"preset": "magic"}, "no preset 'magic'"),
        ({"hold_out": {"split": "test"}}, "not split"),
    ],
)
def test_what_the_workspace_has_not_is_told(
    home: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    done = run(str(write(tmp_path, **changes)))
    assert done.exit_code == 1
    assert said in done.output


def test_a_file_or_the_sample_and_not_both(home: Path, tmp_path: Path) -> None:
    assert run().exit_code == 2
    assert run(str(write(tmp_path)), "--sample").exit_code == 2
    detached = run(str(write(tmp_path)), "--detach")
    assert detached.exit_code == 1
    assert "the app is not running" in detached.output


def test_the_file_that_a_page_exports_asks_for_the_same(home: Path, tmp_path: Path) -> None:
    with Workbench.open(Settings.from_env(), background=False) as workbench:
        asked = resolved(workbench, read_config(write(tmp_path)), tmp_path)
        text = workbench.finetunes.config_yaml(OWNER, asked)
        (tmp_path / "again.yaml").write_text(text)
        again = resolved(workbench, read_config(tmp_path / "again.yaml"), tmp_path)
        assert workbench.finetunes.config_yaml(OWNER, again) == text
        [one, other] = (workbench.finetunes.start(OWNER, config)[0] for config in (asked, again))
        configs = [workbench.finetunes.clone_config(OWNER, finetune) for finetune in (one, other)]
        assert {**configs[0], "name": ""} == {**configs[1], "name": ""}


def test_a_dataset_file_beside_the_config_is_imported(home: Path, tmp_path: Path) -> None:
    rows = [{"input": row["text"], "expected": row["label"]} for row in ticket_rows(12)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with Workbench.open(Settings.from_env(), background=False) as workbench:
        config = read_config(write(tmp_path, dataset="rows.jsonl", prompt=None))
        asked = resolved(workbench, config, tmp_path)
        assert workbench.finetunes.outline(OWNER, asked)["train_rows"] == 9


def test_the_committed_sample_is_a_file_that_can_be_read() -> None:
    config = read_config(SAMPLE)
    assert (config["base"], config["dataset"]) == ("SmolLM2-135M-Instruct", "support-tickets")
    assert config["prompt"] == "Triage a ticket@1"


def test_the_outcome_in_text_has_every_figure() -> None:
    side = {"pass_rate": 0.5, "interval": {"low": 0.3, "high": 0.7}, "passed": 5, "judged": 10}
    row = {
        "id": "finetune_1", "name": "mine", "adapter_model_id": "m", "base_name": "tiny",
        "method": "sft", "folder": "/f",
        "result": {"steps": 3, "loss_first": 2.0, "loss_last": 1.0, "eval_loss_base": 2.5,
                   "eval_loss_last": 1.5, "train_seconds": 4.0},
        "comparison": {"run_id": "run_1", "rows": 10, "base": {**side, "interval": None},
                       "adapter": side,
                       "versus": {"difference": 0.25, "interval": {"low": 0.1, "high": 0.4},
                                  "p_value": 0.01, "fixed": 3, "broke": 0}},
    }  # fmt: skip
    said = report(outcome(row, {"adapter_path": "/a"}))
    for part in ("mine (finetune_1)", "/a", "2 -> 1", "10 held-out rows", "50.0 % [30, 70]",
                 "+25.0 points [+10.0, +40.0]", "nothing judged"):  # fmt: skip
        assert part in said, said
    without = report(outcome({**row, "comparison": None}, {"adapter_path": "/a"}))
    assert "no rows that could be compared" in without
