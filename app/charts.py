"""Figures: pure functions from rows to plotly, all with one template for light and dark.

Knows: how figures look, that counts fill gaps with zero and percentiles break the line, that the
unfinished bucket is pale. Does not know: Streamlit, queries; titles stand beside the figure, in
app/panels.py.

A row has `bucket` (UTC), `series` and values; `now` tells which bucket is still filling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from app import text
from app.chart_style import (
    INK,
    PALE,
    PALETTE,
    Theme,
    bar_width,
    by_series,
    duration,
    duration_scale,
    faded,
    middles,
    opacities,
    safe,
    scaled,
    series_style,
    template,
)
from core.store.database import Row

HEIGHT = 240
MARKS_APART = 0.12  # of the axis: nearer ones share one label
STATES = {
    "ok": ("Succeeded", "accent"),
    "failed": ("Failed", "bad"),
    "cancelled": ("Cancelled", "quiet"),
}
SHARES = {"p50": ("p50", 1.4, "solid"), "p95": ("p95", 2.4, "solid"), "p99": ("p99", 1.4, "dot")}


def request_counts(rows: Sequence[Row], *, bucket: timedelta, now: datetime, theme: Theme) -> Any:
    """Requests per bucket, stacked by how they ended."""
    figure = _figure(theme)
    columns = {"ok": None, "cancelled": "cancelled_count", "failed": "error_count"}
    for state, column in columns.items():
        label, ink = STATES[state]
        values = [
            row[column]
            if column
            else row["request_count"] - row["error_count"] - row["cancelled_count"]
            for row in rows
        ]
        if column and not any(values):
            continue
        figure.add_bar(
            x=middles(rows, bucket), y=values, name=label, width=bar_width(bucket),
            marker={"color": INK[theme][ink], "opacity": opacities(rows, bucket, now)},
            hovertemplate="%{y:,} " + label.lower() + "<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack", showlegend=len(figure.data) > 1)
    figure.update_yaxes(tickformat=",d", rangemode="tozero")
    return _timed(figure, rows, bucket)


def stacked_counts(
    rows: Sequence[Row],
    columns: Mapping[str, str],
    *,
    unit: str,
    bucket: timedelta,
    now: datetime,
    theme: Theme,
) -> Any:
    """Counts per bucket, one stacked bar part per column: `{column: label}`."""
    figure = _figure(theme)
    inks = ("accent", "quiet", "risk")
    for place, (column, label) in enumerate(columns.items()):
        figure.add_bar(
            x=middles(rows, bucket), y=[row[column] for row in rows], name=label,
            width=bar_width(bucket),
            marker={"color": INK[theme][inks[place]], "opacity": opacities(rows, bucket, now)},
            hovertemplate="%{y:,} " + f"{unit}, {label.lower()}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack", showlegend=len(columns) > 1)
    figure.update_yaxes(tickformat=",~s")
    return _timed(figure, rows, bucket)


def met(rows: Sequence[Row], *, bucket: timedelta, now: datetime, theme: Theme) -> Any:
    """Requests per bucket that met their target, under those that did not."""
    parts = [{**row, "missed": row["request_count"] - row["met_count"]} for row in rows]
    labels = {"met_count": "Met", "missed": "Missed or failed"}
    return stacked_counts(parts, labels, unit="requests", bucket=bucket, now=now, theme=theme)


def percentiles(
    rows: Sequence[Row],
    *,
    bucket: timedelta,
    now: datetime,
    theme: Theme,
    marks: Sequence[Row] = (),
) -> Any:
    """p50, p95 and p99 of one latency over time; a bucket with too few requests breaks the line."""
    figure = _figure(theme)
    scale, unit = duration_scale([row[share] for row in rows for share in SHARES])
    colours = (INK[theme]["quiet"], INK[theme]["accent"], INK[theme]["risk"])
    for colour, (share, (label, width, dash)) in zip(colours, SHARES.items(), strict=True):
        _line(
            figure, rows, [scaled(row[share], scale) for row in rows], label,
            colour=colour, width=width, dash=dash, bucket=bucket, now=now,
            hover=[f"{label} {duration(row[share])} · n {row['n']:,}" for row in rows],
        )  # fmt: skip
    figure.update_yaxes(title_text=unit)
    return _marked(_timed(figure, rows, bucket), marks, theme)


def latency_by(
    rows: Sequence[Row],
    *,
    value: str = "p95",
    colours: Mapping[str, str],
    bucket: timedelta,
    now: datetime,
    theme: Theme,
    marks: Sequence[Row] = (),
) -> Any:
    """One percentile over time, one line per series; `colours` has what a series is known by."""
    figure = _figure(theme)
    scale, unit = duration_scale([row[value] for row in rows])
    for place, (name, part) in enumerate(by_series(rows).items()):
        colour, dash = series_style(name, place, colours, theme)
        _line(
            figure, part, [scaled(row[value], scale) for row in part], name,
            colour=colour, width=2, dash=dash, bucket=bucket, now=now,
            hover=[f"{name}: {duration(row[value])} · n {row['n']:,}" for row in part],
        )  # fmt: skip
    figure.update_yaxes(title_text=unit)
    return _marked(_timed(figure, rows, bucket), marks, theme)


def pass_rates(
    rows: Sequence[Row],
    *,
    colours: Mapping[str, str],
    bucket: timedelta,
    now: datetime,
    theme: Theme,
    marks: Sequence[Row] = (),
) -> Any:
    """Pass rates over time with their 95% intervals as bands, one line per series."""
    figure = _figure(theme)
    for place, (name, part) in enumerate(by_series(rows).items()):
        colour, dash = series_style(name, place, colours, theme)
        for x, low, high in _bands(part, bucket):
            figure.add_scatter(
                x=[*x, *reversed(x)], y=[*high, *reversed(low)], fill="toself", mode="lines",
                line={"width": 0}, fillcolor=faded(colour, 0.16), hoverinfo="skip",
                showlegend=False, legendgroup=name,
            )  # fmt: skip
        _line(
            figure, part, [row["rate"] for row in part], name,
            colour=colour, width=2, dash=dash, bucket=bucket, now=now,
            hover=[
                f"{name}: {text.percent_interval(row['rate'], row['low'], row['high'])}"
                f" · n {row['n']:,}"
                for row in part
            ],
        )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], nticks=6)
    return _marked(_timed(figure, rows, bucket), marks, theme)


def waterfall(spans: Sequence[Row], *, theme: Theme) -> Any:
    """The spans of one trace as bars on its own clock, first one on top."""
    ink = INK[theme]
    begin = min(span["started_at"] for span in spans)
    starts = [(span["started_at"] - begin).total_seconds() * 1000 for span in spans]
    ends = [start + span["duration_ms"] for start, span in zip(starts, spans, strict=True)]
    scale, unit = duration_scale(ends)
    colours = {"request": ink["quiet"], "queue": ink["risk"], "prefill": PALETTE[theme][4]}
    names = [f"{place}" for place, _ in enumerate(spans)]
    figure = _figure(theme)
    figure.add_bar(
        orientation="h", y=names, base=[start / scale for start in starts],
        x=[max(span["duration_ms"], ends[0] / 500) / scale for span in spans],
        marker={"color": [colours.get(span["name"], ink["accent"]) for span in spans]},
        customdata=[
            [span["name"], duration(span["duration_ms"]), duration(start)]
            for span, start in zip(spans, starts, strict=True)
        ],
        text=[duration(span["duration_ms"]) for span in spans],
        textposition="auto", textangle=0, insidetextanchor="start", constraintext="none",
        hovertemplate="%{customdata[0]}: %{customdata[1]}, after %{customdata[2]}<extra></extra>",
    )  # fmt: skip
    figure.update_layout(
        height=54 + 26 * len(spans), hovermode="closest", showlegend=False, bargap=0.3,
        margin={"t": 4},
    )  # fmt: skip
    figure.update_yaxes(
        autorange="reversed", type="category", tickmode="array", tickvals=names,
        ticktext=[span["name"] for span in spans], showgrid=False,
    )  # fmt: skip
    figure.update_xaxes(title_text=unit, rangemode="tozero", showgrid=True)
    return figure


def gaps(itl_ms: Sequence[float], *, theme: Theme) -> Any:
    """Every gap between two tokens of one answer, in order."""
    figure = _figure(theme)
    scale, unit = duration_scale(itl_ms)
    figure.add_bar(
        x=list(range(2, len(itl_ms) + 2)), y=[gap / scale for gap in itl_ms],
        marker={"color": INK[theme]["accent"]},
        customdata=[duration(gap) for gap in itl_ms],
        hovertemplate="token %{x}: %{customdata} after the one before<extra></extra>",
    )  # fmt: skip
    figure.update_layout(height=150, hovermode="closest", margin={"t": 8}, bargap=0.1)
    figure.update_xaxes(title_text="token", tickformat=",d")
    figure.update_yaxes(title_text=unit, nticks=4)
    return figure


def _figure(theme: Theme) -> go.Figure:
    return go.Figure(layout={"template": template(theme), "height": HEIGHT})


def _line(
    figure: go.Figure,
    rows: Sequence[Row],
    values: Sequence[float | None],
    name: str,
    *,
    colour: str,
    width: float,
    dash: str,
    bucket: timedelta,
    now: datetime,
    hover: Sequence[str],
) -> None:
    """A line that breaks at None, its unfinished end drawn again, pale."""
    x = middles(rows, bucket)
    split = next((n for n, row in enumerate(rows) if row["bucket"] + bucket > now), len(rows))
    style = {
        "mode": "lines+markers", "connectgaps": False, "name": name, "legendgroup": name,
        "line": {"color": colour, "width": width, "dash": dash},
        "marker": {"size": 4 if len(rows) < 80 else 3, "color": colour},
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
    figure.add_scatter(x=x[:split], y=values[:split], text=list(hover[:split]), **style)
    known = [n for n in range(split) if values[n] is not None]
    if any(value is not None for value in values[split:]):
        begin = known[-1] if known and known[-1] == split - 1 else split
        notes = ["", *hover[split:]] if begin < split else list(hover[split:])
        notes = [f"{note} · still filling" if note else note for note in notes]
        pale = {**style, "opacity": PALE, "showlegend": not known, "text": notes}
        figure.add_scatter(x=x[begin:], y=values[begin:], **pale)


def _bands(
    rows: Sequence[Row], bucket: timedelta
) -> list[tuple[list[datetime], list[float], list[float]]]:
    """Stretches of neighbouring buckets that have a rate; a lone one becomes a bar of a third."""
    found: list[tuple[list[datetime], list[float], list[float]]] = []
    fresh = True
    for x, row in zip(middles(rows, bucket), rows, strict=True):
        if row["rate"] is None:
            fresh = True
            continue
        if fresh:
            found.append(([], [], []))
            fresh = False
        for part, value in zip(found[-1], (x, row["low"], row["high"]), strict=True):
            part.append(value)
    third = bucket / 3
    return [
        (xs, low, high)
        if len(xs) > 1
        else ([xs[0] - third / 2, xs[0] + third / 2], low * 2, high * 2)
        for xs, low, high in found
    ]


def _timed(figure: go.Figure, rows: Sequence[Row], bucket: timedelta) -> go.Figure:
    """The time axis: the whole window, whether it has data or not, in UTC."""
    if rows:
        first = min(row["bucket"] for row in rows)
        last = max(row["bucket"] for row in rows) + bucket
        figure.update_xaxes(type="date", range=[first, last], nticks=8)
    shape = "%d %b %Y" if bucket >= timedelta(days=1) else "%d %b %H:%M UTC"
    figure.update_xaxes(hoverformat=shape, unifiedhovertitle_text=f"%{{x|{shape}}}")
    return figure


def _marked(figure: go.Figure, marks: Sequence[Row], theme: Theme) -> go.Figure:
    """Dotted uprights where prompt versions were first used; neighbours share a label."""
    ink = INK[theme]
    for first_at, labels in _neighbours(figure, marks):
        x = first_at.isoformat()
        more = f" +{len(labels) - 1}" if len(labels) > 1 else ""
        figure.add_vline(x=x, line={"color": ink["quiet"], "dash": "dot", "width": 1})
        figure.add_annotation(
            x=x, y=1, yref="paper", text=safe(labels[0]) + more, showarrow=False,
            xanchor="left", yanchor="top", xshift=3, font={"size": 10.5, "color": ink["muted"]},
            hovertext="First used: " + safe(", ".join(labels)),
        )  # fmt: skip
    return figure


def _neighbours(figure: go.Figure, marks: Sequence[Row]) -> list[tuple[datetime, list[str]]]:
    """Marks in order of time, those too near to the one before joined to it."""
    axis = figure.layout.xaxis.range
    apart = (axis[1] - axis[0]) * MARKS_APART if axis else timedelta()
    found: list[tuple[datetime, list[str]]] = []
    for mark in sorted(marks, key=lambda mark: mark["first_at"]):
        if found and mark["first_at"] - found[-1][0] < apart:
            found[-1][1].append(mark["label"])
        else:
            found.append((mark["first_at"], [mark["label"]]))
    return found
