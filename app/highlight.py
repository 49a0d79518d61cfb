"""A text with places in it marked: what a finding is about, in the words around it.

    st.html(highlight.markup(text, [(10, 24)]))

A mark is a tint and an underline, so that it does not rest on colour alone. Of a very long text
the surroundings of the first place are shown.

Knows: how a mark looks. Does not know: what the places mean.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from app import text as words

Places = Iterable[tuple[int, int]]

SHOWN = 4_000
BEFORE = 600
"""Characters shown before the first place where a text is cut."""

_BOX = (
    "font-family:'JetBrains Mono',ui-monospace,monospace;font-size:0.9rem;line-height:1.55;"
    "white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4;padding:0.6rem 0.85rem;margin:0;"
    "border:1px solid rgba(128,136,146,0.35);border-radius:6px;max-height:340px;overflow:auto;"
)
_MARK = (
    "background:rgba(230,159,0,0.28);color:inherit;border-radius:3px;padding:1px 0;"
    "text-decoration:underline;text-decoration-color:rgba(230,159,0,0.95);"
    "text-decoration-thickness:2px;text-underline-offset:3px;"
)
_CUT = '<span style="opacity:0.65">{}</span>'


def markup(value: str, places: Places = ()) -> str:
    """The text as HTML, escaped, with the places marked; ones that overlap become one."""
    merged = joined(places, len(value))
    begin = max(0, merged[0][0] - BEFORE) if merged and len(value) > SHOWN else 0
    end = min(len(value), begin + SHOWN)
    parts = [_CUT.format(f"… {words.count(begin)} characters before ")] if begin else []
    at = begin
    for start, stop in merged:
        if start >= end:
            break
        stop = min(stop, end)
        parts.append(html.escape(value[at:start]))
        parts.append(f'<mark style="{_MARK}">{html.escape(value[start:stop])}</mark>')
        at = stop
    parts.append(html.escape(value[at:end]))
    if end < len(value):
        parts.append(_CUT.format(f" {words.count(len(value) - end)} characters after …"))
    empty = _CUT.format("Empty")
    # tabindex: what scrolls has to be reachable by the keyboard
    return f'<div style="{_BOX}" tabindex="0">{"".join(parts) if value else empty}</div>'


def joined(places: Places, length: int) -> Sequence[tuple[int, int]]:
    """The places in order, within the text, overlapping ones joined, empty ones left out."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(places):
        start, stop = max(0, start), min(stop, length)
        if start >= stop:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found
