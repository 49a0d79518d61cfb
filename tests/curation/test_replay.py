"""Replay: steps in order, one transaction each, resumed after kill -9, committed once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from core.curation import rows as working
from core.curation.replay import Workshop, replay
from core.curation.rows import Rows
from core.curation.tools import Tools
from core.datasets.table import Table, connect
from core.errors import Invalid
from core.settings import PROJECT_ROOT, Settings
from core.workbench import OWNER, Workbench
from tests.curation.replaying import TOOLS, cells, rows_of
from tests.jobs.test_jobs import wait_for

STEPS = [
    {"step": "trim", "columns": ["question"]},
    {"step": "drop_where", "where": [{"column": "question", "op": "contains", "value": "spam"}]},
    {"step": "case", "columns": ["answer"], "to": "upper"},
]


def imported(workbench: Workbench, count: int = 60) -> dict[str, Any]:
    lines = [
        json.dumps({"question": f" Q{n} {'spam' if n % 10 == 0 else ''}", "answer": f"a{n}"})
        for n in range(count)
    ]
    return workbench.datasets.import_rows(
        OWNER, name="Asked", filename="q.jsonl", data="\n".join(lines).encode(),
        mapping={"question": "input", "answer": "expected"},
    )  # fmt: skip


def ended(workbench: Workbench, job_id: str) -> str:
    wait_for(
        lambda: workbench.jobs.get(OWNER, job_id)["state"] not in ("queued", "running"), seconds=60
    )
    return str(workbench.jobs.get(OWNER, job_id)["state"])


def test_steps_are_done_in_order_and_each_reports() -> None:
    rows = rows_of([{"question": " a spam "}, {"question": " b "}])
    seen = []
    reports = replay(rows, STEPS[:2], TOOLS, on_step=lambda n, step: seen.append((n, step["step"])))
    assert cells(rows, "question") == ["b"]
    assert [(report.changed, report.removed) for report in reports] == [(2, 0), (0, 1)]
    assert seen == [(0, "trim"), (1, "drop_where")]


def test_an_error_says_which_step_and_field() -> None:
    with pytest.raises(Invalid, match="Step 2, Trim: There is no column 'x'") as caught:
        replay(rows_of([{"a": " b"}]), [
            {"step": "trim", "columns": ["a"]}, {"step": "trim", "columns": ["x"]},
        ], TOOLS)  # fmt: skip
    assert caught.value.field == "steps.1.column"


def test_a_large_change_is_written_as_a_new_table_with_the_same_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = [{"a": f" {n} ", "b": str(n)} for n in range(300)]
    small, large = rows_of(values), rows_of(values)
    steps = [
        {"step": "trim", "columns": ["a"]},
        {"step": "set_split", "split": "test",
         "where": [{"column": "b", "op": "ends_with", "value": "7"}]},
    ]  # fmt: skip
    told = [report.to_dict() for report in replay(small, steps, TOOLS)]
    monkeypatch.setattr(working, "UPDATE_BYTES", 0)
    monkeypatch.setattr(working, "RANGE_ROWS", 64)
    assert [report.to_dict() for report in replay(large, steps, TOOLS)] == told
    for name in ("row_id", "row_index", "a", "b", "split"):
        assert cells(large, name) == cells(small, name)


def test_a_batch_sees_what_its_own_transaction_wrote() -> None:
    rows = rows_of([{"a": "x"}])
    rows.connection.begin()
    rows.update("a", "a || 'y'")
    assert next(rows.batches(["a"]))["a"] == ["xy"]
    rows.connection.rollback()
    assert cells(rows, "a") == ["x"]


def test_a_recipe_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    rows = rows_of([{"a": "x"}])
    rows.connection.execute(f"COPY rows TO '{path}' (FORMAT parquet)")
    none = [{"step": "filter", "where": [{"column": "a", "op": "equals", "value": "y"}]}]
    table = Table(path, tuple(rows.columns))
    with pytest.raises(Invalid, match="No row is left"):
        Workshop(tmp_path / "w", table, tuple(none), TOOLS).replay(tmp_path / "out")
    no_input = ({"step": "set_role", "column": "a", "role": "metadata"},)
    with pytest.raises(Invalid, match="No column is an input"):
        Workshop(tmp_path / "w2", table, no_input, TOOLS).replay(tmp_path / "out")
    assert not list((tmp_path).glob("out/*"))


def test_the_pending_steps_become_the_next_version(workbench: Workbench) -> None:
    first = imported(workbench)
    recipes = workbench.recipes
    recipes.add_all(OWNER, first["id"], STEPS)
    preview = recipes.preview(OWNER, first["id"])
    assert [step["rows"] for step in preview["steps"]] == [60, 54, 54]
    job_id = recipes.apply(OWNER, first["id"], "clean")
    assert ended(workbench, job_id) == "succeeded"
    made = recipes.result(OWNER, job_id)
    assert made is not None
    assert (made["number"], made["parent_id"], made["row_count"]) == (2, first["id"], 54)
    assert made["message"] == "clean"
    assert made["is_new"]
    assert made["recipe"] == {"recipe": 1, "steps": STEPS}
    assert [step["changed"] for step in made["report"]["steps"]] == [60, 0, 54]
    assert recipes.pending(OWNER, first["id"]) == []
    kept = {row["row_id"] for row in workbench.datasets.page(OWNER, made["id"], limit=100)}
    assert kept < {row["row_id"] for row in workbench.datasets.page(OWNER, first["id"], limit=100)}
    assert not list((workbench.settings.home / "jobs" / job_id).glob("rows.duckdb*"))

    gone = recipes.removed(OWNER, made["id"])
    assert len(gone) == 6
    recipes.add(OWNER, made["id"], {"step": "restore_rows", "rows": gone[:2]})
    job_id = recipes.apply(OWNER, made["id"])
    assert ended(workbench, job_id) == "succeeded"
    third = recipes.result(OWNER, job_id)
    assert third is not None
    rows = workbench.datasets.page(OWNER, third["id"], limit=100)
    assert [row["question"] for row in rows[:2]] == [" Q0 spam", "Q1"]  # where it was
    whole = recipes.recipe_of(OWNER, third["id"])
    assert whole.count("- step:") == 4


def test_a_recipe_that_changes_nothing_leads_to_the_version_that_is_there(
    workbench: Workbench,
) -> None:
    first = imported(workbench)
    workbench.recipes.add(OWNER, first["id"], {"step": "sort", "by": ["answer"]})
    job_id = workbench.recipes.apply(OWNER, first["id"])
    assert ended(workbench, job_id) == "succeeded"
    second = workbench.recipes.result(OWNER, job_id)
    assert second is not None
    workbench.recipes.add(OWNER, second["id"], {"step": "sort", "by": ["answer"]})
    job_id = workbench.recipes.apply(OWNER, second["id"])
    assert ended(workbench, job_id) == "succeeded"
    again = workbench.recipes.result(OWNER, job_id)
    assert again is not None
    assert (again["id"], again["is_new"]) == (second["id"], False)


SLOW = """
import sys, time
from pathlib import Path
from core.curation import replay
from core.jobs.worker import main
folder = Path(sys.argv[1])
before = replay.do_step
def slow(rows, number, step, tools):
    report = before(rows, number, step, tools)
    (folder / f"did-{number}").touch()
    if number == 1:
        time.sleep(60)
    return report
