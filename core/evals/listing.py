"""The list of runs.

Knows: what a line of it shows of runs, their variants and results. Does not know: jobs, scores.
"""

from __future__ import annotations

from core.store.database import Row, Store


def listed(
    store: Store,
    search: str,
    dataset_version_id: str | None,
    archived: bool,
    before: str | None,
    limit: int,
) -> list[Row]:
    """Runs, newest first, with `variant_names`, `result_count`, `failed_count` and
    `created_by_name`; `before` is the last id of the page before."""
    return store.rows(
        """
        WITH counted AS (
            SELECT run_id, count(*) AS result_count,
                count(*) FILTER (state = 'failed') AS failed_count
            FROM run_results GROUP BY run_id
        ), named AS (
            SELECT run_id, list(name ORDER BY position) AS variant_names
            FROM run_variants GROUP BY run_id
        )
        SELECT r.* EXCLUDE (plan), n.variant_names, coalesce(c.result_count, 0) AS result_count,
            coalesce(c.failed_count, 0) AS failed_count,
            coalesce(u.name, r.created_by) AS created_by_name
        FROM runs r LEFT JOIN counted c ON c.run_id = r.id LEFT JOIN named n ON n.run_id = r.id
            LEFT JOIN users u ON u.id = r.created_by
        WHERE (r.archived_at IS NOT NULL) = $archived
          AND ($dataset IS NULL OR r.dataset_version_id = $dataset)
          AND ($before IS NULL OR r.id < $before)
          AND contains(lower(concat_ws(' ', r.name, r.dataset_label)), $search)
        ORDER BY r.id DESC LIMIT $limit
        """,
        {
            "archived": archived,
            "dataset": dataset_version_id,
            "before": before,
            "search": search.strip().lower(),
            "limit": limit,
        },
    )
