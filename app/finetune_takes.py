"""What a fine-tune takes: rows, steps, minutes, memory with its parts, and what would lessen it.

Knows: how a forecast reads. Does not know: how it is made.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence

import streamlit as st

from app import observe, queries, text, ui
from app.chart_style import INK
from core.store.database import Row

SHADES = (0.95, 0.7, 0.5, 0.35, 0.22, 0.14)


def draw(config: Row, report: Row | None, *, on_apply: Callable[[Row], None]) -> Row | None:
    """Tiles, bar and levers; the outline, None where the config cannot be.

    `report` is of the check that was made for just this config."""
    st.markdown("##### What it takes")
    outline = None
    with ui.errors():
        outline = queries.read("finetunes", "outline", config)
    if outline is None:
        return None
    if outline.get("why_not"):
        st.warning(text.escape(outline["why_not"]), icon=":material/block:")
    forecast = (report or {}).get("memory")  # by the rows as they are
    with ui.errors():
        forecast = forecast or ui.workbench().finetunes.forecast(ui.actor(), config)
    ui.metric_strip(tiles(config, outline, forecast, report))
    if forecast is not None:
        memory(forecast, on_apply)
    return dict(outline)


def combinations(config: Row) -> int:
    """How many fine-tunes a sweep makes."""
    count = 1
    for tried in config["sweep"].values():
        count *= max(1, len(tried))
    return count


def tiles(config: Row, outline: Row, forecast: Row | None, report: Row | None) -> list[ui.Metric]:
    """Rows, steps, memory, time."""
    held, count = outline.get("eval_rows"), combinations(config)
    steps = (report or outline).get("steps")
    return [
        ui.Metric(
            "Rows: trained on / held out",
            f"{text.count(outline.get('train_rows'))} / {text.count(held)}",
            help="Held-out rows are never trained on",
        ),
        ui.Metric(
            "Steps", text.count(steps) + (f" × {count}" if count > 1 else ""),
            help="Times the adapter is changed: rows x epochs / (batch x accumulation)",
        ),
        ui.Metric(
            "Memory, forecast", text.size(forecast["total_bytes"]) if forecast else text.NOTHING,
            delta=None if forecast is None or forecast["fits"] else "does not fit",
            good="down",
            help=f"Of {text.size(forecast['free_bytes'])} free. "
            f"{'By the rows as they are' if report else 'If every row were the longest allowed'}."
            if forecast else None,
        ),
        _time(report, count),
    ]  # fmt: skip


def _time(report: Row | None, count: int) -> ui.Metric:
    estimate = (report or {}).get("seconds_estimate")
    if not estimate:
        return ui.Metric(
            "Time", "not measured",
            help="“Check and measure” times a few real steps with these settings on this machine.",
        )  # fmt: skip
    return ui.Metric(
        "Time, measured here", text.about(estimate * count),
        help="From a few real steps on this machine; evaluations and loading included.",
    )  # fmt: skip


def start_label(config: Row, outline: Row, report: Row | None) -> str:
    """`Start 48 steps, about 4 min`, or `Start 6 fine-tunes`."""
    count = combinations(config)
    estimate = (report or {}).get("seconds_estimate")
    takes = f", {text.about(estimate * count)}" if estimate else ""
    if count > 1:
        return f"Start {text.plural(count, 'fine-tune')}{takes}"
    steps = (report or outline).get("steps")
    return f"Start {text.plural(steps, 'step')}{takes}" if steps else "Start"


def memory(forecast: Row, on_apply: Callable[[Row], None]) -> None:
    """One bar of all the parts against what is free, its legend, and the levers."""
    st.html(bar(forecast["parts"], forecast["total_bytes"], forecast["free_bytes"]))
    levers = forecast["levers"]
    if not levers:
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        words = "It would fit with" if not forecast["fits"] else "It would take less with"
        st.markdown(f":gray[{words}]", width="content")
        for number, lever in enumerate(levers):
            st.button(
                f"{text.escape(lever['words'])} · −{text.size(lever['saves_bytes'])}",
                key=f"lever-{number}", on_click=ui.guarded(on_apply), args=(lever["changes"],),
                type="secondary",
            )  # fmt: skip


def bar(parts: Sequence[Row], total: float, free: float) -> str:
    """The parts in shades of the accent on a track as long as what is free; the legend in words."""
    room = max(total, free, 1)
    colour = INK[observe.theme()]["accent" if total <= free else "bad"]
    pieces, legend = [], []
    for place, part in enumerate(sorted(parts, key=lambda one: -one["bytes"])):
        shade = SHADES[min(place, len(SHADES) - 1)]
        style = f"background:{colour};opacity:{shade};"
        name, size = html.escape(str(part["name"])), text.size(part["bytes"])
        pieces.append(
            f'<span title="{name}: {size}" style="{style}width:{100 * part["bytes"] / room:.3f}%;'
            f'display:inline-block;height:100%"></span>'
        )
        legend.append(
            f'<span style="white-space:nowrap"><span style="{style}display:inline-block;width:10px;'
            f'height:10px;border-radius:2px;margin-right:6px"></span>{name} '
            f"<b>{size}</b></span>"
        )
    said = f"{text.size(total)} of {text.size(free)} free"
    return (
        f'<div role="img" aria-label="Memory: {said}" style="height:14px;border-radius:4px;'
        "overflow:hidden;white-space:nowrap;font-size:0;background:rgba(128,136,146,0.22);"
        f'line-height:0">{"".join(pieces)}</div>'
        '<div style="display:flex;flex-wrap:wrap;gap:4px 18px;font-size:0.86rem;margin-top:8px;'
        f'font-variant-numeric:tabular-nums">{"".join(legend)}'
        f'<span style="margin-left:auto;opacity:0.75">{said}</span></div>'
    )
