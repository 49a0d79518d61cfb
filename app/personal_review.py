"""One hit of personal data or a secret at a time: in its text, with keys to decide it.

    A accept   X reject   E edit   U undo   J next   K previous

Streamlit keeps R for itself.

Knows: the queue, the keys, deciding by type. Does not know: how hits are found or taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import highlight, queries, text, ui
from core.curation.cells import KEY
from core.curation.steps.personal import TYPES
from core.store.database import Row

DECISIONS = {
    "open": "Undecided",
    "accept": "Accepted",
    "edit": "Edited",
    "reject": "Rejected",
}
MANY, TALL = 7, 520
"""From how many types on their list scrolls, and its height."""
COLOURS = {"high": "red", "medium": "orange", "low": "gray"}


def queue(version: Row) -> None:
    """The hit that is up, its text, and the buttons; what was chosen stays over reruns."""
    counts = queries.read("reviews", "counts", version["id"])
    decision, types, total = _filters(counts)
    if not total:
        done = decision == "open" and not types
        st.success(
            "Every hit is decided." if done else "No hit of these types is in this state.",
            icon=":material/check_circle:" if done else ":material/filter_alt:",
        )
        if ui.may("datasets.write"):
            _undo_button(version)
        return
    at = min(max(st.session_state.get("personal-at", 0), 0), total - 1)
    st.session_state["personal-at"] = at
    [hit] = queries.read(
        "reviews", "queue", version["id"], types=types, decision=decision, offset=at, limit=1
    )
    with st.container(border=True, gap="small"):
        _head(hit, at, total)
        _text(hit)
        if ui.may("datasets.write"):
            if st.session_state.get("personal-editing") == hit["id"]:
                _edit(version, hit)
            else:
                _buttons(version, hit)


def types(version: Row) -> None:
    """Each type with its counts, and the button that decides what is open of it."""
    rows = queries.read("reviews", "counts", version["id"])
    with st.container(border=True, gap="small", height=TALL if len(rows) > MANY else "content"):
        st.markdown("**By type**")
        for row in rows:
            said, accept, reject = st.columns([5, 3, 3], vertical_alignment="center", gap="xsmall")
            said.markdown(_said(row))
            if not row["open"] or not ui.may("datasets.write"):
                continue
            for column, decision, verb in (
                (accept, "accept", "Accept"),
                (reject, "reject", "Reject"),
            ):
                column.button(
                    verb,
                    key=f"personal-all-{decision}-{row['type']}",
                    width="stretch",
                    on_click=ui.guarded(_decide_type),
                    args=(version["id"], row["type"], decision),
                    help=f"{verb}s the {text.count(row['open'])} undecided of this type; "
                    "Undo takes it back",
                )


def _said(row: Row) -> str:
    """A type and how far it is, in Markdown."""
    parts = [
        f"{text.count(row[name])} {word.lower()}" for name, word in DECISIONS.items() if row[name]
    ]
    return f"{text.escape(TYPES.get(row['type'], row['type']))}  \n:gray[{' · '.join(parts)}]"


def _filters(counts: list[Row]) -> tuple[str, list[str], int]:
    """Which hits the queue has: their state, their types, how many there are."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        decision = st.selectbox(
            "Show", list(DECISIONS), format_func=DECISIONS.__getitem__, key="personal-show",
            width=150, on_change=_first,
        )  # fmt: skip
        chosen = st.multiselect(
            "Types",
            [row["type"] for row in counts],
            format_func=lambda name: TYPES.get(name, name),
            key="personal-types",
            placeholder="All types",
            width="stretch",
            on_change=_first,
        )
    total = sum(row[decision] for row in counts if not chosen or row["type"] in chosen)
    return decision, chosen, total


