"""Runs: variants over a dataset version, started as jobs and read back as comparisons.

Knows: the tables runs and run_variants, and how a run hangs together with its job.
Does not know: how rows are asked (runner), what figures mean (results), Streamlit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.clock import utc_now
from core.errors import Conflict, Invalid, NotFound
from core.evals import export
from core.evals.differences import differences
from core.evals.estimate import estimate
from core.evals.listing import listed
from core.evals.plan import Plan
from core.evals.planning import Planner, run_rows
from core.evals.results import FILTERS, NO_FIGURES, Results, paired_dict, pass_rates
from core.evals.rows import find_example
from core.evals.scorers import parse_all
from core.evals.statistics import hint
from core.evals.variants import Variant
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.jobs.columns import job_columns
from core.jobs.folder import ENDED
from core.jobs.service import Jobs
from core.models.spec import WorkerSpec
from core.monitoring.traces import Traces
from core.store.database import Row, Store, insert_row

if TYPE_CHECKING:
    from core.datasets.service import Datasets
    from core.models.service import Models
    from core.prompts.service import Prompts

Rows = list[Row]  # inside the class `list` is the method


class Runs:
    """The runs of a workspace."""

    noun = "runs"

    def __init__(
        self,
        store: Store,
        jobs: Jobs,
        prompts: Prompts,
        datasets: Datasets,
        models: Models,
        traces: Traces,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._models = models
        self._traces = traces
        self._planner = Planner(store.home, prompts, datasets, models)

    @action
    def create(
        self,
        actor: Actor,
        name: str,
        dataset_version_id: str,
        variants: Sequence[Variant | dict[str, Any]],
        scorers: Sequence[dict[str, Any]] = (),
        row_limit: int | None = None,
        *,
        embedding: WorkerSpec | None = None,
        row_ids: Sequence[str] | None = None,
    ) -> str:
        """Start a run and return its id; the first variant is the baseline until told otherwise.

        `row_ids` asks only these rows of the version, such as those held out of a training.
        `auto` is resolved here, and the outcome recorded: the run never changes it. Raises
        Invalid for anything that can be known to be wrong before the first row.
        """
        plan, version = self._planner.plan(
            actor, dataset_version_id, variants, scorers, row_limit, embedding, row_ids
        )
        self._planner.check_memory(actor, plan)
        return self._begin(actor, name, plan, version)

    def _create_once(
        self,
        actor: Actor,
        run_id: str,
        name: str,
        dataset_version_id: str,
        variants: Sequence[Variant | dict[str, Any]],
        scorers: Sequence[dict[str, Any]],
        row_ids: Sequence[str],
    ) -> None:
        """`create` under an id that is known before: a second call, after a crash, adds nothing
        but what is missing."""
        known = self._store.row("SELECT job_id, name FROM runs WHERE id = $id", {"id": run_id})
        if known is None:
            plan, version = self._planner.plan(
                actor, dataset_version_id, variants, scorers, None, None, row_ids
            )
            self._begin(actor, name, replace(plan, run_id=run_id), version)
        elif known["job_id"] is None:
            started = self._jobs.list(actor, kind="run")
            job_id = next((job["id"] for job in started if job["subject_id"] == run_id), None)
            self._start_job(actor, self._plan(run_id), str(known["name"]), job_id)

    def _begin(self, actor: Actor, name: str, plan: Plan, version: Row) -> str:
        """Write the run down, then start its job."""
        made = {"created_by": actor.id, "created_at": utc_now()}
        run, columns = run_rows(plan, version, name, made)
        with self._store.transaction() as connection:
            insert_row(connection, "runs", run)
            for column in columns:
                insert_row(connection, "run_variants", column)
        self._start_job(actor, plan, str(run["name"]))
        names = [column["name"] for column in columns]
        record(self._store, actor, "runs.create", plan.run_id, name=run["name"], variants=names)
        return plan.run_id

    @action
    def estimate(
        self,
        actor: Actor,
        dataset_version_id: str,
        variants: Sequence[Variant | dict[str, Any]],
        scorers: Sequence[dict[str, Any]] = (),
        row_limit: int | None = None,
        *,
        embedding: WorkerSpec | None = None,
        row_ids: Sequence[str] | None = None,
    ) -> Row:
        """What a run would take: `rows`, `result_count`, `prompt_tokens`, `new_tokens`, `minutes`
        (None when not measured), `basis` ('measured' or 'not calibrated yet'), `hint` on what so
        many rows can show, and `variants` with the same and the resolved engine. Starts nothing.
        """
        plan, _ = self._planner.plan(
            actor, dataset_version_id, variants, scorers, row_limit, embedding, row_ids
        )
        found = estimate(self._store.home, self._store, self._models, actor, plan)
        return {**found, "hint": hint(plan.row_count)}

    @action
    def list(
        self,
        actor: Actor,
        *,
        search: str = "",
        dataset_version_id: str | None = None,
        archived: bool = False,
        before: str | None = None,
        limit: int = 100,
    ) -> Rows:
        """Newest first, with `created_by_name`, `variant_names`, `result_count`, `failed_count`,
        `pass_rates` (in the variants' order; None: nothing judged) and the job's `state`,
        `progress_done`, `progress_total`, `eta_s`; `before` is the last id of the page before."""
        found = listed(self._store, search, dataset_version_id, archived, before, limit)
        runs = [self._parsed(row) for row in found]
        rates = pass_rates(self._store, runs)
        return [
            {**run, "pass_rates": rates[run["id"]], **self._job_state(actor, run["job_id"])}
            for run in runs
        ]

    @action
    def get(self, actor: Actor, run_id: str) -> Row:
        """One run with its `variants` as asked and resolved, `created_by_name`, and its job's
        state and progress."""
        run = self._run(run_id)
        return {**run, **self._job_state(actor, run["job_id"]), "variants": self._variants(run_id)}

    @action
    def summary(self, actor: Actor, run_id: str) -> Row:
        """The run with figures per variant, as the header of Compare shows them.

        Each of `variants` has `result_count`, `ok_count`, `failed_count`, `judged_count`,
        `passed_count`, `pass_rate` with `pass_interval` (95%), `scores` per scorer,
        `e2e_p50_ms`/`e2e_p95_ms` and `ttft_*` (None: not enough data), `tokens_per_s` (new tokens
        in a second of compute), `compute_s`, token counts, and `versus`: fixed, broke, same,
        difference, interval, p_value against the baseline (None for the baseline itself).
        """
        run = self._run(run_id)
        results = self._results(run)
        figures = results.by_variant()
        versus = results.versus(run["baseline_variant_id"])
        variants = self._variants(run_id)
        for variant in variants:
            variant.update(figures.get(variant["id"], NO_FIGURES))
            variant.pop("variant_id", None)
            paired = versus.get(variant["id"])
            variant["versus"] = paired_dict(paired) if paired else None
        return {
            **run,
            **self._job_state(actor, run["job_id"]),
            "hint": hint(run["row_count"]),
            "variants": variants,
        }

    @action
    def grid(
        self,
        actor: Actor,
        run_id: str,
        *,
        show: str = "all",
        search: str = "",
        limit: int = 50,
        after: int | None = None,
    ) -> Row:
        """Rows x variants: `rows`, `total_count` that match, and `after`, the next page's key.

        `show` is all, failures (some variant failed or did not pass) or different (the variants'
        verdicts differ; their outputs, where nothing is judged). A row has row_id, row_index,
        input_preview, expected and `cells` by variant id: state, output (cut), passed, change
        (fixed, broke or same), scores by name, e2e_ms, error.
        """
        if show not in FILTERS:
            raise Invalid(f"show is one of {', '.join(FILTERS)}, not {show!r}.", field="show")
        run = self._run(run_id)
        return self._results(run).grid(
            show=show,
            search=search,
            after=after,
            limit=max(1, min(limit, 1000)),
            baseline_id=run["baseline_variant_id"],
        )

    @action
    def cell(self, actor: Actor, run_id: str, variant_id: str, row_id: str) -> Row:
        """One result whole: `result`, `scores`, `inputs`, earlier `attempts`, and `trace` with the
        rendered prompt and spans (None when no request was made)."""
        self._run(run_id)
        key = {"run": run_id, "variant": variant_id, "row": row_id}
        attempts = self._store.rows(
            "SELECT * FROM results WHERE run_id = $run AND variant_id = $variant AND row_id = $row"
            " ORDER BY attempt DESC",
            key,
        )
        if not attempts:
            raise NotFound("There is no result for that row and variant (yet).")
        result = attempts[0]
        scores = self._store.rows(
            "SELECT * FROM scores WHERE run_id = $run AND variant_id = $variant AND row_id = $row"
            " AND attempt = $attempt ORDER BY name",
            {**key, "attempt": result["attempt"]},
        )
        example = find_example(self._store.home, self._plan(run_id).rows, row_id)
        return {
            "result": result,
            "scores": scores,
            "inputs": None if example is None else example.inputs,
            "attempts": attempts[1:],
            "trace": self._trace(actor, result["trace_id"]),
        }

    @action
    def set_baseline(self, actor: Actor, run_id: str, variant_id: str) -> None:
        """Compare with another variant from now on."""
        self._run(run_id)
        if variant_id not in {variant["id"] for variant in self._variants(run_id)}:
            raise NotFound(f"The run has no variant {variant_id!r}.")
        self._store.execute(
            "UPDATE runs SET baseline_variant_id = $variant WHERE id = $id",
            {"variant": variant_id, "id": run_id},
        )
        record(self._store, actor, "runs.set_baseline", run_id, variant_id=variant_id)

    @action
    def versus_baseline(
        self,
        actor: Actor,
        run_id: str,
        variant_id: str,
        *,
        change: str | None = None,
        after: int | None = None,
        limit: int = 200,
    ) -> Row:
        """One variant against the baseline: the paired counts with test and interval,
        `differences` of what is measured (bootstrap intervals), and `rows` by `change`."""
        run = self._run(run_id)
        if change not in (None, "fixed", "broke", "same"):
            raise Invalid(f"change is fixed, broke or same, not {change!r}.", field="change")
        results = self._results(run)
        baseline_id = run["baseline_variant_id"]
        paired = results.versus(baseline_id).get(variant_id)
        return {
            "baseline_variant_id": baseline_id,
            "variant_id": variant_id,
            **paired_dict(paired),
            "differences": differences(
                self._store, run_id, parse_all(run["scorers"]), baseline_id, variant_id
            ),
            "rows": results.changes(
                baseline_id, variant_id, change=change, after=after, limit=limit
            ),
        }

    @action
    def export(self, actor: Actor, run_id: str, kind: str = "csv") -> bytes:
        """Every result as csv, jsonl or parquet, in the dataset's order, last attempts only.

        In CSV, text that a spreadsheet would take for a formula gets an apostrophe before it.
        """
        run = self._run(run_id)
        names = [scorer["name"] for scorer in run["scorers"]]
        rows = export.result_rows(
            self._results(run), self._variants(run_id), self._store.home, self._plan(run_id)
        )
        content = export.write(rows, names, kind)
        record(self._store, actor, "runs.export", run_id, kind=kind)
        return content

    @action
    def retry_failed(self, actor: Actor, run_id: str) -> int:
        """Ask the failed rows again, and only them, in a job of their own; how many they are.

        The failed attempts are kept. Conflict while the run goes on or has rows not asked yet.
        """
        run = self._run(run_id)
        state = self._job_state(actor, run["job_id"])["state"]
        if state not in ENDED:
            raise Conflict("The run is still going on.", hint="Wait for its end, or cancel it.")
        if state != "succeeded":
            raise Conflict(
                f"The run is {state}: rows are missing.", hint="Resume it first, then retry."
            )
        retry = self._results(run).failed()
        if not retry:
            raise Conflict("No row has failed.")
        plan = replace(self._plan(run_id), retry=retry)
        self._start_job(actor, plan, f"{run['name']}: {len(retry)} failed rows again")
        record(self._store, actor, "runs.retry_failed", run_id, row_count=len(retry))
        return len(retry)

    @action
    def archive(self, actor: Actor, run_id: str) -> None:
        """Take a run off the list; its results stay readable."""
        run = self._run(run_id)
        if self._job_state(actor, run["job_id"])["state"] in ("queued", "running"):
            raise Conflict("The run is still going on.", hint="Cancel it first.")
        self._store.execute(
            "UPDATE runs SET archived_at = $now WHERE id = $id", {"now": utc_now(), "id": run_id}
        )
        record(self._store, actor, "runs.archive", run_id)

    def _start_job(self, actor: Actor, plan: Plan, title: str, started: str | None = None) -> None:
        job_id = started or self._jobs.start(
            actor, "run", title, plan.to_dict(), subject_id=plan.run_id
        )
        self._store.execute(
            "UPDATE runs SET job_id = $job WHERE id = $id", {"job": job_id, "id": plan.run_id}
        )

    def _run(self, run_id: str) -> Row:
        run = self._parsed(self._store.get("runs", run_id, noun="run"))
        del run["plan"]
        found = self._store.row("SELECT name FROM users WHERE id = $id", {"id": run["created_by"]})
        return {**run, "created_by_name": found["name"] if found else run["created_by"]}

    def _plan(self, run_id: str) -> Plan:
        """The plan as it was: exactly the same templates and specs."""
        return Plan.from_dict(json.loads(self._store.get("runs", run_id, noun="run")["plan"]))

    def _parsed(self, row: Row) -> Row:
        return {**row, "scorers": json.loads(row["scorers"])}

    def _variants(self, run_id: str) -> Rows:
        rows = self._store.rows(
            "SELECT * FROM run_variants WHERE run_id = $id ORDER BY position", {"id": run_id}
        )
        for row in rows:
            row["generation"] = json.loads(row["generation"])
            row["spec"] = json.loads(row["spec"])
        return rows

    def _results(self, run: Row) -> Results:
        return Results(self._store, run["id"], parse_all(run["scorers"]))

    def _job_state(self, actor: Actor, job_id: str | None) -> Row:
        return job_columns(self._jobs, actor, job_id)

    def _trace(self, actor: Actor, trace_id: str | None) -> Row | None:
        if trace_id is None:
            return None
        try:
            return self._traces.get(actor, trace_id)
        except NotFound:
            return None  # retention may have taken it
