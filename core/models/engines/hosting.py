"""Adapters beside the base they are laid over, in its process: no second start, one place to ask.

Beside quantized weights an adapter takes only its own few numbers: the layers are the base's own.
Full weights are packed for the CPU and cannot be read again, so there an adapter is merged into a
copy, read from files that the system still has in memory; what is saved is the process.
Knows: engines, who is asked now. Does not know: HTTP, the pool that asks for it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from core.errors import Conflict, NotFound
from core.models.engines.transformers import TransformersEngine
from core.models.spec import WorkerSpec


class Hosted:
    """One adapter's engine, and how many requests it has."""

    def __init__(self, engine: TransformersEngine, adapter_path: str, load_ms: float) -> None:
        self.engine, self.adapter_path, self.load_ms = engine, adapter_path, load_ms
        self.count = 0
        self.leaving = False


class Host:
    """The engines of one process: the base's, and one for each adapter that was attached."""

    def __init__(self, spec: WorkerSpec, engine: TransformersEngine) -> None:
        self._spec, self._engine = spec, engine
        self._guard = threading.Lock()
        self._attaching = threading.Lock()
        self._hosted: dict[str, Hosted] = {}

    def list(self) -> list[dict[str, Any]]:
        """The adapters that can be asked: {model, adapter_path, load_ms, in_flight}."""
        with self._guard:
            return [
                {"model": name, "adapter_path": hosted.adapter_path, "load_ms": hosted.load_ms,
                 "in_flight": hosted.count}
                for name, hosted in self._hosted.items()
            ]  # fmt: skip

    def attach(self, model: str, adapter_path: str) -> float:
        """Load an adapter under a name; milliseconds it took. Nothing to do when it is there.

        Another adapter of that name is replaced: what was asked of it is still answered by it.
        Requests of others wait while the layers are prepared.
        """
        if model == self._spec.model_name:
            raise Conflict(f"{model} is the name of the base.")
        with self._attaching:
            known = self._hosted.get(model)
            if known is not None and known.adapter_path == adapter_path:
                return known.load_ms
            began = time.perf_counter()
            spec = self._spec.with_changes(model_name=model, adapter_path=adapter_path)
            engine = self._engine.beside(spec)
            load_ms = (time.perf_counter() - began) * 1000
            with self._guard:
                old = self._hosted.get(model)
                self._hosted[model] = Hosted(engine, adapter_path, load_ms)
                self._leave(old)
            return load_ms

    def detach(self, model: str) -> None:
        """Forget an adapter; requests that it has are answered first. NotFound without it."""
        with self._guard:
            hosted = self._hosted.pop(model, None)
            if hosted is None:
                raise NotFound(f"There is no adapter {model!r} in this worker.")
            self._leave(hosted)

    @contextlib.contextmanager
    def asking(self, model: str) -> Iterator[TransformersEngine | None]:
        """The engine of an adapter for the length of a request; None for another name."""
        with self._guard:
            hosted = self._hosted.get(model)
            if hosted is not None:
                hosted.count += 1
        if hosted is None:
            yield None
            return
        try:
            yield hosted.engine
        finally:
            with self._guard:
                hosted.count -= 1
                if hosted.leaving:
                    self._leave(hosted)

    def engine(self, model: str) -> TransformersEngine | None:
        """The engine of an adapter, for what is over at once."""
        hosted = self._hosted.get(model)
        return None if hosted is None else hosted.engine

    def close(self) -> None:
        """End all adapters."""
        for hosted in list(self._hosted.values()):
            hosted.engine.close()

    def _leave(self, hosted: Hosted | None) -> None:
        """Close an engine once nobody waits for it; the guard is held."""
        if hosted is None:
            return
        hosted.leaving = True
        if not hosted.count:
            threading.Thread(target=hosted.engine.close, daemon=True).start()
