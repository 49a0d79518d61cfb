"""Checks of a dataset: suggested, saved, tried on each new version, in the way of a tag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import Conflict, Invalid
from core.governance.permissions import Actor
from core.settings import Settings
from core.store.database import Row
from core.workbench import OWNER, Workbench
from tests.jobs.test_jobs import wait_for

GOOD = [{"id": str(n), "q": f"question {n}", "label": "ab"[n % 2]} for n in range(20)]
BAD = [*GOOD[:19], {"id": "3", "q": "again", "label": "c"}]
LABELS = {"check": "one_of", "column": "label", "values": ["a", "b"]}


def imported(workbench: Workbench, rows: list[dict[str, str]]) -> Row:
    return workbench.datasets.import_rows(
        OWNER,
        name="Checked",
        filename="checked.jsonl",
        data="\n".join(json.dumps(row) for row in rows).encode(),
        mapping={"id": "metadata", "q": "input", "label": "expected"},
    )


def test_what_holds_is_suggested(workbench: Workbench) -> None:
    version = imported(workbench, GOOD)
    assert [check["sentence"] for check in workbench.checks.suggest(OWNER, version["id"])] == [
        "no two rows have the same id",
        "q is filled in",
        "label is filled in",
        "label is one of a, b",
    ]


def test_a_new_version_is_checked_by_itself_and_a_failing_one_is_not_approved(
    workbench: Workbench,
) -> None:
    checks, versions = workbench.checks, workbench.versions
    first = imported(workbench, GOOD)
    assert checks.result(OWNER, first["id"])["state"] == "no checks"
    checks.save(OWNER, first["dataset_id"], [LABELS, {"check": "unique", "column": "id"}])
    assert checks.result(OWNER, first["id"])["state"] == "not run"
    assert checks.run(OWNER, first["id"])["state"] == "passed"
    versions.tag(OWNER, first["id"], "approved")

    second = imported(workbench, BAD)
    result = checks.result(OWNER, second["id"])
    assert result["state"] == "failed"
    assert {failure["column"]: failure["rows"] for failure in result["failures"]} == {
        "label": [19],
        "id": [3, 19],
    }
    with pytest.raises(Conflict, match="label is one of a, b"):
        versions.tag(OWNER, second["id"], "approved")
    versions.tag(OWNER, second["id"], "candidate")
    assert workbench.datasets.find(OWNER, "Checked@approved")["id"] == first["id"]
    found = workbench.curation.findings(OWNER, second["id"], kind="check")
    assert len(found) == 2


def test_a_version_is_made_whatever_its_checks_raise(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    version = imported(workbench, GOOD)
    workbench.checks.save(OWNER, version["dataset_id"], [LABELS])

    def broken(*given: object) -> None:
        raise TypeError("not what was expected")

    monkeypatch.setattr("core.curation.checking.run_checks", broken)
    made = imported(workbench, BAD)
    assert made["number"] == 2
    assert workbench.checks.result(OWNER, made["id"])["state"] == "not run"
    assert "were not tried" in caplog.text


def test_other_checks_make_the_result_old(workbench: Workbench) -> None:
    version = imported(workbench, GOOD)
    workbench.checks.save(OWNER, version["dataset_id"], [LABELS])
    workbench.checks.run(OWNER, version["id"])
    workbench.checks.save(OWNER, version["dataset_id"], [{**LABELS, "values": ["a"]}])
    assert workbench.checks.result(OWNER, version["id"])["state"] == "not run"
    with pytest.raises(Conflict):
        workbench.versions.tag(OWNER, version["id"], "approved")


def test_a_large_version_is_checked_by_a_job(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.curation.checking.MOST_ROWS_AT_ONCE", 10)
    with Workbench.open(settings) as workbench:
        first = imported(workbench, GOOD)
        workbench.checks.save(OWNER, first["dataset_id"], [LABELS])
        second = imported(workbench, BAD)
        wait_for(lambda: workbench.checks.result(OWNER, second["id"])["state"] == "failed", 60)
        assert Path(second["path"]).with_suffix(".findings").joinpath("checks.parquet").exists()


def test_wrong_checks_are_refused_and_the_old_ones_stay(workbench: Workbench) -> None:
    version = imported(workbench, GOOD)
    workbench.checks.save(OWNER, version["dataset_id"], [LABELS])
    with pytest.raises(Invalid, match="Check 1"):
        workbench.checks.save(OWNER, version["dataset_id"], [{"check": "?", "column": "q"}])
    assert len(workbench.checks.list(OWNER, version["dataset_id"])) == 1


def test_a_lead_reads_checks_and_changes_none(workbench: Workbench) -> None:
    version = imported(workbench, GOOD)
    lead = Actor("u", "Lea", "lead")
    assert workbench.checks.list(lead, version["dataset_id"]) == []
    with pytest.raises(Exception, match="does not permit"):
        workbench.checks.save(lead, version["dataset_id"], [LABELS])
