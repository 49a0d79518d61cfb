"""The timeline of a task and what comes next: over real runs and votes, fine-tunes as rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import utc_now
from core.errors import Forbidden, NotFound
from core.governance.permissions import PAGES, Actor
from core.settings import Settings
from core.store.database import Row
from core.training.next_step import next_step
from core.training.timeline import KINDS
from core.workbench import OWNER
from tests.evals.conftest import LABELS, World, open_world

TICKETS = [{"text": f"ticket {i:02}", "label": LABELS[i % 4]} for i in range(8)]
RIGHT = {row["text"]: row["label"] for row in TICKETS}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(Settings(home=tmp_path_factory.mktemp("loop") / "home")) as made:
        yield made


@pytest.fixture(scope="module")
def task(world: World) -> tuple[str, str]:
    """The dataset's id, and that of a finished comparison over it."""
    version_id = world.import_rows(TICKETS)
    run_id = world.start(
        world.variant(0, name="base", model="base", default="billing"),
        world.variant(1, name="tuned", model="tuned", replies=RIGHT), version_id=version_id,
    )  # fmt: skip
    world.finish(run_id)
    version = world.workbench.datasets.version(OWNER, version_id)
    return str(version["dataset_id"]), run_id


def entries(world: World, dataset_id: str) -> list[Row]:
    return list(world.workbench.finetunes.timeline(OWNER, dataset_id))


def fine_tune(world: World, version_id: str, **more: Any) -> str:
    """The row of a fine-tune whose job is elsewhere; with an adapter where `more` says so."""
    values = {
        "id": f"finetune_{more.get('method', 'dpo')}", "name": "round one", "method": "dpo",
        "base_model_id": "model_base", "dataset_version_id": version_id, "config": "{}",
        "created_by": OWNER.id, "created_at": utc_now(), **more,
    }  # fmt: skip
    world.workbench.store.insert("finetunes", values)
    return str(values["id"])


