"""Traces: one request end to end, with its timed steps and its texts.

Knows: the traces, trace_texts and spans tables, what a trace computes from its timings.
Does not know: models, prompts, how figures over many traces are made (metrics).
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from core.clock import iso
from core.errors import Invalid
from core.governance.permissions import Actor, action
from core.ids import new_id
from core.monitoring.window import Filters, Query, Window, where
from core.store.database import Row, Store
from core.store.spool import SpoolWriter

PREVIEW_CHARACTERS = 200
ALL = Filters()


@dataclass(frozen=True, slots=True)
class Span:
    """One timed step inside a trace: a retrieval, a tool call, the scoring of the answer."""

    name: str
    started_at: datetime
    """UTC, naive."""
    duration_ms: float
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """OpenTelemetry names where there are some, such as `gen_ai.request.model`."""
    parent_id: str | None = None
    """Another span of the same trace; None hangs it under the request."""
    id: str = field(default_factory=lambda: new_id("span"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What happened in one request; TPOT, gap percentiles and previews are computed from it.

    Waiting, prefill and decoding need no spans: `Traces.get` shows them from the timings.
    """

    started_at: datetime
    """When the request was sent; UTC, naive."""
    source: str
    """playground, run or api."""
    state: str = "ok"
    """ok, failed or cancelled."""
    id: str = field(default_factory=lambda: new_id("trace"))
    error: str | None = None
    user_id: str | None = None
    conversation_id: str | None = None
    prompt_id: str | None = None
    prompt_version_id: str | None = None
    prompt_label: str | None = None
    """Name and number, such as 'triage v2'; 'draft' for what is not saved."""
    model_id: str | None = None
    model_name: str | None = None
    engine: str | None = None
    """What answered, resolved: never auto. Likewise quantization and device."""
    quantization: str | None = None
    device: str | None = None
    adapter_id: str | None = None
    deployment_id: str | None = None
    run_id: str | None = None
    variant_id: str | None = None
    row_id: str | None = None
    finish_reason: str | None = None
    prompt_token_count: int | None = None
    completion_token_count: int | None = None
    queue_ms: float | None = None
    """Waiting in the model worker before the prompt was read."""
    prefill_ms: float | None = None
    ttft_ms: float | None = None
    """Request sent to first non-empty token."""
    e2e_ms: float | None = None
    messages: Sequence[Mapping[str, Any]] = ()
    rendered_prompt: str | None = None
    """The text after the chat template, where the engine can say it."""
    output: str | None = None
    generation: Mapping[str, Any] | None = None
    itl_ms: Sequence[float] = ()
    """Every gap between two tokens, in order."""
    spans: tuple[Span, ...] = ()

    @property
    def tpot_ms(self) -> float | None:
        """(E2E - TTFT) / (output tokens - 1); None below two tokens."""
        if self.e2e_ms is None or self.ttft_ms is None or (self.completion_token_count or 0) < 2:
            return None
        return (self.e2e_ms - self.ttft_ms) / ((self.completion_token_count or 0) - 1)

    def rows(self) -> list[tuple[str, dict[str, Any]]]:
        """The trace as rows for the spool; values that are None are left out."""
        found = [("traces", self._row()), ("trace_texts", self._texts())]
        found.extend(("spans", _span_row(self.id, span)) for span in self.spans)
        return found

    def _row(self) -> dict[str, Any]:
        row: dict[str, Any] = {"started_at": iso(self.started_at)}
        for name in _COPIED:
            value = getattr(self, name)
            if value is not None:
                row[name] = value
        tpot_ms = self.tpot_ms
        if tpot_ms is not None:
            row["tpot_ms"] = tpot_ms
        if self.itl_ms:
            gaps = sorted(self.itl_ms)
            row["itl_p50_ms"] = _percentile(gaps, 0.5)
            row["itl_p95_ms"] = _percentile(gaps, 0.95)
            row["itl_max_ms"] = gaps[-1]
        row["input_preview"] = preview(_last_user_text(self.messages))
        row["output_preview"] = preview(self.output or "")
        return row

    def _texts(self) -> dict[str, Any]:
        row: dict[str, Any] = {"trace_id": self.id, "messages": [dict(m) for m in self.messages]}
        if self.rendered_prompt is not None:
            row["rendered_prompt"] = self.rendered_prompt
        if self.output is not None:
            row["output"] = self.output
        if self.generation is not None:
            row["generation"] = dict(self.generation)
        if self.itl_ms:
            row["itl_ms"] = [round(gap, 3) for gap in self.itl_ms]
        return row


