"""Jobs: a real worker process, really killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from core.errors import Conflict, Forbidden, NotFound
from core.governance.permissions import Actor
from core.workbench import OWNER, Workbench


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def state(workbench: Workbench, job_id: str) -> str:
    return str(workbench.jobs.get(OWNER, job_id)["state"])


def trace_count(workbench: Workbench) -> int:
    row = workbench.store.row("SELECT count(*) AS n, count(DISTINCT id) AS d FROM traces")
    assert row is not None
    assert row["n"] == row["d"]
    return int(row["n"])


def start(workbench: Workbench, **payload: object) -> str:
    return workbench.jobs.start(OWNER, "selftest", "Self test", dict(payload))


def test_a_job_runs_in_its_own_process_and_its_rows_arrive(workbench: Workbench) -> None:
    job_id = start(workbench, steps=20)
    wait_for(lambda: state(workbench, job_id) == "succeeded")
    wait_for(lambda: trace_count(workbench) == 20)
    job = workbench.jobs.get(OWNER, job_id)
    assert (job["progress_done"], job["progress_total"]) == (20, 20)


def test_a_failed_job_says_why(workbench: Workbench) -> None:
    job_id = start(workbench, steps=5, fail_at=3)
    wait_for(lambda: state(workbench, job_id) == "failed")
    assert workbench.jobs.get(OWNER, job_id)["error"]["message"] == "Step 3 was told to fail."
    wait_for(lambda: trace_count(workbench) == 3)


def test_an_unexpected_error_is_kept_with_an_id_to_quote(workbench: Workbench) -> None:
    job_id = start(workbench, steps="many")
    wait_for(lambda: state(workbench, job_id) == "failed")
    error = workbench.jobs.get(OWNER, job_id)["error"]
    assert "ValueError" in error["message"]
    assert error["hint"].rsplit(" ", 1)[-1].rstrip(".") in workbench.jobs.log(OWNER, job_id)


def test_cancel_keeps_what_is_done_and_resume_does_the_rest_once(workbench: Workbench) -> None:
    job_id = start(workbench, steps=40, delay_ms=50)
    wait_for(lambda: trace_count(workbench) >= 3)
    workbench.jobs.cancel(OWNER, job_id)
    wait_for(lambda: state(workbench, job_id) == "cancelled")
    done = trace_count(workbench)
    assert done < 40
    workbench.jobs.resume(OWNER, job_id)
    wait_for(lambda: state(workbench, job_id) == "succeeded")
    wait_for(lambda: trace_count(workbench) == 40)


def test_kill_9_of_a_worker_is_seen_and_resumed_with_nothing_doubled(workbench: Workbench) -> None:
    job_id = start(workbench, steps=40, delay_ms=50)
    wait_for(lambda: trace_count(workbench) >= 3)
    started = [e for e in workbench.jobs.events(OWNER, job_id) if e["kind"] == "state"]
    os.kill(started[0]["pid"], signal.SIGKILL)
    wait_for(lambda: state(workbench, job_id) == "interrupted")
    workbench.jobs.resume(OWNER, job_id)
    wait_for(lambda: state(workbench, job_id) == "succeeded")
    wait_for(lambda: trace_count(workbench) == 40)


def test_a_running_job_outlives_the_workbench_and_is_found_again(workbench: Workbench) -> None:
    job_id = start(workbench, steps=30, delay_ms=50)
    wait_for(lambda: trace_count(workbench) >= 2)
    workbench.close()
    time.sleep(0.3)
    with Workbench.open(workbench.settings) as again:
        assert state(again, job_id) == "running"
        wait_for(lambda: state(again, job_id) == "succeeded")
        wait_for(lambda: trace_count(again) == 30)


def test_a_queued_job_can_be_cancelled_before_it_starts(settings) -> None:  # type: ignore[no-untyped-def]
    with Workbench.open(settings, background=False) as workbench:
        job_id = start(workbench, steps=5)
        workbench.jobs.cancel(OWNER, job_id)
        workbench.supervisor.step()
        assert state(workbench, job_id) == "cancelled"
        with pytest.raises(Conflict):
            workbench.jobs.cancel(OWNER, job_id)


def test_unknown_kinds_and_roles_without_the_permission_are_refused(workbench: Workbench) -> None:
    with pytest.raises(NotFound, match="no job kind 'nope'"):
        workbench.jobs.start(OWNER, "nope", "?", {})
    lead = Actor(id="u1", name="Lea", role="lead")
    with pytest.raises(Forbidden):
        workbench.jobs.start(lead, "selftest", "?", {})
