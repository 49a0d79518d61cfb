"""An import as a job: live, stopped, really killed, and held back until the diff is seen."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.datasets import import_job
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.governance.audit import Audit
from core.governance.permissions import OWNER, Actor
from core.jobs.context import JobContext
from core.jobs.folder import JobFolder
from core.settings import Settings
from core.store.files import write_json
from core.workbench import Workbench
from tests.jobs.test_jobs import state, wait_for

MAPPING = {"question": "input", "answer": "expected"}
ENGINEER = Actor("ann", "Ann", "engineer")
ADMIN = Actor("root", "Root", "admin")


@pytest.fixture
def settings(home: Path, tmp_path: Path) -> Settings:
    return Settings(home=home, import_folders=(tmp_path,))


def rows_file(path: Path, rows: int, answer: str = "yes", width: int = 10) -> Path:
    with path.open("w") as file:
        for number in range(rows):
            row = {"question": f"{number} " + "x" * width, "answer": answer}
            file.write(json.dumps(row) + "\n")
    return path


def begin(workbench: Workbench, path: Path, **more: Any) -> str:
    asked = {"dataset": "Questions", "mapping": MAPPING, **more}
    return workbench.datasets.start_import(ENGINEER, str(path), **asked)


def done(workbench: Workbench, job_id: str) -> dict[str, Any]:
    wait_for(lambda: state(workbench, job_id) in ("succeeded", "failed"), 60)
    job = workbench.jobs.get(OWNER, job_id)
    assert job["state"] == "succeeded", job["error"]
    return workbench.datasets.import_outcome(OWNER, job_id)


def changed(path: Path) -> Path:
    """The file with an answer that is another, a row less and a row more."""
    lines = path.read_text().splitlines()[:-1]
    lines[0] = lines[0].replace("yes", "no")
    path.write_text("\n".join([*lines, json.dumps({"question": "new", "answer": "yes"})]))
    return path


@pytest.fixture
def stepped(settings: Any) -> Iterator[Workbench]:
    with Workbench.open(settings, background=False) as opened:
        yield opened


def test_the_first_import_is_a_version_and_the_next_one_waits_with_its_diff(
    workbench: Workbench, tmp_path: Path
) -> None:
    path = rows_file(tmp_path / "rows.jsonl", 50)
    first = done(workbench, begin(workbench, path, license="MIT", message="one"))["version"]
    assert (first["label"], first["row_count"], first["message"]) == ("Questions v1", 50, "one")
    assert first["report"]["import"]["sha256"]
    assert first["recipe"]["import"]["mapping"] == MAPPING
    assert workbench.datasets.get(OWNER, first["dataset_id"])["license"] == "MIT"

    job_id = begin(workbench, changed(path), dataset=first["dataset_id"], message="two")
    staged = done(workbench, job_id)["staged"]
    assert staged["diff"]["counts"]["changed"] == 1
    assert (staged["diff"]["counts"]["added"], staged["diff"]["counts"]["removed"]) == (1, 1)
    assert staged["diff"]["against"]["label"] == "Questions v1"
    (row,) = workbench.datasets.staged_rows(OWNER, job_id, kind="changed")
    assert (row["before"]["answer"], row["after"]["answer"]) == ("yes", "no")
    assert [s["job_id"] for s in workbench.datasets.staged(OWNER, first["dataset_id"])] == [job_id]
    assert len(workbench.datasets.versions(OWNER, first["dataset_id"])) == 1

    second = workbench.datasets.accept(ENGINEER, job_id)
    assert (second["number"], second["message"], second["is_new"]) == (2, "two", True)
    assert workbench.datasets.import_outcome(OWNER, job_id)["version"]["id"] == second["id"]
    assert workbench.datasets.staged(OWNER, first["dataset_id"]) == []
    with pytest.raises(NotFound):
        workbench.datasets.accept(ENGINEER, job_id)


def test_what_is_discarded_is_gone_and_what_is_known_adds_nothing(
    workbench: Workbench, tmp_path: Path, home: Path
) -> None:
    path = rows_file(tmp_path / "rows.jsonl", 20)
    first = done(workbench, begin(workbench, path))["version"]
    again = done(workbench, begin(workbench, path))["version"]
    assert (first["is_new"], again["id"], again["is_new"]) == (True, first["id"], False)
    job_id = begin(workbench, changed(path))
    assert done(workbench, job_id)["staged"]
    workbench.datasets.discard(ENGINEER, job_id)
    assert list((home / "datasets").rglob(".*")) == []
    assert len(workbench.datasets.versions(OWNER, first["dataset_id"])) == 1
    actions = [line["action"] for line in Audit(workbench.store).list(OWNER)]
    assert actions[0] == "datasets.discard"
    accepted = done(workbench, begin(workbench, path, accept=True))["version"]
    assert accepted["number"] == 2


def test_a_bad_file_fails_the_job_with_its_rows_and_leaves_nothing(
    workbench: Workbench, tmp_path: Path, home: Path
) -> None:
    path = rows_file(tmp_path / "rows.jsonl", 20)
    path.write_text(path.read_text() + "{\n")
    job_id = begin(workbench, path)
    wait_for(lambda: state(workbench, job_id) == "failed")
    error = workbench.jobs.get(OWNER, job_id)["error"]
    assert (error["errors"][0]["row"], error["errors"][0]["line"]) == (20, 21)
    assert workbench.datasets.list(OWNER) == []
    assert not (home / "jobs" / job_id / "version").exists()


def test_kill_9_in_mid_import_leaves_the_version_before_whole_and_the_job_goes_on(
    workbench: Workbench, tmp_path: Path, home: Path
) -> None:
    path = rows_file(tmp_path / "rows.jsonl", 10)
    first = done(workbench, begin(workbench, path))["version"]
    before = Path(first["path"]).read_bytes()
    path = rows_file(tmp_path / "big.csv", 1)
    with path.open("w") as file:  # read row by row, so that there is time
        file.write("question,answer\n")
        file.writelines(f'"{number} {"x" * 60}",yes\n' for number in range(400_000))
    job_id = begin(workbench, path)
    folder = home / "jobs" / job_id
    wait_for(lambda: any(f.stat().st_size for f in folder.glob("version/.importing-*")), 60)
    started = [e for e in JobFolder(folder).events() if e["kind"] == "state"]
    os.kill(started[0]["pid"], signal.SIGKILL)
    wait_for(lambda: state(workbench, job_id) == "interrupted")
    assert Path(first["path"]).read_bytes() == before
    assert len(workbench.datasets.versions(OWNER, first["dataset_id"])) == 1
    workbench.jobs.resume(OWNER, job_id)
    staged = done(workbench, job_id)["staged"]
    assert staged["row_count"] == 400_000
    assert [p.name for p in folder.glob("version/*")] == []
    assert workbench.datasets.accept(ENGINEER, job_id)["number"] == 2


def test_a_job_that_is_stopped_leaves_nothing_and_can_go_on(
    workbench: Workbench, tmp_path: Path, home: Path
) -> None:
    path = tmp_path / "big.csv"
    with path.open("w") as file:
        file.write("question,answer\n")
        file.writelines(f'"{number} {"x" * 60}",yes\n' for number in range(200_000))
    job_id = begin(workbench, path)
    wait_for(lambda: (workbench.jobs.get(OWNER, job_id)["progress_done"] or 0) > 0, 60)
    job = workbench.jobs.get(OWNER, job_id)
    assert 0 < job["progress_done"] < job["progress_total"] == path.stat().st_size
    workbench.jobs.cancel(OWNER, job_id)
    wait_for(lambda: state(workbench, job_id) == "cancelled")
    assert list((home / "jobs" / job_id).rglob("*.parquet")) == []
    assert workbench.datasets.import_outcome(OWNER, job_id) == {"staged": None, "version": None}
    workbench.jobs.resume(OWNER, job_id)
    assert done(workbench, job_id)["version"]["row_count"] == 200_000


def context(stepped: Workbench, job_id: str) -> JobContext:
    return JobContext(JobFolder(stepped.store.home / "jobs" / job_id))


def test_a_job_killed_after_its_last_file_reads_nothing_again(
    stepped: Workbench, tmp_path: Path
) -> None:
    path = rows_file(tmp_path / "rows.jsonl", 5)
    job = context(stepped, begin(stepped, path))
    value = import_job.work(job)
    path.unlink()
    assert import_job.work(job) == value


def test_the_finisher_may_be_called_again_after_a_crash(stepped: Workbench, tmp_path: Path) -> None:
    finish = stepped.datasets._finish
    path = rows_file(tmp_path / "rows.jsonl", 5)
    job = context(stepped, begin(stepped, path))
    value = import_job.work(job)
    for _ in range(2):
        finish(job.id, value, "ann")
    (dataset,) = stepped.datasets.list(OWNER)
    assert dataset["version_count"] == 1

    job = context(stepped, begin(stepped, changed(path)))
    value = import_job.work(job)
    finish(job.id, value, "ann")
    (mark,) = (stepped.store.home / "datasets").rglob(".staged-*.json")
    held = json.loads(mark.read_text())
    mark.unlink()  # as if it had been cut off between the two files
    finish(job.id, value, "ann")
    finish(job.id, value, "ann")
    assert json.loads(mark.read_text()) | {"created_at": ""} == held | {"created_at": ""}
    assert stepped.datasets.accept(ENGINEER, job.id)["number"] == 2
    write_json(mark, held)  # as if it had been cut off before the mark went
    assert stepped.datasets.accept(ENGINEER, job.id)["is_new"] is False
    write_json(mark, {**held, "value": {**held["value"], "written": {"content_hash": "gone"}}})
    with pytest.raises(Conflict):
        stepped.datasets.accept(ENGINEER, job.id)


def two_imports(stepped: Workbench, path: Path) -> JobContext:
    """The job of the second, whose rows wait."""
    for _ in range(2):
        job = context(stepped, begin(stepped, path))
        stepped.datasets._finish(job.id, import_job.work(job), "ann")
        changed(path)
    return job


def test_rows_that_wait_and_are_gone_are_discarded(stepped: Workbench, tmp_path: Path) -> None:
    job = two_imports(stepped, rows_file(tmp_path / "rows.jsonl", 5))
    (dataset,) = stepped.datasets.list(OWNER)
    assert len(stepped.datasets.staged(OWNER, dataset["id"])) == 1
    (rows,) = (stepped.store.home / "datasets").rglob(".staged-*.parquet")
    rows.unlink()
    with pytest.raises(Conflict, match="rows that wait are gone") as caught:
        stepped.datasets.accept(ENGINEER, job.id)
    assert caught.value.hint.startswith("Discard them")
    stepped.datasets.discard(ENGINEER, job.id)
    assert stepped.datasets.staged(OWNER, dataset["id"]) == []


def test_of_two_who_accept_at_once_one_makes_the_version(
    stepped: Workbench, tmp_path: Path
) -> None:
    job = two_imports(stepped, rows_file(tmp_path / "rows.jsonl", 5))
    with ThreadPoolExecutor(4) as pool:
        tries = [pool.submit(stepped.datasets.accept, ENGINEER, job.id) for _ in range(4)]
    failed = [one.exception() for one in tries if one.exception() is not None]
    assert len(failed) == 3
    assert all(isinstance(error, NotFound) for error in failed)


def test_only_an_import_has_an_outcome(stepped: Workbench) -> None:
    other = stepped.jobs.start(OWNER, "selftest", "t", {})
    with pytest.raises(Invalid, match="no import"):
        stepped.datasets.import_outcome(OWNER, other)
    for job_id in ("job_none", f"../jobs/{other}", "../../etc"):
        with pytest.raises(NotFound):
            stepped.datasets.import_outcome(OWNER, job_id)


def test_a_file_that_changed_or_went_since_is_said_so(stepped: Workbench, tmp_path: Path) -> None:
    path = rows_file(tmp_path / "rows.jsonl", 5)
    job = context(stepped, begin(stepped, path))
    path.write_text(path.read_text() + " \n")
    with pytest.raises(Invalid, match="has changed since"):
        import_job.work(job)
    path.unlink()
    with pytest.raises(NotFound, match="not there any more"):
        import_job.work(job)


def test_a_lead_imports_accepts_and_discards_nothing(stepped: Workbench, tmp_path: Path) -> None:
    lead = Actor("lea", "Lea", "lead")
    path = str(rows_file(tmp_path / "rows.jsonl", 2))
    for act in (
        lambda: stepped.datasets.start_import(lead, path, dataset="x", mapping=MAPPING),
        lambda: stepped.datasets.keep_upload(lead, "x.csv", b""),
        lambda: stepped.datasets.accept(lead, "job_1"),
        lambda: stepped.datasets.discard(lead, "job_1"),
        lambda: stepped.datasets.preview(lead, "rows.jsonl", path),
    ):
        with pytest.raises(Forbidden):
            act()