class Traces:
    """Recording through the spool, lists bounded in time, and one trace with all there is of it."""

    noun = "traces"

    def __init__(self, store: Store, spool: SpoolWriter) -> None:
        self._store = store
        self._spool = spool

    @action
    def record(self, actor: Actor, trace: Trace) -> str:
        """Hand the trace to the spool, in the actor's name unless it has one; the id.

        It is in lists as soon as the ingest has read it, well below a second later.
        """
        if trace.user_id is None:
            trace = replace(trace, user_id=actor.id)
        self._spool.write_all(trace.rows())
        return trace.id

    @action
    def list(
        self,
        actor: Actor,
        window: Window,
        filters: Filters = ALL,
        *,
        before: str | None = None,
        limit: int = 50,
    ) -> list[Row]:
        """Newest first; `before` is the id of the last trace of the page before."""
        query = list_query(window, filters, before=before, limit=limit)
        return self._store.rows(query.sql, query.parameters)

    @action
    def slowest(
        self,
        actor: Actor,
        window: Window,
        filters: Filters = ALL,
        *,
        column: str = "e2e_ms",
        limit: int = 20,
    ) -> builtins.list[Row]:
        """The succeeded traces with the highest value in a latency column, highest first."""
        query = slowest_query(window, filters, column, limit=limit)
        return self._store.rows(query.sql, query.parameters)

    @action
    def get(self, actor: Actor, trace_id: str) -> Row:
        """All columns, the texts, `spans` in order of start; NotFound when it is not there (yet).

        The request itself and what its timings say (queue, prefill, decode) come as spans too.
        """
        row = self._store.get("traces", trace_id, noun="trace")
        texts = self._store.row("SELECT * FROM trace_texts WHERE trace_id = $id", {"id": trace_id})
        row.update(texts or dict.fromkeys(_TEXTS))
        for name in ("messages", "generation"):
            row[name] = json.loads(row[name]) if row[name] else None
        kept = self._store.rows(
            "SELECT * FROM spans WHERE trace_id = $id ORDER BY started_at, id", {"id": trace_id}
        )
        for span in kept:
            span["attributes"] = json.loads(span["attributes"] or "{}")
        row["spans"] = [*_timing_spans(row), *kept]
        row["spans"].sort(key=lambda span: (span["started_at"], -span["duration_ms"]))
        return row


def list_query(
    window: Window, filters: Filters, *, before: str | None = None, limit: int = 50
) -> Query:
    """The statement behind `Traces.list`: the key is (started_at, id), so pages never shift."""
    condition, values = where(window, filters)
    if before is not None:
        condition += (
            "\n  AND (t.started_at, t.id) < (SELECT (p.started_at, p.id) FROM traces p"
            " WHERE p.id = $before)"
        )
        values["before"] = before
    return Query(
        f"SELECT t.* FROM traces t\nWHERE {condition}\n"  # noqa: S608
        f"ORDER BY t.started_at DESC, t.id DESC LIMIT {int(limit)}",
        values,
    )


def slowest_query(window: Window, filters: Filters, column: str, *, limit: int = 20) -> Query:
    """The statement behind `Traces.slowest`."""
    if column not in _MEASURED:
        raise Invalid(f"Traces have no latency {column!r}.", field="column")
    condition, values = where(window, filters)
    return Query(
        f"SELECT t.* FROM traces t\nWHERE {condition}\n"  # noqa: S608
        f"  AND t.state = 'ok' AND t.{column} IS NOT NULL\n"
        f"ORDER BY t.{column} DESC, t.id LIMIT {int(limit)}",
        values,
    )


def _timing_spans(row: Row) -> list[Row]:
    """The request, its wait, its prefill and its decoding, from the timings on the row."""
    ttft_ms, e2e_ms = row["ttft_ms"], row["e2e_ms"]
    steps: list[tuple[str, float, float | None]] = [("request", 0.0, e2e_ms)]
    if ttft_ms is not None:
        prefill_ms = min(row["prefill_ms"] or ttft_ms, ttft_ms)
        queue_ms = min(row["queue_ms"] or 0.0, ttft_ms - prefill_ms)
        if queue_ms > 0:
            steps.append(("queue", ttft_ms - prefill_ms - queue_ms, queue_ms))
        steps.append(("prefill", ttft_ms - prefill_ms, prefill_ms))
        if e2e_ms is not None:
            steps.append(("decode", ttft_ms, e2e_ms - ttft_ms))
    return [
        {
            "id": f"{row['id']}/{name}",
            "trace_id": row["id"],
            "parent_id": None if name == "request" else f"{row['id']}/request",
            "name": name,
            "started_at": row["started_at"] + timedelta(milliseconds=start_ms),
            "duration_ms": duration_ms,
            "attributes": {},
        }
        for name, start_ms, duration_ms in steps
        if duration_ms is not None
    ]


_MEASURED = ("queue_ms", "ttft_ms", "tpot_ms", "itl_p50_ms", "itl_max_ms", "e2e_ms")
_TEXTS = ("messages", "rendered_prompt", "output", "generation", "itl_ms")
_COPIED = (
    "id", "source", "state", "error", "user_id", "conversation_id", "prompt_id",
    "prompt_version_id", "prompt_label", "model_id", "model_name", "engine", "quantization",
    "device", "adapter_id", "deployment_id", "run_id", "variant_id", "row_id", "finish_reason",
    "prompt_token_count", "completion_token_count", "queue_ms", "prefill_ms", "ttft_ms", "e2e_ms",
)  # fmt: skip


def preview(text: str) -> str:
    """The first characters on one line, for lists."""
    line = " ".join(text[: 2 * PREVIEW_CHARACTERS].split())
    if len(line) <= PREVIEW_CHARACTERS and len(text) <= 2 * PREVIEW_CHARACTERS:
        return line
    return line[: PREVIEW_CHARACTERS - 1] + "…"


def _last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content") or ""
            return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return ""


def _percentile(ordered: Sequence[float], share: float) -> float:
    """Linear between the two nearest, as DuckDB's quantile_cont."""
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def _span_row(trace_id: str, span: Span) -> dict[str, Any]:
    return {
        "id": span.id,
        "trace_id": trace_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "started_at": iso(span.started_at),
        "duration_ms": span.duration_ms,
        "attributes": dict(span.attributes),
    }
