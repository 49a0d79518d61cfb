"""A file that a crash left without a row goes at the next start; one that is waited for stays."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from core.datasets.service import Datasets
from core.datasets.sweeping import sweep
from core.jobs.folder import JobFolder
from core.store.files import write_json
from core.workbench import OWNER, Workbench

ROWS = b'{"q": "one", "a": "yes"}\n{"q": "two", "a": "no"}'
LOST = "f" * 40


def imported(workbench: Workbench) -> Path:
    mapping: dict[str, Any] = {"q": "input", "a": "expected"}
    made = workbench.datasets.import_rows(
        OWNER, name="Q", filename="q.jsonl", data=ROWS, mapping=mapping
    )
    return Path(made["path"])


def orphan(path: Path, stem: str = LOST) -> Path:
    lost = path.with_name(f"{stem}.parquet")
    shutil.copyfile(path, lost)
    lost.with_suffix(".json").write_text("{}", encoding="utf-8")
    lost.with_suffix(".findings").mkdir()
    (lost.with_suffix(".findings") / "near.parquet").write_bytes(b"x")
    return lost


def test_a_file_of_no_version_goes_with_what_lies_beside_it(workbench: Workbench) -> None:
    path = imported(workbench)
    path.with_suffix(".findings").mkdir(exist_ok=True)
    lost = orphan(path)
    before = {p.name for p in path.parent.iterdir() if not p.name.startswith(LOST)}
    Datasets(workbench.store)  # as at a start
    assert not lost.exists()
    assert {p.name for p in path.parent.iterdir()} == before
    assert sweep(workbench.store) == []


def test_a_file_that_a_finisher_will_make_a_version_of_stays(workbench: Workbench) -> None:
    lost = orphan(imported(workbench))
    workbench.supervisor.stop()
    job_id = workbench.jobs.start(OWNER, "selftest", "Import", {})
    folder = JobFolder(workbench.store.home / "jobs" / job_id)
    folder.write_result("succeeded", value={"written": {"content_hash": LOST}})
    assert sweep(workbench.store) == []
    assert lost.exists()
    workbench.store.execute("UPDATE jobs SET state = 'succeeded'")
    assert sweep(workbench.store) == [lost]


def test_a_file_of_an_import_that_waits_stays(workbench: Workbench) -> None:
    lost = orphan(imported(workbench))
    staged = lost.with_name(".staged-job_1.json")
    write_json(staged, {"written": {"content_hash": LOST}})
    assert sweep(workbench.store) == []
    staged.unlink()
    assert sweep(workbench.store) == [lost]
