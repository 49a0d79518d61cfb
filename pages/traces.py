"""Traces: every request, newest first; one click opens its texts, timings and spans."""

from __future__ import annotations

import streamlit as st

from app import observe, observe_tables, panels, queries, tables, text, trace_drawer, ui
from core.monitoring.traces import list_query

PER_PAGE = 40  # with one more asked for, DuckDB still reads whole rows only for these

page = ui.page(
    "Traces", "Every request, newest first: its texts, its timings and its spans.", key="traces"
)
if observe.nothing_yet():
    trace_drawer.show(None)
    st.stop()

asked = observe.ask((*observe.EVERYWHERE, "state"), search=True)
window, filters = asked.window, asked.filters
chosen = repr((window.seconds, filters))
if st.session_state.get("traces-asked") != chosen:  # other filters start at the first page
    st.session_state["traces-asked"], st.session_state["traces-before"] = chosen, []
before: list[str] = st.session_state["traces-before"]

found = queries.read(
    "traces", "list", window, filters, before=before[-1] if before else None, limit=PER_PAGE + 1
)
rows = found[:PER_PAGE]
total = queries.read("metrics", "request_count", window, filters)
if not rows:
    observe.nothing_matches(asked)
    trace_drawer.show(None)
    st.stop()

shown = len(before) * PER_PAGE
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    st.markdown(
        f"**{text.count(shown + 1)} to {text.count(shown + len(rows))}** of "
        f"{text.plural(total, 'request')}, {asked.words}"
    )
    with st.container(horizontal=True, gap="small", width="content"):
        with st.popover("Copy as SQL", icon=":material/database:", width="content"):
            panels.copyable(list_query(window, filters, limit=PER_PAGE))
        st.button(
            "Newer", icon=":material/chevron_left:", key="newer", disabled=not before,
            on_click=before.pop,
        )  # fmt: skip
        st.button(
            "Older", icon=":material/chevron_right:", key="older", on_click=before.append,
            args=(rows[-1]["id"],), disabled=len(found) <= PER_PAGE,
        )  # fmt: skip
picked = tables.pick(
    [observe_tables.as_listed(row) for row in rows],
    observe_tables.TRACE_COLUMNS,
    key=trace_drawer.list_key("traces"),
    alt="Requests, newest first",
    height=620,
)
trace_drawer.show(picked)
