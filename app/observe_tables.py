"""The tables of the Observe pages: their columns, and rows as those columns want them.

Knows: labels, units, which series get a line. Does not know: where rows come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app import tables, text
from core.monitoring.metrics import ENOUGH, ENOUGH_SCORES
from core.monitoring.statements import LATENCIES, SHARES, Latency
from core.store.database import Row

MOST_LINES = 7
THIN = (
    f"A percentile is left out below {ENOUGH['p50']} (p50), {ENOUGH['p95']} (p95) or "
    f"{ENOUGH['p99']} (p99) succeeded requests."
)
BANDS = f"Bands are 95 % intervals; a rate is left out below {ENOUGH_SCORES} scored answers."
STATE_COLOURS = {"ok": "green", "failed": "red", "cancelled": "gray"}


def milliseconds(label: str, **options: Any) -> Any:
    """Right-aligned, in whole milliseconds, sortable."""
    return tables.number(label, unit="ms", decimals=0, **options)


def seconds(label: str, **options: Any) -> Any:
    """Right-aligned, for values in seconds."""
    return tables.number(label, unit="s", decimals=2, **options)


BUCKET = st.column_config.DatetimeColumn("From, UTC", format="YYYY-MM-DD HH:mm", timezone="UTC")
COUNT_COLUMNS = {
    "bucket": BUCKET,
    "request_count": tables.number("Requests"),
    "error_count": tables.number("Failed"),
    "cancelled_count": tables.number("Cancelled"),
    "met_count": tables.number("Met target"),
    "prompt_token_count": tables.number("Tokens in"),
    "completion_token_count": tables.number("Tokens out"),
}
LATENCY_COLUMNS = {
    "bucket": BUCKET,
    "n": tables.number("Requests"),
    "p50": milliseconds("p50"),
    "p95": milliseconds("p95"),
    "p99": milliseconds("p99"),
}
RATE_COLUMNS = {
    "bucket": BUCKET,
    "series": tables.text("Scorer"),
    "n": tables.number("Scored"),
    "passed": tables.number("Passed"),
    "rate": tables.percent("Pass rate"),
    "low": tables.percent("Low"),
    "high": tables.percent("High"),
}
FAILURE_COLUMNS = {
    "started_at": tables.time("Started", width=110),
    "model": tables.text("Model", width=190, help="Model and quantization"),
    "prompt_label": tables.text("Prompt", width=95),
    "error": tables.text("Error", width=250),
    "input_preview": tables.text("Input", width="medium"),
}
TRACE_COLUMNS = {
    "started_at": tables.time("Started", width=110),
    "state": tables.badges("State", STATE_COLOURS, width=80),
    "model": tables.text("Model", width=185, help="Model and quantization"),
    "prompt_label": tables.text("Prompt", width=90),
    "ttft_ms": milliseconds("TTFT", width=70, help=LATENCIES["ttft"].meaning),
    "e2e_s": seconds("E2E", width=65, help=LATENCIES["e2e"].meaning),
    "input_preview": tables.text("Input", width=140),
    "output_preview": tables.text("Output", width=100),
}


def by_columns(
    dimension: str, latencies: Sequence[str], metric: str | None = None, share: str = "p95"
) -> tables.Columns:
    """One row per value of the dimension: every latency at one percentile, one at all of them."""
    columns = {
        "series": tables.text(dimension.capitalize(), width="medium"),
        "request_count": tables.number("Requests", width="small"),
        "error_share": tables.percent("Failed", width="small"),
        "completion_token_count": tables.number("Tokens out", width="small"),
    }
    if metric is not None:
        del columns["completion_token_count"]
    for name in latencies:
        for each in SHARES if name == metric else (share,):
            column = seconds if name == "e2e" else milliseconds
            columns[f"{name}_{each}"] = column(
                f"{LATENCIES[name].title} {each}", width="small", help=LATENCIES[name].meaning
            )
    return columns


def thin(rows: Sequence[Row]) -> str | None:
    """Why parts of lines are missing, when they are."""
    missing = any(row["n"] and row[share] is None for row in rows for share in SHARES)
    return THIN if missing else None


def in_words(row: Row) -> Row:
    """A row of `metrics.latency_by` as its columns want it."""
    e2e = {name: _seconds(row[name]) for name in (f"e2e_{share}" for share in SHARES)}
    return {**row, **e2e, "error_share": row["error_count"] / row["request_count"]}


def as_listed(row: Row) -> Row:
    """A trace as a line of a list."""
    parts = [row["model_name"], row["quantization"]]
    return {
        **row,
        "state": [row["state"]],
        "model": " · ".join(part for part in parts if part) or text.NOTHING,
        "e2e_s": _seconds(row["e2e_ms"]),
    }


def trace_columns(latency: Latency) -> tables.Columns:
    """A short list of traces that says one latency."""
    e2e = latency.column == "e2e_ms"
    return {
        "started_at": tables.time("Started", width=110),
        "e2e_s" if e2e else latency.column: (seconds if e2e else milliseconds)(
            latency.title, width=85, help=latency.meaning
        ),
        "model": tables.text("Model", width=190, help="Model and quantization"),
        "prompt_label": tables.text("Prompt", width=95),
        "prompt_token_count": tables.number("Tokens in", width=75),
        "completion_token_count": tables.number("Tokens out", width=80),
        "input_preview": tables.text("Input", width=200),
    }


def _seconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else value_ms / 1000


def busiest(split: Sequence[Row], ranked: Sequence[Row]) -> list[Row]:
    """The rows of the first series of a ranking, as many as a chart can tell apart, by name."""
    names = {row["series"] for row in ranked[:MOST_LINES]}
    return [row for row in split if row["series"] in names]


def left_out(split: Sequence[Row], kept: Sequence[Row]) -> str | None:
    """What a chart says when it does not show every series."""
    missing = len({row["series"] for row in split}) - len({row["series"] for row in kept})
    if not missing:
        return None
    return f"The first {MOST_LINES}; {missing} more are in the table."
