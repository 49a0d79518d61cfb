"""Runs over some rows of a version: those that somebody names, such as the held-out ones."""

from __future__ import annotations

import json
import time

import pytest

from core.errors import Invalid
from core.evals.plan import Plan
from core.evals.rows import in_order
from core.evals.variants import Variant
from core.jobs.folder import JobFolder
from core.workbench import OWNER
from tests.evals.conftest import LABELS, World, wait_for


def chosen(world: World, version_id: str, numbers: list[int]) -> list[str]:
    rows = world.workbench.datasets.examples(OWNER, version_id)
    return [rows[number].row_id for number in numbers]


def test_only_the_named_rows_are_asked_in_the_datasets_order(world: World) -> None:
    version_id = world.tickets(12)
    ids = chosen(world, version_id, [9, 2, 5])
    run_id = world.start(
        world.variant(name="one"), world.variant(1, name="two", model="other"),
        version_id=version_id, row_ids=ids,
    )  # fmt: skip
    summary = world.finish(run_id)
    assert summary["row_count"] == 3
    assert [v["result_count"] for v in summary["variants"]] == [3, 3]
    rows = world.runs.grid(OWNER, run_id)["rows"]
    assert [row["row_index"] for row in rows] == [2, 5, 9], "where they stand in the dataset"
    exported = world.runs.export(OWNER, run_id, "jsonl").decode().splitlines()
    assert {json.loads(line)["input"] for line in exported} == {f"ticket {n}" for n in (2, 5, 9)}


def test_an_estimate_counts_the_named_rows_and_a_limit_takes_the_first_of_them(
    world: World,
) -> None:
    version_id = world.tickets(12)
    ids = chosen(world, version_id, [9, 2, 5])
    model_id = world.workbench.models.add(
        OWNER, "elsewhere", "endpoint", "http://127.0.0.1:9/v1", revision="m"
    )
    asked = [Variant(world.prompt_ids[0], model_id)]
    found = world.runs.estimate(OWNER, version_id, asked, row_ids=ids)
    assert (found["rows"], found["result_count"]) == (3, 3)
    run_id = world.start(world.variant(), version_id=version_id, row_ids=ids, row_limit=2)
    world.finish(run_id)
    assert [row["row_index"] for row in world.runs.grid(OWNER, run_id)["rows"]] == [2, 5]


def test_failed_rows_among_the_named_are_asked_again_and_no_other(world: World) -> None:
    version_id = world.tickets(8)
    ids = chosen(world, version_id, [1, 3, 6])
    run_id = world.start(
        world.variant(slots=1, crash_on="ticket 3"), version_id=version_id, row_ids=ids
    )
    [variant] = world.finish(run_id)["variants"]
    assert (variant["ok_count"], variant["failed_count"]) == (2, 1)
    assert world.runs.retry_failed(OWNER, run_id) == 1
    world.finish(run_id)
    assert [r["row_index"] for r in world.results(run_id)] == [1, 3, 3, 6]


def test_a_cancelled_run_over_named_rows_goes_on_where_it_was(world: World) -> None:
    version_id = world.tickets(30)
    numbers = list(range(1, 30, 2))
    ids = chosen(world, version_id, numbers)
    run_id = world.start(world.variant(slots=2, delay_ms=300), version_id=version_id, row_ids=ids)
    wait_for(lambda: len(world.results(run_id)) >= 3)
    world.workbench.jobs.cancel(OWNER, world.job_id(run_id))
    world.finish(run_id, "cancelled")
    folder = JobFolder(world.home / "jobs" / world.job_id(run_id))
    wait_for(lambda: not folder.alive())
    time.sleep(0.05)
    world.workbench.jobs.resume(OWNER, world.job_id(run_id))
    world.finish(run_id)
    assert [r["row_index"] for r in world.results(run_id)] == numbers


@pytest.mark.parametrize("ids", [["nothing-like-it"], []])
def test_rows_that_are_not_there_are_refused(world: World, ids: list[str]) -> None:
    with pytest.raises(Invalid) as raised:
        world.start(world.variant(), row_ids=ids)
    assert raised.value.field == "row_ids"


def test_a_plan_written_before_rows_could_be_named_is_read(world: World) -> None:
    run_id = world.start(world.variant(), rows=4)
    world.finish(run_id)
    old = world.runs._plan(run_id).to_dict()
    assert old.pop("only") is None
    plan = Plan.from_dict(old)
    assert plan.only is None
    assert Plan.from_dict({**plan.to_dict(), "only": ["a"]}).only == ("a",)
    assert len(in_order(world.home, plan.rows, LABELS)) == 0
