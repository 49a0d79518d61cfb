"""Looking for faults in a version: the button that starts it, how far it is, what did not work.

Knows: an analysis as a job. Does not know: what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app import curate_options, job_progress, text, ui
from core.store.database import Row

SENTENCE = (
    "Lathe looks for duplicates, keys and personal data, labels that the rest of the data speaks "
    "against, broken encoding, rows in another language or unlike all others, thin and repetitive "
    "text, and leakage into other datasets. Nothing is changed."
)


def status(version: Row) -> dict[str, Any]:
    """What has been looked for; it lives in files, so it is never cached."""
    found: dict[str, Any] = ui.workbench().curation.status(ui.actor(), version["id"])
    return found


def is_running(found: dict[str, Any]) -> bool:
    """Whether a job is at it."""
    return job_progress.is_going(found["job"])


def first(version: Row, key: str) -> None:
    """The state before anybody has looked: what would be done, and the button."""
    estimate = ui.workbench().curation.estimate(
        ui.actor(), version["id"], options=curate_options.chosen(version["id"])
    )
    rows = text.plural(estimate["row_count"], "row")
    may = ui.may("datasets.write")
    ui.empty_state(
        "Nobody has looked at these rows yet",
        f"{SENTENCE} It takes {text.about(estimate['seconds'])} on a machine like this, in the "
        "background; it can be stopped, and goes on where it was.",
        f"Look for faults in {rows}" if may else None,
        start,
        icon=":material/troubleshoot:",
        args=(version["id"],),
        key=key,
    )
    if may:
        with st.container(horizontal=True, horizontal_alignment="center"):
            curate_options.popover(version, {"parts": []})


def start(version_id: str, detectors: list[str] | None = None, *, again: bool = False) -> None:
    """Begin, as a job, with the options that were chosen last for this version; for callbacks."""
    ui.workbench().curation.analyse(
        ui.actor(), version_id, detectors=detectors, again=again,
        options=curate_options.chosen(version_id),
    )  # fmt: skip


@st.fragment(run_every=1)
def progress(version_id: str) -> None:
    """How far the job is; when it has ended the page is drawn anew."""
    found = ui.workbench().curation.status(ui.actor(), version_id)
    if not is_running(found):
        st.rerun()
    queued = found["job"]["state"] == "queued"
    job_progress.bar(
        found["job"], "Waiting for another analysis to end" if queued else "Looking",
        key="analysis-stop", help="What is done is kept; looking again goes on from there",
    )  # fmt: skip


def notes(version: Row, found: dict[str, Any], names: Sequence[str]) -> None:
    """Which of these parts were not done, and why, with the way to try again; nothing where all
    is well."""
    if is_running(found):
        return
    parts = [part for part in found["parts"] if part["name"] in names]
    failed = [part for part in parts if part["state"] == "failed"]
    left = [part for part in parts if part["state"] == "none"]
    if not failed and not left:
        return
    with st.container(border=True, gap="small"):
        for part in failed:
            error = part["error"]
            hint = f" {text.escape(error['hint'])}" if error.get("hint") else ""
            st.markdown(
                f":orange[:material/warning:] **{part['label']}**: "
                f"{text.escape(error['message'])}{hint}"
            )
        if left:
            names = ", ".join(part["label"].lower() for part in left)
            st.markdown(f":material/pending: Not looked for yet: {names}.")
        if ui.may("datasets.write"):
            st.button(
                "Look for these too" if left else "Try again",
                icon=":material/troubleshoot:",
                key="analysis-rest",
                on_click=ui.guarded(start),
                args=(version["id"], [part["name"] for part in (*failed, *left)]),
            )
