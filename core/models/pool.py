"""The pool: model workers found, started and stopped through folders, by any process.

    workers/<key>/spec.json   what to load; atomic, first
                  lock        an flock held for the worker's life
                  state.json  how far loading is, or why it failed
                  ready.json  where it answers; written when it does
                  output.log  what it printed: its last words after a crash

Knows: these folders. Does not know: the database, the registry, how a model is loaded.
So a job worker and the app share one loaded model, and each can die without the other.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import LatheError, ModelUnavailable, from_dict
from core.models import sharing
from core.models.client import is_busy
from core.models.spec import Endpoint, WorkerSpec
from core.processes import Detached
from core.store.files import is_locked, read_json, write_json

POLL_S = 0.05
KILL_AFTER_S = 5.0
LIVING = ("starting", "loading", "ready")

OnState = Callable[["WorkerState"], None]


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker as it is now."""

    key: str
    spec: WorkerSpec
    state: str
    """starting, loading, ready, unloaded, failed or crashed."""
    message: str = ""
    """What it does, or why it is not there."""
    progress: float | None = None
    """Share loaded, from 0 to 1."""
    pid: int | None = None
    resident_bytes: int | None = None
    device: str | None = None
    load_ms: float | None = None
    last_words: str = ""
    error: dict[str, Any] | None = None

    @property
    def alive(self) -> bool:
        """True while a process holds memory for it."""
        return self.state in LIVING


