"""Engines: what can turn a request into tokens, behind one interface.

Knows: the records an engine is given and gives. Does not know: HTTP, processes, the registry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.errors import LatheError
from core.generation import Generation
from core.models.spec import WorkerSpec

Message = dict[str, str]
Progress = Callable[[str, float], None]
"""(what is being done, share done from 0 to 1)"""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to complete. Exactly one of `messages` and `prompt` is given."""

    messages: tuple[Message, ...] | None
    prompt: str | None
    generation: Generation
    top_logprobs: int | None = None
    """None: no log probabilities; 0 and up: with that many alternatives."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set it and the engine stops at the next token."""


@dataclass(frozen=True, slots=True)
class Delta:
    """New text, and the tokens behind it. Text may be empty while a character is incomplete."""

    text: str
    token_count: int = 1
    logprobs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The last thing an engine says of a request that went well."""

    reason: str
    """stop, length or cancelled."""
    prompt_token_count: int
    completion_token_count: int
    queue_ms: float
    """From arrival to the start of the first computation."""
    prefill_ms: float
    """From there to the first token."""
    cached_token_count: int = 0
    """Prompt tokens whose computation was shared with other requests."""


Event = Delta | Finished | LatheError
Sink = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The exact text and tokens that a model is given."""

    text: str
    token_count: int


class Engine(Protocol):
    """What every engine does. `submit` returns at once; the sink is called from another thread."""

    slots: int
    """Requests worth having in flight."""
    context_length: int
    supports: frozenset[str]
    """Optional request parameters it honours: seed, logprobs, json_schema, completions ..."""
    facts: dict[str, Any]
    """device, dtype and what else a person may want to know."""

    def submit(self, request: Request, sink: Sink) -> None:
        """Begin; the sink gets Deltas, then one Finished or one LatheError."""

    def render(self, request: Request) -> Rendered:
        """What the model would be given, without computing anything."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector a text; engines that cannot raise Invalid."""

    def close(self) -> None:
        """Stop computing and free the memory."""


def load(spec: WorkerSpec, progress: Progress) -> Engine:
    """Load what the spec names, in this process. Imports the engine's packages only here."""
    if spec.engine == "scripted":
        from core.models.engines.scripted import ScriptedEngine

        return ScriptedEngine(spec)
    if spec.kind == "embedding":
        from core.models.engines.embedding import EmbeddingEngine

        return EmbeddingEngine(spec, progress)
    if spec.engine == "llama.cpp":
        from core.models.engines.llamacpp import LlamaCppEngine

        return LlamaCppEngine(spec, progress)
    from core.models.engines.transformers import TransformersEngine

    return TransformersEngine(spec, progress)
