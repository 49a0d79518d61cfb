"""Answers of models for steps. Only models of this workspace that the job was given can be asked.

Knows: worker specs by model name, the client, what tells models apart. Does not know: rows, prompts
as stored things, which answers are kept (`steps.prompt`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import Invalid
from core.generation import Generation
from core.models import secrets
from core.models.client import stream
from core.models.pool import WorkerPool
from core.models.spec import Endpoint, WorkerSpec

REMOTE_IN_FLIGHT = 8
Messages = list[dict[str, str]]


def _go_on() -> None:
    """Nobody asks to stop."""


@dataclass(slots=True)
class Asking:
    """The models of one job: `spec` of each by its name."""

    home: Path
    models: Mapping[str, Mapping[str, Any]]
    check: Callable[[], None] = _go_on
    _endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def open(self, name: str) -> int:
        """Load the model; how many requests it takes at a time. Invalid where it is not known."""
        if name not in self.models:
            raise Invalid(
                f"The model {name!r} is not at hand.",
                field="model",
                hint="Save the recipe in the workspace that has it, or name one that is there.",
            )
        spec = WorkerSpec.from_dict(dict(self.models[name]))
        remote = spec.engine == "endpoint"
        key = secrets.read(self.home, spec.model_id, spec.base_url) if remote else ""
        pool = WorkerPool(self.home)
        self._endpoints[name] = pool.ensure(spec, remote_key=key, cancelled=self._cancelled)
        self.check()
        return REMOTE_IN_FLIGHT if remote else max(1, self._endpoints[name].slots or 1)

    def identity(self, name: str) -> str:
        """What has to be the same for an answer to be the same: weights, engine, quantization,
        and of an endpoint its address and what it calls the model."""
        spec = WorkerSpec.from_dict(dict(self.models[name]))
        remote = (spec.base_url or "", spec.path or "") if spec.engine == "endpoint" else ()
        return "/".join((spec.model_id, spec.engine, spec.quantization, *remote))

    def __call__(self, name: str, messages: Messages, generation: Generation) -> str:
        """The model's answer; raises what the client raises."""
        return stream(self._endpoints[name], messages, generation).text

    def _cancelled(self) -> bool:
        self.check()
        return False
