"""Tables: rows from core as a dataframe people can sort, and pick from.

Knows: column types, selection. Does not know: where the rows come from.

    columns = {"name": tables.text("Name"), "created_at": tables.time("Created")}
    row = tables.pick(rows, columns, key="prompts", alt="Prompts by name")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.text import NOTHING
from core.store.database import Row

Columns = Mapping[str, Any]

PERCENT = "%.1f %%"


def text(
    label: str,
    *,
    width: Any = None,
    pinned: bool = False,
    help: str | None = None,
    right: bool = False,
) -> Any:
    """A column of words; `right` for numbers that are shown as they are, such as a year."""
    return st.column_config.TextColumn(
        label, width=width, pinned=pinned, help=help, alignment="right" if right else None
    )


def number(label: str, *, unit: str = "", decimals: int | None = None, **options: Any) -> Any:
    """A right-aligned column of numbers, thousands separated unless it has a unit."""
    if unit or decimals is not None:
        places = "%d" if decimals == 0 else f"%.{2 if decimals is None else decimals}f"
        return st.column_config.NumberColumn(label, format=f"{places} {unit}".strip(), **options)
    return st.column_config.NumberColumn(label, format="localized", **options)


def percent(label: str, **options: Any) -> Any:
    """Shares between 0 and 1, as `text.percent` shows them; `frame` makes hundredths of them."""
    return st.column_config.NumberColumn(label, format=PERCENT, **options)


def time(label: str, **options: Any) -> Any:
    """Moments, relative to now; the cell opened shows the exact time."""
    return st.column_config.DatetimeColumn(label, format="distance", **options)


def progress(label: str, **options: Any) -> Any:
    """Shares between 0 and 1 as bars."""
    return st.column_config.ProgressColumn(
        label, min_value=0, max_value=1, format="percent", **options
    )


def badges(label: str, options: Mapping[str, str] | None = None, *, width: Any = None) -> Any:
    """Lists of words as coloured badges; `options` maps a word to its colour."""
    return st.column_config.MultiselectColumn(
        label,
        options=list(options) if options else None,
        color=list(options.values()) if options else None,
        width=width,
    )


def frame(rows: Sequence[Row], columns: Columns) -> pd.DataFrame:
    """The rows' columns in order; naive times become UTC, so browsers show them rightly, and the
    shares of `percent` hundredths; those of `progress` have three digits."""
    data = pd.DataFrame([[row.get(name) for name in columns] for row in rows], columns=[*columns])
    for name in data.columns:
        if pd.api.types.is_datetime64_any_dtype(data[name]) and data[name].dt.tz is None:
            data[name] = data[name].dt.tz_localize("UTC")
        column = columns[name]
        kind = column["type_config"] if column else {}
        if kind.get("format") == PERCENT:
            data[name] = pd.to_numeric(data[name]) * 100
        elif kind.get("type") == "progress":
            data[name] = pd.to_numeric(data[name]).round(3)
    return data


def show(rows: Sequence[Row], columns: Columns, *, alt: str, height: Any = "auto") -> None:
    """A table to read. `alt` says in a sentence what it holds, for screen readers."""
    st.dataframe(
        frame(rows, columns),
        column_config=dict(columns),
        hide_index=True,
        placeholder=NOTHING,
        alt=alt,
        height=height,
    )


def pick(
    rows: Sequence[Row], columns: Columns, *, key: str, alt: str, height: Any = "auto"
) -> Row | None:
    """A table of which one row can be selected; the selected row, or None.

    The selection stays: a drawer that shows it clears it when it is closed, `ui.drawer(clears=)`.
    """
    event = st.dataframe(
        frame(rows, columns),
        column_config=dict(columns),
        hide_index=True,
        key=key,
        on_select="rerun",
        selection_mode="single-row",
        placeholder=NOTHING,
        alt=alt,
        height=height,
    )
    selected = event["selection"]["rows"]
    return rows[selected[0]] if selected and selected[0] < len(rows) else None


def unpick(key: str) -> None:
    """Clear the selection of `pick`; in a callback, before the table is drawn again."""
    st.session_state[key] = {"selection": {"rows": [], "columns": [], "cells": []}}