def compared(found: list[dict[str, Any]], run_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two variants of a task of which nothing is there but rows and a comparison."""
    assert [entry["kind"] for entry in found] == ["imported", "comparison"]
    imported, comparison = found
    assert imported["numbers"]["row_count"] == 8
    base, tuned = comparison["numbers"]["variants"]
    assert (base["rate"], tuned["rate"], tuned["n"]) == (0.25, 1.0, 8)
    assert base["low"] < 0.25 < base["high"]
    assert comparison["link"] == {"page": "compare", "params": {"run": run_id}}
    step = next_step(found)
    assert step["label"] == "Vote blind"
    assert step["link"]["params"]["vote"] == f"{base['id']},{tuned['id']}"
    return base, tuned


def test_the_loop_of_a_task_from_rows_to_votes_to_a_fine_tune_and_back(
    world: World, task: tuple[str, str]
) -> None:
    """One walk: at each station the timeline grows by it, and the next step is the next one."""
    dataset_id, run_id = task
    votes, store = world.workbench.votes, world.workbench.store
    base, tuned = compared(entries(world, dataset_id), run_id)

    pair = (base["id"], tuned["id"])
    while ballot := votes.next(OWNER, run_id, pair):
        choice = "right" if ballot["left"] == "billing" else "left"
        votes.cast(OWNER, run_id, pair, ballot["row_id"], choice, ballot["token"])
    [vote] = [entry for entry in entries(world, dataset_id) if entry["kind"] == "vote"]
    assert vote["title"] == "6 blind votes"
    assert vote["detail"].startswith("tuned preferred on 6, base on 0 of 6 rows")
    step = next_step(entries(world, dataset_id))
    assert step["label"] == "Fine-tune on these votes"
    assert "prefer one answer on 6 rows" in step["words"]
    assert step["link"]["params"]["tally"] == "1"

    version = votes.preferences(OWNER, run_id)
    found = entries(world, dataset_id)
    assert found == entries(world, version["dataset_id"]), "the pairs belong to the same task"
    assert found[-1]["title"] == "a run preferences v1"
    assert next_step(found)["link"] == {
        "page": "finetune", "params": {"new": "1", "method": "dpo", "dataset": version["id"]},
    }  # fmt: skip

    tune_id = fine_tune(world, version["id"])
    found = entries(world, dataset_id)
    assert (found[-1]["kind"], found[-1]["numbers"]["state"]) == ("fine_tune", "queued")
    assert next_step(found)["label"] == "Watch it"

    job_id = world.job_id(run_id)  # a job that has succeeded
    result = json.dumps({"eval_loss_first": 0.69, "eval_loss_last": 0.31})
    store.execute(
        "UPDATE finetunes SET job_id = $job, adapter_model_id = 'model_x', result = $result",
        {"job": job_id, "result": result},
    )
    found = entries(world, dataset_id)
    assert found[-1]["detail"] == "DPO on a model that is gone, loss on held-out rows 0.69 to 0.31"
    step = next_step(found)
    assert (step["label"], step["link"]["params"]) == ("Compare with its base", {"id": tune_id})

    again = world.start(
        world.variant(0, name="base", model="base", default="billing"),
        world.variant(0, name="round one", model="tuned", replies=RIGHT), version_id=version["id"],
    )  # fmt: skip
    world.finish(again)
    store.execute("UPDATE finetunes SET run_id = $run", {"run": again})
    found = entries(world, dataset_id)
    assert found[-1]["kind"] == "comparison"
    assert "what the fine-tune round one has learned" in found[-1]["detail"]
    assert next_step(found)["label"] == "Vote blind", "and the loop goes on"
    assert [entry["at"] for entry in found] == sorted(entry["at"] for entry in found)
    assert {entry["kind"] for entry in found} <= {*KINDS}
    assert {entry["link"]["page"] for entry in found} <= {*PAGES}


def test_tags_are_told_and_other_tasks_are_not(world: World, task: tuple[str, str]) -> None:
    other = world.import_rows([{"text": "else", "label": "bug"}], name="other")
    version = world.workbench.datasets.version(OWNER, other)
    world.workbench.versions.tag(OWNER, other, "golden")
    found = entries(world, version["dataset_id"])
    assert [entry["title"] for entry in found] == ["other v1", "other v1 is now golden"]
    assert next_step(found)["link"] == {"page": "runs", "params": {"new": "1", "dataset": other}}
    with pytest.raises(NotFound):
        entries(world, "dataset_none")
    with pytest.raises(Forbidden):
        world.workbench.finetunes.timeline(Actor("r", "r", "reviewer"), version["dataset_id"])


START = datetime(2026, 1, 1)
states = st.sampled_from(["queued", "running", "succeeded", "failed", "cancelled"])


def entry(kind: str, numbers: Row, place: int) -> Row:
    return {
        "at": START + timedelta(minutes=place), "kind": kind, "title": kind, "detail": "",
        "numbers": numbers, "link": {"page": "compare", "params": {"run": "r", "tally": "1"}},
    }  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    found = []
    for place, kind in enumerate(draw(st.lists(st.sampled_from(KINDS), max_size=8))):
        numbers: Row = {"row_count": 3, "version_id": "v"}
        if kind in ("run", "comparison"):
            numbers = {"state": draw(states), "run_id": "r", "variants": [{"id": "a"}, {"id": "b"}]}
        elif kind == "vote":
            numbers = {"first_wins": draw(st.integers(0, 2)), "second_wins": 0}
        elif kind == "fine_tune":
            numbers = {
                "id": "f", "state": draw(states), "method": draw(st.sampled_from(["sft", "dpo"])),
                "adapter_model_id": draw(st.sampled_from([None, "m"])),
                "run_id": draw(st.sampled_from([None, "r"])),
            }  # fmt: skip
        found.append(entry(kind, numbers, place))
    return found


@given(histories())
def test_whatever_happened_there_is_a_next_step_that_leads_to_a_page(history: list[Row]) -> None:
    step = next_step(history)
    assert step["words"].endswith(".")
    assert step["label"][0].isupper()
    assert step["link"]["page"] in PAGES
    assert all(isinstance(value, str) for value in step["link"]["params"].values())
