"""How far a job is, where a page waits for one: the bar, what is left, the button that stops it.

    if job_progress.is_going(job):
        job_progress.bar(job, "Waiting to start", key="recipe-stop")

Knows: a job's figures. Does not know: kinds of jobs, when a page is to be drawn anew.
"""

from __future__ import annotations

import streamlit as st

from app import text, ui
from core.jobs.folder import ENDED
from core.store.database import Row


def is_going(job: Row | None) -> bool:
    """Whether a job waits or works; not where there is none."""
    return job is not None and job["state"] not in ENDED


def bar(job: Row, waiting: str, *, key: str, stop: str = "Stop", help: str | None = None) -> None:
    """The bar with what the job says, or `waiting`; the button `key` for those who may stop it."""
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