class WorkerPool:
    """The model workers of one home."""

    def __init__(self, home: Path) -> None:
        self._root = home / "workers"
        self._children: dict[str, Detached] = {}
        self._guard = threading.Lock()

    def ensure(
        self,
        spec: WorkerSpec,
        *,
        on_state: OnState | None = None,
        cancelled: Callable[[], bool] | None = None,
        remote_key: str = "",
        alone: bool = False,
    ) -> Endpoint:
        """Where the model answers; starts a worker when there is none and waits until it is ready.

        An adapter whose base is loaded the same way is attached to that worker, unless `alone`.
        Raises ModelUnavailable when it dies while loading or `cancelled` says so, and whatever
        error the worker reports. An endpoint spec has no worker: its own address comes back.
        """
        if spec.engine == "endpoint":
            return Endpoint(
                spec.base_url or "", remote_key, spec.path or spec.model_name, spec, spec.slots
            )
        folder = self._root / spec.key
        if not alone and self._attached(spec, folder):
            return self._endpoint(folder, spec)
        self._start_unless_alive(spec, folder)
        last: tuple[str, str, float | None] | None = None
        while True:
            state = self._state(folder, spec)
            now = (state.state, state.message, state.progress)
            if on_state is not None and now != last:
                on_state(state)
                last = now
            if state.state == "ready":
                return self._endpoint(folder, spec)
            if not state.alive:
                raise self._why(state)
            if cancelled is not None and cancelled():
                raise ModelUnavailable("Loading was given up.", title="Cancelled")
            time.sleep(POLL_S)

    def start(self, spec: WorkerSpec) -> None:
        """Begin loading and return at once; `state` tells how far it is. Endpoints need none."""
        if spec.engine == "endpoint":
            return
        folder = self._root / spec.key
        if not self._state(folder, spec).alive and self._host_for(spec) is not None:
            threading.Thread(target=self._attach_or_start, args=(spec,), daemon=True).start()
        else:
            self._start_unless_alive(spec, folder)

    def find(self, spec: WorkerSpec) -> Endpoint | None:
        """Where the model answers, if it is loaded; starts nothing."""
        folder = self._root / spec.key
        if self._state(folder, spec).state != "ready":
            return None
        with contextlib.suppress(ModelUnavailable):
            return self._endpoint(folder, spec)
        return None

    def state(self, spec: WorkerSpec) -> WorkerState:
        """The worker for a spec, whether or not it was ever started."""
        return self._state(self._root / spec.key, spec)

    def states(self) -> list[WorkerState]:
        """Every worker this home has had, loaded or not."""
        found = []
        for folder in sorted(self._root.glob("*/")):
            spec = read_json(folder / "spec.json")
            if spec is not None:
                found.append(self._state(folder, WorkerSpec.from_dict(spec)))
        return found

    def busy_with(self, model_id: str) -> list[str]:
        """Which of a model's workers have a request in them now, each as a sentence."""
        found = []
        for state in self.states():
            if state.spec.model_id == model_id and state.state == "ready":
                folder, endpoint = self._root / state.key, self.find(state.spec)
                busy = sharing.in_flight(self._root, folder, state.spec)
                if busy or (busy is None and endpoint is not None and is_busy(endpoint)):
                    found.append(f"requests are in flight on {state.spec.label}")
        return found

    def stop(self, key: str) -> None:
        """End a worker: politely, then not. Frees all its memory; harmless when it is gone."""
        folder = self._root / key
        if sharing.host_of(self._root, folder) is not None:
            sharing.detach(
                self._root, folder, WorkerSpec.from_dict(read_json(folder / "spec.json"))
            )
            write_json(folder / "state.json", {"state": "unloaded"})
            return
        pid = (read_json(folder / "pid.json") or {}).get("pid")
        if pid is None or not is_locked(folder / "lock"):
            return
        _signal(pid, signal.SIGTERM)
        deadline = time.monotonic() + KILL_AFTER_S
        while is_locked(folder / "lock"):
            if time.monotonic() > deadline:
                _signal(pid, signal.SIGKILL)
            self._reap()
            time.sleep(POLL_S)
        write_json(folder / "state.json", {"state": "unloaded"})
        self._reap()

    def stop_all(self) -> None:
        """End every worker of this home."""
        for state in self.states():
            if state.alive:
                self.stop(state.key)

    def last_words(self, key: str, *, size: int = 4000) -> str:
        """The end of what a worker printed."""
        try:
            data = (self._root / key / "output.log").read_bytes()
        except FileNotFoundError:
            return ""
        return data[-size:].decode(errors="replace").strip()

    def _host_for(self, spec: WorkerSpec) -> str | None:
        """The key of a ready worker that an adapter can be attached to."""
        if spec.adapter_path is None:
            return None
        alike = (s for s in self.states() if sharing.can_host(s.spec, spec) and s.state == "ready")
        return next((state.key for state in alike), None)

    def _attached(self, spec: WorkerSpec, folder: Path) -> bool:
        """Whether the base's worker answers for an adapter, attached now if need be."""
        if spec.adapter_path is None:
            return False
        state = self._state(folder, spec)
        if state.alive and sharing.host_of(self._root, folder) is None:
            return False  # it has a worker of its own
        host = self._host_for(spec)
        if state.state == "ready" or host is None:
            return state.state == "ready"
        with contextlib.suppress(ModelUnavailable):  # the base has gone meanwhile, or refused
            sharing.attach(self._root, host, spec)
            return True
        return False

    def _attach_or_start(self, spec: WorkerSpec) -> None:
        with contextlib.suppress(LatheError):  # the worker's state says why
            if not self._attached(spec, self._root / spec.key):
                self._start_unless_alive(spec, self._root / spec.key)

    def _start_unless_alive(self, spec: WorkerSpec, folder: Path) -> None:
        with self._guard:
            self._reap()
            child = self._children.get(spec.key)
            if is_locked(folder / "lock") or (child is not None and child.running()):
                return
            sharing.detach(self._root, folder, spec)  # from here on it has its own
            write_json(folder / "spec.json", spec.to_dict(), mode=0o600)
            (folder / "ready.json").unlink(missing_ok=True)
            write_json(folder / "state.json", {"state": "starting"})
            (folder / "output.log").unlink(missing_ok=True)
            self._children[spec.key] = Detached(
                "core.models.worker",
                str(folder),
                log=folder / "output.log",
                env={"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
            )

    def _state(self, folder: Path, spec: WorkerSpec) -> WorkerState:
        hosted = sharing.host_of(self._root, folder)
        if hosted is not None:
            return self._hosted(hosted, spec)
        told = read_json(folder / "state.json") or {"state": "unloaded"}
        child = self._children.get(spec.key)
        alive = is_locked(folder / "lock") or (child is not None and child.running())
        state = str(told["state"])
        if not alive and state in LIVING:
            # it may have ended well between the two looks
            told = read_json(folder / "state.json") or told
            state = (
                "crashed" if told["state"] in ("starting", "loading", "ready") else told["state"]
            )
        elif alive and state not in ("loading", "ready"):
            state = "starting" if state != "failed" else "failed"
        ready = read_json(folder / "ready.json") if state == "ready" else None
        pid = (read_json(folder / "pid.json") or {}).get("pid") if alive else None
        return WorkerState(
            key=spec.key,
            spec=spec,
            state=state,
            message=str(told.get("message", "")),
            progress=told.get("progress"),
            pid=pid,
            resident_bytes=_resident_bytes(pid),
            device=(ready or {}).get("device"),
            load_ms=(ready or {}).get("load_ms"),
            last_words=self.last_words(spec.key) if state in ("crashed", "failed") else "",
            error=told.get("error"),
        )

    def _hosted(self, told: dict[str, Any], spec: WorkerSpec) -> WorkerState:
        """An adapter in its base's worker, whose memory is counted there."""
        folder = self._root / told["key"]
        host = WorkerSpec.from_dict(read_json(folder / "spec.json"))
        return WorkerState(
            key=spec.key,
            spec=spec,
            state="ready" if told["ready"] else "loading",
            message=f"in the worker of {host.model_name}",
            pid=(read_json(folder / "pid.json") or {}).get("pid"),
            device=spec.device,
            load_ms=told["load_ms"],
        )

    def _endpoint(self, folder: Path, spec: WorkerSpec) -> Endpoint:
        hosted = sharing.host_of(self._root, folder)
        answering = self._root / hosted["key"] if hosted is not None else folder
        ready = read_json(answering / "ready.json")
        if ready is None:
            raise ModelUnavailable(f"{spec.label} has just been unloaded.", hint="Try again.")
        return Endpoint(
            base_url=f"http://127.0.0.1:{ready['port']}/v1",
            api_key=ready["api_key"],
            model=spec.model_name,
            spec=spec,
            slots=ready["slots"],
        )

    def _why(self, state: WorkerState) -> LatheError:
        if state.error is not None:
            return from_dict(state.error)
        words = state.last_words.splitlines()
        return ModelUnavailable(
            f"The worker of {state.spec.label} died while loading."
            + (f" Its last words: {words[-1]}" if words else ""),
            hint="It may have run out of memory: try a smaller quantization or free some memory.",
        )

    def _reap(self) -> None:
        for key, child in list(self._children.items()):
            if not child.running():
                del self._children[key]


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _resident_bytes(pid: int | None) -> int | None:
    import psutil

    if pid is None:
        return None
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
