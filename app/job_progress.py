"""How far a job is, where a page waits for one: the bar, what is left, the button that stops it.

    if job_progress.is_going(job):
        job_progress.follow(job["id"], "Waiting for its turn", key="export-stop")

Knows: a job's figures. Does not know: kinds of jobs.
"""

from __future__ import annotations

import contextlib

import streamlit as st

from app import text, ui
from core.errors import NotFound
from core.jobs.folder import ENDED
from core.store.database import Row


def is_going(job: Row | None) -> bool:
    """Whether a job waits or works; not where there is none."""
    return job is not None and job["state"] not in ENDED


def found(job_id: str | None) -> Row | None:
    """The job; None where there is none, or where it is gone."""
    with contextlib.suppress(NotFound):
        job: Row | None = ui.workbench().jobs.get(ui.actor(), job_id) if job_id else None
        return job
    return None


@st.fragment(run_every=1)
def follow(job_id: str, waiting: str, *, key: str) -> None:
    """The bar by the clock; when the job has ended the page is drawn anew."""
    job = found(job_id)
    if job is None or not is_going(job):
        st.rerun()
    bar(job, waiting, key=key)


def bar(job: Row, waiting: str, *, key: str, stop: str = "Stop", help: str | None = None) -> None:
    """The bar with what the job says, or `waiting`; the button `key` for those who may stop it.

    For a fragment: what went wrong when it was pressed is shown here."""
    ui.tell()
    share = (job["progress_done"] or 0) / (job["progress_total"] or 1)
    left = f" · {text.about(job['eta_s'])} left" if job["eta_s"] else ""
    with (
        st.container(border=True),
        st.container(horizontal=True, vertical_alignment="center", gap="medium"),
    ):
        st.progress(min(share, 1.0), f"{text.escape(job['message'] or waiting)}{left}")
        if ui.may("jobs.write"):
            st.button(
                stop, icon=":material/stop:", key=key, help=help,
                on_click=ui.guarded(_stop), args=(job["id"],),
            )  # fmt: skip


def _stop(job_id: str) -> None:
    ui.workbench().jobs.cancel(ui.actor(), job_id)
