"""Runs that used a version of a dataset, for its lineage.

Knows: the table runs. Does not know: datasets, how a lineage is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

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
