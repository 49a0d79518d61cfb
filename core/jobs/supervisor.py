"""The supervisor: a thread that starts queued jobs and mirrors their folders into the table.

Knows: slots, processes, states. Does not know: what the work is.
Workers are sessions of their own: they live on when the app dies, and are found again.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from core.clock import utc_now
from core.errors import LatheError
from core.ids import new_id
from core.jobs.context import SECRET
from core.jobs.finishing import Finisher, Finishing
from core.jobs.folder import JobFolder, unexpected
from core.jobs.kinds import KINDS
from core.jobs.service import Jobs
from core.processes import Detached
from core.store.database import Row, Store

log = logging.getLogger(__name__)

FINISH_WAIT_S = 1.0
"""So long a pass waits for a finisher that it has begun; most are done by then."""
STOP_WAIT_S = 10.0
"""So long the end of the app waits for one; the next start calls it again."""


class Supervisor:
    """Keeps the jobs table true and the slots filled."""

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        *,
        finishers: Mapping[str, Finisher] | None = None,
        interval_s: float = 0.5,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._finishers = dict(finishers or {})
        """By job kind: what the owner of the database does once the work has succeeded."""
        self._interval_s = interval_s
        self._processes: dict[str, Detached] = {}
        self._finishing: dict[str, Finishing] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin in the background."""
        self._thread = threading.Thread(target=self._loop, name="lathe-supervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the workers go on."""
        self._stop.set()
        self._jobs._wake.set()
        if self._thread is not None:
            self._thread.join()
        for finishing in self._finishing.values():
            finishing.wait(STOP_WAIT_S)
        for process in self._processes.values():  # else a worker that ends later stays a zombie
            threading.Thread(target=process.wait, name="lathe-reaper", daemon=True).start()

    def step(self) -> None:
        """Look at every unfinished job once, then start what fits."""
        for row in self._unfinished():
            if row["state"] != "queued" or self._folder(row["id"]).result() is not None:
                try:
                    self._mirror(row)
                except Exception:  # one job that cannot be looked at holds up no other
                    log.exception("job %s could not be looked at, it will be again", row["id"])
        self._start_queued()

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except Exception:  # the thread's edge: without it no job starts any more
                log.exception("the supervisor stumbled, it will try again")
            self._jobs._wake.wait(self._interval_s)
            self._jobs._wake.clear()

    def _unfinished(self) -> list[Row]:
        # An interrupted job is looked at too: its worker may have been between start and lock.
        return self._store.rows(
            "SELECT * FROM jobs WHERE state IN ('queued', 'running', 'interrupted') ORDER BY id"
        )

    def _mirror(self, row: Row) -> None:
        """Write what the folder says, when it says something new."""
        folder = self._folder(row["id"])
        now = self._state(row["id"], folder)
        result = folder.result() or {}
        if now == "succeeded":
            result = self._finish(row, result)
            now = str(result.get("state", "running"))
        progress = folder.progress()
        fresh = {
            "state": now,
            "progress_done": progress.get("done", row["progress_done"]),
            "progress_total": progress.get("total", row["progress_total"]),
            "message": progress.get("message", row["message"]),
            "error": json.dumps(self._error(now, result, folder)),
        }
        if fresh["error"] == "null":
            fresh["error"] = None
        if all(fresh[key] == row[key] for key in fresh):
            return
        ended = None if now == "running" else (row["ended_at"] or utc_now())
        self._store.execute(
            """
            UPDATE jobs SET state = $state, progress_done = $progress_done,
                progress_total = $progress_total, message = $message, error = $error,
                ended_at = $ended
            WHERE id = $id
            """,
            {**fresh, "id": row["id"], "ended": ended},
        )

    def _finish(self, row: Row, result: dict[str, Any]) -> dict[str, Any]:
        """Let the kind's finisher bring the value into the database; the result as it is then,
        without anything while the finisher is at it."""
        finisher = self._finishers.get(row["kind"])
        if finisher is None:
            return result
        job_id = row["id"]
        at_it = self._finishing.get(job_id)
        if at_it is None:
            work = partial(finisher, job_id, result.get("value") or {}, row["created_by"])
            at_it = self._finishing[job_id] = Finishing(work)
            at_it.wait(FINISH_WAIT_S)
        if at_it.running():
            return {}
        del self._finishing[job_id]
        if at_it.error is None:
            return result
        told = self._told(job_id, at_it.error)
        self._folder(job_id).write_result("failed", error=told)
        return {"state": "failed", "error": told}

    def _told(self, job_id: str, error: Exception) -> dict[str, Any]:
        if isinstance(error, LatheError):
            return error.to_dict()
        trace_id = new_id("err")
        log.error("job %s was not finished, error id %s", job_id, trace_id, exc_info=error)
        return unexpected(error, trace_id)

    def _state(self, job_id: str, folder: JobFolder) -> str:
        process = self._processes.get(job_id)
        running = process is not None and process.running()
        if folder.alive() or running:
            return "running"
        self._processes.pop(job_id, None)
        result = folder.result()
        return str(result["state"]) if result else "interrupted"

    def _error(self, state: str, result: dict[str, Any], folder: JobFolder) -> Any:
        if state == "interrupted":
            return {
                "type": "JobFailed",
                "title": "The job was interrupted",
                "message": "Its process ended without a result: killed or out of memory.",
                "hint": "Resume it: nothing that is done is computed again.",
                "last_words": folder.last_words()[-2000:],
            }
        return result.get("error")

    def _start_queued(self) -> None:
        """What is queued and fits; nothing while somebody holds the jobs off (`Jobs._held`)."""
        if not self._jobs._starting.acquire(blocking=False):
            return
        try:
            self._start_fitting()
        finally:
            self._jobs._starting.release()

    def _start_fitting(self) -> None:
        rows = self._store.rows(
            "SELECT id, kind, state FROM jobs WHERE state IN ('queued', 'running') ORDER BY id"
        )
        taken = {KINDS[r["kind"]].slot for r in rows if r["state"] == "running"} - {None}
        for row in rows:
            slot = KINDS[row["kind"]].slot
            if row["state"] == "queued" and slot not in taken:
                self._spawn(row["id"])
                if slot is not None:
                    taken.add(slot)

    def _spawn(self, job_id: str) -> None:
        folder = self._folder(job_id)
        env = {"LATHE_HOME": str(self._store.home)}
        secret = self._jobs._secrets.pop(job_id, None)
        if secret is not None:
            env[SECRET] = secret
        self._processes[job_id] = Detached(
            "core.jobs.worker",
            str(folder.path),
            log=folder.log_path,
            env=env,
        )
        self._store.execute(
            "UPDATE jobs SET state = 'running', started_at = $now WHERE id = $id",
            {"now": utc_now(), "id": job_id},
        )

    def _folder(self, job_id: str) -> JobFolder:
        return JobFolder(self._store.home / "jobs" / job_id)
