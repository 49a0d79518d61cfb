"""The work of a run's job: every row of every variant, one model after another.

Knows: order, concurrency, what is done already, how far it is. Does not know: the database; it
reads its plan and the dataset's rows, and everything it finds out leaves through the spool.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from core.errors import JobFailed, LatheError
from core.evals import done as written
from core.evals.ask import Asker, Item, Rows
from core.evals.lanes import Lanes
from core.evals.pace import Pace
from core.evals.plan import Plan, VariantPlan
from core.evals.rows import stream_examples
from core.evals.scorers import EmbeddingSimilarity
from core.evals.session import GaveUp, ModelSession
from core.evals.similarity import Similarity, pending
from core.jobs.context import JobContext
from core.models.pool import WorkerState
from core.models.spec import WorkerSpec


def work(job: JobContext) -> dict[str, Any]:
    """Do what has no result yet. Fails at the end, naming them, when models could not be used."""
    return Run(job).work()


class Run:
    """One attempt at a run's job."""

    def __init__(self, job: JobContext) -> None:
        self._job = job
        self._home = job.folder.path.parents[1]
        self._plan = Plan.from_dict(job.payload)
        self._done = written.read(job.folder.spool_path)
        self._done_count = len(self._done.results)
        self._failed_count = self._done.failed_count
        self._resumed_from = self._done_count
        self._retries = {(r.variant_id, r.row_id): r.attempt for r in self._plan.retry or ()}
        self._pending = {v.id: self._pending_count(v) for v in self._plan.variants}
        self._pace = Pace(
            {
                spec.key: sum(self._pending[v.id] for v in variants)
                for spec, variants in self._plan.groups()
            }
        )
        self._guard = threading.Lock()
        self._label = ""
        self._model_state = ("", "")
        self._told: tuple[int, str] = (-1, "")
        self._told_at_s = 0.0

    def work(self) -> dict[str, Any]:
        """Answers, then what needs the embedding model."""
        problems: list[LatheError] = []
        if self._resumed_from:
            self._job.log(f"{self._resumed_from} results are there already")
        for spec, variants in self._plan.groups():
            if any(self._pending[variant.id] for variant in variants):
                problems += self._attempt(self._answer, spec, variants)
        for scorer in self._plan.scorers:
            if isinstance(scorer, EmbeddingSimilarity):
                problems += self._attempt(self._compare, scorer)
        if problems:
            raise self._failure(problems)
        self._tell(f"{self._failed_count} failed" if self._failed_count else "done")
        return {
            "results": self._done_count,
            "failed": self._failed_count,
            "resumed_from": self._resumed_from,
        }

    def _attempt(self, step: Any, *given: Any) -> list[LatheError]:
        """A step whose model cannot be used stops itself, not the others."""
        try:
            step(*given)
        except (LatheError, GaveUp) as problem:
            self._job.raise_if_cancelled()
            error = problem.error if isinstance(problem, GaveUp) else problem
            self._job.log(f"{error.title}: {error.message}")
            return [error]
        except OSError as error:
            raise JobFailed(
                f"What the run finds out cannot be written: {error}.",
                hint="Free some disk space, then resume the run: nothing is asked twice.",
            ) from error
        return []

    def _failure(self, problems: list[LatheError]) -> LatheError:
        said = " ".join(dict.fromkeys(problem.message for problem in problems))
        missing = self._plan.result_count - self._done_count
        return JobFailed(
            f"{missing} of {self._plan.result_count} results are missing. {said}"
            if missing
            else said,
            title="A part of the run could not be done",
            hint="What is done is kept. Mend the cause, then resume the run.",
        )

    def _answer(self, spec: WorkerSpec, variants: list[VariantPlan]) -> None:
        """Every pending row of the variants that share a model."""
        self._label = spec.label
        with self._session(spec) as session:
            self._pace.begin(spec.key, time.monotonic())
            asker = Asker(self._plan, session, self._job.created_by)
            waiting = sum(self._pending[variant.id] for variant in variants)

            def ask(item: Item) -> None:
                rows = asker.ask(item, lanes.stopping)
                if rows is not None:
                    self._write(item, rows)

            count = min(session.in_flight, waiting)
            lanes = Lanes(self._items(variants), ask, count)
            lanes.run(self._tick)

    def _items(self, variants: list[VariantPlan]) -> Iterator[Item]:
        """Variant by variant, so that prompts with the same beginning follow one another."""
        for variant in variants:
            left = self._pending[variant.id]
            examples = stream_examples(
                self._home, self._plan.rows, self._plan.row_count, self._plan.only
            )
            while left and (example := next(examples, None)) is not None:
                key = (variant.id, example.row_id)
                if key in self._done.results:
                    continue
                if self._plan.retry is not None and key not in self._retries:
                    continue
                left -= 1
                yield Item(variant, example, self._done.attempt(key, self._retries.get(key, 1)))

    def _pending_count(self, variant: VariantPlan) -> int:
        asked = self._plan.row_count
        if self._plan.retry is not None:
            asked = sum(1 for variant_id, _ in self._retries if variant_id == variant.id)
        return asked - sum(1 for variant_id, _ in self._done.results if variant_id == variant.id)

    def _write(self, item: Item, rows: Rows) -> None:
        self._job.spool.write_all(rows)
        with self._guard:
            self._done_count += 1
            self._failed_count += rows[-1][1]["state"] == "failed"
            self._pace.note(item.variant.spec.key, time.monotonic())

    def _compare(self, scorer: EmbeddingSimilarity) -> None:
        """Similarity scores of what has none; loads nothing when all have theirs."""
        spec = self._plan.embeddings[scorer.name]
        self._label = scorer.name
        folder = self._job.folder.spool_path
        if next(pending(folder, scorer), None) is None:
            return
        with self._session(spec) as session:
            compared = 0

            def write(rows: Rows) -> None:
                nonlocal compared
                self._job.spool.write_all(rows)
                compared += len(rows)
                self._label = f"{scorer.name}: {compared} compared"

            Lanes(Similarity(self._plan, folder, session).rows(scorer), write, 1).run(self._tick)

    def _session(self, spec: WorkerSpec) -> ModelSession:
        return ModelSession(
            self._home,
            self._job.folder.path,
            spec,
            on_state=self._on_state,
            cancelled=self._job.cancelled,
        )

    def _on_state(self, state: WorkerState) -> None:
        percent = "" if state.progress is None else f" {state.progress:.0%}"
        if (state.key, state.state) != self._model_state:
            self._model_state = (state.key, state.state)
            self._job.log(f"{state.spec.label}: {state.state}")
        if state.state != "ready":
            self._tell(f"{state.spec.label}: {state.message or state.state}{percent}")

    def _tick(self) -> None:
        self._job.raise_if_cancelled()
        self._tell(self._label)

    def _tell(self, message: str) -> None:
        with self._guard:
            news, now_s = (self._done_count, message), time.monotonic()
            if news == self._told and now_s - self._told_at_s < 1:
                return
            self._told, self._told_at_s = news, now_s
            self._job.progress(
                self._done_count,
                self._plan.result_count,
                message,
                eta_s=self._pace.eta_s(),
                failed=self._failed_count,
            )
