"""Figures over many traces: the same as pandas says, with gaps and thin samples told apart."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from core.errors import Forbidden, Invalid
from core.governance.permissions import OWNER, Actor
from core.monitoring import metrics as figures
from core.monitoring import statements
from core.monitoring.metrics import ENOUGH_SCORES, Metrics, interval, unfinished
from core.monitoring.statements import LATENCIES, Targets
from core.monitoring.window import DIMENSIONS, Filters, Query, Window
from core.store.database import Store, insert_missing
from tests.monitoring.synthetic import fill
from tests.monitoring.test_trace_record import NOON, a_trace

WEEK = Window.between(NOON - timedelta(days=7), NOON)
HOUR = Window.between(NOON, NOON + timedelta(hours=1))


@pytest.fixture
def metrics(store: Store) -> Metrics:
    return Metrics(store)


@pytest.fixture
def month(store: Store) -> Store:
    """5,000 traces over two weeks that end at noon, with scores."""
    fill(store, 5_000, end=NOON, span=timedelta(days=14), scores=True)
    return store


def keep(store: Store, count: int, **values: object) -> None:
    with store.transaction() as connection:
        rows = [a_trace(**values)._row() for _ in range(count)]
        insert_missing(connection, "traces", rows)


def test_an_empty_window_counts_zero_and_knows_no_percentile(metrics: Metrics) -> None:
    totals = metrics.totals(OWNER, WEEK)
    assert totals["request_count"] == 0
    assert totals["error_rate"] is None
    assert totals["e2e_p50"] is None
    assert [row["request_count"] for row in metrics.requests_over_time(OWNER, WEEK)] == [0] * len(
        WEEK.buckets()
    )


def test_totals_are_what_pandas_says(month: Store, metrics: Metrics) -> None:
    frame = month.frame("SELECT * FROM traces WHERE started_at >= $s", {"s": WEEK.start})
    frame = frame[frame.started_at < WEEK.end]
    good = frame[frame.state == "ok"]
    totals = metrics.totals(OWNER, WEEK)
    assert totals["request_count"] == len(frame)
    assert totals["error_count"] == (frame.state == "failed").sum()
    assert totals["completion_token_count"] == frame.completion_token_count.sum()
    assert totals["ttft_p95"] == pytest.approx(good.ttft_ms.quantile(0.95))
    assert totals["e2e_p99"] == pytest.approx(good.e2e_ms.quantile(0.99))
    met = good[(good.ttft_ms <= 100) & (good.tpot_ms <= 50)]
    strict = metrics.totals(OWNER, WEEK, targets=Targets(ttft_ms=100, tpot_ms=50))
    assert strict["met_count"] == len(met)
    assert strict["goodput_per_s"] == pytest.approx(len(met) / WEEK.seconds)


def test_percentiles_of_very_many_requests_are_estimated_and_say_so(
    month: Store, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = metrics.totals(OWNER, WEEK)
    monkeypatch.setattr(figures, "EXACT_UP_TO", 1_000)
    estimated = metrics.totals(OWNER, WEEK)
    assert (exact["exact"], estimated["exact"]) == (True, False)
    assert estimated["ttft_p95"] == pytest.approx(exact["ttft_p95"], rel=0.05)
    assert estimated["request_count"] == exact["request_count"]


def test_counts_fill_gaps_with_zero_and_percentiles_with_nothing(
    store: Store, metrics: Metrics
) -> None:
    keep(store, 4, started_at=NOON + timedelta(minutes=10))
    counts = metrics.requests_over_time(OWNER, HOUR)
    assert sum(row["request_count"] for row in counts) == 4
    assert [row["bucket"] for row in counts] == HOUR.buckets()
    latency = metrics.latency_over_time(OWNER, HOUR, metric="ttft")
    assert {row["p50"] for row in latency} == {None, 100.0}


@pytest.mark.parametrize(("count", "known"), [(2, []), (3, ["p50"]), (20, ["p50", "p95"]),
                                              (100, ["p50", "p95", "p99"])])  # fmt: skip
def test_a_percentile_needs_enough_requests(
    store: Store, metrics: Metrics, count: int, known: list[str]
) -> None:
    keep(store, count, started_at=NOON)
    [row] = metrics.latency_by(OWNER, HOUR)
    assert [share for share in ("p50", "p95", "p99") if row[f"e2e_{share}"] is not None] == known
    assert row["e2e_n"] == count


def test_failed_requests_are_counted_but_not_timed(store: Store, metrics: Metrics) -> None:
    keep(store, 3, started_at=NOON)
    keep(store, 3, started_at=NOON, state="failed", e2e_ms=90_000.0)
    totals = metrics.totals(OWNER, HOUR)
    assert (totals["request_count"], totals["error_count"], totals["e2e_n"]) == (6, 3, 3)
    assert totals["e2e_p50"] == 160.0
    assert totals["error_rate"] == 0.5


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_dimension_splits_all_requests(
    month: Store, metrics: Metrics, dimension: str
) -> None:
    total = metrics.totals(OWNER, WEEK)["request_count"]
    rows = metrics.latency_by(OWNER, WEEK, dimension=dimension)
    assert sum(row["request_count"] for row in rows) == total
    over_time = metrics.requests_over_time(OWNER, WEEK, dimension=dimension)
    assert sum(row["request_count"] for row in over_time) == total
    assert len(over_time) == len(rows) * len(WEEK.buckets())


@pytest.mark.parametrize("metric", LATENCIES)
def test_every_latency_has_a_line_over_time(month: Store, metrics: Metrics, metric: str) -> None:
    rows = metrics.latency_over_time(OWNER, WEEK, metric=metric, dimension="model")
    assert any(row["p95"] is not None for row in rows)
    assert all(row["p50"] <= row["p95"] for row in rows if row["p95"] is not None)


def test_filters_reach_every_figure(month: Store, metrics: Metrics) -> None:
    only = Filters(model_name=("Qwen3-0.6B",))
    assert {row["series"] for row in metrics.latency_by(OWNER, WEEK, only)} == {"Qwen3-0.6B"}
    everything, filtered = (
        sum(row["n"] for row in metrics.pass_rate_by(OWNER, WEEK, chosen))
        for chosen in (Filters(), only)
    )
    assert 0 < filtered < everything


def test_unknown_metrics_and_dimensions_are_refused(metrics: Metrics) -> None:
    with pytest.raises(Invalid, match="no latency 'mean'"):
        metrics.latency_over_time(OWNER, WEEK, metric="mean")
    with pytest.raises(Invalid, match="cannot group by"):
        metrics.latency_by(OWNER, WEEK, dimension="user")


def test_pass_rates_over_time_add_up_to_those_of_the_window(month: Store, metrics: Metrics) -> None:
    over_time = metrics.pass_rate_over_time(OWNER, WEEK)
    for row in metrics.pass_rate_by(OWNER, WEEK):
        parts = [part for part in over_time if part["series"] == row["series"]]
        assert sum(part["n"] for part in parts) == row["n"]
        assert sum(part["passed"] for part in parts) == row["passed"]
        assert row["low"] < row["rate"] < row["high"]


def test_a_bucket_with_few_scores_has_counts_but_no_rate(month: Store, metrics: Metrics) -> None:
    rows = metrics.pass_rate_over_time(OWNER, Window.last(timedelta(hours=1), NOON))
    some = [row for row in rows if row["n"]]
    assert some
    assert all((row["rate"] is None) == (row["n"] < ENOUGH_SCORES) for row in some)


def test_pass_rates_by_model_come_from_the_variants_traces(month: Store, metrics: Metrics) -> None:
    rows = metrics.pass_rate_by(OWNER, WEEK, scorer="exact_match", dimension="model")
    rates = {row["series"]: row["rate"] for row in rows}
    assert rates["SmolLM2-135M-Instruct"] == pytest.approx(0.62, abs=0.06)
    assert rates["Llama-3.2-1B"] == pytest.approx(0.85, abs=0.06)
    direct = month.row(
        "SELECT count(*) AS n FROM scores WHERE name = 'exact_match'"
        " AND created_at >= $start AND created_at < $end",
        {"start": WEEK.start, "end": WEEK.end},
    )
    assert direct == {"n": sum(row["n"] for row in rows)}


@given(st.integers(0, 400), st.integers(1, 400))
def test_the_interval_is_wilsons(passed: int, n: int) -> None:
    passed = min(passed, n)
    low, high = interval(passed, n)
    theirs = binomtest(passed, n).proportion_ci(0.95, method="wilson")
    assert low == pytest.approx(theirs.low, abs=1e-4)
    assert high == pytest.approx(theirs.high, abs=1e-4)


def test_facets_name_what_there_is_busiest_first(month: Store, metrics: Metrics) -> None:
    facets = metrics.facets(OWNER, WEEK)
    assert facets["model_name"][0] == "SmolLM2-135M-Instruct"
    assert set(facets["state"]) == {"ok", "failed", "cancelled"}
    assert facets["source"][0] == "run"


def test_first_uses_mark_new_prompt_versions_only(store: Store, metrics: Metrics) -> None:
    keep(store, 1, started_at=NOON - timedelta(days=1), prompt_label="triage v1")
    keep(store, 1, started_at=NOON, prompt_label="triage v1")
    keep(store, 1, started_at=NOON + timedelta(minutes=5), prompt_label="triage v2")
    keep(store, 1, started_at=NOON + timedelta(minutes=6), prompt_label="draft")
    assert [mark["label"] for mark in metrics.first_uses(OWNER, HOUR)] == ["triage v2"]


def test_models_are_named_in_the_order_of_their_first_use(store: Store, metrics: Metrics) -> None:
    keep(store, 1, started_at=NOON, model_name="b")
    keep(store, 1, started_at=NOON + timedelta(1), model_name="a")
    assert metrics.model_names(OWNER) == ["b", "a"]


@pytest.mark.parametrize(
    "query",
    [
        statements.totals_query(WEEK, Filters(source=("run",)), Targets()),
        statements.requests_query(WEEK, Filters(), Targets(), "model"),
        statements.latency_query(WEEK, Filters(state=("ok",)), "e2e", "prompt version"),
        statements.latency_by_query(WEEK, Filters(search="it's"), "engine"),
        statements.pass_rate_query(WEEK, Filters(engine=("llama.cpp",)), "exact_match", "model"),
    ],
)
def test_a_copied_statement_gives_the_same_rows(month: Store, query: Query) -> None:
    assert month.rows(query.text()) == month.rows(query.sql, query.parameters)


def test_the_bucket_that_is_still_filling_is_known(metrics: Metrics) -> None:
    now: datetime = HOUR.start + timedelta(minutes=3, seconds=30)
    open_now = [bucket for bucket in HOUR.buckets() if unfinished(HOUR, bucket, now)]
    assert open_now[0] == HOUR.start + timedelta(minutes=3)


def test_a_reviewer_reads_no_figures(metrics: Metrics) -> None:
    with pytest.raises(Forbidden):
        metrics.totals(Actor("user_r", "Rita", "reviewer"), WEEK)
