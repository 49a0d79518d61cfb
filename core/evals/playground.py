"""The playground: two to six columns that answer at once, and go on when nobody looks.

Knows: each user's columns while they run, and their last results. Does not know: Streamlit; a
page asks `columns` as often as it likes, so a reload loses nothing.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from core.clock import utc_now
from core.errors import Invalid, LatheError
from core.generation import Generation
from core.governance.drafts import Drafts
from core.governance.permissions import Actor, action
from core.models import client
from core.models.pool import WorkerState
from core.models.service import Models
from core.models.spec import Endpoint, WorkerSpec
from core.monitoring.traces import Trace, Traces
from core.prompts.template import render
from core.store.database import Row

MOST_COLUMNS = 6
RESULTS = "playground.results"
CLOSE_S = 5.0
ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class Column:
    """What one column is asked: a variant, its prompt possibly not saved yet."""

    id: str
    system_template: str
    user_template: str
    model_id: str
    engine: str = "auto"
    quantization: str = "auto"
    generation: Generation = field(default_factory=Generation)
    prompt_id: str | None = None
    prompt_version_id: str | None = None
    """None for a draft."""
    prompt_label: str = "draft"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Parse a plain dict; raises Invalid naming what is missing or unknown."""
        known = {one.name for one in fields(cls)}
        unknown = set(data) - known
        if unknown:
            raise Invalid(f"A column has no {', '.join(sorted(unknown))}.", field=min(unknown))
        if not data.get("model_id"):
            raise Invalid("Choose a model for every column.", field="model_id")
        if not str(data.get("user_template", "")).strip():
            raise Invalid("Every column needs a user message.", field="user_template")
        generation = data.get("generation") or {}
        if not isinstance(generation, Generation):
            generation = Generation.from_dict(dict(generation))
        return cls(**{**data, "generation": generation})


class Playground:
    """Runs columns in threads of this process; models live in their workers."""

    noun = "playground"

    def __init__(self, models: Models, traces: Traces, drafts: Drafts) -> None:
        self._models = models
        self._traces = traces
        self._drafts = drafts
        self._live: dict[str, list[_Live]] = {}
        self._guard = threading.Lock()

    @action
    def start(
        self,
        actor: Actor,
        columns: Sequence[Mapping[str, Any]],
        values: Mapping[str, Any],
        *,
        row: int | None = None,
    ) -> None:
        """Stop what runs for the actor and answer every column anew; returns at once.

        Raises Invalid before anything starts when a template lacks a variable: `row` is the
        dataset row that the values came from, for the message.
        """
        if not 1 <= len(columns) <= MOST_COLUMNS:
            raise Invalid(f"The playground has one to {MOST_COLUMNS} columns.", field="columns")
        asked = [Column.from_dict(column) for column in columns]
        if len({column.id for column in asked}) < len(asked):
            raise Invalid("Two columns have the same id.", field="id")
        live = [
            _Live(self, actor, c, render(c.system_template, c.user_template, values, row=row))
            for c in asked
        ]
        with self._guard:
            for old in self._live.get(actor.id, ()):
                old.stop.set()
            self._live[actor.id] = live
        for one in live:
            one.thread.start()

    @action
    def stop(self, actor: Actor, column_id: str | None = None) -> None:
        """Stop one of the actor's columns, or all; what has been said stays."""
        for live in self._live.get(actor.id, ()):
            if column_id in (None, live.column.id):
                live.stop.set()

    @action
    def columns(self, actor: Actor) -> builtins.list[Row]:
        """The actor's columns as they are now: running, or the last results.

        state is waiting, loading, running, done, failed or cancelled; `message` says what a
        loading one does; times are milliseconds.
        """
        live = self._live.get(actor.id)
        if live is None:
            kept: builtins.list[Row] = self._drafts.get(actor, RESULTS) or []
            return kept
        return [one.snapshot() for one in live]

    @action
    def clear(self, actor: Actor) -> None:
        """Stop the actor's columns and forget their results."""
        self.stop(actor)
        self._live.pop(actor.id, None)
        self._drafts.put(actor, RESULTS, None)

    def _close(self) -> None:
        """Stop every column and wait for its record to be written: the home closes."""
        everybody = [one for live in self._live.values() for one in live]
        for one in everybody:
            one.stop.set()
        for one in everybody:
            one.thread.join(timeout=CLOSE_S)

    def _ended(self, actor: Actor) -> None:
        """Keep the results once the last column has ended: the app may restart."""
        live = self._live.get(actor.id, [])
        if live and all(one.state in ENDED for one in live):
            self._drafts.put(actor, RESULTS, [one.snapshot() for one in live])


