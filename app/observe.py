"""What the Observe pages share: the range and the filters, in one row and in the URL.

Knows: the widgets, the windows they mean, how a change against the last period reads.
Does not know: any figure.

    asked = observe.ask()
    totals = queries.read("metrics", "totals", asked.window, asked.filters)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Any

import streamlit as st

from app import chart_style, queries, text, ui
from core.clock import utc_now
from core.monitoring.metrics import unfinished
from core.monitoring.statements import LATENCIES
from core.monitoring.window import Filters, Window
from core.store.database import Row

PERIODS = {
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
WORDS = {
    "1h": "last hour",
    "24h": "last 24 h",
    "7d": "last 7 days",
    "30d": "last 30 days",
    "90d": "last 90 days",
}
DATES = "dates"
DEFAULT = "24h"
FACET_SPAN = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Choice:
    """One filter: its label, its name in the URL, its room in pixels."""

    label: str
    key: str
    width: int


CHOICES = {
    "model_name": Choice("Model", "model_is", 145),
    "quantization": Choice("Quantization", "quantization_is", 110),
    "prompt_label": Choice("Prompt version", "prompt_is", 120),
    "source": Choice("Source", "source_is", 95),
    "state": Choice("State", "state_is", 85),
}
QUALITY = ("model_name", "quantization", "prompt_label")
EVERYWHERE = (*QUALITY, "source")
QUALITY_DIMENSIONS = ("model", "quantization", "prompt version", "engine")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the reader has chosen."""

    window: Window
    filters: Filters
    words: str
    """The range as a title says it: `last 24 h`."""
    now: datetime

    @property
    def drawn(self) -> dict[str, Any]:
        """What every figure over time needs beside its rows."""
        return {"bucket": self.window.bucket, "now": self.now, "theme": theme()}


def ask(columns: Sequence[str] = EVERYWHERE, *, search: bool = False) -> Asked:
    """The filter row; its values live in the URL and stay when one goes to another Observe page."""
    now = utc_now()
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        period = st.selectbox(
            "Range, UTC", [*PERIODS, DATES], index=list(PERIODS).index(DEFAULT), key="period",
            bind="query-params", width=95, help="dates: choose the days",
        )  # fmt: skip
        window, words = _window(period or DEFAULT, now)
        facets = queries.read("metrics", "facets", _facet_window(window))
        chosen: dict[str, tuple[str, ...]] = {}
        for column in columns:
            choice = CHOICES[column]
            picked = st.multiselect(
                choice.label, facets[column], key=choice.key, bind="query-params",
                placeholder="All", wrap=False, width=choice.width,
            )  # fmt: skip
            chosen[column] = tuple(picked)
        wanted = ""
        if search:
            wanted = st.text_input(
                "Search", key="q", bind="query-params", placeholder="Input or output", width=130
            )
    return Asked(window, Filters(search=(wanted or "").strip(), **chosen), words, now)


def theme() -> chart_style.Theme:
    """What the reader's browser shows."""
    return "dark" if st.context.theme.type == "dark" else "light"


def model_colours() -> dict[str, str]:
    """The colour every model has on every page."""
    return chart_style.model_colours(queries.read("metrics", "model_names"), theme())


def latency_metric(
    label: str, name: str, now: Row, before: Row, rows: Sequence[Row], asked: Asked
) -> ui.Metric:
    """A tile for the p95 of one latency; `not enough data` below 20 requests."""
    value, n = now[f"{name}_p95"], now[f"{name}_n"]
    about = "" if now["exact"] else "Estimated, there are very many requests. "
    return ui.Metric(
        label,
        text.milliseconds(value) if value is not None else text.NOT_ENOUGH,
        change(value, before[f"{name}_p95"]),
        None,
        "down",
        spark(rows, "p95", asked) or spark(rows, "p50", asked),
        help=f"p50 {text.milliseconds(now[f'{name}_p50'])}, "
        f"p99 {text.milliseconds(now[f'{name}_p99'])}, n {text.count(n)}. {about}"
        f"{LATENCIES[name].meaning}",
    )


def spark(rows: Sequence[Row], column: str, asked: Asked) -> list[float]:
    """The finished buckets as a sparkline; it cannot break, so buckets without a value are out."""
    done = [row[column] for row in rows if not unfinished(asked.window, row["bucket"], asked.now)]
    return [value for value in done if value is not None]


def compact(number: int) -> str:
    """Three significant figures: 845, 12.3 k, 4.56 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{text.significant(number / (1e3 if unit == 'k' else size))} {unit}"
    return text.count(number)


def against(asked: Asked) -> str:
    """What the changes in a strip are against, in words."""
    before = asked.window.previous
    return f"Changes are against the period before, from {text.absolute(before.start)}."


def change(now: float | None, before: float | None) -> float | str | None:
    """`+12 %` against the last period; None where there is nothing to compare with."""
    if now is None or not before:
        return None
    share = (now - before) / before
    if abs(share) < 0.005:
        return 0
    if abs(share) >= 10:
        return f"{'+' if share > 0 else '-'}{abs(share) + (share > 0):,.0f}×"
    return f"{share * 100:+.0f} %"


def points(now: float | None, before: float | None) -> str | None:
    """The change of a share in percentage points."""
    return None if now is None or before is None else f"{(now - before) * 100:+.1f} points"


def differ(now: Row, before: Row | None) -> bool:
    """Whether two rates are apart by more than chance makes likely: their intervals do not meet."""
    return before is not None and (now["low"] > before["high"] or now["high"] < before["low"])


def nothing_yet() -> bool:
    """True, with an invitation drawn, while no request was ever recorded."""
    if queries.read("metrics", "model_names"):
        return False
    ui.empty_state(
        "No requests yet",
        "Every request that the playground or a run sends becomes a trace: its texts, its timings "
        "and its place in these figures. Ask a model something and look here again.",
        "Open the playground" if ui.may("models.use") else None,
        open_playground,
        icon=":material/monitoring:",
    )
    return True


def open_playground() -> None:
    """Go to where the first request is one click away."""
    st.switch_page("../pages/playground.py")


def open_runs() -> None:
    """Go to where answers are scored."""
    st.switch_page("../pages/runs.py")


def only_failed(filters: Filters) -> Filters:
    """The same filters, for requests that failed."""
    return replace(filters, state=("failed",))


def nothing_matches(asked: Asked) -> None:
    """Said in place of the figures when the range and the filters leave no request."""
    st.info(
        f"No request in the {asked.words} matches these filters. "
        "Take a longer range or fewer filters.",
        icon=":material/filter_alt:",
    )


def _window(period: str, now: datetime) -> tuple[Window, str]:
    if period != DATES:
        return Window.last(PERIODS[period], now), WORDS[period]
    today = now.date()
    chosen = st.date_input(
        "Days", value=(today - timedelta(days=6), today), max_value=today, key="days",
        bind="query-params", format="YYYY-MM-DD", width=230,
    )  # fmt: skip
    days: tuple[date, ...] = chosen if isinstance(chosen, tuple) else (chosen,)
    if not days:
        days = (today,)
    start = datetime.combine(days[0], time.min)
    end = datetime.combine(days[-1], time.min) + timedelta(days=1)
    return Window.between(start, end), f"days {days[0]} to {days[-1]}"


def _facet_window(window: Window) -> Window:
    """The values on offer come from 90 days at least, so a shorter range keeps what is chosen."""
    return Window.between(min(window.start, window.end - FACET_SPAN), window.end)
