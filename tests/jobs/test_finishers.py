"""Finishers: what follows a job's work in the app's own process, and what may go wrong there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import Conflict
from core.jobs import finishing, supervisor
from core.jobs.supervisor import Supervisor
from core.settings import Settings
from core.workbench import OWNER, Workbench
from tests.jobs.test_jobs import start, state, wait_for

Supervised = Callable[[Callable[..., None]], tuple[Workbench, Supervisor]]


@pytest.fixture
def supervised(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A workbench whose jobs end in the finisher that is given."""
    monkeypatch.setattr(finishing, "PAUSE_S", 0.01)
    monkeypatch.setattr(supervisor, "FINISH_WAIT_S", 0.2)
    monkeypatch.setattr(supervisor, "STOP_WAIT_S", 0.2)
    opened = []

    def make(finisher: Callable[..., None]) -> tuple[Workbench, Supervisor]:
        workbench = Workbench.open(settings, background=False)
        made = Supervisor(
            workbench.store, workbench.jobs, finishers={"selftest": finisher}, interval_s=0.05
        )
        made.start()
        opened.append((workbench, made))
        return workbench, made

    yield make
    for workbench, made in opened:
        made.stop()
        workbench.close()


def test_an_error_of_ours_fails_the_job_and_is_told(supervised: Supervised) -> None:
    def finisher(*_: Any) -> None:
        raise Conflict("The name is taken.")

    workbench, _ = supervised(finisher)
    job_id = start(workbench, steps=1)
    wait_for(lambda: state(workbench, job_id) == "failed")
    assert workbench.jobs.get(OWNER, job_id)["error"]["message"] == "The name is taken."


def test_any_other_error_fails_its_job_once_and_the_next_one_runs(
    supervised: Supervised, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[str] = []

    def finisher(job_id: str, *_: Any) -> None:
        called.append(job_id)
        if len(called) == 1:
            raise KeyError("written")

    workbench, _ = supervised(finisher)
    first = start(workbench, steps=1)
    wait_for(lambda: state(workbench, first) == "failed")
    error = workbench.jobs.get(OWNER, first)["error"]
    assert "KeyError" in error["message"]
    assert error["hint"].rsplit(" ", 1)[-1].rstrip(".") in caplog.text
    second = start(workbench, steps=1)
    wait_for(lambda: state(workbench, second) == "succeeded")
    assert called == [first, second]


def test_a_disk_that_refuses_is_asked_a_few_times_and_no_more(supervised: Supervised) -> None:
    called: list[str] = []

    def finisher(job_id: str, *_: Any) -> None:
        called.append(job_id)
        raise OSError("no space left on device")

    workbench, _ = supervised(finisher)
    job_id = start(workbench, steps=1)
    wait_for(lambda: state(workbench, job_id) == "failed")
    assert called == [job_id] * finishing.TRIES
    assert "no space left" in workbench.jobs.get(OWNER, job_id)["error"]["message"]


def test_one_that_hangs_holds_up_neither_other_jobs_nor_the_end(supervised: Supervised) -> None:
    go_on, called = threading.Event(), []

    def finisher(job_id: str, *_: Any) -> None:
        called.append(job_id)
        if len(called) == 1:
            go_on.wait(60)

    workbench, running = supervised(finisher)
    first = start(workbench, steps=1)
    wait_for(lambda: called == [first])
    second = start(workbench, steps=1)
    wait_for(lambda: state(workbench, second) == "succeeded")
    assert state(workbench, first) == "running"
    running.stop()
    go_on.set()
    again = Supervisor(workbench.store, workbench.jobs, finishers={"selftest": finisher})
    again.step()
    assert state(workbench, first) == "succeeded"
    assert called == [first, second, first]
