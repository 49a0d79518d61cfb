"""Runs under attack: workers really killed, the app really killed, cancelled and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from core.errors import Conflict
from core.evals import done
from core.evals.rows import stream_examples
from core.evals.variants import Variant
from core.jobs.folder import JobFolder
from core.models.pool import WorkerPool
from core.settings import PROJECT_ROOT
from core.workbench import OWNER, Workbench
from tests.evals.conftest import World, wait_for

# Well under a second on a quiet machine (0.2 to 0.4 measured); the rest is for busy cores.
CANCEL_S = 2.0

SLOW = {"delay_ms": 120}  # two words an answer: 240 ms each


def worker_pid(world: World, run_id: str) -> int:
    events = world.workbench.jobs.events(OWNER, world.job_id(run_id))
    return int([e for e in events if e["kind"] == "state"][-1]["pid"])


def assert_each_row_once(world: World, run_id: str, count: int) -> None:
    keys = Counter((r["variant_id"], r["row_id"]) for r in world.results(run_id))
    assert len(keys) == count
    assert set(keys.values()) == {1}
    scores = world.workbench.store.rows(
        "SELECT count(*) AS n FROM scores s JOIN results r"
        " USING (run_id, variant_id, row_id, attempt) WHERE run_id = $run",
        {"run": run_id},
    )
    assert scores[0]["n"] == count


def test_kill_9_of_the_job_worker_loses_and_doubles_nothing(world: World) -> None:
    run_id = world.start(
        world.variant(0, slots=4, **SLOW), world.variant(1, name="second", **SLOW), rows=24
    )
    wait_for(lambda: len(world.results(run_id)) >= 4)
    os.kill(worker_pid(world, run_id), signal.SIGKILL)
    wait_for(lambda: world.state(run_id) == "interrupted")
    kept = len(world.results(run_id))
    assert 4 <= kept < 48
    world.workbench.jobs.resume(OWNER, world.job_id(run_id))
    world.finish(run_id)
    assert_each_row_once(world, run_id, 48)
    result = JobFolder(world.home / "jobs" / world.job_id(run_id)).result()
    assert result is not None
    assert result["value"]["resumed_from"] == kept
    # the model that the killed worker had loaded is unloaded by the one that went on
    wait_for(lambda: not any(s.alive for s in WorkerPool(world.home).states()))


def test_a_cancelled_run_stops_soon_and_resumes(world: World) -> None:
    run_id = world.start(world.variant(slots=4, delay_ms=400), rows=16)
    wait_for(lambda: len(world.results(run_id)) >= 4)
    asked = time.monotonic()
    world.workbench.jobs.cancel(OWNER, world.job_id(run_id))
    folder = JobFolder(world.home / "jobs" / world.job_id(run_id))
    wait_for(lambda: folder.result() is not None)
    took_s = time.monotonic() - asked
    print(f"cancelled after {took_s:.2f} s")
    assert took_s < CANCEL_S
    world.finish(run_id, "cancelled")
    assert len(world.results(run_id)) < 16
    with pytest.raises(Conflict, match="rows are missing"):
        world.runs.retry_failed(OWNER, run_id)
    wait_for(lambda: not folder.alive())
    world.workbench.jobs.resume(OWNER, world.job_id(run_id))
    world.finish(run_id)
    assert_each_row_once(world, run_id, 16)


def test_a_run_is_cancelled_while_its_requests_wait_in_silence(world: World) -> None:
    """No token arrives, so nothing but the clock can tell the requests to stop."""
    run_id = world.start(world.variant(delay_ms=30_000), rows=4)
    wait_for(lambda: any(s.state == "ready" for s in WorkerPool(world.home).states()))
    time.sleep(0.3)
    asked = time.monotonic()
    world.workbench.jobs.cancel(OWNER, world.job_id(run_id))
    folder = JobFolder(world.home / "jobs" / world.job_id(run_id))
    wait_for(lambda: folder.result() is not None)
    took_s = time.monotonic() - asked
    print(f"cancelled after {took_s:.2f} s")
    assert took_s < CANCEL_S
    assert world.finish(run_id, "cancelled")["variants"][0]["result_count"] == 0
    wait_for(lambda: not any(s.alive for s in WorkerPool(world.home).states()))


def test_kill_9_of_the_model_worker_costs_no_row(world: World) -> None:
    run_id = world.start(world.variant(slots=4, **SLOW), rows=40)
    wait_for(lambda: len(world.results(run_id)) >= 5)
    [state] = [s for s in WorkerPool(world.home).states() if s.alive]
    assert state.pid is not None
    os.kill(state.pid, signal.SIGKILL)
    [variant] = world.finish(run_id)["variants"]
    assert (variant["ok_count"], variant["failed_count"]) == (40, 0)
    assert_each_row_once(world, run_id, 40)
    states = [
        e["text"].rsplit(": ", 1)[-1]
        for e in world.workbench.jobs.events(OWNER, world.job_id(run_id))
        if e["kind"] == "log"
    ]
    assert states.count("ready") == 2, "it was started again, once"


def test_a_row_that_kills_its_model_twice_is_kept_as_failed(world: World) -> None:
    run_id = world.start(world.variant(slots=1, crash_on="ticket 3"), rows=6)
    [variant] = world.finish(run_id)["variants"]
    assert (variant["ok_count"], variant["failed_count"]) == (5, 1)
    [failed] = [r for r in world.results(run_id) if r["state"] == "failed"]
    assert failed["row_index"] == 3
    assert "went away" in failed["error"] or "in the middle of the answer" in failed["error"]


def test_a_model_that_dies_on_every_row_is_given_up(world: World) -> None:
    run_id = world.start(world.variant(slots=1, crash_on="ticket"), rows=30)
    world.finish(run_id, "failed")
    error = world.runs.get(OWNER, run_id)["error"]
    assert "died 3 times in a row" in error["message"]
    assert len(world.results(run_id)) < 10, "the rest was not burned on it"


def test_an_endpoint_that_is_not_there_is_given_up_before_all_rows_have_failed(
    world: World,
) -> None:
    model = world.workbench.models.add(
        OWNER, "away", "endpoint", "http://127.0.0.1:9/v1", revision="m"
    )
    run_id = world.start(Variant(world.prompt_ids[0], model), rows=200)
    world.finish(run_id, "failed")
    error = world.runs.get(OWNER, run_id)["error"]
    assert "cannot be reached" in error["message"]
    assert 0 < len(world.results(run_id)) < 60


APP = """
import json, sys, time
from core.evals.variants import Variant
from core.models.spec import WorkerSpec
from core.workbench import OWNER, Workbench
workbench = Workbench.open()
data = "\\n".join(json.dumps({"text": f"ticket {i}"}) for i in range(40)).encode()
version = workbench.datasets.import_rows(
    OWNER, name="t", filename="t.jsonl", data=data, mapping={"text": "input"}
)
prompt_id = workbench.prompts.create(OWNER, "p")
prompt = workbench.prompts.save_version(
    OWNER, prompt_id, system_template="", user_template="{{text}}"
)
spec = WorkerSpec("m", "m", "scripted", "fp32", slots=4, script='{"delay_ms": 120}')
variant = Variant(prompt["id"], "m", spec=spec)
print(workbench.runs.create(OWNER, "r", version["id"], [variant], []), flush=True)
time.sleep(600)
"""


def test_kill_9_of_the_app_does_not_stop_the_run(settings) -> None:  # type: ignore[no-untyped-def]
    app = subprocess.Popen(
        [sys.executable, "-c", APP],
        cwd=PROJECT_ROOT,
        env={**os.environ, "LATHE_HOME": str(settings.home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert app.stdout is not None
    run_id = app.stdout.readline().strip()
    wait_for(lambda: len(written(settings.home)) >= 5)
    app.kill()
    app.wait()
    app.stdout.close()
    before = len(written(settings.home))
    wait_for(lambda: len(written(settings.home)) > before)
    with Workbench.open(settings) as workbench:
        wait_for(lambda: workbench.runs.get(OWNER, run_id)["state"] == "succeeded")
        workbench.ingest.drain()
        [variant] = workbench.runs.summary(OWNER, run_id)["variants"]
        assert (variant["result_count"], variant["ok_count"]) == (40, 40)
    WorkerPool(settings.home).stop_all()


def written(home: Path) -> dict[done.Key, int]:
    folders = list((home / "jobs").glob("*/spool"))
    return done.read(folders[0]).results if folders else {}


def test_scores_that_lost_their_result_in_a_crash_are_never_mixed_with_new_ones(
    world: World,
) -> None:
    """A torn write: the scores of a row are there, its result is not."""
    run_id = world.start(world.variant(slots=2, **SLOW), rows=30)
    wait_for(lambda: len(world.results(run_id)) >= 3)
    os.kill(worker_pid(world, run_id), signal.SIGKILL)
    wait_for(lambda: world.state(run_id) == "interrupted")
    folder = world.home / "jobs" / world.job_id(run_id) / "spool"
    found = done.read(folder)
    [segment] = folder.glob("*.ndjson")
    lines = [json.loads(line) for line in segment.read_bytes().splitlines()]
    a_score = next(entry for entry in lines if entry["table"] == "scores")["row"]
    plan = world.runs._plan(run_id)
    missing = next(
        e.row_id
        for e in stream_examples(world.home, plan.rows, 30)
        if (plan.variants[0].id, e.row_id) not in found.results
    )
    orphan = {"table": "scores", "row": {**a_score, "row_id": missing, "passed": True}}
    with segment.open("a") as file:
        file.write(json.dumps(orphan) + "\n" + '{"table": "results", "row": {"torn')
    world.workbench.jobs.resume(OWNER, world.job_id(run_id))
    [variant] = world.finish(run_id)["variants"]
    assert (variant["result_count"], variant["passed_count"]) == (30, 0)
    attempts = {r["row_id"]: r["attempt"] for r in world.results(run_id)}
    assert attempts.pop(missing) == 2
    assert set(attempts.values()) == {1}
