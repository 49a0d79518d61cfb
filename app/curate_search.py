"""Search in a version, by words and by meaning in one box; and what is alike to a row.

Knows: the box, the list, the drawer. Does not know: how rows are ranked.
"""

from __future__ import annotations

import streamlit as st

from app import queries, tables, text, ui
from core.datasets.values import text_of
from core.store.database import Row

HOW = {"words": "words", "meaning": "meaning", "both": "words, meaning"}


def show(version: Row) -> None:
    """Draw the view; the question is in the URL."""
    query = st.text_input(
        "Search by words and by meaning",
        key="ask",
        bind="query-params",
        icon=":material/search:",
        placeholder="A question, or words that should be there",
    )
    if not query.strip():
        st.caption(
            "Rows that have the words and rows that mean the same are ranked together. Select one "
            "to see what is nearest to it."
        )
        return
    with ui.errors(stop=True), st.spinner("Searching", show_time=True):
        found = queries.read("explore", "search", version["id"], query)
    if found["note"]:
        st.info(found["note"], icon=":material/info:")
    if not found["rows"]:
        st.info("No row has these words or means something like it.", icon=":material/filter_alt:")
        return
    columns = {
        "_number": tables.number("Row", width=60),
        "_how": tables.text("Found by", width=110),
        **{c["name"]: tables.text(c["name"]) for c in version["columns"][:5]},
    }
    rows = [
        {**row, "_number": row["row_index"] + 1, "_how": HOW[row["_by"]]} for row in found["rows"]
    ]
    picked = tables.pick(
        rows, columns, key=f"search-{version['id']}-{query}", alt="Rows found, best first",
        height="content" if len(rows) <= 12 else 460,
    )  # fmt: skip
    if picked is not None:
        ui.drawer("Row and its neighbours", clears=f"search-{version['id']}-{query}")(_neighbours)(
            version, picked
        )


def _neighbours(version: Row, row: Row) -> None:
    """The row in full, and the rows that mean the most alike."""
    names = version["inputs"] or [column["name"] for column in version["columns"]]
    st.markdown(f"**Row {text.count(row['row_index'] + 1)}**")
    for name in names:
        st.code(text_of(row[name]) or " ", language=None, wrap_lines=True)
    with ui.errors(stop=True):
        found = queries.read("explore", "neighbours", version["id"], row["row_index"])
    st.markdown("**Nearest by meaning**")
    for near in found:
        st.caption(
            f"Row {text.count(near['row_index'] + 1)}, similarity {near['_similarity']:.2f}"
            + (
                f", {text.escape(text_of(near[version['expected']]) or text.NOTHING)}"
                if version["expected"]
                else ""
            )
        )
        st.code(text_of(near[names[0]]) or " ", language=None, wrap_lines=True)
