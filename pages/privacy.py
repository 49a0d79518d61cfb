"""Privacy: find a person in the whole workspace, erase them, and prove it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import tables, text, ui

PLACES = {
    "place": tables.text("Where", width=220),
    "count": tables.number("Found", width=80),
    "examples": tables.text("For example", width="large"),
}
CERTIFICATES = {
    "completed_at": tables.text("Completed (UTC)", width=140),
    "what": tables.text("What", width=190),
    "count": tables.number("Erased", width=70),
    "state": tables.text("Looked for again", width=130),
    "reason": tables.text("Reason", width=190),
    "by": tables.text("By", width=110),
}


def find(identifier: str) -> None:
    st.session_state["found"] = None
    with ui.errors(), st.spinner("Looking through the workspace", show_time=True):
        found = ui.workbench().erasure.find(ui.actor(), identifier)
        st.session_state["found"] = {**found, "identifier": identifier}


def erase(identifier: str) -> None:
    reason = st.session_state.get("reason", "")
    made = ui.workbench().erasure.erase(ui.actor(), identifier, reason)
    st.session_state["found"] = None
    st.cache_data.clear()  # what pages have read before is in memory
    ui.done(f"Erased: {made['id']}")


def show_found(found: dict[str, Any]) -> None:
    if not found["total"] and not found["begun"]:
        st.success("Nothing in this workspace has it.", icon=":material/check:")
        return
    rows = [{**place, "examples": "   ·   ".join(place["examples"])} for place in found["places"]]
    tables.show(rows, PLACES, alt="Places that have the identifier", height="content")
    if found["begun"]:
        st.info("An erasure of it was cut off before: erasing completes it.")
    if found["running"]:
        titles = ", ".join(text.escape(job["title"]) for job in found["running"])
        st.warning(
            f"These jobs read or hold it: {titles}. Cancel them on the Jobs page or wait, "
            "then look again."
        )
        return
    versions = sum(row["rows"] for row in found["versions"])
    st.text_input("Reason", key="reason", max_chars=500, placeholder="Request of 12 May, by letter")
    ui.confirm(
        "Erase this person",
        f"This removes **{text.plural(versions, 'row')}** from "
        f"{text.plural(len(found['versions']), 'file')} of dataset versions, clears the texts of "
        "results, traces and recipes that have it, and deletes the folders of jobs and exports "
        "that hold it. **It cannot be undone.** A certificate is written that does not name the "
        "person.",
        erase,
        key="erase",
        args=(found["identifier"],),
    )


def certificate(row: dict[str, Any]) -> None:
    shown = ui.workbench().erasure.certificate(ui.actor(), row["id"])
    st.download_button(
        "Download", shown["markdown"], file_name=f"{row['id']}.md", mime="text/markdown",
        icon=":material/download:",
    )  # fmt: skip
    st.markdown(shown["markdown"])


page = ui.page("Privacy", "Where is a person in this workspace, and are they gone?", key="privacy")
with (
    st.form("find", border=False),
    st.container(horizontal=True, vertical_alignment="bottom", gap="small"),
):
    wanted = st.text_input(
        "Name, address or number",
        placeholder="jane.doe@example.com",
        help="A whole word or words, in any case. Spaces, dashes and brackets in phone numbers "
        "do not matter. Look for each spelling of a name.",
        width=420,
    )
    asked = st.form_submit_button("Look for it", icon=":material/search:")
if asked:
    find(wanted)
if st.session_state.get("found"):
    show_found(st.session_state["found"])

st.subheader("Certificates", anchor=False)
made = [
    {
        **row,
        "completed_at": row["completed_at"][:16].replace("T", " "),
        "what": f"A person, by {row['identifier_kind']}"
        if row["kind"] == "person"
        else f"Dataset {row['dataset']}",
        "count": sum(row["found"].values()),
        "state": "nothing found" if not row["verification"]["found"] else "found again",
        "by": row["actor"]["name"],
    }
    for row in ui.workbench().erasure.certificates(ui.actor())
]
if not made:
    st.caption("Nobody has been erased yet. Each erasure leaves a certificate here.")
else:
    picked = tables.pick(
        made, CERTIFICATES, key="certificates", alt="Certificates, newest first", height="content"
    )
    if picked is not None:
        ui.drawer("Certificate", width="large", clears="certificates")(certificate)(picked)
