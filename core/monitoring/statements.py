"""The statements behind the figures: SQL as SQL, with its parameters, run or copied as it is.

Knows: what is counted, timed and rated, and from which columns. Does not know: who runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import Invalid
from core.monitoring.window import DIMENSIONS, Filters, Query, Window, column_of, where

SHARES: dict[str, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Latency:
    """One latency figure: its column and what it means, in words for the page."""

    column: str
    title: str
    meaning: str


LATENCIES: dict[str, Latency] = {
    "ttft": Latency("ttft_ms", "TTFT", "request sent to first non-empty token"),
    "itl": Latency("itl_p50_ms", "ITL", "a request's median gap between two tokens"),
    "stall": Latency("itl_max_ms", "Longest gap", "a request's longest gap between two tokens"),
    "tpot": Latency("tpot_ms", "TPOT", "(E2E − TTFT) / (output tokens − 1)"),
    "e2e": Latency("e2e_ms", "E2E", "the whole request"),
}
USUAL = ("ttft", "itl", "tpot", "e2e")


@dataclass(frozen=True, slots=True)
class Targets:
    """What goodput asks of a request; one that fails or misses either does not count."""

    ttft_ms: float = 1_000.0
    tpot_ms: float = 200.0


_COUNTS_SQL = """count(*) AS request_count,
    count(*) FILTER (WHERE t.state = 'failed') AS error_count,
    count(*) FILTER (WHERE t.state = 'cancelled') AS cancelled_count,
    CAST(coalesce(sum(t.prompt_token_count), 0) AS BIGINT) AS prompt_token_count,
    CAST(coalesce(sum(t.completion_token_count), 0) AS BIGINT) AS completion_token_count,
    count(*) FILTER (WHERE t.state = 'ok' AND t.ttft_ms <= $target_ttft_ms
        AND coalesce(t.tpot_ms, 0) <= $target_tpot_ms) AS met_count"""


def totals_query(
    window: Window,
    filters: Filters,
    targets: Targets,
    latencies: Sequence[str] = USUAL,
    *,
    exact: bool = True,
) -> Query:
    """The statement behind `Metrics.totals`."""
    condition, values = where(window, filters)
    return Query(
        f"SELECT {_COUNTS_SQL}{_latencies_sql(latencies, exact)}\nFROM traces t\nWHERE {condition}",
        {**values, **_targets(targets)},
    )


def requests_query(
    window: Window, filters: Filters, targets: Targets, dimension: str | None = None
) -> Query:
    """The statement behind `Metrics.requests_over_time`."""
    condition, values = where(window, filters)
    return Query(
        f"SELECT {_bucket('t.started_at')} AS bucket, {_series(dimension)} AS series,\n"
        f"    {_COUNTS_SQL}\nFROM traces t\nWHERE {condition}\nGROUP BY ALL ORDER BY ALL",
        {**values, **_targets(targets), **_width(window)},
    )


def latency_query(
    window: Window,
    filters: Filters,
    metric: str,
    dimension: str | None = None,
    *,
    exact: bool = True,
) -> Query:
    """The statement behind `Metrics.latency_over_time`; only requests that succeeded count."""
    column = _latency(metric).column
    condition, values = where(window, filters)
    return Query(
        f"SELECT {_bucket('t.started_at')} AS bucket, {_series(dimension)} AS series,\n"
        f"    count(t.{column}) AS n,\n    {_points(column, exact)} AS points\n"
        f"FROM traces t\nWHERE {condition}\n  AND t.state = 'ok'\nGROUP BY ALL ORDER BY 1, 2",
        {**values, **_width(window)},
    )


def latency_by_query(
    window: Window,
    filters: Filters,
    dimension: str,
    latencies: Sequence[str] = USUAL,
    *,
    exact: bool = True,
) -> Query:
    """The statement behind `Metrics.latency_by`."""
    condition, values = where(window, filters)
    return Query(
        f"SELECT {_series(dimension)} AS series, count(*) AS request_count,\n"
        f"    count(*) FILTER (WHERE t.state = 'failed') AS error_count,\n"
        f"    CAST(coalesce(sum(t.completion_token_count), 0) AS BIGINT)"
        f" AS completion_token_count{_latencies_sql(latencies, exact)}\n"
        f"FROM traces t\nWHERE {condition}\nGROUP BY 1 ORDER BY 2 DESC, 1",
        values,
    )


def pass_rate_query(
    window: Window,
    filters: Filters,
    scorer: str | None = None,
    dimension: str | None = None,
    *,
    buckets: bool = True,
) -> Query:
    """The statement behind the pass rates; scores count at the time they were given.

    A score knows its variant, and a variant's traces know model, quantization and prompt: the
    filters and the dimension go through one row per variant, never a join by request. Without
    either the traces are not read at all.
    """
    when = f"{_bucket('s.created_at')} AS bucket, " if buckets else ""
    series = "s.name" if dimension is None else f"coalesce(v.{column_of(dimension)}, 'none')"
    values: dict[str, Any] = {"start": window.start, "end": window.end}
    head = variants = ""
    if dimension is not None or filters != Filters():
        within, extra = where(window, filters)
        # the answer comes before its score, by a run's length at most
        within = within.replace("t.started_at >= $start", "t.started_at >= $start - INTERVAL 7 DAY")
        kept = ", ".join(f"any_value(t.{name}) AS {name}" for name in DIMENSIONS.values())
        head = (
            f"WITH variants AS (\n    SELECT t.variant_id, {kept}\n    FROM traces t\n"  # noqa: S608
            f"    WHERE {within} AND t.variant_id IS NOT NULL\n    GROUP BY 1\n)\n"
        )
        variants = "JOIN variants v ON v.variant_id = s.variant_id\n"
        values.update(extra)
    only = ""
    if scorer is not None:
        only = "\n  AND s.name = $scorer"
        values["scorer"] = scorer
    if buckets:
        values.update(_width(window))
    return Query(
        f"{head}SELECT {when}{series} AS series, count(*) AS n,\n"
        f"    count(*) FILTER (WHERE s.passed) AS passed\nFROM scores s\n{variants}"
        f"WHERE s.created_at >= $start AND s.created_at < $end AND s.passed IS NOT NULL{only}\n"
        f"GROUP BY ALL ORDER BY ALL",
        values,
    )


def _latency(name: str) -> Latency:
    if name not in LATENCIES:
        raise Invalid(
            f"There is no latency {name!r}.",
            field="metric",
            hint=f"There are {', '.join(LATENCIES)}.",
        )
    return LATENCIES[name]


def _latencies_sql(names: Sequence[str], exact: bool) -> str:
    """Percentiles of the requests that succeeded, and of how many."""
    return "".join(
        f",\n    {_points(_latency(name).column, exact)} FILTER (WHERE t.state = 'ok') AS {name},"
        f"\n    count(t.{_latency(name).column}) FILTER (WHERE t.state = 'ok') AS {name}_n"
        for name in names
    )


def _points(column: str, exact: bool) -> str:
    """As FLOAT, good to seven digits: half the memory of DOUBLE and less time."""
    function = "quantile_cont" if exact else "approx_quantile"
    return f"{function}(CAST(t.{column} AS FLOAT), [{', '.join(map(str, SHARES.values()))}])"


def _bucket(column: str) -> str:
    return f"time_bucket(to_seconds($bucket_s), {column})"


def _width(window: Window) -> dict[str, Any]:
    return {"bucket_s": int(window.bucket.total_seconds())}


def _targets(targets: Targets) -> dict[str, Any]:
    return {"target_ttft_ms": targets.ttft_ms, "target_tpot_ms": targets.tpot_ms}


def _series(dimension: str | None) -> str:
    return "'all'" if dimension is None else f"coalesce(t.{column_of(dimension)}, 'none')"
