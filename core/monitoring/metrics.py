"""Metrics: figures over many traces and scores, each one SQL statement over a bounded time.

Knows: requests, tokens, errors, latency percentiles, goodput, pass rates; gaps; thin samples.
Does not know: single traces (traces), how a figure is drawn.
Counts of an empty bucket are 0, percentiles None; a percentile from too few requests is None too.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from datetime import datetime

from core.governance.permissions import Actor, action
from core.monitoring.statements import (
    SHARES,
    USUAL,
    Targets,
    latency_by_query,
    latency_query,
    pass_rate_query,
    requests_query,
    totals_query,
)
from core.monitoring.window import Filters, Query, Window, where
from core.store.database import Row, Store

ENOUGH: dict[str, int] = {"p50": 3, "p95": 20, "p99": 100}
"""Fewest requests that a percentile is told from: one of them has to lie beyond it."""
ENOUGH_SCORES = 10
"""Fewest scored answers that a bucket's pass rate is told from."""
EXACT_UP_TO = 2_000_000
"""Most requests in a window that percentiles are exact for; they are held in memory meanwhile.

Above it DuckDB's t-digest estimates them (Dunning 2019), at twice the time and constant memory.
"""
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


def interval(passed: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95% interval of a rate (Wilson 1927): sound for small n and for 0 or all passed."""
    if n == 0:
        return 0.0, 1.0
    rate, square = passed / n, z * z
    centre = (rate + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(rate * (1 - rate) / n + square / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


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
