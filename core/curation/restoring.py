"""Rows that one version had and another has no more, as the step `restore_rows` takes them.

Knows: two tables. Does not know: why they went.
"""

from __future__ import annotations

from typing import Any

from core.datasets.table import Table, connect, quoted


def removed_rows(before: Table, after: Table, *, limit: int) -> list[dict[str, Any]]:
    """row_id, row_index and values (stored as in the file) of rows only in `before`, in order."""
    names = [column.name for column in before.columns]
    listed = "".join(f", {quoted(name)}" for name in names)
    with connect() as connection:
        found = connection.execute(
            f"SELECT row_id, row_index{listed} FROM read_parquet($before)"
            " WHERE row_id NOT IN (SELECT row_id FROM read_parquet($after))"
            " ORDER BY row_index LIMIT $limit",
            {"before": str(before.path), "after": str(after.path), "limit": limit},
        ).fetchall()
    return [
        {"row_id": row[0], "row_index": row[1], "values": dict(zip(names, row[2:], strict=True))}
        for row in found
    ]
