"""What a list shows of the job behind a row: its state and how far it is.

Knows: the names of these columns. Does not know: whose job it is.
"""

from __future__ import annotations

from core.governance.permissions import Actor
from core.jobs.service import Jobs
from core.store.database import Row

_COLUMNS = {
    "state": "state",
    "progress_done": "progress_done",
    "progress_total": "progress_total",
    "progress_message": "message",
    "eta_s": "eta_s",
    "error": "error",
    "started_at": "started_at",
    "ended_at": "ended_at",
}


def job_columns(jobs: Jobs, actor: Actor, job_id: str | None) -> Row:
    """`state`, `progress_done`, `progress_total`, `progress_message`, `eta_s`, `error`,
    `started_at` and `ended_at`; each None where there is no job yet."""
    if job_id is None:
        return dict.fromkeys(_COLUMNS)
    job = jobs.get(actor, job_id)
    return {ours: job[theirs] for ours, theirs in _COLUMNS.items()}
