"""One model in use by a run: loaded once, started again when it dies, unloaded after.

Knows: the pool, who loaded the model, how often it died. Does not know: rows or scorers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from core.errors import LatheError, ModelUnavailable
from core.models import secrets
from core.models.client import is_busy
from core.models.pool import WorkerPool, WorkerState
from core.models.spec import Endpoint, WorkerSpec
from core.store.files import read_json, write_json

REMOTE_IN_FLIGHT = 8
RESTARTS_WITHOUT_ANSWER = 3
"""A model that dies so often in a row with no answer in between is given up."""


class GaveUp(Exception):
    """The model is beyond use; `error` says why. Rows in flight stay without a result."""

    def __init__(self, error: LatheError) -> None:
        super().__init__(error.message)
        self.error = error


class ModelSession:
    """A context manager around one loaded model. Safe from several threads."""

    def __init__(
        self,
        home: Path,
        job_folder: Path,
        spec: WorkerSpec,
        *,
        on_state: Callable[[WorkerState], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self.spec = spec
        self._pool = WorkerPool(home)
        self._key = secrets.read(home, spec.model_id, spec.base_url) if _remote(spec) else ""
        self._loaded_path = job_folder / "loaded.json"
        self._on_state = on_state
        self._cancelled = cancelled
        self._guard = threading.Lock()
        self._endpoint: Endpoint | None = None
        self._deaths = 0

    def __enter__(self) -> ModelSession:
        """Load the model, or find it loaded; raises what `WorkerPool.ensure` raises."""
        if not _remote(self.spec) and self._pool.find(self.spec) is None:
            self._remember_loading()
        self._endpoint = self._ensure()
        return self

    def __exit__(self, *_: object) -> None:
        """Unload it if this job loaded it, in this process or in one that was killed.

        Nobody waits for the end: a cancelled run answers at once.
        """
        if _remote(self.spec) or self.spec.key not in self._loaded() or self._busy():
            return
        stopper = threading.Thread(target=self._pool.stop, args=(self.spec.key,), daemon=True)
        stopper.start()
        stopper.join(0.1 if self._cancelled() else 10)

    @property
    def in_flight(self) -> int:
        """Requests worth having in flight."""
        if _remote(self.spec):
            return REMOTE_IN_FLIGHT
        return max(1, self.endpoint.slots)

    @property
    def endpoint(self) -> Endpoint:
        """Where the model answers now."""
        if self._endpoint is None:
            raise RuntimeError("the session is not open")
        return self._endpoint

    def answered(self) -> None:
        """Note that the model works."""
        self._deaths = 0

    def reopened(self, broken: Endpoint) -> Endpoint:
        """Where the model answers after `broken` did not: one restart, however many ask.

        Raises GaveUp when it cannot be loaded again or dies again and again.
        """
        with self._guard:
            if self._endpoint is not broken:
                return self.endpoint
            if self._deaths >= RESTARTS_WITHOUT_ANSWER:
                raise GaveUp(
                    ModelUnavailable(
                        f"{self.spec.label} died {self._deaths} times in a row.",
                        hint="Its log is on the Models page. Resume the run to try again.",
                    )
                )
            self._deaths += 1
            time.sleep(0.2)  # let the kernel take the dead process's lock
            try:
                self._remember_loading()
                self._endpoint = self._ensure()
            except LatheError as error:
                raise GaveUp(error) from error
            return self._endpoint

    def _ensure(self) -> Endpoint:
        return self._pool.ensure(
            self.spec, on_state=self._on_state, cancelled=self._cancelled, remote_key=self._key
        )

    def _loaded(self) -> list[str]:
        return list(read_json(self._loaded_path) or [])

    def _remember_loading(self) -> None:
        # Before loading, so that a killed job's model is still unloaded by the resumed one.
        if not _remote(self.spec):
            write_json(self._loaded_path, sorted({*self._loaded(), self.spec.key}))

    def _busy(self) -> bool:
        """Whether somebody else has a request in the model; a cancelled run's own do not count."""
        if self._endpoint is None or self._cancelled():
            return False
        return is_busy(self._endpoint)


def _remote(spec: WorkerSpec) -> bool:
    return spec.engine == "endpoint"
