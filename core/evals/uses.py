"""What used a version of a dataset: runs for its lineage, and runs and votes for its timeline.

Knows: the tables runs, run_variants and vote_preferences. Does not know: datasets, how a lineage or
a timeline is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from core.evals.cast_votes import counting, voted_pairs
from core.evals.preferences import by_row
from core.evals.results import pass_counts
from core.evals.statistics import wilson
from core.evals.verdicts import tally
from core.store.database import Row, Store


def runs_of(store: Store, version_ids: Sequence[str], *, limit: int = 20) -> list[Row]:
    """Runs over these dataset versions, newest first, `limit` a version at most.

    Each has `kind` (run), `id`, `title`, `version_id`, `detail` (rows asked), `at`, and `left_out`,
    how many more runs its version has than are listed.
    """
    return store.rows(
        """
        SELECT 'run' AS kind, id, name AS title, dataset_version_id AS version_id,
            row_count || CASE WHEN row_count = 1 THEN ' row' ELSE ' rows' END AS detail,
            created_at AS at,
            greatest(count(*) OVER (PARTITION BY dataset_version_id) - $limit, 0) AS left_out
        FROM runs
        WHERE dataset_version_id IN (SELECT unnest($versions::VARCHAR[])) AND archived_at IS NULL
        QUALIFY row_number() OVER (PARTITION BY dataset_version_id ORDER BY id DESC) <= $limit
        ORDER BY id DESC
        """,
        {"versions": list(version_ids), "limit": limit},
    )


def compared(store: Store, version_ids: Sequence[str]) -> list[Row]:
    """Runs over these versions, oldest first: `id`, `name`, `dataset_version_id`, `row_count`,
    `baseline_variant_id`, `created_at`, `state`, and `variants`: id, name, model_name, `rate` of
    rows that passed with `low` and `high` (95%, Wilson) and `n`; None where nothing is judged."""
    runs = store.rows(
        """
        SELECT r.id, r.name, r.dataset_version_id, r.row_count, r.scorers, r.baseline_variant_id,
            r.created_at, coalesce(j.state, 'queued') AS state
        FROM runs r LEFT JOIN jobs j ON j.id = r.job_id
        WHERE list_contains($versions::VARCHAR[], r.dataset_version_id) AND r.archived_at IS NULL
        ORDER BY r.id
        """,
        {"versions": list(version_ids)},
    )
    for run in runs:
        run["scorers"] = json.loads(run["scorers"])
    counts = pass_counts(store, runs)
    variants = store.rows(
        "SELECT id, run_id, name, model_name FROM run_variants"
        " WHERE list_contains($runs::VARCHAR[], run_id) ORDER BY run_id, position",
        {"runs": [run["id"] for run in runs]},
    )
    for run in runs:
        own = [variant for variant in variants if variant["run_id"] == run["id"]]
        run["variants"] = [
            {**variant, **_rate(*count)}
            for variant, count in zip(own, counts[run["id"]], strict=True)
        ]
        del run["scorers"]
    return runs


def voted(store: Store, runs: Sequence[Row]) -> list[Row]:
    """What was voted on runs as `compared` gives them, one row a pair: `run_id`, `pair` (variant
    ids, the baseline first), `names`, `last_at`, and what `verdicts.tally` gives."""
    found = []
    for run in runs:
        names = {variant["id"]: variant["name"] for variant in run["variants"]}
        place = {variant_id: number for number, variant_id in enumerate(names)}
        place[run["baseline_variant_id"]] = -1
        for row in voted_pairs(store, run["id"]):
            order = sorted((row["one"], row["other"]), key=place.__getitem__)
            found.append(
                {
                    "run_id": run["id"],
                    "pair": order,
                    "names": [names[variant_id] for variant_id in order],
                    "last_at": row["last_at"],
                    **tally(by_row(counting(store, run["id"], order), order)),
                }
            )
    return found


def learned_from_votes(store: Store) -> list[Row]:
    """Every dataset version that was made of votes: `version_id`, `run_id`,
    `run_version_id` (what the run was over)."""
    return store.rows(
        "SELECT p.version_id, p.run_id, r.dataset_version_id AS run_version_id"
        " FROM vote_preferences p JOIN runs r ON r.id = p.run_id ORDER BY p.created_at"
    )


def _rate(passed: int, judged: int) -> dict[str, Any]:
    interval = wilson(passed, judged)
    if interval is None:
        return {"rate": None, "low": None, "high": None, "n": 0}
    return {"rate": passed / judged, "low": interval.low, "high": interval.high, "n": judged}
