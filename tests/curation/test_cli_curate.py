"""`lathe curate`: from a file to a clean one, with the hash that the page gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from app.cli import main
from core.settings import Settings
from core.workbench import OWNER, Workbench
from tests.curation.test_replay import ended

LINES = [
    {"Question": f" What is {n}+{n}? ", "Answer": str(2 * n), "Who": f"user{n % 3}"}
    for n in range(30)
]
RECIPE: dict[str, Any] = {
    "recipe": 1,
    "import": {"mapping": {
        "Question": {"role": "input", "name": "question"},
        "Answer": {"role": "expected", "name": "answer"},
        "Who": {"role": "metadata", "name": "who"},
    }},
    "steps": [
        {"step": "trim", "columns": ["question"]},
        {"step": "replace", "columns": ["question"],
         "rules": [{"pattern": r"(\d+)\+", "with": r"\1 + ", "regex": True}]},
        {"step": "tag", "tags": ["small"],
         "where": [{"column": "answer", "op": "shorter", "value": 2}]},
        {"step": "sample", "rows": 20, "seed": 7},
        {"step": "drop_where", "where": [{"column": "who", "op": "equals", "value": "user2"}]},
        {"step": "template", "column": "both", "template": "{{question}} {{answer}}"},
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATHE_HOME", str(home))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "asked.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)))
    return path


def curate(recipe: Any, file: Path, out: Path, *words: str) -> Result:
    path = out.parent / "recipe.yaml"
    path.write_text(recipe if isinstance(recipe, str) else yaml.safe_dump(recipe, sort_keys=False))
    return CliRunner().invoke(
        main, ["curate", str(path), "--input", str(file), "--output", str(out), *words]
    )


def test_the_page_and_the_command_give_the_same_content(
    settings: Settings, file: Path, tmp_path: Path
) -> None:
    with Workbench.open(settings) as workbench:
        version = workbench.datasets.import_rows(
            OWNER, name="Asked", filename=file.name, data=file, mapping=RECIPE["import"]["mapping"]
        )
        recipes = workbench.recipes
        recipes.add_all(OWNER, version["id"], RECIPE["steps"][:3])
        job_id = recipes.apply(OWNER, version["id"])
        assert ended(workbench, job_id) == "succeeded"
        second = recipes.result(OWNER, job_id)
        assert second is not None
        recipes.add_all(OWNER, second["id"], RECIPE["steps"][3:])
        job_id = recipes.apply(OWNER, second["id"])
        assert ended(workbench, job_id) == "succeeded"
        made = recipes.result(OWNER, job_id)
        assert made is not None
        whole = recipes.recipe_of(OWNER, made["id"])
    out = tmp_path / "out"
    by_hand = json.loads(curate(RECIPE, file, out, "--json").stdout)
    downloaded = json.loads(curate(whole, file, tmp_path / "out2", "--json").stdout)
    assert by_hand["content_hash"] == downloaded["content_hash"] == made["content_hash"]
    assert by_hand["recipe_hash"] == downloaded["recipe_hash"]
    assert by_hand["row_count"] == made["row_count"] < 20


def test_the_folder_holds_rows_manifest_report_and_recipe(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    out.parent.mkdir()
    done = curate(RECIPE, file, out)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == [
        "data.parquet", "manifest.json", "recipe.yaml", "report.json",
    ]  # fmt: skip
    manifest = json.loads((out / "manifest.json").read_text())
    assert done.stdout.splitlines()[-1] == manifest["content_hash"]
    report = json.loads((out / "report.json").read_text())
    assert report["steps"][0]["changed"] == 30
    assert report["steps"][1]["counts"] == {r"(\d+)\+": 30}
    again = curate((out / "recipe.yaml").read_text(), file, out)
    assert again.stdout.splitlines()[-1] == manifest["content_hash"]


def test_without_a_mapping_the_columns_are_guessed(file: Path, tmp_path: Path) -> None:
    recipe = {"recipe": 1, "steps": [{"step": "trim", "columns": ["Question"]}]}
    done = json.loads(curate(recipe, file, tmp_path / "out", "--json").stdout)
    roles = {column["name"]: column["role"] for column in done["columns"]}
    assert roles["Question"] == "input"
    assert roles["Answer"] == "expected"
    written = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert written["import"]["mapping"]["Answer"]["role"] == "expected"


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("recipe: [", "is not YAML in line 1"),
        ({"recipe": 1, "steps": [{"step": "melt"}]}, "Step 1: There is no step 'melt'"),
        ({"recipe": 1, "steps": [{"step": "trim", "columns": ["nope"]}]}, "no column 'nope'"),
        ({"recipe": 1, "steps": [{"step": "filter", "where": [
            {"column": "Who", "op": "equals", "value": "nobody"}]}]}, "No row is left"),
        ({"recipe": 1, "import": {"mapping": {"x": "input"}}, "steps": []}, "input 'x' is"),
        ({"recipe": 1, "steps": [{"step": "prompt", "column": "c", "model": "gone",
                                  "prompt": "{{Question}}"}]}, "There is no model 'gone'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_left(
    recipe: Any, said: str, file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = curate(recipe, file, out)
    assert done.exit_code == 1
    assert said in done.stderr
    assert not out.exists() or not list(out.iterdir())
