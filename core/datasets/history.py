"""The history of datasets, event by event: rows that came in, versions, tags.

Knows: the tables datasets, dataset_versions and dataset_tags. Does not know: what used them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from core.store.database import Row, Store


def dataset_of(store: Store, version_ids: Sequence[str]) -> dict[str, str]:
    """Version id -> the id of its dataset."""
    rows = store.rows(
        "SELECT id, dataset_id FROM dataset_versions WHERE list_contains($ids::VARCHAR[], id)",
        {"ids": list(version_ids)},
    )
    return {row["id"]: row["dataset_id"] for row in rows}


def history(store: Store, dataset_ids: Sequence[str]) -> list[Row]:
    """Versions (`imported`, or `version` where steps made it) and tags (`tagged`) of datasets.

    Each has `kind`, `at`, `version_id`, `dataset_id`, `label` ('Tickets v2'), `row_count`, `words`
    (the version's message or source, the tag's name).
    """
    versions = store.rows(
        """
        SELECT v.id AS version_id, v.dataset_id, d.name || ' v' || v.number AS label, v.number,
            v.row_count, v.message, v.source, v.recipe, v.created_at AS at
        FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_id
        WHERE list_contains($ids::VARCHAR[], v.dataset_id)
        """,
        {"ids": list(dataset_ids)},
    )
    tags = store.rows(
        """
        SELECT 'tagged' AS kind, t.version_id, t.dataset_id, d.name || ' v' || v.number AS label,
            v.row_count, t.tag AS words, t.moved_at AS at
        FROM dataset_tags t JOIN dataset_versions v ON v.id = t.version_id
            JOIN datasets d ON d.id = t.dataset_id
        WHERE list_contains($ids::VARCHAR[], t.dataset_id)
        """,
        {"ids": list(dataset_ids)},
    )
    for row in versions:
        recipe = json.loads(row.pop("recipe") or "{}")
        source, message = row.pop("source"), row.pop("message")
        row["kind"] = "imported" if "import" in recipe and not recipe.get("steps") else "version"
        row["words"] = message or source
        del row["number"]
    return [*versions, *tags]
