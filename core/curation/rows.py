"""The rows that a recipe works on: one DuckDB table, changed in place, step after step.

Knows: the table `rows`, its columns, counting what changes. Does not know: versions, recipes.
`row_id` never changes: that is how versions are compared. `row_index` orders; it may have gaps
until the rows are written down.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.datasets.files import Column
from core.datasets.table import Table, quoted
from core.datasets.values import BOOLEAN, INTEGER, LARGEST_EXACT, NUMBER, TEXT
from core.errors import Invalid

if TYPE_CHECKING:
    import duckdb

TYPES = {INTEGER: "BIGINT", NUMBER: "DOUBLE", BOOLEAN: "BOOLEAN"}
EXAMPLES = 20
"""How many before/after pairs a report keeps."""
UPDATE_BYTES = 64 * 1024 * 1024
"""New text of one column up to which cells are updated in place: DuckDB keeps them in memory until
the transaction ends. Above it the table is written anew, which needs disk and no memory."""
RANGE_ROWS = 20_000

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

    def merge(self, other: Report) -> Report:
        """Add what another pass did; this report."""
        self.changed += other.changed
        self.removed += other.removed
        self.examples = [*self.examples, *other.examples][:EXAMPLES]
        for rule, count in other.counts.items():
            self.counts[rule] = self.counts.get(rule, 0) + count
        return self


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
        return int(self.one("SELECT count(*) FROM rows")[0])

    def one(self, sql: str, parameters: dict[str, Any] | None = None) -> tuple[Any, ...]:
        """The only row of a query, fetched to its end: DuckDB refuses to register or unregister a
        table while a result is open."""
        (row,) = self.connection.execute(sql, parameters or {}).fetchall()
        return tuple(row)

    def add_column(self, column: Column) -> None:
        """A new column, NULL in every row; one of that name that is there stays. Invalid where
        one has the name but for the case of its letters: to SQL that is the same."""
        for found in self.columns:
            if found.name == column.name:
                return
            if found.name.lower() == column.name.lower():
                raise Invalid(
                    f"There is a column {found.name!r} already.",
                    field="column",
                    hint=f"Rename it first: this step writes {column.name!r}.",
                )
        kind = TYPES.get(column.type, "VARCHAR")
        self.connection.execute(f"ALTER TABLE rows ADD COLUMN {quoted(column.name)} {kind}")
        self.columns.append(column)

    def drop_column(self, name: str) -> None:
        """Remove a column."""
        column = self.column(name)
        self.connection.execute(f"ALTER TABLE rows DROP COLUMN {quoted(name)}")
        self.columns.remove(column)

    def to_text(self, name: str) -> None:
        """Turn a column of numbers into one of texts that read as they did: 1.0 and 1 as 1."""
        column = self.column(name)
        cell = quoted(name)
        whole = f"{cell} = trunc({cell}) AND abs({cell}) <= {LARGEST_EXACT}"
        text = f"CASE WHEN {whole} THEN CAST(CAST({cell} AS BIGINT) AS VARCHAR)"
        text = f"{text} ELSE CAST({cell} AS VARCHAR) END"
        self.rewrite(f"SELECT * REPLACE (({text}) AS {cell}) FROM rows")
        self.columns[self.columns.index(column)] = Column(name, column.role, TEXT)

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
        report.changed, size = self.one(
            f"SELECT count(*), coalesce(sum(strlen(CAST(({expression}) AS VARCHAR))), 0)"
            f" FROM rows WHERE {differs}",
            given,
        )
        if not report.changed:
            return report
        found = self.connection.execute(
            f"SELECT row_id, row_index, {cell}, ({expression}) FROM rows WHERE {differs}"
            f" ORDER BY row_index LIMIT {EXAMPLES}",
            given,
        ).fetchall()
        report.examples = [_example(name, *row) for row in found]
        if size <= UPDATE_BYTES:
            self.connection.execute(
                f"UPDATE rows SET {cell} = ({expression}) WHERE {differs}",
                given,
            )
        else:
            chosen = f"CASE WHEN {differs} THEN ({expression}) ELSE {cell} END AS {cell}"
            self.rewrite(f"SELECT * REPLACE ({chosen}) FROM rows", given)
        return report

    def rewrite(self, query: str, parameters: dict[str, Any] | None = None) -> None:
        """Put the result of a query in the table's place; it has the table's columns."""
        self.connection.execute(f"CREATE TABLE rows_next AS {query}", parameters or {})
        self.connection.execute("DROP TABLE rows")
        self.connection.execute("ALTER TABLE rows_next RENAME TO rows")

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
        it changes (they have to exist). Only cells that differ are written, once all are known.
        """
        report = Report()
        changes = _Changes(self)
        try:
            for batch in self.batches(names, size=size):
                check()
                for name, values in function(batch).items():
                    old = batch.get(name) or [None] * len(values)
                    at, new = [], []
                    for index, row_id, before, after in zip(
                        batch["row_index"], batch["row_id"], old, values, strict=True
                    ):
                        if before != after:
                            at.append(index)
                            new.append(after)
                            if len(report.examples) < EXAMPLES:
                                report.examples.append(_example(name, row_id, index, before, after))
                    report.changed += len(at)
                    changes.add(name, at, new)
            changes.apply(check)
        finally:
            changes.drop()
        return report

    def set_cells(self, values: Mapping[str, Sequence[tuple[int, Any]]]) -> None:
        """Write cells: by column, (row_index, value) pairs."""
        changes = _Changes(self)
        try:
            for name, pairs in values.items():
                changes.add(name, [at for at, _ in pairs], [value for _, value in pairs])
            changes.apply(lambda: None)
        finally:
            changes.drop()

    def batches(self, names: Sequence[str], *, size: int = 2_048) -> Iterator[dict[str, Values]]:
        """`row_id`, `row_index` and these columns as lists, in order, batch by batch.

        Each batch is a query of its own: the caller may write in between, its own writes are seen.
        """
        chosen = "".join(f", {quoted(self.column(name).name)}" for name in names)
        for low, high in self.ranges(size):
            found = self.connection.sql(
                f"SELECT row_id, row_index{chosen} FROM rows"
                " WHERE row_index >= $low AND row_index < $high ORDER BY row_index",
                params={"low": low, "high": high},
            ).to_arrow_table()
            if found.num_rows:
                yield {name: found.column(name).to_pylist() for name in found.column_names}

    def ranges(self, size: int) -> list[tuple[int, int]]:
        """`row_index` from and up to, of batches of so many rows."""
        starts = self.connection.execute(
            "SELECT row_index FROM rows"
            f" QUALIFY (row_number() OVER (ORDER BY row_index) - 1) % {int(size)} = 0"
            " ORDER BY row_index"
        ).fetchall()
        edges = [int(row[0]) for row in starts] + [2**62]
        return list(itertools.pairwise(edges))


