"""The schema: numbered migrations, each in one transaction with its bookkeeping row.

Knows: the order. Does not know: the tables themselves (`schema`, `schema_votes`), nor what is done
with them; each noun writes its own SQL.
"""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from core.clock import utc_now
from core.errors import StoreLocked
from core.store import schema, schema_votes


def _initial(connection: duckdb.DuckDBPyConnection) -> None:
    for block in (
        schema.GOVERNANCE, schema.JOBS, schema.MODELS, schema.PROMPTS, schema.DATASETS,
        schema.REVIEWS, schema.PENDING_RECIPES, schema.RUNS, schema.TRACES, schema.INGEST,
    ):  # fmt: skip
        connection.execute(block)


def _finetunes(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(schema.FINETUNES)


def _votes(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(schema_votes.VOTES)


MIGRATIONS: list[Callable[[duckdb.DuckDBPyConnection], None]] = [_initial, _finetunes, _votes]


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the schema to the newest version; refuse one that is newer than this code."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, applied_at TIMESTAMP)"
    )
    row = connection.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()
    current = int(row[0]) if row else 0
    if current > len(MIGRATIONS):
        raise StoreLocked(
            f"The workspace has schema {current}, this Lathe knows up to {len(MIGRATIONS)}.",
            title="This workspace was made by a newer Lathe",
            hint="Update Lathe, or point LATHE_HOME at another folder. Nothing was changed.",
        )
    for number, step in enumerate(MIGRATIONS[current:], start=current + 1):
        connection.begin()
        try:
            step(connection)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", [number, utc_now()])
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
