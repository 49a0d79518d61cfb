"""An import that is a job: how far it is, and the new version that waits until its diff was seen.

Knows: jobs of one kind, staged versions. Does not know: files, how rows differ: dataset_diff does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import streamlit as st

from app import dataset_diff, job_progress, tables, text, ui
from core.errors import from_dict
from core.store.database import Row

JOB, OPEN = "import-job", "staged-open"
FAULT_COLUMNS = {
    "row": tables.number("Row", width=60, help="The first row is 1; a header is not counted"),
    "line": tables.number("Line", width=60, help="Where the row starts in the file"),
    "field": tables.text("Field", width=110),
    "message": tables.text("What is wrong", width=250),
    "hint": tables.text("What to do", width=210),
}


@st.fragment(run_every=1.0)
def progress(job_id: str, leave: Callable[[dict[str, Any]], None]) -> None:
    """How far an import is; `leave` is called with its outcome when it has succeeded."""
    workbench, actor = ui.workbench(), ui.actor()
    job = workbench.jobs.get(actor, job_id)
    if job["state"] == "succeeded":
        leave(workbench.datasets.import_outcome(actor, job_id))
        return
    st.markdown(f"{text.state_badge(job['state'])} {text.escape(job['title'])}")
    if job_progress.is_going(job):
        job_progress.bar(job, "Begins", key="import-cancel", stop="Cancel import")
        st.caption("It goes on when this is closed; the Jobs page shows it.")
        return
    _ended(job)


def waiting(dataset: Row, opened: Callable[[Row], None]) -> None:
    """What waits for this dataset, each with its counts and a way to see and decide it."""
    if dataset["archived_at"] is not None:
        return
    for staged in ui.workbench().datasets.staged(ui.actor(), dataset["id"]):
        with (
            st.container(border=True),
            st.container(
                horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
            ),
        ):
            st.markdown(
                f"**A new version waits.** {text.plural(staged['row_count'], 'row')} from "
                f"{text.escape(staged['source'])}. {_told(staged)}",
                width="content",
            )
            st.button(
                "See what differs", icon=":material/difference:", key=f"see-{staged['job_id']}",
                on_click=_open, args=(staged["job_id"],),
            )  # fmt: skip
        if st.session_state.get(OPEN) == staged["job_id"]:
            st.dialog("Accept this version?", width="large", on_dismiss=_close)(_review)(
                staged, opened
            )


def _open(job_id: str) -> None:
    st.session_state[OPEN] = job_id


def _close() -> None:
    st.session_state.pop(OPEN, None)


def _review(staged: Row, opened: Callable[[Row], None]) -> None:
    job_id, summary = staged["job_id"], staged["diff"]
    if summary is None:
        st.info("The version before has lost its file: there is nothing to compare with.")
    else:
        st.caption(f"Compared with {text.escape(summary['against']['label'])}.")
        read = functools.partial(ui.workbench().datasets.staged_rows, ui.actor(), job_id)
        dataset_diff.show(summary, read, key=f"staged-{job_id}", linked=False)
    if not ui.may("datasets.write"):
        return
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        discard = st.button(
            "Discard", icon=":material/delete:", key="staged-discard",
            on_click=ui.guarded(_discard), args=(job_id,),
            help="The rows that were read are removed; the versions stay as they are.",
        )  # fmt: skip
        accept = st.button(
            "Accept version", type="primary", icon=":material/check:", key="staged-accept",
            on_click=ui.guarded(_accept), args=(job_id, opened),
        )  # fmt: skip
    if discard or accept:
        st.rerun()  # a dialog runs by itself: the page has to see what was decided


def _accept(job_id: str, opened: Callable[[Row], None]) -> None:
    version = ui.workbench().datasets.accept(ui.actor(), job_id)
    _close()
    ui.done(f"{version['label']} is the newest version")
    opened(version)


def _discard(job_id: str) -> None:
    ui.workbench().datasets.discard(ui.actor(), job_id)
    _close()
    ui.done("The import was discarded")


def _told(staged: Row) -> str:
    if staged["diff"] is None:
        return ""
    against = text.escape(staged["diff"]["against"]["label"])
    return f"Against {against}: {dataset_diff.told(staged['diff'])}."


def _ended(job: Row) -> None:
    """A job that failed or was stopped: why, and how to go on."""
    error = job["error"]
    if error:
        ui.show_error(from_dict(error))
        if error.get("errors"):
            faults(error["errors"])
    else:
        st.info("The import was stopped. Nothing of it is left.", icon=":material/stop:")
    if job["state"] != "failed" and st.button("Import again from the start", key="import-resume"):
        with ui.errors():
            ui.workbench().jobs.resume(ui.actor(), job["id"])


def faults(rows: list[dict[str, Any]]) -> None:
    """Every row that is wrong, and why."""
    shown = [{name: row[name] for name in FAULT_COLUMNS} | {"row": row["row"] + 1} for row in rows]
    height = "content" if len(shown) <= 6 else 240
    tables.show(shown, FAULT_COLUMNS, alt="Every row that is wrong, and why", height=height)
