"""`lathe datasets findings` on a fresh home, as a person or a program at the shell calls it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from core.curation.findings import KINDS
from tests.running import running_app

CSV = """question,answer,topic
How do I reset my password?,Open the settings.,account
Where is my invoice from March?,Look under billing.,billing
How do I reset my password?,Open the settings.,account
The cafÃ© entry is written wrongly,Thank you for telling us.,bug
Write to jane.doe@example.com about it,We will.,other
"""


@pytest.fixture
def fresh(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that does not exist yet, and a file to import."""
    monkeypatch.setenv("LATHE_HOME", str(home))
    file = tmp_path / "faulty.csv"
    file.write_text(CSV)
    return file


def lathe(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def findings(*words: str) -> list[dict[str, object]]:
    done = lathe("datasets", "findings", "x", "--json", *words)
    assert done.exit_code == 0, done.output
    return list(json.loads(done.stdout))


def test_a_fresh_home_a_file_and_its_findings(fresh: Path) -> None:
    assert lathe("datasets", "import", str(fresh), "--name", "x").exit_code == 0
    found = findings("--detector", "exact", "--detector", "encoding")
    by_kind = {finding["kind"]: finding for finding in found}
    assert by_kind["exact_duplicate"]["rows"] == [0, 2]
    assert by_kind["encoding"]["rows"] == [3]
    for finding in found:
        assert set(finding) >= {"id", "kind", "severity", "message", "rows", "column", "detail"}
        assert finding["kind"] in KINDS
        assert finding["severity"] in ("high", "medium", "low")
    assert findings("--kind", "exact_duplicate") == [by_kind["exact_duplicate"]]
    text = lathe("datasets", "findings", "x@1", "--kind", "exact_duplicate")
    assert "1 finding in x v1" in text.output
    assert "0, 2" in text.output


def test_what_was_looked_for_is_read_and_looked_for_again_when_asked(fresh: Path) -> None:
    lathe("datasets", "import", str(fresh), "--name", "x")

    def looked() -> str:
        findings("--detector", "exact")
        return record.read_text()

    findings("--detector", "exact")
    (record,) = Path(os.environ["LATHE_HOME"]).glob("datasets/*/*.findings/exact.run.json")
    first = record.read_text()
    assert looked() == first
    findings("--detector", "exact", "--again")
    assert record.read_text() != first


def test_nothing_found_is_said(fresh: Path) -> None:
    fresh.write_text("question\nOne question\nSomething else entirely\n")
    lathe("datasets", "import", str(fresh), "--name", "x")
    assert (
        "Nothing was found in x v1."
        in lathe("datasets", "findings", "x", "--detector", "exact").output
    )


def test_unknown_names_are_told(fresh: Path) -> None:
    assert "There is no dataset named 'x'." in lathe("datasets", "findings", "x").stderr
    assert lathe("datasets", "findings", "x", "--kind", "strange").exit_code == 2
    assert lathe("datasets", "findings", "x", "--detector", "map").exit_code == 2


def test_the_running_app_does_it_when_it_has_the_home(fresh: Path, home: Path) -> None:
    lathe("datasets", "import", str(fresh), "--name", "x")
    with running_app(home):
        (found,) = findings("--kind", "exact_duplicate")
        assert found["rows"] == [0, 2]


def test_an_export_is_written_where_it_was_asked_for(fresh: Path, tmp_path: Path) -> None:
    rows = [{"q": f"question {n}", "label": "ab"[n % 2], "split": "train"} for n in range(6)]
    source = tmp_path / "asked.jsonl"
    source.write_text("\n".join(map(json.dumps, rows)))
    assert lathe("datasets", "import", str(source), "--name", "Asked").exit_code == 0
    out = tmp_path / "out" / "chat.jsonl"
    done = lathe("datasets", "export", "Asked", "--format", "messages", "--output", str(out))
    assert done.exit_code == 0, done.output
    assert "6 records as messages" in done.output
    first = json.loads(out.read_text().splitlines()[0])
    assert [turn["role"] for turn in first["messages"]] == ["user", "assistant"]
    manifest = json.loads((out.parent / "chat.jsonl.manifest.json").read_text())
    assert manifest["row_count"] == 6
    table = lathe("datasets", "export", "Asked@1", "-o", str(tmp_path / "rows.csv"))
    assert table.exit_code == 0, table.output
    assert (tmp_path / "rows.csv").read_text().startswith("q,label,split\n")
    refused = lathe("datasets", "export", "Asked", "--format", "kto", "-o", str(tmp_path / "x"))
    assert refused.exit_code == 1
    assert "true and false" in refused.output
    folder = ("datasets", "export", "Asked", "--as", "hf", "-o", str(tmp_path / "new" / "hub"))
    assert lathe(*folder).exit_code == 0
    assert list((tmp_path / "new" / "hub").rglob("*.arrow"))
    again = lathe(*folder)
    assert again.exit_code == 1
    assert "is there already" in again.output
    assert not list(tmp_path.rglob("*.part"))
    unknown = lathe("datasets", "export", "Asked", "--format", "sonnet", "-o", str(tmp_path / "x"))
    assert unknown.exit_code == 2
