"""The audit log: who did what, when."""

from __future__ import annotations

import json

import streamlit as st

from app import queries, tables, text, ui
from core.governance.permissions import ACTIONS, OWNER
from core.store.database import Row

PAGE_SIZE = 100
COLUMNS = {
    "recorded_at": tables.time("When", width=120),
    "who": tables.text("Who", width=120),
    "action": tables.text("Action", width=160),
    "object_id": tables.text("Object", width=210),
    "detail": tables.text("Detail", width="large"),
}


def who(row: Row) -> str:
    if row["user_id"] == OWNER.id:
        return OWNER.name
    return row["user_name"] or "the system"


page = ui.page("Audit log", "Who changed what, and when. Nothing is ever removed.", key="audit")

nouns = sorted({name.split(".")[0] for name in ACTIONS})
left, right = st.columns([1, 3])
noun = left.selectbox(
    "About", nouns, index=None, placeholder="Everything", key="about", bind="query-params"
)
pages = st.session_state.setdefault("audit-pages", [None])
if st.session_state.get("audit-noun") != noun:
    pages[:] = [None]
    st.session_state["audit-noun"] = noun

rows = queries.read(
    "audit",
    "list",
    action_prefix=f"{noun}." if noun else "",
    before=pages[-1],
    limit=PAGE_SIZE,
)
if not rows:
    st.info("Nothing has been recorded here yet.", icon=":material/history:")
    st.stop()

shown = [
    {
        **row,
        "who": who(row),
        "detail": "  ".join(f"{k}: {v}" for k, v in json.loads(row["detail"] or "{}").items()),
    }
    for row in rows
]
tables.show(
    shown, COLUMNS, alt="Audit log, newest first", height="content" if len(rows) < 16 else 560
)

with st.container(horizontal=True, vertical_alignment="center"):
    newer = st.button("Newer", icon=":material/chevron_left:", disabled=len(pages) == 1)
    older = st.button("Older", icon=":material/chevron_right:", disabled=len(rows) < PAGE_SIZE)
    st.caption(f"Page {len(pages)}, {text.plural(len(rows), 'line')}")
if newer:
    pages.pop()
    st.rerun()
if older:
    pages.append(rows[-1]["id"])
    st.rerun()
