"""Pages of a long list: the widget, and which part of the list is shown.

Knows: how many there are and how many a page has. Does not know: what they are.
"""

from __future__ import annotations

import math
from typing import Literal

import streamlit as st

from app import text

MOST_BUTTONS = 7
BUTTON = 36
"""Pixels of one number or arrow, with the space beside it."""


def bar(
    total: int,
    per_page: int,
    what: str,
    *,
    key: str,
    bind: Literal["query-params"] | None = None,
    note: str = "",
) -> int:
    """Draw `**51 to 100** of 152 rows` and the numbers of the pages; where the page begins.

    `what` is one of them ("row"), `key` the widget's and, with `bind`, the URL's. A page behind
    the last one, as an old link may ask for, is the last one.
    """
    pages = max(1, math.ceil(total / per_page))
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        place = st.container(width="content")
        number = 1
        if pages > 1:  # by itself it makes room for one number, and hides the others
            width = BUTTON * (min(pages, MOST_BUTTONS) + 4)
            number = st.pagination(
                pages, key=key, bind=bind, max_visible_pages=MOST_BUTTONS, width=width
            )
    offset = (min(number, pages) - 1) * per_page
    place.markdown(said(offset, min(per_page, total - offset), total, what) + note)
    return offset


def said(offset: int, shown: int, total: int, what: str) -> str:
    """Which part of a list is shown, in words: Markdown."""
    if total <= 1:
        return f"**{text.plural(total, what)}**"
    first, last = text.count(offset + 1), text.count(offset + shown)
    return f"**{first} to {last}** of {text.plural(total, what)}"
