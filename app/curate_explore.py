"""The Explore area: the map of a version, search in it, and SQL over it.

Knows: the three views. Does not know: what each of them draws.
"""

from __future__ import annotations

import streamlit as st

from app import curate_map, curate_search, curate_sql
from core.store.database import Row

MAP, SEARCH, SQL = "Map", "Search", "SQL"


def show(version: Row) -> None:
    """Draw the area; the view is in the URL."""
    view = st.segmented_control(
        "View",
        [MAP, SEARCH, SQL],
        default=MAP,
        required=True,
        key="explore",
        bind="query-params",
        label_visibility="collapsed",
    )
    if view == SEARCH:
        curate_search.show(version)
    elif view == SQL:
        curate_sql.show(version)
    else:
        curate_map.show(version)
