"""Figures of the loop: what blind votes say, and the pass rate from comparison to comparison.

Knows: outcomes of a tally, comparisons in order of time. Does not know: Streamlit, queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from app import text
from app.chart_style import INK, PALETTE, Theme, safe, template
from core.store.database import Row

HEIGHT = 250
ROOM = 0.32  # of the way to the next comparison that the variants of one may take


def votes(tally: Row, *, colours: Mapping[str, str], theme: Theme) -> Any:
    """One bar of rows by outcome: the second variant's wins, what neither won, the first's."""
    ink = INK[theme]
    first, second = (
        colours.get(tally[side]["model_name"]) or PALETTE[theme][place]
        for place, side in enumerate(("first", "second"))
    )
    if first == second:  # one model with two prompts
        first = next(colour for colour in PALETTE[theme] if colour != second)
    parts = [
        (f"{tally['second']['name']} wins", tally["second_wins"], second),
        ("Tie", tally["ties"], ink["quiet"]),
        ("No majority", tally["split"], ink["line"]),
        ("Both bad", tally["both_bad"], ink["axis"]),
        (f"{tally['first']['name']} wins", tally["first_wins"], first),
    ]
    figure = go.Figure(layout={"template": template(theme), "height": 104})
    for name, count, colour in parts:
        if count:
            figure.add_bar(
                orientation="h", y=[""], x=[count], name=safe(name), marker={"color": colour},
                text=[text.count(count)], textposition="inside", insidetextanchor="middle",
                textangle=0, hovertemplate=f"{safe(name)}: %{{x:,}} rows<extra></extra>",
            )  # fmt: skip
    figure.update_layout(
        barmode="stack", bargap=0.1, hovermode="closest", margin={"t": 30, "b": 4},
        legend={"traceorder": "normal"},
    )  # fmt: skip
    figure.update_xaxes(visible=False, range=[0, tally["row_count"]])
    figure.update_yaxes(visible=False)
    return figure


def loop(comparisons: Sequence[Row], *, colours: Mapping[str, str], theme: Theme) -> Any:
    """Pass rates with their 95% intervals at each comparison, oldest left; one colour a model.

    Each of `comparisons` has `title`, `at` and `variants`: name, model_name, rate, low, high, n.
    A line joins what goes by the same name in comparisons that follow each other.
    """
    figure = go.Figure(layout={"template": template(theme), "height": HEIGHT})
    by_name: dict[str, list[tuple[float, Row]]] = {}
    for place, comparison in enumerate(comparisons):
        shown = [v for v in comparison["variants"] if v["rate"] is not None]
        for number, variant in enumerate(shown):
            x = place + ((number + 0.5) / len(shown) - 0.5) * ROOM
            by_name.setdefault(variant["name"], []).append((x, variant))
    for place, (name, points) in enumerate(by_name.items()):
        variants = [variant for _, variant in points]
        colour = colours.get(variants[0]["model_name"]) or PALETTE[theme][place % 7]
        figure.add_scatter(
            x=[x for x, _ in points], y=[v["rate"] for v in variants], name=safe(name),
            mode="lines+markers", line={"color": colour, "width": 1.6},
            marker={"size": 8, "color": colour},
            error_y={
                "type": "data", "symmetric": False, "thickness": 1.4, "width": 4,
                "array": [v["high"] - v["rate"] for v in variants],
                "arrayminus": [v["rate"] - v["low"] for v in variants],
            },
            text=[
                f"{safe(name)}: {text.percent_interval(v['rate'], v['low'], v['high'])}"
                f" · n {v['n']:,}"
                for v in variants
            ],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(hovermode="closest", showlegend=True)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], nticks=6)
    figure.update_xaxes(
        tickmode="array", tickvals=list(range(len(comparisons))),
        ticktext=[f"{safe(text.shorten(one['title'], 24))}<br>{one['at']:%d %b %H:%M}"
                  for one in comparisons],
        range=[-0.6, max(len(comparisons), 2) - 0.4], showgrid=False,
    )  # fmt: skip
    return figure