class _Changes:
    """New values of cells on their way into the table, in temporary tables and not in memory."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._tables: dict[str, str] = {}
        self._bytes: dict[str, int] = {}

    def add(self, name: str, at: list[int], values: Values) -> None:
        """Note the new values of one batch."""
        import pyarrow as pa

        if not at:
            return
        connection = self._rows.connection
        column = self._rows.column(name)
        if name not in self._tables:
            table = self._tables[name] = f"changes_{len(self._tables)}"
            kind = TYPES.get(column.type, "VARCHAR")
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} (place BIGINT, value {kind})")
            self._bytes[name] = 0
        self._bytes[name] += sum(len(v) if isinstance(v, str) else 8 for v in values)
        connection.register("changed_batch", pa.table({"at": at, "value": pa.array(values)}))
        try:
            connection.execute(f"INSERT INTO {self._tables[name]} SELECT * FROM changed_batch")
        finally:
            connection.unregister("changed_batch")

    def apply(self, check: Callable[[], None]) -> None:
        """Write them; a column of which much changes in one new table, range by range."""
        connection = self._rows.connection
        for name, table in self._tables.items():
            cell = quoted(name)
            if self._bytes[name] <= UPDATE_BYTES:
                connection.execute(
                    f"UPDATE rows SET {cell} = c.value FROM {table} c"
                    " WHERE rows.row_index = c.place"
                )
                continue
            chosen = f"CASE WHEN c.place IS NULL THEN r.{cell} ELSE c.value END AS {cell}"
            connection.execute("CREATE TABLE rows_next AS SELECT * FROM rows LIMIT 0")
            for low, high in self._rows.ranges(RANGE_ROWS):
                check()
                connection.execute(
                    f"INSERT INTO rows_next SELECT r.* REPLACE ({chosen})"
                    " FROM (SELECT * FROM rows WHERE row_index >= $low AND row_index < $high) r"
                    f" LEFT JOIN (SELECT * FROM {table} WHERE place >= $low AND place < $high) c"
                    " ON r.row_index = c.place ORDER BY r.row_index",
                    {"low": low, "high": high},
                )
            connection.execute("DROP TABLE rows")
            connection.execute("ALTER TABLE rows_next RENAME TO rows")

    def drop(self) -> None:
        """Leave no table behind; after a failure the transaction takes them back itself."""
        for table in self._tables.values():
            with contextlib.suppress(Exception):
                self._rows.connection.execute(f"DROP TABLE IF EXISTS temp.{table}")


def _example(column: str, row_id: str, row_index: int, before: Any, after: Any) -> dict[str, Any]:
    return {
        "row_id": row_id,
        "row_index": row_index,
        "column": column,
        "before": before,
        "after": after,
    }
