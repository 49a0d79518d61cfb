"""Jobs: started, listed, cancelled and resumed; the table `jobs` mirrors the folders.

Knows: the jobs table and the folders. Does not know: what the work is.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from typing import Any

from core.clock import iso, utc_now
from core.errors import Conflict, NotFound
from core.governance.permissions import JOB_KINDS, Actor, action, require
from core.ids import new_id
from core.jobs.folder import ENDED, JobFolder, JobSpec
from core.jobs.kinds import KINDS
from core.store.database import Row, Store


class Jobs:
    """The jobs of a workspace. The supervisor starts what is queued here."""

    noun = "jobs"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wake = threading.Event()
        self._starting = threading.RLock()
        """Held while jobs are started, and by `_held` while none may be."""
        self._secrets: dict[str, str] = {}
        """Of jobs that wait for their process. They are nowhere else: one is gone with this
        process, and after the first start."""

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """No job begins while the block runs: what is queued waits; what runs goes on.

        For whoever rewrites the files that jobs read.
        """
        with self._starting:
            yield
        self._wake.set()

    @action
    def start(
        self,
        actor: Actor,
        kind: str,
        title: str,
        payload: dict[str, Any],
        *,
        subject_id: str | None = None,
        secret: str | None = None,
    ) -> str:
        """Queue a job and return its id; raises NotFound for a kind that does not exist.

        `secret` is for the job's process alone, once: it is never written down.
        """
        if kind not in KINDS:
            raise NotFound(f"There is no job kind {kind!r}.", hint=f"Kinds: {', '.join(KINDS)}.")
        require(actor, JOB_KINDS.get(kind), f"starting a {kind} job")
        now = utc_now()
        spec = JobSpec(new_id("job"), kind, title, payload, actor.id, iso(now))
        self._folder(spec.id).write_spec(spec)
        if secret is not None:
            self._secrets[spec.id] = secret
        self._store.insert(
            "jobs",
            {
                "id": spec.id,
                "kind": kind,
                "title": title,
                "state": "queued",
                "subject_id": subject_id,
                "created_by": actor.id,
                "created_at": now,
            },
        )
        self._wake.set()
        return spec.id

    @action
    def list(
        self,
        actor: Actor,
        *,
        state: str | None = None,
        kind: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> list[Row]:
        """Newest first; `before` is the last id of the page before."""
        return self._store.rows(
            """
            SELECT * FROM jobs
            WHERE ($state IS NULL OR state = $state)
              AND ($kind IS NULL OR kind = $kind)
              AND ($before IS NULL OR id < $before)
            ORDER BY id DESC LIMIT $limit
            """,
            {"state": state, "kind": kind, "before": before, "limit": limit},
        )

    @action
    def get(self, actor: Actor, job_id: str) -> Row:
        """One job, with `eta_s` while it runs, where the worker can tell."""
        row = self._store.get("jobs", job_id, noun="job")
        row["error"] = json.loads(row["error"]) if row["error"] else None
        row["eta_s"] = self._folder(job_id).progress().get("eta_s")
        return row

    @action
    def events(self, actor: Actor, job_id: str) -> builtins.list[dict[str, Any]]:
        """The newest events of a job, oldest first."""
        self._store.get("jobs", job_id, noun="job")
        return self._folder(job_id).events()

    @action
    def log(self, actor: Actor, job_id: str) -> str:
        """The end of what the job's process printed."""
        self._store.get("jobs", job_id, noun="job")
        return self._folder(job_id).last_words()

    @action
    def cancel(self, actor: Actor, job_id: str) -> None:
        """Ask a job to stop; what it has done is kept. Raises Conflict when it has ended."""
        row = self._store.get("jobs", job_id, noun="job")
        if row["state"] in ENDED:
            raise Conflict(f"The job has already ended: {row['state']}.")
        self._folder(job_id).request_cancel()
        if row["state"] == "queued":
            self._folder(job_id).write_result("cancelled")
            self._secrets.pop(job_id, None)
        self._wake.set()

    @action
    def resume(self, actor: Actor, job_id: str) -> None:
        """Queue an ended job again; it asks for what has no result yet."""
        row = self._store.get("jobs", job_id, noun="job")
        require(actor, JOB_KINDS.get(row["kind"]), f"starting a {row['kind']} job")
        if row["state"] not in ENDED or self._folder(job_id).alive():
            raise Conflict(f"The job is {row['state']}: there is nothing to resume.")
        if not (self._folder(job_id).path / "spec.json").exists():
            raise Conflict("The files of this job were removed.", hint="Start it anew.")
        self._folder(job_id).reopen(row["attempt"])
        self._store.execute(
            """
            UPDATE jobs SET state = 'queued', attempt = attempt + 1,
                started_at = NULL, ended_at = NULL, error = NULL
            WHERE id = $id
            """,
            {"id": job_id},
        )
        self._wake.set()

    def _folder(self, job_id: str) -> JobFolder:
        return JobFolder(self._store.home / "jobs" / job_id)

    def _purge(self, job_id: str) -> None:
        """Remove an ended job's folder; its rows stay in the database."""
        shutil.rmtree(self._folder(job_id).path, ignore_errors=True)
