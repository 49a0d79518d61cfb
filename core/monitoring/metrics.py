"""Metrics: figures over many traces and scores, each one SQL statement over a bounded time.

Knows: requests, tokens, errors, latency percentiles, goodput, pass rates; gaps; thin samples.
Does not know: single traces (traces), how a figure is drawn.
Counts of an empty bucket are 0, percentiles None; a percentile from too few requests is None too.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.errors import Invalid
from core.governance.permissions import Actor, action
from core.monitoring.window import DIMENSIONS, Filters, Query, Window, column_of, where
from core.store.database import Row, Store

SHARES: dict[str, float] = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ENOUGH: dict[str, int] = {"p50": 3, "p95": 20, "p99": 100}
"""Fewest requests that a percentile is told from: one of them has to lie beyond it."""
ENOUGH_SCORES = 10
"""Fewest scored answers that a bucket's pass rate is told from."""


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


EXACT_UP_TO = 2_000_000
"""Most requests in a window that percentiles are exact for; they are held in memory meanwhile.

Above it DuckDB's t-digest estimates them (Dunning 2019), at twice the time and constant memory.
"""
USUAL = ("ttft", "itl", "tpot", "e2e")


@dataclass(frozen=True, slots=True)
class Targets:
    """What goodput asks of a request; one that fails or misses either does not count."""

    ttft_ms: float = 1_000.0
    tpot_ms: float = 200.0


ALL = Filters()
TARGETS = Targets()


class Metrics:
    """Figures for the dashboards. Every method takes a window, so none reads without bound."""

    noun = "metrics"

    def __init__(self, store: Store) -> None:
        self._store = store
        # A statement uses every core and the memory for its percentiles: two at once gain nothing
        # and may not fit.
        self._one_at_a_time = threading.Lock()

    @action
    def totals(
        self,
        actor: Actor,
        window: Window,
        filters: Filters = ALL,
        targets: Targets = TARGETS,
        *,
        latencies: tuple[str, ...] = USUAL,
    ) -> Row:
        """One row: request, error, cancelled, token and met counts, goodput, percentiles.

        `exact` is False when there are so many requests that percentiles are estimated.
        """
        exact = self._exact(window)
        row = self._run(totals_query(window, filters, targets, latencies, exact=exact))[0]
        asked = row["request_count"]
        row["error_rate"] = row["error_count"] / asked if asked else None
        row["met_rate"] = row["met_count"] / asked if asked else None
        row["exact"] = exact
        row["goodput_per_s"] = row["met_count"] / window.seconds
        return _flat(row, latencies)

    @action
    def request_count(self, actor: Actor, window: Window, filters: Filters = ALL) -> int:
        """How many there are: what stands beside a page of the list."""
        condition, values = where(window, filters)
        row = self._store.row(
            f"SELECT count(*) AS n FROM traces t WHERE {condition}",  # noqa: S608
            values,
        )
        return int(row["n"]) if row else 0

    @action
    def requests_over_time(
        self,
        actor: Actor,
        window: Window,
        filters: Filters = ALL,
        targets: Targets = TARGETS,
        *,
        dimension: str | None = None,
    ) -> list[Row]:
        """Per bucket (and value of the dimension): counts of requests, errors, tokens, met."""
        rows = self._run(requests_query(window, filters, targets, dimension))
        return _filled(window, rows, dict.fromkeys(_COUNTS, 0))

    @action
    def latency_over_time(
        self,
        actor: Actor,
        window: Window,
        filters: Filters = ALL,
        *,
        metric: str = "e2e",
        dimension: str | None = None,
    ) -> list[Row]:
        """Per bucket (and value of the dimension): n, p50, p95 and p99 of one latency, in ms."""
        rows = self._run(
            latency_query(window, filters, metric, dimension, exact=self._exact(window))
        )
        for row in rows:
            row.update(_percentiles(row.pop("points"), row["n"]))
        return _filled(window, rows, {"n": 0, **dict.fromkeys(SHARES)})

    @action
    def latency_by(
        self,
        actor: Actor,
        window: Window,
        filters: Filters = ALL,
        *,
        dimension: str = "model",
        latencies: tuple[str, ...] = USUAL,
    ) -> list[Row]:
        """Per value of the dimension, busiest first: request and error counts, percentiles."""
        rows = self._run(
            latency_by_query(window, filters, dimension, latencies, exact=self._exact(window))
        )
        return [_flat(row, latencies) for row in rows]

    @action
    def pass_rate_over_time(
        self,
        actor: Actor,
        window: Window,
        filters: Filters = ALL,
        *,
        scorer: str | None = None,
        dimension: str | None = None,
    ) -> list[Row]:
        """Per bucket and series (scorer, or value of the dimension): n, passed, rate, low, high."""
        rows = self._run(pass_rate_query(window, filters, scorer, dimension))
        unknown = dict.fromkeys(("rate", "low", "high"))
        rated = [_rated(row) if row["n"] >= ENOUGH_SCORES else {**row, **unknown} for row in rows]
        return _filled(window, rated, {"n": 0, "passed": 0, **unknown})

    @action
    def pass_rate_by(
        self,
        actor: Actor,
        window: Window,
        filters: Filters = ALL,
        *,
        scorer: str | None = None,
        dimension: str | None = None,
    ) -> list[Row]:
        """The same over the whole window: one row per series, best first."""
        rows = self._run(pass_rate_query(window, filters, scorer, dimension, buckets=False))
        return sorted(map(_rated, rows), key=lambda row: (-row["rate"], row["series"]))

    @action
    def facets(self, actor: Actor, window: Window) -> dict[str, list[str]]:
        """Per filter column the values there are in the window, busiest first."""
        columns = ("source", "state", "model_name", "quantization", "engine", "prompt_label")
        names = ", ".join(columns)
        condition, values = where(window, Filters())
        rows = self._store.rows(
            f"SELECT {names}, count(*) AS n FROM traces t WHERE {condition} GROUP BY ALL",  # noqa: S608
            values,
        )
        return {column: _busiest(rows, column) for column in columns}

    @action
    def model_names(self, actor: Actor) -> list[str]:
        """Every model that was ever asked, first one first: the order colours are given in."""
        rows = self._store.rows(
            "SELECT model_name FROM traces WHERE model_name IS NOT NULL"
            " GROUP BY 1 ORDER BY min(started_at), 1"
        )
        return [row["model_name"] for row in rows]

    @action
    def first_uses(self, actor: Actor, window: Window) -> list[Row]:
        """Prompt versions first used within the window, and when: marks on a time axis."""
        return self._store.rows(
            """
            SELECT prompt_label AS label, min(started_at) AS first_at FROM traces
            WHERE prompt_label IS NOT NULL AND prompt_label <> 'draft'
            GROUP BY 1 HAVING min(started_at) >= $start AND min(started_at) < $end ORDER BY 2
            """,
            {"start": window.start, "end": window.end},
        )

    def _run(self, query: Query) -> list[Row]:
        with self._one_at_a_time:
            return self._store.rows(query.sql, query.parameters)

    def _exact(self, window: Window) -> bool:
        condition, values = where(window, ALL)
        row = self._store.row(f"SELECT count(*) AS n FROM traces t WHERE {condition}", values)  # noqa: S608
        return row is None or row["n"] <= EXACT_UP_TO


