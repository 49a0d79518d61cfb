"""Traces: one request end to end, with its timed steps and its texts.

Knows: the traces, trace_texts and spans tables, what a trace computes from its timings.
Does not know: models, prompts, how figures over many traces are made (metrics).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.clock import iso
from core.ids import new_id

PREVIEW_CHARACTERS = 200


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
