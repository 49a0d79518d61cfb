"""The figure of a dataset's map: every row a point, one colour a value.

Knows: how the map looks. Does not know: Streamlit, embeddings, where the points come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from app import text
from app.chart_style import INK, PALETTE, Theme, safe, template

HEIGHT = 520
QUIET = ("in no cluster", "no value", "other values")
"""Values that stand back: grey, below the others, last in the legend."""
MARKERS = ("circle", "diamond", "square", "cross", "triangle-up")
"""A second round through the palette has another shape: colour is never alone."""
BIG = 20_000
WEBGL = 5_000
"""From so many points on WebGL draws them; fewer are drawn as SVG, which every browser has."""


def dataset_map(points: Mapping[str, Any], *, theme: Theme, texts: list[str]) -> Any:
    """Points by their place on the map; `customdata` is the row's number.

    `points` as `Explore.map` gives it; `texts` what a point says under the pointer,
    as it is, line by line.
    """
    figure = go.Figure()
    add = figure.add_scattergl if len(points["x"]) >= WEBGL else figure.add_scatter
    size = 4 if len(points["x"]) > BIG else 6
    for number, name in enumerate(_ordered(points["colour"])):
        at = [i for i, value in enumerate(points["colour"]) if value == name]
        quiet = name in QUIET
        palette = PALETTE[theme]
        add(
            x=[points["x"][i] for i in at],
            y=[points["y"][i] for i in at],
            customdata=[points["row_index"][i] for i in at],
            text=["<br>".join(map(safe, texts[i].splitlines())) for i in at],
            mode="markers",
            name=f"{safe(text.shorten(name, 40))} ({len(at):,})",
            marker={
                "size": size,
                "color": INK[theme]["quiet"] if quiet else palette[number % len(palette)],
                "symbol": "circle" if quiet else MARKERS[number // len(palette) % len(MARKERS)],
                "opacity": 0.4 if quiet else 0.85,
            },
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_layout(
        template=template(theme),
        height=HEIGHT,
        margin={"l": 0, "r": 0, "t": 8, "b": 0},
        dragmode="lasso",
        legend={
            "orientation": "v",
            "itemsizing": "constant",
            "font": {"size": 11.5},
            **{
                "x": 1.01,
                "xanchor": "left",
                "y": 0.93,
                "yanchor": "top",
            },  # beside the points, below the buttons
        },
        hoverlabel={"align": "left"},
        modebar={
            "bgcolor": "rgba(0,0,0,0)",
            "color": INK[theme]["quiet"],
            "activecolor": INK[theme]["accent"],
        },
    )
    for axis in (figure.update_xaxes, figure.update_yaxes):
        axis(visible=False, fixedrange=False)
    return figure


def _ordered(values: list[str]) -> list[str]:
    """Quiet ones first, so that they lie below; then the most frequent."""
    counts = Counter(values)
    loud = sorted((v for v in counts if v not in QUIET), key=lambda v: (-counts[v], v))
    return [v for v in QUIET if v in counts][::-1] + loud
