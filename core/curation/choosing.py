"""Rows that meet conditions, counted and paged by SQL on the version's file.

Knows: one Parquet file. Does not know: pending steps, what is done with the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.curation.conditions import where_sql
from core.datasets.table import Table, quoted
from core.store.database import Row, Store

Conditions = Sequence[Mapping[str, Any]]


def count(store: Store, table: Table, conditions: Conditions, match: str) -> int:
    """How many rows meet them; all where there is none."""
    if not conditions:
        return table.count()
    where, parameters = where_sql(conditions, table.columns, match=match)
    row = store.row(
        f"SELECT count(*) AS n FROM read_parquet($path) WHERE {where}",
        {**parameters, "path": str(table.path)},
    )
    return int(row["n"]) if row else 0


def page(
    store: Store, table: Table, conditions: Conditions, match: str, *, offset: int, limit: int
) -> list[Row]:
    """A page of them in row order: row_id, row_index and the columns as the file holds them.

    Without conditions the numbers of the rows are known, and the file is read there alone.
    """
    names = ", ".join(["row_id", "row_index", *(quoted(c.name) for c in table.columns)])
    path = {"path": str(table.path)}
    if not conditions:
        return store.rows(
            f"SELECT {names} FROM read_parquet($path)"
            " WHERE row_index >= $low AND row_index < $high ORDER BY row_index",
            {**path, "low": offset, "high": offset + limit},
        )
    where, parameters = where_sql(conditions, table.columns, match=match)
    return store.rows(
        f"SELECT {names} FROM read_parquet($path) WHERE {where}"
        " ORDER BY row_index LIMIT $limit OFFSET $offset",
        {**path, **parameters, "limit": limit, "offset": offset},
    )
