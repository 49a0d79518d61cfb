"""Rows on a terminal: columns that line up, or JSON for programs.

Knows: widths and plain text. Does not know: what the rows are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

WIDEST = 60
Rows = Sequence[Mapping[str, Any]]


def show(rows: Rows, columns: Mapping[str, str], *, as_json: bool, empty: str) -> str:
    """The rows as text: `columns` maps a key to its heading; JSON has every key."""
    if as_json:
        return to_json(list(rows))
    return table(rows, columns) if rows else empty


def to_json(value: Any) -> str:
    """Any value as indented JSON; times are ISO 8601 in UTC, what JSON lacks is text."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=_plain)


def table(rows: Rows, columns: Mapping[str, str]) -> str:
    """A heading and one line per row, numbers to the right."""
    cells = [[cell(row.get(key)) for key in columns] for row in rows]
    headings = list(columns.values())
    widths = [
        max(len(line[at]) for line in [headings, *cells]) for at in range(len(headings))
    ]  # fmt: skip
    right = [any(_is_number(row.get(key)) for row in rows) for key in columns]
    return "\n".join(
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [headings, *cells]
    )


def cell(value: Any) -> str:
    """One value as it stands in a table: short, on one line."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, float):
        return f"{value:,.3g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        value = ", ".join(str(item) for item in value)
    text = " ".join(str(value).split())
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat() + "Z"
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return str(value)
