"""What a run amounts to: figures per variant, the grid, and the comparison with the baseline.

Knows: the results and scores tables. Does not know: how they came to be, who may see them.

The verdict of a row is made here and nowhere else. A row passes when every scorer with a pass
condition that had something to judge passed it; a failed row is not a pass; a row without any
verdict (nothing expected, nothing to judge, scores still being made) counts neither way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from core.evals.plan import Retry
from core.evals.scorers import Scorer, parse_all
from core.evals.statistics import (
    Paired,
    as_dict,
    paired_counts,
    values_needed,
    wilson,
)
from core.store.database import Row, Store

FILTERS = ("all", "failures", "different")
PREVIEW_CHARACTERS = 400

NO_FIGURES: Row = {
    **dict.fromkeys(
        (
            "result_count", "ok_count", "failed_count", "judged_count", "passed_count",
            "prompt_token_count", "completion_token_count", "cut_count",
        ),
        0,
    ),
    **dict.fromkeys(
        (
            "pass_rate", "pass_interval", "e2e_p50_ms", "e2e_p95_ms", "ttft_p50_ms", "ttft_p95_ms",
            "compute_s", "tokens_per_s",
        )
    ),
    "scores": [],
}  # fmt: skip
"""A variant before its first result."""
NOT_COMPARED: Row = {
    "fixed": 0,
    "broke": 0,
    "same": 0,
    "difference": None,
    "interval": None,
    "p_value": None,
}

# One row per result that counts (the last attempt) of the runs asked for, with `passed`.
JUDGED = """
    judged AS (
        WITH deciding AS (
            SELECT unnest($deciding_runs::VARCHAR[]) AS run_id,
                unnest($deciding_names::VARCHAR[]) AS name
        ), needed AS (
            SELECT run_id, count(*) AS n FROM deciding GROUP BY run_id
        ), verdicts AS (
            SELECT run_id, variant_id, row_id, attempt, count(*) AS n, bool_and(passed) AS passed
            FROM scores JOIN deciding USING (run_id, name)
            WHERE annotator_kind = 'CODE' AND list_contains($runs::VARCHAR[], run_id)
            GROUP BY ALL
        )
        SELECT r.*, CASE
                WHEN needed.n IS NULL THEN NULL
                WHEN r.state = 'failed' THEN false
                WHEN coalesce(v.n, 0) < needed.n THEN NULL
                ELSE v.passed
            END AS passed
        FROM run_results r LEFT JOIN needed USING (run_id)
            LEFT JOIN verdicts v USING (run_id, variant_id, row_id, attempt)
        WHERE list_contains($runs::VARCHAR[], r.run_id)
    )
"""

# One row per row of the dataset that is to be shown: see `Runs.grid`.
MATCHING = f"""
    WITH {JUDGED}, matching AS (
        SELECT row_index, any_value(row_id) AS row_id,
            any_value(input_preview) AS input_preview, any_value(expected) AS expected
        FROM judged GROUP BY row_index
        HAVING ($show = 'all'
            OR ($show = 'failures' AND bool_or(state = 'failed' OR NOT passed))
            OR ($show = 'different' AND CASE
                WHEN count(passed) > 0 THEN count(DISTINCT passed) > 1
                ELSE count(DISTINCT coalesce(output, '')) > 1 END))
          AND ($search = '' OR bool_or(contains(lower(concat_ws(chr(10),
                input_preview, expected, output, error)), $search)))
    )
