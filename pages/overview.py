"""Overview: how much was asked, how well it went and how long it took."""

from __future__ import annotations

import streamlit as st

from app import charts, observe, observe_tables, panels, queries, tables, text, trace_drawer, ui
from core.monitoring.metrics import TARGETS
from core.monitoring.statements import (
    latency_by_query,
    latency_query,
    pass_rate_query,
    requests_query,
)
from core.monitoring.window import DIMENSIONS

page = ui.page(
    "Overview", "How much was asked, how well it went and how long it took.", key="overview"
)
if observe.nothing_yet():
    st.stop()

asked = observe.ask()
window, filters = asked.window, asked.filters
tiles = ("ttft", "e2e")
totals = queries.read("metrics", "totals", window, filters, latencies=tiles)
before = queries.read("metrics", "totals", window.previous, filters, latencies=tiles)
counts = queries.read("metrics", "requests_over_time", window, filters)
latency = queries.read("metrics", "latency_over_time", window, filters, metric="e2e")
first = queries.read("metrics", "latency_over_time", window, filters, metric="ttft")

ui.metric_strip(
    [
        ui.Metric(
            "Requests",
            text.count(totals["request_count"]),
            observe.change(totals["request_count"], before["request_count"]),
            None,
            "neither",
            observe.spark(counts, "request_count", asked),
            help=observe.against(asked),
        ),
        ui.Metric(
            "Failed",
            text.percent(totals["error_rate"]),
            observe.points(totals["error_rate"], before["error_rate"]),
            None,
            "down",
            observe.spark(counts, "error_count", asked),
            help=f"{text.count(totals['error_count'])} of {text.count(totals['request_count'])} "
            f"requests; {text.count(totals['cancelled_count'])} more were cancelled",
        ),
        ui.Metric(
            "Tokens",
            observe.compact(totals["prompt_token_count"] + totals["completion_token_count"]),
            observe.change(
                totals["prompt_token_count"] + totals["completion_token_count"],
                before["prompt_token_count"] + before["completion_token_count"],
            ),
            None,
            "neither",
            observe.spark(counts, "completion_token_count", asked),
            help=f"{text.count(totals['prompt_token_count'])} in, "
            f"{text.count(totals['completion_token_count'])} out",
        ),
        observe.latency_metric("TTFT p95", "ttft", totals, before, first, asked),
        observe.latency_metric("E2E p95", "e2e", totals, before, latency, asked),
    ]
)
if not totals["request_count"]:
    observe.nothing_matches(asked)
    st.stop()

marks = queries.read("metrics", "first_uses", window)
rates = queries.read("metrics", "pass_rate_over_time", window, filters)
left, right = st.columns(2)
with left:
    panels.chart(
        f"Requests by outcome, {asked.words}",
        charts.request_counts(counts, **asked.drawn),
        rows=counts,
        columns=observe_tables.COUNT_COLUMNS,
        key="overview-requests",
        query=requests_query(window, filters, TARGETS),
    )
with right:
    panels.chart(
        f"Tokens in and out, {asked.words}",
        charts.stacked_counts(
            counts,
            {"prompt_token_count": "In", "completion_token_count": "Out"},
            unit="tokens",
            **asked.drawn,
        ),
        rows=counts,
        columns=observe_tables.COUNT_COLUMNS,
        key="overview-tokens",
        query=requests_query(window, filters, TARGETS),
    )
left, right = st.columns(2)
with left:
    panels.chart(
        f"E2E latency, {asked.words}",
        charts.percentiles(latency, marks=marks, **asked.drawn),
        rows=latency,
        columns=observe_tables.LATENCY_COLUMNS,
        key="overview-e2e",
        query=latency_query(window, filters, "e2e"),
        note=observe_tables.thin(latency),
    )
with right:
    panels.chart(
        f"Pass rate by scorer, {asked.words}",
        charts.pass_rates(rates, colours={}, **asked.drawn),
        rows=rates,
        columns=observe_tables.RATE_COLUMNS,
        key="overview-rates",
        query=pass_rate_query(window, filters),
        note=observe_tables.BANDS,
    )

with st.container(horizontal=True, vertical_alignment="bottom"):
    by = st.segmented_control(
        "Compare by",
        list(DIMENSIONS),
        default="model",
        required=True,
        key="by",
        bind="query-params",
    )
dimension = by or "model"
latencies = ("ttft", "tpot", "e2e")
rows = queries.read(
    "metrics", "latency_by", window, filters, dimension=dimension, latencies=latencies
)
panels.table(
    f"Requests and p95 by {dimension}, {asked.words}",
    [observe_tables.in_words(row) for row in rows],
    observe_tables.by_columns(dimension, latencies),
    key="overview-by",
    query=latency_by_query(window, filters, dimension, latencies),
    note=observe_tables.THIN,
)

failed = queries.read("traces", "list", window, observe.only_failed(filters), limit=5)
picked = None
if failed:
    st.markdown("**What failed last?**")
    picked = tables.pick(
        [observe_tables.as_listed(row) for row in failed],
        observe_tables.FAILURE_COLUMNS,
        key=trace_drawer.list_key("overview-failed"),
        alt="The last failed requests",
        height="content",
    )
trace_drawer.show(picked)
