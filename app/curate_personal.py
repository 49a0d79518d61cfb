"""The Personal data area: each hit in its text, decided one by one or by type, then taken out.

Knows: the order of the area, the report, what is taken out. Does not know: how one hit is drawn
and decided (`personal_review`), how hits are found.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import curate_job, curate_recipe, personal_review, queries, tables, text, ui
from core.curation.steps.personal import TYPES
from core.store.database import Row

WAYS = {
    "redact": ("Redact", "the type stands in its place, as in [EMAIL]"),
    "mask": ("Mask", "its shape stays, as in a***@e***.com or **** 1234"),
    "pseudonymise": (
        "Pseudonymise",
        "the same person has the same name everywhere, as in person_0042; an admin can go back",
    ),
}
REPORT = {
    "type": tables.text("Type", width=190),
    "decision": tables.text("Decision", width=120),
    "reviewer": tables.text("Reviewer", width=140),
    "count": tables.number("Hits", width=80),
    "last_at": tables.time("Last", width=130),
}


def show(version: Row) -> None:
    """Draw the area."""
    status = curate_job.status(version)
    state = queries.read("reviews", "state", version["id"])
    if curate_job.is_running(status):
        curate_job.progress(version["id"])
    elif not state["looked"]:
        _not_yet(version)
        return
    _required(version, state)
    if not state["total"]:
        if state["looked"]:
            st.success(
                f"No personal data and no secrets were found in "
                f"{text.plural(version['row_count'], 'row')}.",
                icon=":material/check_circle:",
            )
        return
    _strip(state)
    queue, side = st.columns([3, 2], gap="medium")
    with queue:
        personal_review.queue(version)
    with side:
        _take_out(version, state)
        personal_review.types(version)
    _report(version)


def _not_yet(version: Row) -> None:
    rows = text.plural(version["row_count"], "row")
    ui.empty_state(
        "Nobody has looked for personal data yet",
        "Lathe looks for names, addresses, telephone and account numbers, birthdays, and for keys "
        "and passwords, by patterns and checksums on this machine. You then decide each hit, or a "
        "whole type at once. Nothing is changed.",
        f"Look through {rows}" if ui.may("datasets.write") else None,
        curate_job.start,
        icon=":material/shield_person:",
        args=(version["id"], ["secrets", "personal"]),
        key="personal-look",
    )


def _strip(state: dict[str, Any]) -> None:
    decided = state["total"] - state["open"]
    ui.metric_strip(
        [
            ui.Metric("Hits", text.count(state["total"]), help="Each place in a cell once"),
            ui.Metric("Undecided", text.count(state["open"])),
            ui.Metric("Accepted", text.count(state["accept"]), help="It will be taken out"),
            ui.Metric("Edited", text.count(state["edit"]), help="Another text takes its place"),
            ui.Metric("Rejected", text.count(state["reject"]), help="It stays as it is"),
        ]
    )
    st.progress(
        decided / state["total"], f"{text.count(decided)} of {text.count(state['total'])} decided"
    )


def _required(version: Row, state: dict[str, Any]) -> None:
    """The dataset's switch, and what it means for this version."""
    key = f"requires-review-{version['dataset_id']}"
    st.session_state[key] = state["required"]
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.toggle(
            "Require a review before rows leave",
            key=key,
            disabled=not ui.may("datasets.write"),
            on_change=ui.guarded(_require),
            args=(version["dataset_id"], key),
            help="Export, fine-tuning and pushes to Argilla then refuse every version of this "
            "dataset that has undecided hits, or accepted ones still in the text",
        )
        st.markdown(_badge(state), width="content")


def _badge(state: dict[str, Any]) -> str:
    left = state["accept"] + state["edit"]
    if not state["looked"]:
        return ":gray-badge[:material/search: Not looked through yet]"
    if state["open"]:
        return f":orange-badge[:material/pending: {text.count(state['open'])} undecided]"
    if left:
        return f":orange-badge[:material/pending: {text.count(left)} to take out]"
    return ":green-badge[:material/check_circle: Reviewed]"


def _require(dataset_id: str, key: str) -> None:
    required = st.session_state[key]
    ui.workbench().reviews.require(ui.actor(), dataset_id, required)
    ui.done("A review is required now" if required else "No review is required any more")


def _take_out(version: Row, state: dict[str, Any]) -> None:
    """Accepted and edited hits, onto the recipe."""
    going = state["accept"] + state["edit"]
    if not ui.may("datasets.write"):
        return
    with st.container(border=True, gap="small"):
        st.markdown("**Take them out**")
        way = st.segmented_control(
            "How",
            list(WAYS),
            format_func=lambda name: WAYS[name][0],
            default="redact",
            required=True,
            key="personal-way",
            label_visibility="collapsed",
        )
        st.caption(f"{WAYS[way][0]}: {WAYS[way][1]}.")
        st.button(
            f"{WAYS[way][0]} {text.plural(going, 'accepted hit')}",
            type="primary",
            icon=":material/playlist_add:",
            key="personal-take-out",
            disabled=not going,
            on_click=ui.guarded(_add),
            args=(version, way),
            help="Adds a step to the recipe of this version; rows change when the recipe is run. "
            "Secrets are redacted where others are given pseudonyms",
        )


def _add(version: Row, way: str) -> None:
    chosen = ui.workbench().reviews.chosen(ui.actor(), version["id"])
    curate_recipe.add(version, {"step": way, **chosen})


def _report(version: Row) -> None:
    """Who decided what, for whoever has to answer for it."""
    with st.expander("Report of this version", icon=":material/assignment:", key="personal-report"):
        rows = queries.read("reviews", "report", version["id"])
        tables.show(
            [
                {
                    **row,
                    "type": TYPES.get(row["type"], row["type"]),
                    "decision": personal_review.DECISIONS[row["decision"]],
                    "reviewer": row["reviewer"] or text.NOTHING,
                }
                for row in rows
            ],
            REPORT,
            alt="Hits by type, decision and reviewer",
            height="content" if len(rows) <= 12 else 460,
        )
        _reveal()


def _reveal() -> None:
    """From a pseudonym back to a person: for admins, written into the audit log."""
    if not ui.may("pseudonyms.reveal"):
        return
    counts = queries.read("pseudonyms", "counts")
    if not counts:
        return
    with st.form("pseudonym-reveal", border=False):
        name = st.text_input(
            "Who is behind a pseudonym",
            placeholder="person_0042",
            help=f"{text.count(sum(counts.values()))} are kept in this workspace, encrypted. Each "
            "look is written into the audit log",
            width=320,
        )
        if st.form_submit_button("Reveal", icon=":material/visibility:") and name.strip():
            with ui.errors():
                found = ui.workbench().pseudonyms.reveal(ui.actor(), name)
                st.code(found["text"], language=None)