"""  # noqa: S608


class Results:
    """Questions about one run's results."""

    def __init__(self, store: Store, run_id: str, scorers: Sequence[Scorer]) -> None:
        self._store = store
        self._scorers = scorers
        self._run_id = run_id
        self._run = judging({run_id: scorers})

    def by_variant(self) -> dict[str, Row]:
        """Figures per variant id; a percentile is None where there are too few values for it."""
        found = self._store.rows(
            f"""
            WITH {JUDGED}
            SELECT variant_id,
                count(*) AS result_count,
                count(*) FILTER (state = 'ok') AS ok_count,
                count(*) FILTER (state = 'failed') AS failed_count,
                count(passed) AS judged_count,
                count(*) FILTER (passed) AS passed_count,
                count(e2e_ms) AS e2e_count,
                quantile_cont(e2e_ms, 0.5) AS e2e_p50_ms,
                quantile_cont(e2e_ms, 0.95) AS e2e_p95_ms,
                count(ttft_ms) AS ttft_count,
                quantile_cont(ttft_ms, 0.5) AS ttft_p50_ms,
                quantile_cont(ttft_ms, 0.95) AS ttft_p95_ms,
                coalesce(sum(prompt_token_count), 0)::BIGINT AS prompt_token_count,
                coalesce(sum(completion_token_count), 0)::BIGINT AS completion_token_count,
                sum(compute_ms) / 1000 AS compute_s,
                sum(completion_token_count) FILTER (compute_ms IS NOT NULL)
                    / nullif(sum(compute_ms) / 1000, 0) AS tokens_per_s,
                count(*) FILTER (finish_reason = 'length') AS cut_count
            FROM judged GROUP BY variant_id
            """,  # noqa: S608
            self._run,
        )
        scores = self._by_scorer()
        for row in found:
            for measure in ("e2e", "ttft"):
                count = row.pop(f"{measure}_count")
                for q in (0.5, 0.95):
                    if count < values_needed(q):
                        row[f"{measure}_p{q * 100:.0f}_ms"] = None
            row["pass_rate"] = _rate(row["passed_count"], row["judged_count"])
            row["pass_interval"] = as_dict(wilson(row["passed_count"], row["judged_count"]))
            row["scores"] = scores.get(row["variant_id"], [])
        return {row["variant_id"]: row for row in found}

    def _by_scorer(self) -> dict[str, list[Row]]:
        rows = self._store.rows(
            """
            SELECT s.variant_id, s.name, s.annotator AS kind, count(s.value) AS scored_count,
                count(s.passed) AS judged_count, count(*) FILTER (s.passed) AS passed_count,
                avg(s.value) AS mean
            FROM scores s JOIN run_results r USING (run_id, variant_id, row_id, attempt)
            WHERE s.run_id = $run AND s.annotator_kind = 'CODE'
            GROUP BY ALL
            """,
            {"run": self._run_id},
        )
        order = [scorer.name for scorer in self._scorers]
        found: dict[str, list[Row]] = {}
        for row in sorted(rows, key=lambda r: order.index(r["name"]) if r["name"] in order else 99):
            row["pass_rate"] = _rate(row["passed_count"], row["judged_count"])
            row["pass_interval"] = as_dict(wilson(row["passed_count"], row["judged_count"]))
            found.setdefault(row.pop("variant_id"), []).append(row)
        return found

    def versus(self, baseline_id: str) -> dict[str, Paired]:
        """Every other variant against the baseline, over the rows that both were judged on."""
        rows = self._store.rows(
            f"""
            WITH {JUDGED}
            SELECT v.variant_id,
                count(*) FILTER (v.passed AND NOT b.passed) AS fixed,
                count(*) FILTER (b.passed AND NOT v.passed) AS broke,
                count(*) FILTER (b.passed = v.passed) AS same
            FROM judged v JOIN judged b USING (row_id)
            WHERE b.variant_id = $baseline AND v.variant_id <> $baseline
              AND b.passed IS NOT NULL AND v.passed IS NOT NULL
            GROUP BY v.variant_id
            """,  # noqa: S608
            {**self._run, "baseline": baseline_id},
        )
        return {r["variant_id"]: paired_counts(r["fixed"], r["broke"], r["same"]) for r in rows}

    def changes(
        self,
        baseline_id: str,
        variant_id: str,
        *,
        change: str | None,
        after: int | None,
        limit: int,
    ) -> list[Row]:
        """Rows that were fixed, broken or the same, in the dataset's order."""
        return self._store.rows(
            f"""
            WITH {JUDGED}, changed AS (
                SELECT v.row_id, v.row_index, v.input_preview, v.expected,
                    b.passed AS baseline_passed, v.passed AS passed,
                    left(b.output, {PREVIEW_CHARACTERS}) AS baseline_output,
                    left(v.output, {PREVIEW_CHARACTERS}) AS output,
                    CASE WHEN b.passed = v.passed THEN 'same' WHEN v.passed THEN 'fixed'
                        ELSE 'broke' END AS change
                FROM judged v JOIN judged b USING (row_id)
                WHERE b.variant_id = $baseline AND v.variant_id = $variant
                  AND b.passed IS NOT NULL AND v.passed IS NOT NULL
            )
            SELECT * FROM changed
            WHERE ($change IS NULL OR change = $change) AND ($after IS NULL OR row_index > $after)
            ORDER BY row_index LIMIT $limit
            """,  # noqa: S608
            {
                **self._run,
                "baseline": baseline_id,
                "variant": variant_id,
                "change": change,
                "after": after,
                "limit": limit,
            },
        )

    def grid(
        self,
        *,
        show: str,
        search: str,
        after: int | None,
        limit: int,
        baseline_id: str | None,
    ) -> Row:
        """A page of rows with a cell for each variant: see `Runs.grid`."""
        asked = {**self._run, "show": show, "search": search.strip().lower()}
        total = self._store.row(f"{MATCHING} SELECT count(*) AS n FROM matching", asked)  # noqa: S608
        rows = self._store.rows(
            f"""
            {MATCHING}
            SELECT * FROM matching WHERE $after IS NULL OR row_index > $after
            ORDER BY row_index LIMIT $limit
            """,  # noqa: S608
            {**asked, "after": after, "limit": limit},
        )
        cells = self._cells([row["row_id"] for row in rows])
        for row in rows:
            row["cells"] = cells.get(row["row_id"], {})
            _mark_changes(row["cells"], baseline_id)
        last = rows[-1]["row_index"] if len(rows) == limit else None
        return {"rows": rows, "total_count": total["n"] if total else 0, "after": last}

    def failed(self) -> tuple[Retry, ...]:
        """The rows that have failed, as what to ask again."""
        rows = self._store.rows(
            "SELECT variant_id, row_id, attempt FROM run_results"
            " WHERE run_id = $run AND state = 'failed' ORDER BY row_index",
            {"run": self._run_id},
        )
        return tuple(Retry(r["variant_id"], r["row_id"], r["attempt"] + 1) for r in rows)

    def full_page(self, after: int, limit: int) -> list[Row]:
        """Whole results with `scores` by name, of the next `limit` rows, in order."""
        found = self._store.rows(
            f"""
            WITH {JUDGED}, page AS (
                SELECT DISTINCT row_index FROM judged WHERE row_index > $after
                ORDER BY row_index LIMIT $limit
            ), scored AS (
                SELECT variant_id, row_id, attempt, list({{'name': name, 'value': value,
                    'passed': passed}}) AS scores
                FROM scores WHERE run_id = $run AND annotator_kind = 'CODE' GROUP BY ALL
            )
            SELECT judged.*, coalesce(scored.scores, []) AS scores
            FROM judged JOIN page USING (row_index)
            JOIN run_variants v ON v.id = judged.variant_id
            LEFT JOIN scored USING (variant_id, row_id, attempt)
            ORDER BY row_index, v.position
            """,  # noqa: S608
            {**self._run, "run": self._run_id, "after": after, "limit": limit},
        )
        for row in found:
            row["scores"] = {score["name"]: score for score in row["scores"]}
        return found

    def _cells(self, row_ids: list[str]) -> dict[str, dict[str, Row]]:
        """row id -> variant id -> cell."""
        found: dict[str, dict[str, Row]] = {}
        asked = {**self._run, "rows": row_ids}
        results = self._store.rows(
            f"""
            WITH {JUDGED}
            SELECT variant_id, row_id, state, passed, error, finish_reason, attempt,
                left(output, {PREVIEW_CHARACTERS}) AS output,
                length(output) > {PREVIEW_CHARACTERS} AS cut,
                e2e_ms, ttft_ms, completion_token_count, trace_id
            FROM judged WHERE list_contains($rows::VARCHAR[], row_id)
            """,  # noqa: S608
            asked,
        )
        for row in results:
            cell = {**row, "scores": {}}
            found.setdefault(cell.pop("row_id"), {})[cell.pop("variant_id")] = cell
        scores = self._store.rows(
            """
            SELECT s.variant_id, s.row_id, s.name, s.value, s.passed, s.explanation
            FROM scores s JOIN run_results r USING (run_id, variant_id, row_id, attempt)
            WHERE s.run_id = $run AND list_contains($rows::VARCHAR[], s.row_id)
              AND s.annotator_kind = 'CODE'
            """,
            {"run": self._run_id, "rows": row_ids},
        )
        for score in scores:
            place = found.get(score.pop("row_id"), {}).get(score.pop("variant_id"))
            if place is not None:
                place["scores"][score.pop("name")] = score
        return found


