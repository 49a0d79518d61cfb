"""The rows that a recipe works on: one DuckDB table, changed in place, step after step.

Knows: the table `rows`, its columns, counting what changes. Does not know: versions, recipes.
`row_id` never changes: that is how versions are compared. `row_index` orders; it may have gaps
until the rows are written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.datasets.files import Column
from core.datasets.table import Table, quoted
from core.datasets.values import BOOLEAN, INTEGER, NUMBER
from core.errors import Invalid

if TYPE_CHECKING:
    import duckdb

TYPES = {INTEGER: "BIGINT", NUMBER: "DOUBLE", BOOLEAN: "BOOLEAN"}
EXAMPLES = 20
"""How many before/after pairs a report keeps."""

Values = list[Any]


@dataclass(slots=True)
class Report:
    """What one step did."""

    changed: int = 0
    """Cells with another value than before."""
    removed: int = 0
    """Rows."""
    counts: dict[str, int] = field(default_factory=dict)
    """By rule, or by what was found: how often."""
    examples: list[dict[str, Any]] = field(default_factory=list)
    """{row_id, row_index, column, before, after}: the first few."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "changed": self.changed,
            "removed": self.removed,
            "counts": dict(self.counts),
            "examples": list(self.examples),
        }


class Rows:
    """The working table."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, columns: Sequence[Column]) -> None:
        self.connection = connection
        self.columns = list(columns)

    @classmethod
    def load(cls, connection: duckdb.DuckDBPyConnection, table: Table) -> Rows:
        """Copy a version into the connection."""
        connection.execute(
            "CREATE OR REPLACE TABLE rows AS SELECT * FROM read_parquet($path)",
            {"path": str(table.path)},
        )
        return cls(connection, table.columns)

    def column(self, name: str) -> Column:
        """The column of that name; Invalid lists what there is."""
        for column in self.columns:
            if column.name == name:
                return column
        raise Invalid(
            f"There is no column {name!r}.",
            field="column",
            hint=f"There are {', '.join(c.name for c in self.columns)}.",
        )

    def count(self) -> int:
        """How many rows there are now."""
        row = self.connection.execute("SELECT count(*) FROM rows").fetchone()
        return int(row[0]) if row else 0

    def add_column(self, column: Column) -> None:
        """A new column, NULL in every row; one of that name and type that is there stays."""
        if any(found.name == column.name for found in self.columns):
            return
        kind = TYPES.get(column.type, "VARCHAR")
        self.connection.execute(f"ALTER TABLE rows ADD COLUMN {quoted(column.name)} {kind}")
        self.columns.append(column)

    def drop_column(self, name: str) -> None:
        """Remove a column."""
        column = self.column(name)
        self.connection.execute(f"ALTER TABLE rows DROP COLUMN {quoted(name)}")
        self.columns.remove(column)

    def keep(self, where: str, parameters: dict[str, Any] | None = None) -> int:
        """Remove every row for which the condition is not true; how many went."""
        before = self.count()
        self.connection.execute(
            f"DELETE FROM rows WHERE ({where}) IS NOT TRUE",
            parameters or {},
        )
        return before - self.count()

    def update(
        self, name: str, expression: str, parameters: dict[str, Any] | None = None
    ) -> Report:
        """Set a column to an SQL expression wherever that gives another value."""
        cell = quoted(self.column(name).name)
        given = parameters or {}
        differs = f"({expression}) IS DISTINCT FROM {cell}"
        report = Report()
        row = self.connection.execute(
            f"SELECT count(*) FROM rows WHERE {differs}",
            given,
        ).fetchone()
        report.changed = int(row[0]) if row else 0
        if report.changed:
            found = self.connection.execute(
                f"SELECT row_id, row_index, {cell}, ({expression}) FROM rows WHERE {differs}"
                f" ORDER BY row_index LIMIT {EXAMPLES}",
                given,
            ).fetchall()
            report.examples = [_example(name, *row) for row in found]
            self.connection.execute(
                f"UPDATE rows SET {cell} = ({expression}) WHERE {differs}",
                given,
            )
        return report

    def map(
        self,
        names: Sequence[str],
        function: Callable[[dict[str, Values]], dict[str, Values]],
        *,
        size: int = 2_048,
        check: Callable[[], None] = lambda: None,
    ) -> Report:
        """Pass these columns through a Python function, batch by batch.

        It takes `row_index` and each column as lists and returns new lists for the columns that
        it changes (they have to exist). Only cells that differ are written.
        """
        import pyarrow as pa

        report = Report()
        changes: dict[str, tuple[list[int], Values]] = {}
        for batch in self.batches(names, size=size):
            check()
            for name, values in function(batch).items():
                old = batch.get(name) or [None] * len(values)
                at, new = changes.setdefault(name, ([], []))
                for index, row_id, before, after in zip(
                    batch["row_index"], batch["row_id"], old, values, strict=True
                ):
                    if before != after:
                        at.append(index)
                        new.append(after)
                        if len(report.examples) < EXAMPLES:
                            report.examples.append(_example(name, row_id, index, before, after))
        for name, (at, new) in changes.items():
            report.changed += len(at)
            if not at:
                continue
            self.connection.register("changes", pa.table({"at": at, "value": pa.array(new)}))
            try:
                self.connection.execute(
                    f"UPDATE rows SET {quoted(self.column(name).name)} = changes.value"
                    " FROM changes WHERE rows.row_index = changes.at"
                )
            finally:
                self.connection.unregister("changes")
        return report

    def batches(self, names: Sequence[str], *, size: int = 2_048) -> Iterator[dict[str, Values]]:
        """`row_id`, `row_index` and these columns as lists, in order, batch by batch."""
        chosen = ", ".join(quoted(self.column(name).name) for name in names)
        comma = ", " if chosen else ""
        # a cursor of its own: the caller may write while it reads
        found = self.connection.cursor().sql(
            f"SELECT row_id, row_index{comma}{chosen} FROM rows ORDER BY row_index"
        )
        for batch in found.to_arrow_reader(size):
            yield {name: batch.column(name).to_pylist() for name in batch.schema.names}


def _example(column: str, row_id: str, row_index: int, before: Any, after: Any) -> dict[str, Any]:
    return {
        "row_id": row_id,
        "row_index": row_index,
        "column": column,
        "before": before,
        "after": after,
    }
