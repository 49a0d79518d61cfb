"""Waiting for a job on a terminal, whether this process runs it or an app that has the home.

Knows: progress on stderr, how a job may end. Does not know: what the work is.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from app.cli_nouns import AnyWorkbench
from core.errors import JobFailed, from_dict
from core.workbench import OWNER

POLL_S = 0.2


def until_done(workbench: AnyWorkbench, job_id: str) -> dict[str, Any]:
    """Show how far the job is until it has ended; the job.

    Raises the job's own error when it failed, JobFailed when it was stopped. Ctrl+C leaves it to
    the app, or to a resume.
    """
    try:
        while (job := workbench.jobs.get(OWNER, job_id))["state"] in ("queued", "running"):
            _show(job)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        click.echo(f"\nWhat is done is kept: `lathe jobs resume {job_id}` goes on.", err=True)
        raise
    finally:
        _clear()
    if job["state"] == "succeeded":
        return dict(job)
    if job["error"]:
        raise from_dict(job["error"])
    raise JobFailed(
        f"The job is {job['state']}.",
        title=f"{job['title']} is {job['state']}",
        hint=f"What is done is kept: `lathe jobs resume {job_id}` goes on from there.",
    )


def _show(job: dict[str, Any]) -> None:
    if not sys.stderr.isatty():
        return
    total = job["progress_total"] or 0
    share = f"{100 * (job['progress_done'] or 0) // total} %" if total else job["state"]
    left = f", about {job['eta_s']:.0f} s left" if job.get("eta_s") else ""
    line = f"{share}{left}  {job['message'] or ''}"
    click.echo(f"\r{line[:78]:<78}", nl=False, err=True)


def _clear() -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{'':<78}\r", nl=False, err=True)
