"""Differences of what is measured, not passed or failed: latency, length, similarity.

Knows: how the values of two variants are paired by row. Does not know: verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.evals.scorers import Scorer
from core.evals.statistics import as_dict, bootstrap_difference
from core.store.database import Row, Store

MEASURES = ("length", "embedding_similarity")
"""Kinds of scorers whose value is a measurement, whether or not it also decides."""

_LATENCY = """
    SELECT b.e2e_ms AS b, v.e2e_ms AS v
    FROM run_results b JOIN run_results v USING (run_id, row_id)
    WHERE run_id = $run AND b.variant_id = $baseline AND v.variant_id = $variant
      AND b.e2e_ms IS NOT NULL AND v.e2e_ms IS NOT NULL
"""
_SCORE = """
    WITH last AS (
        SELECT s.variant_id, s.row_id, s.value
        FROM scores s JOIN run_results r USING (run_id, variant_id, row_id, attempt)
        WHERE s.run_id = $run AND s.name = $name AND s.value IS NOT NULL
          AND s.annotator_kind = 'CODE'
    )
    SELECT b.value AS b, v.value AS v FROM last b JOIN last v USING (row_id)
    WHERE b.variant_id = $baseline AND v.variant_id = $variant
"""


def differences(
    store: Store, run_id: str, scorers: Sequence[Scorer], baseline_id: str, variant_id: str
) -> list[Row]:
    """Mean differences with bootstrap intervals, row by row; too few pairs are left out."""
    asked = {"run": run_id, "baseline": baseline_id, "variant": variant_id}
    pairs = {("end to end", "ms"): store.rows(_LATENCY, asked)}
    for scorer in scorers:
        if scorer.kind in MEASURES:
            unit = getattr(scorer, "unit", "")
            pairs[scorer.name, unit] = store.rows(_SCORE, {**asked, "name": scorer.name})
    found = []
    for (name, unit), rows in pairs.items():
        result = bootstrap_difference([row["b"] for row in rows], [row["v"] for row in rows])
        if result is not None:
            difference, interval = result
            found.append(
                {
                    "name": name,
                    "unit": unit,
                    "pair_count": len(rows),
                    "difference": difference,
                    "interval": as_dict(interval),
                }
            )
    return found