replay.do_step = slow
main(str(folder))
"""


def test_kill_9_in_a_step_leaves_the_version_whole_and_the_job_goes_on(
    settings: Settings, tmp_path: Path
) -> None:
    with Workbench.open(settings, background=False) as workbench:
        first = imported(workbench)
        unbroken = workbench.recipes
        unbroken.add_all(OWNER, first["id"], STEPS)
        table = Table.of(workbench.datasets.version(OWNER, first["id"]))
        wanted = Workshop(tmp_path / "w", table, tuple(STEPS), Tools(cache=tmp_path)).replay(
            tmp_path / "out"
        )
        job_id = workbench.recipes.apply(OWNER, first["id"])
        folder = settings.home / "jobs" / job_id
        worker = subprocess.Popen([sys.executable, "-c", SLOW, str(folder)], cwd=PROJECT_ROOT)
        wait_for(lambda: (folder / "did-1").exists(), seconds=60)
        time.sleep(0.1)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        assert [v["id"] for v in workbench.datasets.versions(OWNER, first["dataset_id"])] == [
            first["id"]
        ]
        assert len(workbench.datasets.page(OWNER, first["id"], limit=100)) == 60
        (folder / "did-0").unlink()
        done = subprocess.run(
            [sys.executable, "-c", SLOW.replace("== 1", "== 9"), str(folder)], cwd=PROJECT_ROOT
        )
        assert done.returncode == 0
        assert not (folder / "did-0").exists()  # done before the kill, and not again
        workbench.supervisor.step()
        made = workbench.recipes.result(OWNER, job_id)
        assert made is not None
        assert made["content_hash"] == wanted.written.content_hash
        value = json.loads((folder / "result.json").read_text())["value"]
        workbench.recipes._finish(job_id, value, OWNER.id)  # as after a crash: nothing twice
        assert len(workbench.datasets.versions(OWNER, first["dataset_id"])) == 2


def test_rows_in_a_file_need_little_memory(tmp_path: Path) -> None:
    """More text than DuckDB may hold, every cell changed, in one transaction."""
    connection = connect(str(tmp_path / "r.duckdb"), memory="150MB", temp=tmp_path / "t")
    connection.execute(
        "CREATE TABLE rows AS SELECT 'r' || i AS row_id, i AS row_index,"
        " ' ' || repeat(md5(i::VARCHAR), 60) AS a FROM range(120_000) t(i)"
    )
    columns = rows_of([{"a": "x"}]).columns
    rows = Rows(connection, columns)
    connection.begin()
    assert replay(rows, [{"step": "trim", "columns": ["a"]}], TOOLS)[0].changed == 120_000
    assert rows.update("a", "'x' || a").changed == 120_000
    connection.commit()
    connection.close()
