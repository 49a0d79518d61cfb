"""Asking one row of one variant: render, request, score, and the rows to write of it.

Knows: what becomes a failed row and what is tried again. Does not know: threads, order, files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from core.clock import utc_iso, utc_now
from core.datasets.examples import Example
from core.errors import LatheError, ModelUnavailable, Upstream
from core.evals.plan import Plan, VariantPlan
from core.evals.rows import inputs_text
from core.evals.scorers import Answer, EmbeddingSimilarity, Scorer
from core.evals.session import REMOTE_IN_FLIGHT, GaveUp, ModelSession
from core.models.client import Completion, stream
from core.monitoring.traces import Trace, preview
from core.prompts.template import render

REMOTE_PAUSES_S = (1.0, 4.0)
"""An endpoint that is not ours is asked again after these, then the row has failed."""
REMOTE_FAILURES = 20
"""So many failures of an endpoint in a row, and the rest of its rows is not tried."""

Rows = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Item:
    """One result to make."""

    variant: VariantPlan
    example: Example
    attempt: int


class Asker:
    """Asks items of one model. Safe from several threads."""

    def __init__(self, plan: Plan, session: ModelSession, user_id: str) -> None:
        self._plan = plan
        self._session = session
        self._user_id = user_id
        self._failures = 0
        self._scorers = [s for s in plan.scorers if not isinstance(s, EmbeddingSimilarity)]

    def ask(self, item: Item, stopping: Callable[[], bool]) -> Rows | None:
        """The rows of one result, its own last; None when it was stopped on the way.

        A row that cannot be rendered or answered is a failed result that says why. Raises GaveUp
        when the model is beyond use: then it is not the row's fault, and it stays without a result.
        """
        variant, example = item.variant, item.example
        started_at = utc_now()
        try:
            messages = render(
                variant.system_template,
                variant.user_template,
                example.inputs,
                row=example.row_index,
            )
        except LatheError as error:
            return [self._result(item, None, error)]
        trace = self._trace(item, messages)
        try:
            completion = self._complete(item, messages, stopping)
        except LatheError as error:
            if stopping():
                return None
            failed = Trace(**trace, started_at=started_at, state="failed", error=_said(error))
            return [*failed.rows(), self._result(item, failed, error)]
        if completion.finish_reason == "cancelled":
            return None
        return self._rows(item, completion, trace)

    def _complete(
        self, item: Item, messages: list[dict[str, str]], stopping: Callable[[], bool]
    ) -> Completion:
        """Ask, and once more on a model started again when it died under the request."""
        pauses = list(REMOTE_PAUSES_S)
        died = False
        while True:
            endpoint = self._session.endpoint
            try:
                completion = stream(endpoint, messages, item.variant.generation, cancelled=stopping)
            except ModelUnavailable:
                if died or stopping():
                    raise
                died = True
                self._session.reopened(endpoint)
            except Upstream as error:
                if endpoint.spec.engine != "endpoint" or not self._again(pauses, error, stopping):
                    raise
            else:
                self._failures = 0
                self._session.answered()
                return completion

    def _again(self, pauses: list[float], error: Upstream, stopping: Callable[[], bool]) -> bool:
        """Wait before asking an endpoint again; False when it was asked often enough."""
        hopeless = self._failures >= REMOTE_IN_FLIGHT  # waiting helped none of a whole round
        if not pauses or hopeless or stopping():
            self._failures += 1
            if self._failures >= REMOTE_FAILURES:
                raise GaveUp(
                    ModelUnavailable(
                        f"{self._session.spec.label} failed {self._failures} times in a row: "
                        f"{error.message}",
                        hint=error.hint,
                    )
                )
            return False
        until = time.monotonic() + pauses.pop(0)
        while time.monotonic() < until and not stopping():
            time.sleep(0.05)
        return True

    def _rows(self, item: Item, completion: Completion, trace: dict[str, Any]) -> Rows:
        text = _writable(completion.text)
        answer = Answer(text, item.example.expected, completion.e2e_ms)
        scores = [("scores", self._score(item, scorer, answer)) for scorer in self._scorers]
        finished = Trace(
            **trace,
            started_at=completion.started_at,
            finish_reason=completion.finish_reason,
            prompt_token_count=completion.prompt_token_count,
            completion_token_count=completion.completion_token_count,
            queue_ms=completion.queue_ms,
            prefill_ms=completion.prefill_ms,
            ttft_ms=completion.ttft_ms,
            e2e_ms=completion.e2e_ms,
            rendered_prompt=completion.rendered_prompt,
            output=text,
            itl_ms=completion.itl_ms,
        )
        result = self._result(item, finished, None)
        result[1]["compute_ms"] = completion.compute_ms
        # The result comes last: it is what says that the row is done.
        return [*scores, *finished.rows(), result]

    def _score(self, item: Item, scorer: Scorer, answer: Answer) -> dict[str, Any]:
        return score_row(self._plan.run_id, item.variant.id, item.example.row_id, item.attempt,
                         scorer, scorer.score(answer))  # fmt: skip

    def _result(
        self, item: Item, trace: Trace | None, error: LatheError | None
    ) -> tuple[str, dict[str, Any]]:
        return "results", {
            "run_id": self._plan.run_id,
            "variant_id": item.variant.id,
            "row_id": item.example.row_id,
            "attempt": item.attempt,
            "row_index": item.example.row_index,
            "state": "ok" if error is None else "failed",
            "output": trace.output if trace else None,
            "expected": item.example.expected,
            "input_preview": preview(inputs_text(item.example)),
            "error": None if error is None else _said(error),
            "finish_reason": trace.finish_reason if trace else None,
            "prompt_token_count": trace.prompt_token_count if trace else None,
            "completion_token_count": trace.completion_token_count if trace else None,
            "ttft_ms": trace.ttft_ms if trace else None,
            "tpot_ms": trace.tpot_ms if trace else None,
            "e2e_ms": trace.e2e_ms if trace else None,
            "trace_id": trace.id if trace else None,
            "created_at": utc_iso(),
        }

    def _trace(self, item: Item, messages: list[dict[str, str]]) -> dict[str, Any]:
        variant, spec = item.variant, item.variant.spec
        return {
            "source": "run",
            "user_id": self._user_id,
            "prompt_id": variant.prompt_id,
            "prompt_version_id": variant.prompt_version_id,
            "prompt_label": variant.prompt_label,
            "model_id": spec.model_id,
            "model_name": spec.model_name,
            "engine": spec.engine,
            "quantization": spec.quantization,
            "device": spec.device,
            "run_id": self._plan.run_id,
            "variant_id": variant.id,
            "row_id": item.example.row_id,
            "messages": messages,
            "generation": variant.generation.to_dict(),
        }


def score_row(
    run_id: str, variant_id: str, row_id: str, attempt: int, scorer: Scorer, verdict: Any
) -> dict[str, Any]:
    """A verdict as a row of `scores`."""
    return {
        "run_id": run_id,
        "variant_id": variant_id,
        "row_id": row_id,
        "attempt": attempt,
        "name": scorer.name,
        "value": verdict.value,
        "passed": verdict.passed,
        "text": _writable(verdict.text) if verdict.text else None,
        "explanation": _writable(verdict.explanation) if verdict.explanation else None,
        "annotator_kind": "CODE",
        "annotator": scorer.kind,
        "created_at": utc_iso(),
    }


def _said(error: LatheError) -> str:
    return f"{error.message} {error.hint or ''}".strip()


def _writable(text: str) -> str:
    """The text as UTF-8 can hold it: half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