_COUNTS = (
    "request_count",
    "error_count",
    "cancelled_count",
    "prompt_token_count",
    "completion_token_count",
    "met_count",
)
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


def interval(passed: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95% interval of a rate (Wilson 1927): sound for small n and for 0 or all passed."""
    if n == 0:
        return 0.0, 1.0
    rate, square = passed / n, z * z
    centre = (rate + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


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


def _percentiles(points: Sequence[float] | None, n: int) -> dict[str, float | None]:
    return {
        name: points[index] if points is not None and n >= ENOUGH[name] else None
        for index, name in enumerate(SHARES)
    }


def _flat(row: Row, names: Sequence[str]) -> Row:
    """`{ttft: [..], ttft_n: 12}` becomes `{ttft_n: 12, ttft_p50: .., ttft_p95: .., ..}`."""
    found = {key: value for key, value in row.items() if key not in names}
    for name in names:
        points = _percentiles(row[name], row[f"{name}_n"])
        found.update({f"{name}_{share}": value for share, value in points.items()})
    return found


def _filled(window: Window, rows: list[Row], empty: Row) -> list[Row]:
    """Every bucket of every series, in order; buckets without rows get `empty`."""
    there = {(row["series"], row["bucket"]): row for row in rows}
    names = sorted({row["series"] for row in rows}) or ["all"]
    return [
        there.get((name, bucket)) or {"bucket": bucket, "series": name, **empty}
        for name in names
        for bucket in window.buckets()
    ]


def _rated(row: Row) -> Row:
    low, high = interval(row["passed"], row["n"])
    return {**row, "rate": row["passed"] / row["n"], "low": low, "high": high}


def _busiest(rows: list[Row], column: str) -> list[str]:
    counts: dict[str, int] = {}
    for row in rows:
        if row[column] is not None:
            counts[row[column]] = counts.get(row[column], 0) + row["n"]
    return sorted(counts, key=lambda name: (-counts[name], name))


def unfinished(window: Window, bucket: datetime, now: datetime) -> bool:
    """True for a bucket that is still filling: drawn pale, never read as a drop."""
    return bucket + window.bucket > now
