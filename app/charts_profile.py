"""Figures of the profile: how values are spread, and which occur most. Pure functions.

Knows: histograms as `profile.histogram` makes them, counts by value. Does not know: Streamlit,
queries.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from app import text
from app.chart_style import INK, Theme, safe, template
from core.store.database import Row

BAR_HEIGHT = 22
LABEL_CHARACTERS = 40


def histogram(
    spread: Mapping[str, Any],
    *,
    unit: str,
    theme: Theme,
    limit: float | None = None,
    height: int = 220,
) -> Any:
    """Rows by value; the last bar is pale where it holds all that lies beyond it.

    `unit` names the axis; `limit` draws a dotted upright, such as a rule's threshold.
    """
    ink = INK[theme]
    edges, counts = spread["edges"], spread["counts"]
    figure = go.Figure(layout={"template": template(theme), "height": height})
    opacity = [1.0] * len(counts)
    if spread["open"]:
        opacity[-1] = 0.5
    figure.add_bar(
        x=[(low + high) / 2 for low, high in itertools.pairwise(edges)],
        y=counts,
        width=[(high - low) * 0.94 for low, high in itertools.pairwise(edges)],
        marker={"color": ink["accent"], "opacity": opacity},
        text=bin_labels(spread),
        textposition="none",
        hovertemplate="%{text}: %{y:,} rows<extra></extra>",
    )
    figure.update_layout(hovermode="closest", showlegend=False, margin={"t": 8}, bargap=0)
    figure.update_xaxes(title_text=unit, range=[edges[0], edges[-1]])
    figure.update_yaxes(title_text="rows", tickformat=",~s", nticks=5)
    if limit is not None and edges[0] < limit < edges[-1]:
        figure.add_vline(x=limit, line={"color": ink["risk"], "dash": "dot", "width": 1.5})
    return figure


def bin_labels(spread: Mapping[str, Any]) -> list[str]:
    """What each bar of a histogram stands for, in words."""
    edges = spread["edges"]
    labels = [
        f"{text.significant(low)} to {text.significant(high)}"
        for low, high in itertools.pairwise(edges)
    ]
    if spread["open"]:
        labels[-1] = f"{text.significant(edges[-2])} and more"
    return labels


def top_values(rows: Sequence[Row], *, total: int, theme: Theme) -> Any:
    """A lying bar for each `value` with its `count`, the first on top; hover says the share."""
    ink = INK[theme]
    names = [str(place) for place in range(len(rows))]
    figure = go.Figure(layout={"template": template(theme)})
    figure.add_bar(
        orientation="h",
        y=names,
        x=[row["count"] for row in rows],
        marker={"color": ink["accent"]},
        customdata=[
            [safe(text.shorten(str(row["value"]), 80)), text.percent(row["count"] / max(1, total))]
            for row in rows
        ],
        hovertemplate="%{customdata[0]}: %{x:,} rows, %{customdata[1]}<extra></extra>",
    )
    figure.update_layout(
        height=48 + BAR_HEIGHT * len(rows), hovermode="closest", showlegend=False,
        margin={"t": 4}, bargap=0.25,
    )  # fmt: skip
    figure.update_yaxes(
        autorange="reversed", type="category", tickmode="array", tickvals=names, showgrid=False,
        ticktext=[safe(text.shorten(str(row["value"]), LABEL_CHARACTERS)) or "(empty)"
                  for row in rows],
    )  # fmt: skip
    figure.update_xaxes(tickformat=",~s", rangemode="tozero", showgrid=True, nticks=5)
    return figure
