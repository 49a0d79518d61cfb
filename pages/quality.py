"""Quality: which share of the scored answers passed, over time and for whom."""

from __future__ import annotations

import streamlit as st

from app import charts, observe, observe_tables, panels, queries, tables, text, ui
from core.monitoring.metrics import ENOUGH_SCORES
from core.monitoring.statements import pass_rate_query

page = ui.page(
    "Quality", "Which share of the scored answers passed, over time and for whom.", key="quality"
)
if observe.nothing_yet():
    st.stop()

asked = observe.ask(observe.QUALITY)
window, filters = asked.window, asked.filters
scorers = queries.read("metrics", "pass_rate_by", window, filters)
if not scorers:
    ui.empty_state(
        "No scored answers here",
        "Runs score every answer with the scorers you choose: exact match, JSON schema, similarity "
        "and others. Their pass rates appear here. Start a run, or take a longer range.",
        "Open runs",
        observe.open_runs,
        icon=":material/verified:",
    )
    st.stop()

earlier = {
    row["series"]: row for row in queries.read("metrics", "pass_rate_by", window.previous, filters)
}
over_time = queries.read("metrics", "pass_rate_over_time", window, filters)
ui.metric_strip(
    [
        ui.Metric(
            text.escape(row["series"]),
            text.percent(row["rate"]) if row["n"] >= ENOUGH_SCORES else text.NOT_ENOUGH,
            observe.points(row["rate"], earlier.get(row["series"], {}).get("rate")),
            None,
            "up" if observe.differ(row, earlier.get(row["series"])) else "neither",
            observe.spark(
                [part for part in over_time if part["series"] == row["series"]], "rate", asked
            ),
            help=f"{text.percent_interval(row['rate'], row['low'], row['high'])}, "
            f"n {text.count(row['n'])}. {observe.against(asked)}",
        )
        for row in sorted(scorers, key=lambda row: -row["n"])[:5]
    ]
)

with st.container(horizontal=True, vertical_alignment="bottom"):
    names = [row["series"] for row in sorted(scorers, key=lambda row: row["series"])]
    scorer = st.selectbox("Scorer", names, key="scorer", bind="query-params", width=240)
    dimension = (
        st.segmented_control(
            "Compare by",
            observe.QUALITY_DIMENSIONS,
            default="model",
            required=True,
            key="quality_by",
            bind="query-params",
        )
        or "model"
    )
marks = queries.read("metrics", "first_uses", window)
asked_for = {"scorer": scorer, "dimension": dimension}
split = queries.read("metrics", "pass_rate_over_time", window, filters, **asked_for)
rows = queries.read("metrics", "pass_rate_by", window, filters, **asked_for)
kept = observe_tables.busiest(split, rows)

left, right = st.columns(2)
with left:
    panels.chart(
        f"Pass rate by scorer, {asked.words}",
        charts.pass_rates(over_time, colours={}, marks=marks, **asked.drawn),
        rows=over_time,
        columns=observe_tables.RATE_COLUMNS,
        key="quality-scorers",
        query=pass_rate_query(window, filters),
        note=observe_tables.BANDS,
    )
with right:
    panels.chart(
        f"Pass rate by {dimension}, {asked.words}",
        charts.pass_rates(
            kept,
            colours=observe.model_colours() if dimension == "model" else {},
            **asked.drawn,
        ),
        rows=split,
        columns={**observe_tables.RATE_COLUMNS, "series": tables.text(dimension.capitalize())},
        key="quality-split",
        query=pass_rate_query(window, filters, scorer, dimension),
        note=observe_tables.left_out(split, kept)
        or "Where two bands overlap widely, the difference may be chance.",
    )
panels.table(
    f"{text.escape(scorer)} by {dimension}, {asked.words}",
    [
        {**row, "interval": text.percent_interval(row["rate"], row["low"], row["high"])}
        for row in rows
    ],
    {
        "series": tables.text(dimension.capitalize(), width="medium"),
        "rate": tables.progress("Passed"),
        "interval": tables.text("With 95 % interval"),
        "passed": tables.number("Passed answers"),
        "n": tables.number("Scored answers"),
    },
    key="quality-by",
    query=pass_rate_query(window, filters, scorer, dimension, buckets=False),
    note="Each answer counts when it was scored. Open Compare to see the answers of one run.",
)
