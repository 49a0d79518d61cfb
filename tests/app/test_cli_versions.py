"""`lathe datasets diff`, `tag` and `rollback`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main


@pytest.fixture(autouse=True)
def two_versions(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATHE_HOME", str(home))
    for text in ("q,a\none,1\ntwo words here,2\n", "q,a\none,I\ntwo words there,3\nnew,4\n"):
        file = tmp_path / "qa.csv"
        file.write_text(text)
        done = lathe("datasets", "import", str(file), "--name", "qa", "--expected", "a")
        assert done.exit_code == 0, done.output


def lathe(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_a_diff_reads_as_counts_columns_and_rows() -> None:
    done = lathe("datasets", "diff", "qa@1", "qa@2", "--rows", "10")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "qa v1 (2 rows) -> qa v2 (3 rows)"
    assert lines[1] == "1 added, 0 removed, 2 changed, 0 same"
    assert "1 of the changed have an edited input" in lines[2]
    assert "      - two words here" in lines
    assert "      + two words there" in lines
    assert any(line.startswith("+ row 2  row_") for line in lines)
    assert "a       values  expected, text  expected, text" in done.stdout


def test_a_diff_as_json_has_the_rows_that_were_asked_for() -> None:
    whole = json.loads(lathe("datasets", "diff", "qa@1", "qa", "--json").stdout)
    assert whole["counts"] == {"added": 1, "removed": 0, "changed": 2, "same": 0}
    assert whole["rows"] == []
    one = lathe("datasets", "diff", "qa@1", "qa@2", "--json", "--rows", "5", "--kind", "added")
    assert [row["after"]["q"] for row in json.loads(one.stdout)["rows"]] == ["new"]
    inputs = lathe("datasets", "diff", "qa@1", "qa@2", "--json", "--rows", "5", "--column", "q")
    assert len(json.loads(inputs.stdout)["rows"]) == 1
    assert "not unique" not in lathe("datasets", "diff", "qa@1", "qa@2", "--key", "q").stderr
    assert "no column 'z'" in lathe("datasets", "diff", "qa@1", "qa@2", "--key", "z").stderr


def test_a_tag_stands_for_its_version_and_a_rollback_brings_it_back() -> None:
    assert lathe("datasets", "tag", "qa@1", "approved").stdout == "approved points at qa v1\n"
    assert "0 added" in lathe("datasets", "diff", "qa@approved", "qa@1").stdout
    done = lathe("datasets", "rollback", "qa@approved", "--message", "v2 was wrong", "--json")
    made = json.loads(done.stdout)
    assert (made["number"], made["message"], made["parent_number"]) == (3, "v2 was wrong", 2)
    again = lathe("datasets", "rollback", "qa@1")
    assert (again.exit_code, "already" in again.stderr) == (1, True)
    assert "qa v4 has the 3 rows of qa v2" in lathe("datasets", "rollback", "qa@2").stdout
    assert "no longer at qa v1" in lathe("datasets", "tag", "qa", "approved", "--remove").stdout
    assert lathe("datasets", "tag", "qa", "Not A Tag").exit_code == 1