def _head(hit: Mapping[str, Any], at: int, total: int) -> None:
    label = TYPES.get(hit["type"], hit["type"])
    st.markdown(
        f":{COLOURS[hit['severity']]}-badge[{text.escape(label)}]  "
        f"Row {text.count(hit['row_index'] + 1)} · {text.code(_place(hit))}  "
        f":gray[· {hit['score'] * 100:.0f} % sure]"
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{text.count(at + 1)}** of {text.count(total)}", width="stretch")
        ui.neighbours(at, total, key="personal", on_move=_move)


def _place(hit: Mapping[str, Any]) -> str:
    *way, last = (hit["column"], *hit["path"])
    if last == KEY:
        return f"{'.'.join(map(str, way))}, the key"
    return ".".join(map(str, (*way, last)))


def _text(hit: Mapping[str, Any]) -> None:
    places = [(span["start"], span["end"]) for span in hit["spans"]]
    before, after = hit["cut"]
    lead, tail = "… " if before else "", " …" if after else ""
    moved = [(start + len(lead), end + len(lead)) for start, end in places]
    st.html(highlight.markup(f"{lead}{hit['text']}{tail}", moved))
    if hit["decision"] != "open":
        note = f" Note: {text.escape(hit['note'])}" if hit["note"] else ""
        put = f": {text.code(hit['replacement'])}" if hit["replacement"] is not None else ""
        st.caption(f"{DECISIONS[hit['decision']]}{put}.{note}")


def _buttons(version: Row, hit: Mapping[str, Any]) -> None:
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Accept", type="primary", icon=":material/check:", key="personal-accept", shortcut="A",
            on_click=ui.guarded(_decide), args=(version["id"], hit["id"], "accept"),
            help="It is personal data or a secret: it will be taken out",
        )  # fmt: skip
        st.button(
            "Reject", icon=":material/close:", key="personal-reject", shortcut="X",
            on_click=ui.guarded(_decide), args=(version["id"], hit["id"], "reject"),
            help="It is none, or may stay",
        )  # fmt: skip
        st.button(
            "Edit", icon=":material/edit:", key="personal-edit", shortcut="E",
            on_click=_start_edit, args=(hit["id"],), help="Write what is to stand in its place",
        )  # fmt: skip
        _undo_button(version)


def _undo_button(version: Row) -> None:
    st.button(
        "Undo", icon=":material/undo:", key="personal-undo", shortcut="U",
        on_click=ui.guarded(_undo), args=(version["id"],),
        help="Takes back your last decision, or the last many made at once",
    )  # fmt: skip


def _edit(version: Row, hit: Mapping[str, Any]) -> None:
    """The text that takes the place of a hit."""
    with st.form("personal-edit-form", border=False):
        put = st.text_input("In its place", hit["replacement"] or "", max_chars=2_000)
        note = st.text_input("Note", hit["note"], max_chars=500)
        with st.container(horizontal=True, gap="small"):
            saved = st.form_submit_button("Save edit", type="primary", icon=":material/check:")
            left = st.form_submit_button("Cancel")
    if saved:
        with ui.errors():
            ui.workbench().reviews.decide(
                ui.actor(), version["id"], hit["id"], "edit", replacement=put, note=note
            )
            st.session_state.pop("personal-editing", None)
            st.rerun()
    if left:
        st.session_state.pop("personal-editing", None)
        st.rerun()


def _start_edit(hit_id: str) -> None:
    st.session_state["personal-editing"] = hit_id


def _decide(version_id: str, hit_id: str, decision: str) -> None:
    ui.workbench().reviews.decide(ui.actor(), version_id, hit_id, decision)


def _decide_type(version_id: str, type_: str, decision: str) -> None:
    count = ui.workbench().reviews.decide_type(ui.actor(), version_id, type_, decision)
    ui.done(f"{text.plural(count, 'hit')} {decision}ed")


def _undo(version_id: str) -> None:
    taken = ui.workbench().reviews.undo(ui.actor(), version_id)
    ui.done(f"{text.plural(len(taken), 'decision')} taken back" if taken else "Nothing to undo")


def _move(step: int) -> None:
    st.session_state["personal-at"] += step
    st.session_state.pop("personal-editing", None)


def _first() -> None:
    st.session_state["personal-at"] = 0
