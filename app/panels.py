"""A panel: a title that states the question, its figure, the table behind it, the SQL behind that.

Knows: how a panel is laid out. Does not know: what it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app import tables
from core.monitoring.window import Query
from core.store.database import Row

CHART, TABLE, SQL = ":material/show_chart:", ":material/table_rows:", ":material/database:"
CONFIG = {"displayModeBar": False, "scrollZoom": False}
HOW_TO = (
    "Lathe keeps its database open: run this on a copy of `lathe.duckdb`, or in Python with "
    "`workbench.store.frame(sql)`."
)


def copyable(query: Query) -> None:
    """The statement with its values written in, and where it runs."""
    st.code(query.text(), language="sql", wrap_lines=True, height=280)
    st.caption(HOW_TO)


@st.fragment
def chart(
    title: str,
    figure: Any,
    *,
    rows: Sequence[Row],
    columns: tables.Columns,
    key: str,
    query: Query | None = None,
    note: str | None = None,
    alt: str | None = None,
) -> None:
    """A figure with its table and its SQL one click away. `alt` says more than the title can."""
    views = {CHART: "Chart", TABLE: "Table", **({SQL: "SQL"} if query else {})}
    with st.container(border=True, gap="xsmall", height="stretch"):
        view = _head(title, views, key)
        if view == TABLE:
            tables.show(rows, columns, alt=f"Table: {title}", height=figure.layout.height)
        elif view == SQL and query is not None:
            copyable(query)
        else:
            st.plotly_chart(figure, theme=None, key=key, config=CONFIG, alt=alt or title)
        if note:
            st.caption(note)


@st.fragment
def table(
    title: str,
    rows: Sequence[Row],
    columns: tables.Columns,
    *,
    key: str,
    query: Query | None = None,
    note: str | None = None,
) -> None:
    """A table with its SQL one click away."""
    with st.container(border=True, gap="xsmall", height="stretch"):
        view = _head(title, {TABLE: "Table", SQL: "SQL"}, key) if query else None
        if query is None:
            st.markdown(f"**{title}**")
        if view == SQL and query is not None:
            copyable(query)
        else:
            tables.show(rows, columns, alt=title, height="content")
        if note:
            st.caption(note)


def _head(title: str, views: dict[str, str], key: str) -> str:
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", wrap=False
    ):
        st.markdown(f"**{title}**")
        chosen = st.segmented_control(
            f"Show “{title}” as",
            list(views),
            default=next(iter(views)),
            required=True,
            key=f"{key}-view",
            label_visibility="collapsed",
            help=" · ".join(views.values()),
        )
    return chosen or next(iter(views))
