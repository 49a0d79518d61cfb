"""Figures about versions of a dataset: where they came from, and how their columns drifted.

Knows: nodes and edges as `versions.lineage` gives them, bins as `versions.drift` does.
Does not know: Streamlit, queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from app import text
from app.chart_style import INK, PALETTE, Theme, safe, template
from core.store.database import Row

LANES = {"source": 2.0, "version": 1.0, "run": 0.0}  # what used a version stands below it
MOST_VERSIONS, MOST_USES = 10, 3
ASIDE = 0.14  # what used a version stands beside the line that goes down from it
ROOM = 860  # pixels of the figure at 1280
DASHES = {"follows": "dot", "restored": "dash"}
SYMBOLS = {"source": "square", "version": "circle", "run": "triangle-up"}
POSITIONS = {"source": "top center", "version": "top right", "run": "middle right"}
TITLES = {"source": "Source", "version": "Version", "run": "Run"}


def lineage(graph: Mapping[str, Sequence[Row]], *, selected: str, theme: Theme) -> Any:
    """Sources above, versions in a line from left to right, what used them below.

    `customdata` of a point is the node's id. Only the last ten versions and what touches them.
    """
    places, edges = _places(graph)
    columns = sum(y == LANES["version"] for _, y in places.values())
    letters = max(8, min(24, round(ROOM / max(columns, 1) / 7.5) - 4))
    nodes = {node["id"]: node for node in graph["nodes"] if node["id"] in places}
    figure = go.Figure(layout={"template": template(theme), "height": 330})
    for edge in edges:
        _edge(figure, places[edge["from"]], places[edge["to"]], edge, theme)
    for kind in dict.fromkeys(node["kind"] for node in nodes.values()):
        part = [node for node in nodes.values() if node["kind"] == kind]
        _points(
            figure, kind, part, places, graph["edges"],
            letters=letters, selected=selected, theme=theme,
        )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-0.45, max(columns, 3) - 0.3])
    lowest = min((y for _, y in places.values()), default=0.0)
    figure.update_yaxes(visible=False, range=[lowest - 0.55, 2.45])
    figure.update_layout(hovermode="closest", showlegend=False, margin={"t": 4, "b": 4})
    return figure


def drift_bins(bins: Sequence[Row], *, names: tuple[str, str], theme: Theme) -> Any:
    """The share of rows in each bin or category, before and after, beside each other."""
    figure = go.Figure(layout={"template": template(theme), "height": 260})
    colours = (INK[theme]["quiet"], INK[theme]["accent"])
    for side, name, colour in zip(("old", "new"), names, colours, strict=True):
        figure.add_bar(
            x=[safe(text.shorten(part["label"], 28)) for part in bins],
            y=[part[side] for part in bins], name=safe(name), marker={"color": colour},
            hovertemplate=f"{safe(name)}: %{{y:.1%}}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0.08)
    figure.update_xaxes(type="category", title_text=None)
    figure.update_yaxes(tickformat=".0%", title_text="share of rows")
    return figure


def _places(
    graph: Mapping[str, Sequence[Row]],
) -> tuple[dict[str, tuple[float, float]], list[Row]]:
    """Where each node stands, and the edges between nodes that are shown."""
    versions = [node for node in graph["nodes"] if node["kind"] == "version"][-MOST_VERSIONS:]
    places = {node["id"]: (float(n), LANES["version"]) for n, node in enumerate(versions)}
    kinds = {node["id"]: node["kind"] for node in graph["nodes"]}
    taken: dict[float, int] = {}
    for edge in graph["edges"]:
        start, end = edge["from"], edge["to"]
        if end in places and kinds.get(start) == "source" and start not in places:
            places[start] = (places[end][0], LANES["source"])
        elif start in places and kinds.get(end) not in ("version", "source"):
            x = places[start][0]
            depth = taken[x] = taken.get(x, -1) + 1
            if depth < MOST_USES:  # more are in the table beside the figure
                places[end] = (x + ASIDE, LANES["run"] - depth * 0.45)
    edges = [edge for edge in graph["edges"] if edge["from"] in places and edge["to"] in places]
    return places, edges


def _edge(
    figure: go.Figure, start: tuple[float, float], end: tuple[float, float], edge: Row, theme: Theme
) -> None:
    """A line with an arrow head; between versions further apart, an arc that passes the others."""
    ink = INK[theme]
    (x0, y0), (x1, y1) = start, end
    weak = edge["kind"] == "follows"
    far = y0 == y1 and abs(x1 - x0) > 1
    if edge["kind"] == "used":  # down, then aside
        xs, ys, back = [x0, x0, x1], [y0, y1, y1], -2
    else:
        back = -4  # a longer piece of the line shows its head's direction
        lift = 0.42 if far else 0.0
        steps = [step / 12 for step in range(13)]
        xs = [x0 + (x1 - x0) * step for step in steps]
        ys = [y0 + (y1 - y0) * step - lift * 4 * step * (1 - step) for step in steps]
    figure.add_scatter(
        x=xs, y=ys, mode="lines", hoverinfo="skip",
        line={"color": ink["axis"] if weak else ink["quiet"], "width": 1.2 if weak else 1.8,
              "dash": DASHES.get(edge["kind"], "solid")},
    )  # fmt: skip
    figure.add_annotation(
        x=xs[-1], y=ys[-1], ax=xs[back], ay=ys[back], xref="x", yref="y", axref="x", ayref="y",
        text="", showarrow=True, arrowhead=2, arrowsize=1.1, arrowwidth=1.4, standoff=9,
        arrowcolor=ink["axis"] if weak else ink["quiet"],
    )  # fmt: skip
    if edge["title"] and edge["kind"] != "imported":
        figure.add_annotation(
            x=xs[6], y=ys[6], text=safe(edge["title"]), showarrow=False, bgcolor=ink["paper"],
            yshift=0 if far else 9, font={"size": 11, "color": ink["muted"]},
        )  # fmt: skip


def _points(
    figure: go.Figure,
    kind: str,
    nodes: Sequence[Row],
    places: Mapping[str, tuple[float, float]],
    edges: Sequence[Row],
    *,
    letters: int,
    selected: str,
    theme: Theme,
) -> None:
    ink = INK[theme]
    colour = {"source": PALETTE[theme][1], "version": ink["accent"]}.get(kind, PALETTE[theme][3])
    chosen = [node["id"] == selected for node in nodes]
    figure.add_scatter(
        x=[places[node["id"]][0] for node in nodes],
        y=[places[node["id"]][1] for node in nodes],
        mode="markers+text",
        text=[_label(node, letters) for node in nodes],
        textposition=POSITIONS.get(kind, "middle right"),
        textfont={"size": 12, "color": ink["text"]},
        cliponaxis=False,
        customdata=[[node["id"], _told(node, edges)] for node in nodes],
        hovertemplate="%{customdata[1]}<extra></extra>",
        marker={
            "size": [18 if mark else 14 for mark in chosen], "color": colour,
            "opacity": 1, "symbol": SYMBOLS.get(kind, "diamond"),
            "line": {"width": [3 if mark else 0 for mark in chosen], "color": ink["text"]},
        },
    )  # fmt: skip


def _label(node: Row, letters: int) -> str:
    tags = f" <i>{safe(', '.join(node['tags']))}</i>" if node.get("tags") else ""
    return safe(text.shorten(node["title"], letters)) + tags


def _told(node: Row, edges: Sequence[Row]) -> str:
    """What a node is, over several lines."""
    lines = [f"{TITLES.get(node['kind'], node['kind'].capitalize())} {node['title']}"]
    lines += [line for line in (node["detail"], node.get("message"), text.absolute(node["at"]))
              if line and line != text.NOTHING]  # fmt: skip
    into = [edge for edge in edges if edge["to"] == node["id"] and edge["title"]]
    lines += [edge["title"] for edge in into if edge["kind"] != "imported"]
    return "<br>".join(safe(text.shorten(line, 80)) for line in lines)
