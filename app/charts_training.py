"""Figures of a training: its loss beside the base's, its learning rate, any measure of each step.

A row has `finetune_id`, `name`, `metric`, `step`, `epoch`, `value` and, where it is known,
`seconds`. The evaluation at step 0 is the base model's. A figure has the same `uirevision`
however often it is drawn, so that a live one keeps its zoom.

Knows: how a curve looks, that a long run is thinned. Does not know: Streamlit, fine-tunes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from app import text
from app.chart_style import INK, PALETTE, Theme, faded, safe, template
from core.store.database import Row

HEIGHT = 330
SMALL = 190
MOST_POINTS = 500
AXES = {"step": "step", "epoch": "epoch", "seconds": "training time, s"}
LABELS = {
    "learning_rate": "Learning rate",
    "grad_norm": "Gradient norm",
    "margin": "Reward margin",
    "accuracy": "Chosen over rejected",
    "tokens_per_s": "Tokens per second",
}


def run_colours(ids: Sequence[str], theme: Theme) -> dict[str, str]:
    """One colour for each fine-tune, by its place: the first has the accent."""
    palette = (INK[theme]["accent"], *PALETTE[theme])
    return {one: palette[place % len(palette)] for place, one in enumerate(dict.fromkeys(ids))}


def loss(rows: Sequence[Row], *, colours: Mapping[str, str], theme: Theme, x: str = "step") -> Any:
    """Loss over the rows trained on, pale, and over those held out; the base's is dashed.

    With several runs each has its colour; alone, a run's two lines are named in the legend.
    """
    figure = _figure(theme, HEIGHT)
    several = len({row["finetune_id"] for row in rows}) > 1
    for one, part in _by_run(rows).items():
        colour = colours.get(one, INK[theme]["accent"])
        name = safe(str(part[0]["name"]))
        _line(figure, part, "loss", x=x,
              name=f"{name}, trained rows" if several else "Trained rows", group=one,
              colour=faded(colour, 0.55), width=1.3, markers=False)  # fmt: skip
        _line(figure, part, "eval_loss", x=x,
              name=f"{name}, held out" if several else "Held-out rows",
              group=one, colour=colour, width=2.4, markers=True)  # fmt: skip
        base = base_loss(part)
        if base is not None:
            _level(figure, part, base, x=x, theme=theme,
                   colour=colour if several else INK[theme]["muted"],
                   name=f"{name}, base" if several else "Held-out rows, base model",
                   group=one)  # fmt: skip
    figure.update_yaxes(title_text="loss", rangemode="normal")
    if not figure.data:  # an empty frame, not the axis of a number that nobody measured
        figure.update_yaxes(range=[0, 1], showticklabels=False)
        figure.update_xaxes(range=[0, 1], showticklabels=False)
    figure.update_xaxes(title_text=AXES[x], rangemode="tozero")
    return figure


def measure(
    rows: Sequence[Row],
    metric: str,
    *,
    colours: Mapping[str, str],
    theme: Theme,
    x: str = "step",
    eval_metric: str | None = None,
) -> Any:
    """One measure of every step, a line for each run; small."""
    figure = _figure(theme, SMALL)
    for one, part in _by_run(rows).items():
        colour = colours.get(one, INK[theme]["accent"])
        _line(figure, part, metric, x=x, name=safe(str(part[0]["name"])), group=one,
              colour=colour, width=1.6, markers=False)  # fmt: skip
        if eval_metric is not None:
            _line(figure, part, eval_metric, x=x, name=f"{safe(str(part[0]['name']))}, held out",
                  group=one, colour=colour, width=2.2, markers=True)  # fmt: skip
    figure.update_layout(showlegend=len(figure.data) > 1, margin={"t": 24})
    figure.update_yaxes(
        rangemode="tozero" if metric != "margin" else "normal", nticks=4,
        **({"tickformat": ".1e"} if metric == "learning_rate" else {}),
        **({"tickformat": ".0%"} if metric == "accuracy" else {}),
    )  # fmt: skip
    figure.update_xaxes(title_text=AXES[x], rangemode="tozero")
    return figure


def base_loss(rows: Sequence[Row]) -> float | None:
    """The base model's loss on the held-out rows: the evaluation before the first step."""
    found = [r["value"] for r in rows if r["metric"] == "eval_loss" and r["step"] == 0]
    return float(found[0]) if found and found[0] is not None else None


def thinned(rows: Sequence[Row], most: int = MOST_POINTS) -> list[Row]:
    """At most so many rows, evenly taken; the first and the last are always among them."""
    if len(rows) <= most:
        return list(rows)
    last = len(rows) - 1
    places = dict.fromkeys(round(n * last / (most - 1)) for n in range(most))
    return [rows[place] for place in places]


def at(row: Row, x: str) -> float | None:
    """Where a row stands on the axis."""
    value = row.get(x)
    return None if value is None else float(value)


def _by_run(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["finetune_id"], []).append(row)
    return found


def _line(
    figure: go.Figure,
    rows: Sequence[Row],
    metric: str,
    *,
    x: str,
    name: str,
    group: str,
    colour: str,
    width: float,
    markers: bool,
) -> None:
    part = thinned([r for r in rows if r["metric"] == metric and at(r, x) is not None])
    if not part:
        return
    lone = markers or len(part) < 3
    figure.add_scatter(
        x=[at(row, x) for row in part], y=[row["value"] for row in part],
        mode="lines+markers" if lone else "lines", name=name, legendgroup=f"{group}-{metric}",
        line={"color": colour, "width": width}, marker={"size": 6, "color": colour},
        connectgaps=False,
        text=[f"{name}: {_said(metric, row['value'])}" for row in part],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _level(
    figure: go.Figure,
    rows: Sequence[Row],
    value: float,
    *,
    x: str,
    theme: Theme,
    colour: str,
    name: str,
    group: str,
) -> None:
    places = [place for row in rows if (place := at(row, x)) is not None]
    end = max([*places, 1.0])
    figure.add_scatter(
        x=[0, end], y=[value, value], mode="lines", name=name, legendgroup=f"{group}-base",
        line={"color": colour, "width": 1.5, "dash": "dash"},
        text=[f"{name}: {text.significant(value)}"] * 2, hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _said(metric: str, value: float | None) -> str:
    if value is None:
        return text.NOTHING
    if metric == "learning_rate":
        return f"{value:.2e}"
    return text.percent(value) if metric.endswith("accuracy") else text.significant(value)


def _figure(theme: Theme, height: int) -> go.Figure:
    return go.Figure(
        layout={"template": template(theme), "height": height, "uirevision": "kept"}
    )  # fmt: skip
