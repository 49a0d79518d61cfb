"""Every dashboard page over a million traces: its own queries, exact percentiles, under a second.

The page runs once as Streamlit runs it and says what it asks; those questions are then timed
without any cache. Baseline: pandas over the whole table, for the same figures of the overview.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psutil
import pytest

from app import queries
from core.clock import utc_now
from core.workbench import OWNER, Workbench
from tests.monitoring.synthetic import fill
from tests.pages_runner import Pages

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

TRACES = 1_000_000
BATCH = 100_000
SPAN = timedelta(days=29)
MOST_S = 1.0
REPEATS = 5
MOST_MB = 600
Question = tuple[str, str, tuple[Any, ...], dict[str, Any]]


@pytest.fixture
def million(workbench: Workbench) -> Workbench:
    """A million traces of the last 29 days, about 1.4 million scores."""
    end, step = utc_now(), SPAN / (TRACES // BATCH)
    for place in reversed(range(TRACES // BATCH)):
        fill(
            workbench.store, BATCH, end=end - place * step, span=step, scores=True,
            seed=place / 100,
        )  # fmt: skip
    workbench.store.execute("CHECKPOINT")
    return workbench


@pytest.fixture
def questions(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """What a page asks the services when it is opened."""
    heard: list[Question] = []
    ask = queries.read

    def read(noun: str, verb: str, /, *args: Any, **kwargs: Any) -> Any:
        question = (noun, verb, args, kwargs)
        if question not in heard:  # the page's cache answers the second time
            heard.append(question)
        return ask(noun, verb, *args, **kwargs)

    monkeypatch.setattr(queries, "read", read)

    def of(name: str, **query: str) -> list[Question]:
        heard.clear()
        page = pages.open(name, timeout=120, **query)
        assert not page.exception
        return list(heard)

    return of


def answered(workbench: Workbench, asked: list[Question]) -> tuple[float, float]:
    """Seconds on the wall, and of CPU: the second does not grow with what else is running."""
    begin, cpu = time.perf_counter(), time.process_time()
    for noun, verb, args, kwargs in asked:
        getattr(getattr(workbench, noun), verb)(OWNER, *args, **kwargs)
    return time.perf_counter() - begin, time.process_time() - cpu


def pandas_overview(workbench: Workbench) -> float:
    """The overview's figures as one writes them first: everything into a frame, then groupby."""
    begin = time.perf_counter()
    frame = workbench.store.frame("SELECT * FROM traces")
    scores = workbench.store.frame("SELECT * FROM scores")
    frame["bucket"] = frame.started_at.dt.floor("12h")
    scores["bucket"] = scores.created_at.dt.floor("12h")
    good = frame[frame.state == "ok"]
    latencies = ["ttft_ms", "itl_p50_ms", "itl_max_ms", "tpot_ms", "e2e_ms"]
    shares = [0.5, 0.95, 0.99]
    frame.groupby("bucket").agg(n=("id", "size"), tokens=("completion_token_count", "sum"))
    frame.groupby(["bucket", "state"]).size()
    good[latencies].quantile(shares)
    good.groupby("bucket")[["ttft_ms", "e2e_ms"]].quantile(shares)
    good.groupby("model_name")[latencies].quantile(shares)
    scores.groupby(["bucket", "name"]).passed.mean()
    frame.groupby(["source", "state", "model_name", "quantization", "engine"]).size()
    frame.groupby("prompt_label").started_at.min()
    frame[frame.state == "failed"].nlargest(5, "started_at")
    return time.perf_counter() - begin


def test_every_page_asks_its_questions_in_under_a_second(
    million: Workbench, questions: Callable[..., list[Question]]
) -> None:
    took: dict[str, float] = {}
    cpu: dict[str, float] = {}
    lines = []
    for name in ("overview", "latency", "quality", "traces"):
        for period in ("30d", "24h"):
            asked = questions(name, period=period)
            times = [answered(million, asked) for _ in range(REPEATS)]
            key = f"{name} {period}"
            took[key], cpu[key] = (min(each) for each in zip(*times, strict=True))
            lines.append(
                f"{key:12}: {len(asked):2} queries, {took[key] * 1000:5.0f} ms,"
                f" {cpu[key] * 1000:5.0f} ms of CPU"
            )
    resident_mb = psutil.Process().memory_info().rss / 1e6
    baseline = pandas_overview(million)
    print("\n" + "\n".join(lines))
    print(
        f"overview in pandas over the whole table: {baseline * 1000:.0f} ms,"
        f" {baseline / took['overview 30d']:.1f} times as long as Lathe's queries over 30 days,"
        f" {baseline / took['overview 24h']:.0f} times as over 24 h"
        f"\nresident memory before pandas, test runner included: {resident_mb:.0f} MB"
    )
    # By CPU, over all cores: what the queries take on one quiet core, whatever else runs here now.
    assert max(took.values()) < MOST_S
    assert resident_mb < MOST_MB
