"""What all figures share: colours, the template, durations, bars and breaks. No plotly in here.

Knows: the two themes, units, which colour a series has. Does not know: any figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from app import text
from core.store.database import Row

Theme = Literal["light", "dark"]

# Okabe-Ito without its yellow, which cannot be read on white; for dark the same hues, lighter.
PALETTE: dict[Theme, tuple[str, ...]] = {
    "light": ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#5C6570"),
    "dark": ("#56B4E9", "#E69F00", "#2FBF96", "#CC79A7", "#3B93CC", "#E8773A", "#98A1AB"),
}
INK: dict[Theme, dict[str, str]] = {
    "light": {
        "text": "#16191D", "muted": "#505862", "line": "#E3E6E9", "axis": "#C9CED4",
        "paper": "#FFFFFF", "accent": "#0B6E69", "good": "#17783C", "bad": "#C2312B",
        "risk": "#A85B00", "quiet": "#98A1AB",
    },
    "dark": {
        "text": "#E7E9EC", "muted": "#B0B8C1", "line": "#2B3036", "axis": "#454C54",
        "paper": "#14171A", "accent": "#4FC4BC", "good": "#55C27E", "bad": "#F0736B",
        "risk": "#E9A04A", "quiet": "#6B747D",
    },
}  # fmt: skip


PALE = 0.35
"""Opacity of the bucket that is still filling."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def template(theme: Theme) -> dict[str, Any]:
    """The one look: transparent, thin grid, one type; nothing moves."""
    ink = INK[theme]
    axis = {
        "gridcolor": ink["line"],
        "linecolor": ink["axis"],
        "zerolinecolor": ink["axis"],
        "tickcolor": ink["axis"],
        "tickfont": {"color": ink["muted"], "size": 11.5},
        "title": {"font": {"color": ink["muted"], "size": 11.5}, "standoff": 8},
        "automargin": True,
    }
    return {
        "layout": {
            "font": {
                "family": "Inter, system-ui, sans-serif", "size": 12.5, "color": ink["text"]
            },
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": list(PALETTE[theme]),
            "margin": {"l": 8, "r": 12, "t": 28, "b": 8},
            "hovermode": "x unified",
            "hoverlabel": {
                "bgcolor": ink["paper"], "bordercolor": ink["axis"],
                "font": {"color": ink["text"], "size": 12.5},
            },
            "legend": {
                "orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom",
                "font": {"color": ink["muted"], "size": 12}, "itemclick": "toggleothers",
            },
            "xaxis": {**axis, "showgrid": False, "ticks": "outside", "ticklen": 4},
            "yaxis": {**axis, "rangemode": "tozero", "nticks": 6, "showline": False},
            "bargap": 0.15,
        }
    }  # fmt: skip


def model_colours(names: Sequence[str], theme: Theme) -> dict[str, str]:
    """One colour per model, by its place in `names`: give all models in order of first use."""
    palette = PALETTE[theme]
    return {name: palette[place % len(palette)] for place, name in enumerate(names)}


def duration_scale(values: Sequence[float | None]) -> tuple[float, str]:
    """What milliseconds are divided by for an axis, and the unit then."""
    most = max((value for value in values if value is not None), default=0.0)
    return (1000.0, "s") if most >= 2000 else (1.0, "ms")


def scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value / scale


def duration(value: float | None) -> str:
    return text.NOT_ENOUGH if value is None else text.milliseconds(value)


def faded(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def safe(label: str) -> str:
    """Plotly reads a few HTML tags in texts: names that people typed show as they are."""
    return label.replace("&", "&amp;").replace("<", "&lt;")


def series_style(
    name: str, place: int, colours: Mapping[str, str], theme: Theme
) -> tuple[str, str]:
    """A known series has its colour; others share ink and differ in shade and dash."""
    if name in colours:
        return colours[name], "solid"
    ink = INK[theme]
    shades = (ink["accent"], ink["muted"], ink["risk"])
    return shades[place % len(shades)], DASHES[place % len(DASHES)]


def middles(rows: Sequence[Row], bucket: timedelta) -> list[datetime]:
    return [row["bucket"] + bucket / 2 for row in rows]


def bar_width(bucket: timedelta) -> float:
    """Of a bar, in the milliseconds that plotly's date axis counts in."""
    return bucket.total_seconds() * 1000 * 0.86


def opacities(rows: Sequence[Row], bucket: timedelta, now: datetime) -> list[float]:
    return [PALE if row["bucket"] + bucket > now else 1.0 for row in rows]


def by_series(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["series"], []).append(row)
    return found
