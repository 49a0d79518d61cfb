"""The small parts of a run: what is done, lanes, pace, plans, cosines."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.evals import done
from core.evals.lanes import Lanes
from core.evals.pace import Pace
from core.evals.plan import Plan, Retry, VariantPlan
from core.evals.scorers import parse_all
from core.evals.similarity import cosine
from core.evals.variants import Variant, as_variants
from core.generation import Generation
from core.models.spec import WorkerSpec
from core.store.spool import SpoolWriter


def result(variant: str, row: str, attempt: int = 1, state: str = "ok") -> dict[str, object]:
    return {"variant_id": variant, "row_id": row, "attempt": attempt, "state": state}


def score(variant: str, row: str, attempt: int = 1, name: str = "s") -> dict[str, object]:
    return {"variant_id": variant, "row_id": row, "attempt": attempt, "name": name}


def test_what_is_done_is_read_from_every_segment_and_torn_lines_are_not_there(
    tmp_path: Path,
) -> None:
    spool = SpoolWriter(tmp_path, segment_bytes=300)
    for i in range(20):
        spool.write_all([("scores", score("v", f"r{i}")), ("results", result("v", f"r{i}"))])
    spool.write("scores", score("v", "orphan", attempt=3))
    spool.write("results", result("v", "bad", state="failed"))
    spool.close()
    assert len(list(tmp_path.glob("*.ndjson"))) > 3
    last = max(tmp_path.glob("*.ndjson"))
    with last.open("a") as file:
        file.write(json.dumps({"table": "results", "row": result("v", "torn")})[:-3])
    found = done.read(tmp_path, frozenset({"s"}))
    assert len(found.results) == 21
    assert found.failed_count == 1
    assert found.orphans == {("v", "orphan"): 3}
    assert found.attempt(("v", "orphan"), 1) == 4
    assert found.attempt(("v", "new"), 2) == 2
    assert ("v", "r0", 1, "s") in found.scores


def test_lanes_do_every_item_once_and_draw_no_more_than_they_can_hold() -> None:
    drawn, finished = [], []
    most = 0

    def items() -> Iterator[int]:
        nonlocal most
        for i in range(200):
            drawn.append(i)
            most = max(most, len(drawn) - len(finished))
            yield i

    def do(item: int) -> None:
        time.sleep(0.001)
        finished.append(item)

    Lanes(items(), do, 8).run(lambda: None)
    assert sorted(finished) == list(range(200))
    assert most <= 9


def test_lanes_stop_at_the_first_error_and_raise_it() -> None:
    finished = []

    def do(item: int) -> None:
        if item == 5:
            raise RuntimeError("five")
        finished.append(item)
        time.sleep(0.01)

    with pytest.raises(RuntimeError, match="five"):
        Lanes(iter(range(10_000)), do, 4).run(lambda: None)
    assert len(finished) < 1000


def test_lanes_leave_long_work_behind_when_the_tick_says_stop() -> None:
    released = threading.Event()

    def do(item: int) -> None:
        released.wait(30)

    lanes = Lanes(iter(range(4)), do, 4)
    began = time.monotonic()

    def tick() -> None:
        if time.monotonic() - began > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lanes.run(tick)
    assert time.monotonic() - began < 2
    assert lanes.stopping()
    released.set()


def test_pace_goes_by_each_model_and_takes_the_unknown_one_for_usual() -> None:
    pace = Pace({"fast": 10, "slow": 10})
    assert pace.eta_s() is None
    pace.begin("fast", 100.0)
    for i in range(10):
        pace.note("fast", 101.0 + i)
    assert pace.eta_s() == pytest.approx(10.0), "one second a row, ten rows to go"
    pace.begin("slow", 200.0)
    pace.note("slow", 204.0)
    assert pace.eta_s() == pytest.approx(9 * 4.0)


@given(st.integers(1, 50), st.integers(0, 50))
def test_pace_never_goes_below_zero(pending: int, noted: int) -> None:
    pace = Pace({"m": pending})
    pace.begin("m", 0.0)
    for i in range(noted):
        pace.note("m", float(i))
    eta = pace.eta_s()
    assert (eta is None) == (noted == 0)
    assert eta is None or eta >= 0


def variant(name: str, model: str) -> VariantPlan:
    return VariantPlan(
        id=f"variant_{name}",
        name=name,
        prompt_id="p",
        prompt_version_id="v",
        prompt_label="p v1",
        system_template="",
        user_template="{{x}}",
        generation=Generation(stop=("\n",)),
        spec=WorkerSpec(model, model, "scripted", "fp32", why="because"),
    )


def test_a_plan_survives_json_and_groups_by_model_in_order_of_mention() -> None:
    plan = Plan(
        run_id="run_1",
        rows={"path": "datasets/d/x.parquet", "columns": []},
        row_count=7,
        variants=(variant("a", "m1"), variant("b", "m2"), variant("c", "m1")),
        scorers=parse_all([{"kind": "exact_match"}, {"kind": "embedding_similarity"}]),
        embeddings={"similarity": WorkerSpec("e", "e", "scripted", "fp32", kind="embedding")},
        retry=(Retry("variant_a", "row_1", 2),),
    )
    again = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    assert again == plan
    assert plan.result_count == 1
    assert [[v.name for v in variants] for _, variants in plan.groups()] == [["a", "c"], ["b"]]


def test_variants_come_from_dicts_too_and_paths_do_not() -> None:
    [parsed] = as_variants(
        [{"prompt_version_id": "v", "model_id": "m", "generation": {"max_tokens": 3}}]
    )
    assert parsed == Variant("v", "m", generation=Generation(max_tokens=3))
    with pytest.raises(Invalid, match="no 'spec'"):
        as_variants([{"prompt_version_id": "v", "model_id": "m", "spec": {}}])


vectors = st.lists(st.floats(-100, 100), min_size=3, max_size=3)


@given(vectors, vectors)
def test_the_cosine_is_symmetric_bounded_and_1_with_itself(a: list[float], b: list[float]) -> None:
    assert cosine(a, b) == pytest.approx(cosine(b, a))
    assert -1.0001 <= cosine(a, b) <= 1.0001
    if sum(x * x for x in a) > 1e-6:
        assert cosine(a, a) == pytest.approx(1)


def test_a_vector_without_direction_is_like_nothing() -> None:
    assert cosine([0.0, 0.0], [1.0, 0.0]) == 0.0