class _Live:
    """One column while it runs."""

    def __init__(
        self,
        owner: Playground,
        actor: Actor,
        column: Column,
        messages: Sequence[dict[str, str]],
    ) -> None:
        self.column = column
        self.state = "waiting"
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._work, name="lathe-column", daemon=True)
        self._owner = owner
        self._actor = actor
        self._messages = list(messages)
        self._spec: WorkerSpec | None = None
        self._message = ""
        self._progress: float | None = None
        self._pieces: list[str] = []
        self._rendered: dict[str, Any] = {}
        self._completion: client.Completion | None = None
        self._error: LatheError | None = None
        self._trace_id: str | None = None

    def _work(self) -> None:
        """The thread: resolve, load, answer, record."""
        try:
            endpoint = self._load()
            self._render(endpoint)
            self.state, self._message = "running", ""
            self._completion = client.stream(
                endpoint,
                self._messages,
                self.column.generation,
                cancelled=self.stop.is_set,
                on_token=self._pieces.append,
            )
            cancelled = self._completion.finish_reason == "cancelled"
            ended = "cancelled" if cancelled else "done"
        except LatheError as error:
            self._error = None if self.stop.is_set() else error
            ended = "cancelled" if self.stop.is_set() else "failed"
        except Exception as error:  # the thread's edge: the column must not run for ever
            self._error = LatheError(f"{type(error).__name__}: {error}")
            ended = "failed"
        self._record(ended)
        self.state = ended
        self._owner._ended(self._actor)

    def snapshot(self) -> Row:
        """The column as JSON, for a page."""
        done = self._completion
        return {
            "id": self.column.id,
            "state": self.state,
            "message": self._message,
            "progress": self._progress,
            "text": done.text if done else "".join(self._pieces),
            "asked": asdict(self.column),
            "messages": self._messages,
            "model_name": self._spec.model_name if self._spec else None,
            "engine": self._spec.engine if self._spec else None,
            "quantization": self._spec.quantization if self._spec else None,
            "device": self._spec.device if self._spec else None,
            "why": self._spec.why if self._spec else None,
            "rendered_prompt": self._rendered.get("rendered_prompt"),
            "prompt_token_count": self._prompt_token_count(),
            "context_length": self._rendered.get("context_length"),
            "warning": self._warning(),
            "finish_reason": done.finish_reason if done else None,
            "completion_token_count": done.completion_token_count if done else len(self._pieces),
            "ttft_ms": done.ttft_ms if done else None,
            "e2e_ms": done.e2e_ms if done else None,
            "prefill_ms": done.prefill_ms if done else None,
            "tokens_per_s": _tokens_per_s(done),
            "error": self._error.to_dict() if self._error else None,
            "trace_id": self._trace_id,
        }

    def _load(self) -> Endpoint:
        models, column = self._owner._models, self.column
        self._spec = models.resolve(
            self._actor,
            column.model_id,
            engine=column.engine,
            quantization=column.quantization,
            purpose="interactive",
        )
        self.state = "loading"
        return models.endpoint(
            self._actor, self._spec, on_state=self._loading, cancelled=self.stop.is_set
        )

    def _loading(self, state: WorkerState) -> None:
        self._message, self._progress = state.message or state.state, state.progress

    def _render(self, endpoint: Endpoint) -> None:
        if endpoint.spec.engine != "endpoint":
            self._rendered = client.tokenize(endpoint, self._messages)

    def _prompt_token_count(self) -> int | None:
        if self._completion and self._completion.prompt_token_count is not None:
            return self._completion.prompt_token_count
        count: int | None = self._rendered.get("token_count")
        return count

    def _warning(self) -> str | None:
        """In words, when the answer cannot get the room it was given."""
        count, most = self._rendered.get("token_count"), self._rendered.get("context_length")
        wanted = self.column.generation.max_tokens
        if count is None or most is None or count + wanted <= most:
            return None
        return (
            f"The prompt takes {count:,} of {most:,} tokens: the answer is cut after "
            f"{max(0, most - count):,}, not {wanted:,}."
        )

    def _record(self, ended: str) -> None:
        spec, done = self._spec, self._completion
        if spec is None or (done is None and self._error is None):
            return
        error = f"{self._error.title}: {self._error.message}" if self._error else None
        trace = Trace(
            started_at=done.started_at if done else utc_now(),
            source="playground",
            state={"done": "ok"}.get(ended, ended),
            error=error,
            user_id=self._actor.id,
            prompt_id=self.column.prompt_id,
            prompt_version_id=self.column.prompt_version_id,
            prompt_label=self.column.prompt_label,
            model_id=spec.model_id,
            model_name=spec.model_name,
            engine=spec.engine,
            quantization=spec.quantization,
            device=spec.device,
            messages=self._messages,
            rendered_prompt=self._rendered.get("rendered_prompt"),
            generation=self.column.generation.to_dict(),
            **_measured(done),
        )
        self._owner._traces.record(self._actor, trace)
        self._trace_id = trace.id


def _measured(done: client.Completion | None) -> dict[str, Any]:
    if done is None:
        return {}
    return {
        "finish_reason": done.finish_reason,
        "prompt_token_count": done.prompt_token_count,
        "completion_token_count": done.completion_token_count,
        "queue_ms": done.queue_ms,
        "prefill_ms": done.prefill_ms,
        "ttft_ms": done.ttft_ms,
        "e2e_ms": done.e2e_ms,
        "output": done.text,
        "itl_ms": done.itl_ms,
    }


def _tokens_per_s(done: client.Completion | None) -> float | None:
    """Decoding speed after the first token; None below two tokens."""
    if done is None or done.ttft_ms is None or done.completion_token_count < 2:
        return None
    decoding_ms = done.e2e_ms - done.ttft_ms
    return (done.completion_token_count - 1) / decoding_ms * 1000 if decoding_ms > 0 else None
