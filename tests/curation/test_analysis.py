"""The analysis of a version: a real job, really killed, and its findings read in place."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from core.curation import analysis
from core.curation.analysis import PARTS, USUAL
from core.curation.detectors import DETECTORS
from core.curation.findings import KINDS, Finding, findings_folder, write_findings
from core.curation.hits import looked
from core.errors import Forbidden, Invalid, NotFound
from core.governance.permissions import Actor
from core.store.files import FileLock
from core.workbench import OWNER, Workbench

Version = dict[str, Any]
ROWS = [
    {"question": "How do I reset my password?", "answer": "Open the settings.", "topic": "account"},
    {"question": "Where is my invoice from March?", "answer": "Under billing.", "topic": "billing"},
    {"question": "How do I reset my password?", "answer": "Open the settings.", "topic": "account"},
    {"question": "CafÃ© opening times are wrong", "answer": "Thank you.", "topic": "other"},
    {"question": "The app closes by itself", "answer": "Please update it.", "topic": "bug"},
]
CHEAP = ("profile", "exact")


def imported(workbench: Workbench, rows: list[dict[str, Any]], name: str = "Faulty") -> Version:
    roles = {"answer": "expected", "topic": "metadata"}
    mapping = {
        column: {"role": roles.get(column, "input"), "name": column, "optional": True}
        for column in rows[0]
    }
    data = "\n".join(json.dumps(row) for row in rows).encode()
    return dict(
        workbench.datasets.import_rows(
            OWNER, name=name, filename="faulty.jsonl", data=data, mapping=mapping
        )
    )


@pytest.fixture
def version(workbench: Workbench) -> Version:
    return imported(workbench, ROWS)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def ended(workbench: Workbench, job_id: str, state: str = "succeeded") -> dict[str, Any]:
    def over() -> bool:
        return workbench.jobs.get(OWNER, job_id)["state"] not in ("queued", "running")

    wait_for(over)
    job = dict(workbench.jobs.get(OWNER, job_id))
    assert job["state"] == state, (job["error"], workbench.jobs.log(OWNER, job_id))
    return job


def folder(version: Mapping[str, Any]) -> Path:
    return findings_folder(Path(version["path"]))


def parts(workbench: Workbench, version: Version) -> dict[str, dict[str, Any]]:
    status = workbench.curation.status(OWNER, version["id"])
    return {part["name"]: part for part in status["parts"]}


def planted(version: Version, found: dict[str, list[Finding]]) -> None:
    """Findings as detectors would have written them."""
    for name, findings in found.items():
        write_findings(folder(version) / f"{name}.parquet", findings)


def test_every_detector_is_a_part_and_its_code_is_there() -> None:
    assert {*DETECTORS, "profile", "signals"} == set(PARTS)
    for name, detector in DETECTORS.items():
        module, function = detector.function.split(":")
        assert callable(getattr(importlib.import_module(module), function)), name


def test_an_analysis_runs_part_by_part_and_says_what_it_found(
    workbench: Workbench, version: Version
) -> None:
    job_id = workbench.curation.analyse(OWNER, version["id"], detectors=CHEAP)
    job = ended(workbench, job_id)
    assert job["progress_done"] == job["progress_total"]
    found = parts(workbench, version)
    assert found["profile"]["state"] == found["exact"]["state"] == "done"
    assert found["near"]["state"] == "none"
    findings = workbench.curation.findings(OWNER, version["id"], kind="exact_duplicate")
    assert [finding["rows"] for finding in findings] == [[0, 2]]
    assert workbench.curation.finding_counts(OWNER, version["id"])["total"] == 1
    again = workbench.curation.finding(OWNER, version["id"], findings[0]["id"])
    assert again["rows"] == [0, 2]
    shown = workbench.curation.rows_at(OWNER, version["id"], again["rows"])
    assert [row["question"] for row in shown] == ["How do I reset my password?"] * 2
    audit = workbench.audit.list(OWNER, action_prefix="curation.")
    assert [line["object_id"] for line in audit] == [version["id"]]


def test_what_is_done_is_not_done_again_unless_the_options_differ(
    workbench: Workbench, version: Version
) -> None:
    def at(name: str) -> str:
        return str(parts(workbench, version)[name]["at"])

    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=CHEAP))
    first = {name: at(name) for name in CHEAP}
    assert workbench.curation.estimate(OWNER, version["id"], detectors=CHEAP)["parts"] == []
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=CHEAP))
    assert {name: at(name) for name in CHEAP} == first
    other = workbench.curation.analyse(
        OWNER, version["id"], detectors=CHEAP, options={"exact": {"columns": ["topic"]}}
    )
    ended(workbench, other)
    assert at("exact") != first["exact"]
    assert at("profile") == first["profile"]


def test_kill_9_in_the_middle_is_resumed_with_nothing_done_twice(workbench: Workbench) -> None:
    rows = [
        {"question": f"Please tell me how item {n} is returned to the shop in {n % 7} days."}
        for n in range(12_000)
    ]
    version = imported(workbench, rows, "Long")
    job_id = workbench.curation.analyse(OWNER, version["id"], detectors=["profile", "signals"])
    wait_for(lambda: parts(workbench, version)["signals"]["state"] == "running")
    before = parts(workbench, version)["profile"]
    assert before["state"] == "done"
    started = [e for e in workbench.jobs.events(OWNER, job_id) if e["kind"] == "state"]
    os.kill(started[0]["pid"], signal.SIGKILL)
    wait_for(lambda: workbench.jobs.get(OWNER, job_id)["state"] == "interrupted")
    assert parts(workbench, version)["signals"]["state"] == "none"
    assert not (folder(version) / "signals.parquet").exists()
    workbench.jobs.resume(OWNER, job_id)
    ended(workbench, job_id)
    after = parts(workbench, version)
    assert after["signals"]["state"] == "done"
    assert after["profile"]["at"] == before["at"]
    assert workbench.curation.signals(OWNER, version["id"])["row_count"] == 12_000
    assert not list(folder(version).glob("*.unfinished"))


def test_cancel_stops_inside_a_part_and_keeps_the_parts_before(workbench: Workbench) -> None:
    rows = [
        {"question": f"Please tell me how item {n} is returned to the shop in {n % 7} days."}
        for n in range(12_000)
    ]
    version = imported(workbench, rows, "Long")
    job_id = workbench.curation.analyse(OWNER, version["id"], detectors=["profile", "signals"])
    wait_for(lambda: parts(workbench, version)["signals"]["state"] == "running")
    workbench.jobs.cancel(OWNER, job_id)
    ended(workbench, job_id, "cancelled")
    found = parts(workbench, version)
    assert (found["profile"]["state"], found["signals"]["state"]) == ("done", "none")


def test_a_part_that_fails_says_why_and_the_others_go_on(
    workbench: Workbench, version: Version
) -> None:
    job_id = workbench.curation.analyse(
        OWNER,
        version["id"],
        detectors=["profile", "signals"],
        options={"signals": {"perplexity_rows": "many"}},
    )
    ended(workbench, job_id)
    found = parts(workbench, version)
    assert found["profile"]["state"] == "done"
    assert found["signals"]["state"] == "failed"
    assert "perplexity_rows is a number" in found["signals"]["error"]["message"]
    assert "without signals" in workbench.jobs.get(OWNER, job_id)["message"]
    alone = workbench.curation.analyse(
        OWNER,
        version["id"],
        detectors=["signals"],
        options={"signals": {"perplexity_rows": "many"}},
    )
    assert "perplexity_rows" in ended(workbench, alone, "failed")["error"]["message"]


def test_what_a_part_found_before_it_was_changed_is_not_shown(
    workbench: Workbench, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("profile", "signals", "exact", "secrets", "personal")
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=asked))
    curation = workbench.curation
    assert curation.count(OWNER, version["id"]) == 1
    assert looked(version["path"])
    changed = {
        name: dataclasses.replace(part, revision=part.revision + 1) for name, part in PARTS.items()
    }
    monkeypatch.setattr(analysis, "PARTS", changed)
    assert {parts(workbench, version)[name]["state"] for name in asked} == {"none"}
    assert curation.count(OWNER, version["id"]) == 0
    assert curation.profile(OWNER, version["id"]) is None
    assert curation.signals(OWNER, version["id"]) is None
    with pytest.raises(NotFound):
        curation.worst_by(OWNER, version["id"], "words")
    assert not looked(version["path"])
    left = curation.estimate(OWNER, version["id"], detectors=asked)["parts"]
    assert set(left) == set(asked)


def test_another_part_that_changed_leaves_what_was_found(
    workbench: Workbench, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=CHEAP))
    other = dataclasses.replace(PARTS["quality"], revision=99)
    monkeypatch.setattr(analysis, "PARTS", {**PARTS, "quality": other})
    assert workbench.curation.count(OWNER, version["id"]) == 1
    assert workbench.curation.estimate(OWNER, version["id"], detectors=CHEAP)["parts"] == []


def test_an_outdated_file_is_gone_once_its_part_begins_anew(
    workbench: Workbench, version: Version
) -> None:
    planted(version, {"exact": [Finding("exact_duplicate", "medium", "Old.", (0, 1))]})
    path = analysis.record_path(folder(version), "exact")
    path.write_text(json.dumps({"state": "running", "deaths": 1, "revision": 0}))
    assert workbench.curation.count(OWNER, version["id"]) == 0
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=["exact"]))
    assert [f["rows"] for f in workbench.curation.findings(OWNER, version["id"])] == [[0, 2]]


def test_two_analyses_of_a_version_do_a_part_one_after_the_other(
    workbench: Workbench, version: Version
) -> None:
    lock = FileLock(folder(version) / "exact.lock")
    assert lock.acquire()
    job_id = workbench.curation.analyse(OWNER, version["id"], detectors=["exact"])

    def waits() -> bool:
        return "another analysis" in (workbench.jobs.get(OWNER, job_id)["message"] or "")

    wait_for(waits)
    assert parts(workbench, version)["exact"]["state"] == "none"
    lock.release()
    ended(workbench, job_id)
    assert workbench.curation.count(OWNER, version["id"]) == 1


def test_a_look_at_some_columns_or_types_is_no_look_at_the_version(
    workbench: Workbench, version: Version
) -> None:
    both = ("secrets", "personal")
    for options in ({"columns": ["topic"]}, {"types": ["email"]}):
        ended(
            workbench,
            workbench.curation.analyse(
                OWNER, version["id"], detectors=both, options={"personal": options}
            ),
        )
        assert not looked(version["path"])
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=both))
    assert looked(version["path"])


def test_a_part_that_kills_its_process_twice_is_given_up(
    workbench: Workbench, version: Version
) -> None:
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=["profile"]))
    path = analysis.record_path(folder(version), "exact")
    path.write_text(json.dumps({"state": "running", "deaths": 1}))
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=CHEAP))
    assert "ran out of memory 2 times" in parts(workbench, version)["exact"]["error"]["message"]
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=CHEAP))
    assert parts(workbench, version)["exact"]["state"] == "done"


def test_before_an_analysis_there_is_nothing_and_no_error(
    workbench: Workbench, version: Version
) -> None:
    curation = workbench.curation
    assert curation.findings(OWNER, version["id"]) == []
    assert curation.finding_counts(OWNER, version["id"])["total"] == 0
    assert curation.status(OWNER, version["id"])["analysed"] is False
    assert curation.profile(OWNER, version["id"]) is None
    assert curation.signals(OWNER, version["id"]) is None
    estimate = curation.estimate(OWNER, version["id"])
    assert set(estimate["parts"]) == set(USUAL)
    assert estimate["seconds"] > 0
    with pytest.raises(NotFound):
        curation.finding(OWNER, version["id"], "find_nothing")
    with pytest.raises(NotFound, match="have not been computed"):
        curation.worst_by(OWNER, version["id"], "tokens")


def test_unknown_names_are_refused_with_what_there_is(
    workbench: Workbench, version: Version
) -> None:
    curation = workbench.curation
    with pytest.raises(Invalid, match="no detector 'nope'"):
        curation.analyse(OWNER, version["id"], detectors=["nope"])
    with pytest.raises(Invalid, match="no detector 'nope'"):
        curation.analyse(OWNER, version["id"], options={"nope": {}})
    with pytest.raises(Invalid, match="no kind"):
        curation.findings(OWNER, version["id"], kind="strange")
    with pytest.raises(Invalid, match="no severity"):
        curation.count(OWNER, version["id"], severity="worst")
    assert set(KINDS) > {"secret", "leakage"}
    lead = Actor(id="u1", name="Lea", role="lead")
    with pytest.raises(Forbidden):
        curation.analyse(lead, version["id"])
    assert curation.findings(lead, version["id"]) == []


def test_the_same_job_twice_is_one_job(workbench: Workbench, version: Version) -> None:
    workbench.supervisor.stop()
    one = workbench.curation.analyse(OWNER, version["id"], detectors=CHEAP)
    assert workbench.curation.analyse(OWNER, version["id"], detectors=CHEAP) == one
    assert workbench.curation.analyse(OWNER, version["id"], detectors=["profile"]) != one


def test_leakage_is_looked_for_in_the_newest_versions_of_the_other_datasets(
    workbench: Workbench, version: Version
) -> None:
    workbench.supervisor.stop()
    other = imported(workbench, ROWS[:2], "Other")
    newer = imported(workbench, ROWS[:3], "Other")

    def others(**given: Any) -> list[str]:
        job_id = workbench.curation.analyse(OWNER, version["id"], detectors=["leakage"], **given)
        spec = json.loads((workbench.settings.home / "jobs" / job_id / "spec.json").read_text())
        return list(spec["payload"]["others"])

    assert others() == [newer["label"]]
    assert others(others=[other["id"]]) == [other["label"]]
    assert others(others=[]) == []
