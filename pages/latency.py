"""Latency: how fast answers start and stream, for which model, and which requests were slow."""

from __future__ import annotations

import streamlit as st

from app import charts, observe, observe_tables, panels, queries, tables, text, trace_drawer, ui
from core.monitoring.statements import LATENCIES, Targets, latency_by_query, latency_query
from core.monitoring.traces import slowest_query
from core.monitoring.window import DIMENSIONS

page = ui.page(
    "Latency", "How fast answers start and stream, for which model, and what was slow.",
    key="latency",
)  # fmt: skip
if observe.nothing_yet():
    st.stop()
with page.actions, st.popover("Targets", icon=":material/flag:"):
    st.caption("Goodput counts the requests that succeeded and met both.")
    ttft_ms = st.number_input(
        "TTFT, ms", 1, 600_000, 1_000, step=100, key="ttft_target", bind="query-params"
    )
    tpot_ms = st.number_input(
        "TPOT, ms", 1, 60_000, 200, step=10, key="tpot_target", bind="query-params"
    )
targets = Targets(float(ttft_ms), float(tpot_ms))

asked = observe.ask()
window, filters = asked.window, asked.filters
totals = queries.read("metrics", "totals", window, filters, targets)
before = queries.read("metrics", "totals", window.previous, filters, targets)
counts = queries.read("metrics", "requests_over_time", window, filters, targets)
lines = {
    name: queries.read("metrics", "latency_over_time", window, filters, metric=name)
    for name in ("ttft", "itl", "tpot", "e2e")
}
ui.metric_strip(
    [
        ui.Metric(
            "Goodput",
            text.percent(totals["met_rate"]),
            observe.points(totals["met_rate"], before["met_rate"]),
            None,
            "up",
            observe.spark(counts, "met_count", asked),
            help=f"{text.count(totals['met_count'])} of {text.count(totals['request_count'])} "
            f"requests met TTFT ≤ {text.milliseconds(targets.ttft_ms)} and TPOT ≤ "
            f"{text.milliseconds(targets.tpot_ms)}: "
            f"{text.rate(totals['goodput_per_s'] * 60, 'requests/min')}. "
            f"{observe.against(asked)}",
        ),
        *(
            observe.latency_metric(
                f"{LATENCIES[name].title} p95", name, totals, before, rows, asked
            )
            for name, rows in lines.items()
        ),
    ]
)
if not totals["request_count"]:
    observe.nothing_matches(asked)
    st.stop()

with st.container(horizontal=True, vertical_alignment="bottom"):
    metric = (
        st.segmented_control(
            "Latency",
            list(LATENCIES),
            default="ttft",
            required=True,
            format_func=lambda name: LATENCIES[name].title,
            key="metric",
            bind="query-params",
            help="  \n".join(f"**{one.title}**: {one.meaning}" for one in LATENCIES.values()),
        )
        or "ttft"
    )
    dimension = (
        st.selectbox(
            "Compare by", list(DIMENSIONS), key="by", bind="query-params", width=160
        )
        or "model"
    )  # fmt: skip
    share = (
        st.segmented_control(
            "Percentile", ["p50", "p95", "p99"], default="p95", required=True, key="share",
            bind="query-params",
        )
        or "p95"
    )  # fmt: skip
shown = LATENCIES[metric]
marks = queries.read("metrics", "first_uses", window)
over_time = queries.read("metrics", "latency_over_time", window, filters, metric=metric)
split = queries.read(
    "metrics", "latency_over_time", window, filters, metric=metric, dimension=dimension
)
latencies = tuple(dict.fromkeys((*lines, metric)))
rows = queries.read(
    "metrics", "latency_by", window, filters, dimension=dimension, latencies=latencies
)
kept = observe_tables.busiest(split, rows)

left, right = st.columns(2)
with left:
    panels.chart(
        f"{shown.title} at p50, p95 and p99, {asked.words}",
        charts.percentiles(over_time, marks=marks, **asked.drawn),
        rows=over_time,
        columns=observe_tables.LATENCY_COLUMNS,
        key="latency-over-time",
        query=latency_query(window, filters, metric),
        note=f"{shown.title}: {shown.meaning}. Only requests that succeeded.",
    )
with right:
    panels.chart(
        f"{share} {shown.title} by {dimension}, {asked.words}",
        charts.latency_by(
            kept,
            value=share,
            colours=observe.model_colours() if dimension == "model" else {},
            **asked.drawn,
        ),
        rows=split,
        columns={"series": tables.text(dimension.capitalize()), **observe_tables.LATENCY_COLUMNS},
        key="latency-split",
        query=latency_query(window, filters, metric, dimension),
        note=observe_tables.left_out(split, kept) or observe_tables.THIN,
    )
panels.chart(
    f"Requests that met their target, {asked.words}",
    charts.met(counts, **asked.drawn),
    rows=counts,
    columns=observe_tables.COUNT_COLUMNS,
    key="latency-met",
    note=f"TTFT ≤ {text.milliseconds(targets.ttft_ms)} and TPOT ≤ "
    f"{text.milliseconds(targets.tpot_ms)}; change them under Targets.",
)
panels.table(
    f"{shown.title} and {share} of the others by {dimension}, {asked.words}",
    [observe_tables.in_words(row) for row in rows],
    observe_tables.by_columns(dimension, latencies, metric, share),
    key="latency-by",
    query=latency_by_query(window, filters, dimension, latencies),
    note=observe_tables.THIN,
)

st.markdown(f"**Which requests had the highest {shown.title}?**")
slowest = queries.read("traces", "slowest", window, filters, column=shown.column, limit=10)
picked = tables.pick(
    [observe_tables.as_listed(row) for row in slowest],
    observe_tables.trace_columns(shown),
    key=trace_drawer.list_key("latency-slowest"),
    alt=f"The ten requests with the highest {shown.title}",
    height="content",
)
with st.expander("Copy as SQL"):
    panels.copyable(slowest_query(window, filters, shown.column, limit=10))
trace_drawer.show(picked)
