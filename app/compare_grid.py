"""The grid of Compare: rows x variants as one table, three lines a cell, a click opens the row.

A component of its own, because no native element has mono text of three lines, marks in words
and colour, and a click, in one table of hundreds of cells. It is given records and makes text
nodes of them: what a model wrote is never markup. Colours and fonts are the theme's own.

    compare_grid.show(page["rows"], variants, baseline_id, key="grid", on_open=open_row)

Knows: marks, words, the table. Does not know: which rows, nor what opens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from app import text
from core.settings import PROJECT_ROOT
from core.store.database import Row

LETTERS = "ABCDEFGHIJKL"
FOLDER = PROJECT_ROOT / "app"

MARKS = {
    # verdict: (sign, word, tone)
    "passed": ("✓", "passed", "good"),
    "failed": ("✗", "failed", "bad"),
    "error": ("!", "error", "bad"),
    "none": ("–", "not judged", "quiet"),
    "waiting": ("…", "no answer yet", "quiet"),
}
CHANGES = {"fixed": ("▲", "fixed", "good"), "broke": ("▼", "broke", "bad")}

Mark = tuple[str, str, str]

_component: Any = None


def show(
    rows: Sequence[Row],
    variants: Sequence[Row],
    baseline_id: str | None,
    *,
    key: str,
    on_open: Callable[[str], None],
    has_expected: bool = True,
) -> None:
    """Draw the table; `on_open` is called with the row's id before the next run."""
    global _component
    if _component is None:  # registered once in a process, when Streamlit is there
        _component = st.components.v2.component(
            "lathe_compare_grid",
            html='<div class="grid"></div>\n',
            css=(FOLDER / "compare_grid.css").read_text(),
            js=(FOLDER / "compare_grid.js").read_text(),
        )

    def opened() -> None:
        row_id = getattr(st.session_state[key], "open", None)
        if row_id:
            on_open(str(row_id))

    _component(
        key=key, data=data(rows, variants, baseline_id, has_expected=has_expected),
        on_open_change=opened,
    )  # fmt: skip


def data(
    rows: Sequence[Row],
    variants: Sequence[Row],
    baseline_id: str | None,
    *,
    has_expected: bool = True,
) -> Row:
    """What the table shows, as JSON."""
    return {
        "expected": has_expected,
        "variants": [
            {"letter": LETTERS[n], "name": v["name"], "baseline": v["id"] == baseline_id}
            for n, v in enumerate(variants)
        ],
        "rows": [
            {
                "id": row["row_id"],
                "number": text.count(row["row_index"] + 1),
                "input": row["input_preview"] or "",
                "expected": row["expected"] if row["expected"] is not None else text.NOTHING,
                "cells": [_cell(row["cells"].get(variant["id"])) for variant in variants],
            }
            for row in rows
        ],
    }


def verdict(cell: Row | None) -> Mark:
    """Sign, word and tone of a result."""
    if cell is None:
        return MARKS["waiting"]
    if cell["state"] == "failed":
        return MARKS["error"]
    if cell["passed"] is None:
        return MARKS["none"]
    return MARKS["passed" if cell["passed"] else "failed"]


def change(cell: Row | None) -> Mark | None:
    """Sign, word and tone of the change against the baseline; None for the same and unknown."""
    return CHANGES.get(cell["change"] or "") if cell else None


def _cell(cell: Row | None) -> Row:
    changed = change(cell)
    output, quiet = "", cell is None
    if cell is not None:
        output = cell["error"] if cell["state"] == "failed" else cell["output"] or ""
        if not output:
            output, quiet = "(empty answer)", True
    return {
        "marks": [verdict(cell), *([changed] if changed else [])],
        "text": output,
        "quiet": quiet,
        "time": text.milliseconds(cell["e2e_ms"]) if cell and cell["e2e_ms"] is not None else "",
        "why": _why(cell),
    }


def _why(cell: Row | None) -> str:
    """The explanations of what did not pass: shown on hover."""
    scores = cell["scores"] if cell else {}
    told = [f"{name}: {s['explanation']}" for name, s in scores.items() if s["explanation"]]
    return "\n".join(told)
