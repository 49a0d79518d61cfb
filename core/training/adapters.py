"""Adapters made from a dataset, for its lineage.

Knows: the tables finetunes and models, read only. Does not know: how a lineage is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.store.database import Row, Store


def adapters_of(store: Store, version_ids: Sequence[str], *, limit: int = 20) -> list[Row]:
    """Fine-tunes of these dataset versions and their adapters, newest first, `limit` a version.

    Each has `kind` (adapter once there is one, else finetune), `id` (of the fine-tune: the page
    that shows both), `title`, `version_id`, `detail` (method and base), `at`, and `left_out`, how
    many more its version has than are listed. The shape is that of `core.evals.uses.runs_of`.
    """
    return store.rows(
        """
        SELECT CASE WHEN a.id IS NULL THEN 'finetune' ELSE 'adapter' END AS kind,
            f.id, coalesce(a.name, f.name) AS title, f.dataset_version_id AS version_id,
            upper(f.method) || ' of ' || coalesce(b.name, f.base_model_id) AS detail,
            f.created_at AS at,
            greatest(count(*) OVER (PARTITION BY f.dataset_version_id) - $limit, 0) AS left_out
        FROM finetunes f
        LEFT JOIN models a ON a.id = f.adapter_model_id
        LEFT JOIN models b ON b.id = f.base_model_id
        WHERE f.dataset_version_id IN (SELECT unnest($versions::VARCHAR[]))
          AND f.archived_at IS NULL
        QUALIFY row_number() OVER (PARTITION BY f.dataset_version_id ORDER BY f.id DESC) <= $limit
        ORDER BY f.id DESC
        """,
        {"versions": list(version_ids), "limit": limit},
    )