def pass_rates(store: Store, runs: Sequence[Row]) -> dict[str, list[float | None]]:
    """run id -> the pass rate of each variant in order, for a list of runs in one query."""
    counts = pass_counts(store, runs)
    return {run_id: [_rate(*count) for count in found] for run_id, found in counts.items()}


def pass_counts(store: Store, runs: Sequence[Row]) -> dict[str, list[tuple[int, int]]]:
    """run id -> how many rows passed and how many were judged, of each variant in order; a run has
    `id` and `scorers`."""
    rows = store.rows(
        f"""
        WITH {JUDGED}
        SELECT v.run_id, count(*) FILTER (j.passed) AS passed_count, count(j.passed) AS judged_count
        FROM run_variants v LEFT JOIN judged j ON j.run_id = v.run_id AND j.variant_id = v.id
        WHERE list_contains($runs::VARCHAR[], v.run_id)
        GROUP BY v.run_id, v.id, v.position ORDER BY v.run_id, v.position
        """,  # noqa: S608
        judging({run["id"]: parse_all(run["scorers"]) for run in runs}),
    )
    found: dict[str, list[tuple[int, int]]] = {run["id"]: [] for run in runs}
    for row in rows:
        found[row["run_id"]].append((row["passed_count"], row["judged_count"]))
    return found


def judging(runs: Mapping[str, Sequence[Scorer]]) -> Row:
    """The parameters of JUDGED: the runs, and which of their scorers decide."""
    deciding = [(run, s.name) for run, scorers in runs.items() for s in scorers if s.decides]
    return {
        "runs": list(runs),
        "deciding_runs": [run for run, _ in deciding],
        "deciding_names": [name for _, name in deciding],
    }


def _mark_changes(cells: dict[str, Row], baseline_id: str | None) -> None:
    """`change` on every cell: fixed, broke or same against the baseline; None where unknown."""
    before = cells.get(baseline_id or "", {}).get("passed")
    for variant_id, cell in cells.items():
        now = cell["passed"]
        if variant_id == baseline_id or before is None or now is None:
            cell["change"] = None
        else:
            cell["change"] = "same" if now == before else "fixed" if now else "broke"


def paired_dict(paired: Paired | None) -> Row:
    """A comparison as JSON; None is a variant that shares no judged row with the baseline."""
    if paired is None:
        return dict(NOT_COMPARED)
    return {**asdict(paired), "interval": as_dict(paired.interval)}


def _rate(passed: int, judged: int) -> float | None:
    return passed / judged if judged else None
