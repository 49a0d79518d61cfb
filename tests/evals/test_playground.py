"""The playground over real workers: columns answer at once, and survive who asked."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Forbidden, Invalid
from core.governance.permissions import Actor
from core.models.pool import WorkerPool
from core.models.spec import WorkerSpec
from core.settings import Settings
from core.workbench import OWNER, Workbench
from tests.jobs.test_jobs import wait_for

SCRIPT = {"delay_ms": 10, "fail_on": "boom", "default": "one two three four five six seven eight"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with Workbench.open(Settings(home=tmp_path_factory.mktemp("playground"))) as opened:
        yield opened
        opened.models._pool.stop_all()


@pytest.fixture(scope="module")
def model_id(bench: Workbench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An OpenAI-compatible endpoint: a scripted worker of another home."""
    pool = WorkerPool(tmp_path_factory.mktemp("elsewhere"))
    spec = WorkerSpec("m", "tester", "scripted", "fp32", script=json.dumps(SCRIPT))
    there = pool.ensure(spec)
    yield bench.models.add(
        OWNER, "far", "endpoint", there.base_url, revision="tester", key=there.api_key
    )
    pool.stop_all()


def column(model_id: str, name: str = "a", **changes: Any) -> dict[str, Any]:
    made = {
        "id": name,
        "system_template": "Be brief.",
        "user_template": "Say {{word}}",
        "model_id": model_id,
        "generation": {"max_tokens": 50},
    }
    return {**made, **changes}


def states(bench: Workbench) -> dict[str, str]:
    return {row["id"]: row["state"] for row in bench.playground.columns(OWNER)}


def wait_until_ended(bench: Workbench) -> list[dict[str, Any]]:
    wait_for(lambda: not {"waiting", "loading", "running"} & set(states(bench).values()))
    return bench.playground.columns(OWNER)


def test_columns_answer_side_by_side_and_leave_traces(bench: Workbench, model_id: str) -> None:
    asked = [column(model_id, "a"), column(model_id, "b", generation={"max_tokens": 2})]
    bench.playground.start(OWNER, asked, {"word": "hello"})
    first, second = wait_until_ended(bench)
    assert (first["state"], first["text"]) == ("done", SCRIPT["default"])
    assert (second["text"], second["finish_reason"]) == ("one two", "length")
    assert first["ttft_ms"] > 0
    assert first["tokens_per_s"] > 0
    assert first["messages"][-1]["content"] == "Say hello"
    wait_for(lambda: _trace(bench, first["trace_id"]) is not None)
    trace = _trace(bench, first["trace_id"])
    assert trace is not None
    assert (trace["source"], trace["state"], trace["completion_token_count"]) == (
        "playground",
        "ok",
        first["completion_token_count"],
    )


def _trace(bench: Workbench, trace_id: str) -> dict[str, Any] | None:
    return bench.store.row("SELECT * FROM traces WHERE id = $id", {"id": trace_id})


def test_a_missing_variable_stops_everything_before_it_starts(
    bench: Workbench, model_id: str
) -> None:
    with pytest.raises(Invalid, match="word"):
        bench.playground.start(OWNER, [column(model_id)], {}, row=3)


def test_stop_ends_one_column_and_keeps_what_it_said(bench: Workbench, model_id: str) -> None:
    bench.playground.start(OWNER, [column(model_id, "a"), column(model_id, "b")], {"word": "x"})
    wait_for(lambda: bench.playground.columns(OWNER)[0]["text"] != "")
    bench.playground.stop(OWNER, "a")
    first, second = wait_until_ended(bench)
    assert first["state"] == "cancelled"
    assert SCRIPT["default"].startswith(first["text"])
    assert second["state"] == "done"


def test_an_error_stays_in_its_column(bench: Workbench, model_id: str) -> None:
    asked = [column(model_id, "a", user_template="boom"), column(model_id, "b")]
    bench.playground.start(OWNER, asked, {"word": "x"})
    first, second = wait_until_ended(bench)
    assert first["state"] == "failed"
    assert "fails on 'boom'" in first["error"]["message"]
    assert second["state"] == "done"


def test_the_last_results_survive_a_restart_of_the_app(bench: Workbench, model_id: str) -> None:
    bench.playground.clear(OWNER)
    bench.playground.start(OWNER, [column(model_id)], {"word": "x"})
    before = wait_until_ended(bench)
    wait_for(lambda: bench.drafts.get(OWNER, "playground.results") is not None)
    bench.playground._live.clear()
    after = bench.playground.columns(OWNER)
    assert [row["text"] for row in after] == [row["text"] for row in before]
    bench.playground.clear(OWNER)
    assert bench.playground.columns(OWNER) == []


def test_bad_columns_are_refused_by_name(bench: Workbench, model_id: str) -> None:
    for columns, said in (
        ([], "one to 6 columns"),
        ([column(model_id)] * 2, "same id"),
        ([column("")], "Choose a model"),
        ([column(model_id, user_template=" ")], "user message"),
        ([column(model_id, colour="red")], "no colour"),
        ([column(model_id, generation={"heat": 1})], "heat"),
    ):
        with pytest.raises(Invalid, match=said):
            bench.playground.start(OWNER, columns, {"word": "x"})
    lead = Actor(id="u", name="Lea", role="lead")
    with pytest.raises(Forbidden):
        bench.playground.start(lead, [column(model_id)], {"word": "x"})


@pytest.mark.slow
def test_kill_9_of_a_model_is_told_in_the_column_and_the_next_run_restarts_it(
    bench: Workbench, tmp_path: Path
) -> None:
    from tests.models.tiny import save_tiny_model

    folder = save_tiny_model(tmp_path / "tiny", max_position_embeddings=8192)
    tiny = bench.models.add(OWNER, "tiny", "directory", str(folder))
    # warm texts rarely end by themselves: long enough to be killed in the middle
    hot = {"max_tokens": 1000, "temperature": 2.0, "seed": 3}
    asked = [column(tiny, quantization="fp32", generation=hot)]
    bench.playground.start(OWNER, asked, {"word": "x"})
    wait_for(lambda: bench.playground.columns(OWNER)[0]["text"] != "", seconds=60)
    alive = [row for row in bench.models.states(OWNER, model_id=tiny) if row["pid"]]
    os.kill(alive[0]["pid"], signal.SIGKILL)
    (row,) = wait_until_ended(bench)
    assert row["state"] == "failed"
    assert "Run it again" in row["error"]["hint"]
    bench.playground.start(OWNER, [column(tiny, quantization="fp32")], {"word": "x"})
    wait_for(lambda: states(bench)["a"] in ("done", "failed"), seconds=60)
    (row,) = bench.playground.columns(OWNER)
    assert row["state"] == "done", row["error"]
    assert row["rendered_prompt"].endswith("<|assistant|>")
    assert row["prompt_token_count"] > 4
