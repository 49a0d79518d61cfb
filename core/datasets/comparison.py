"""The join behind a diff, in SQL: the table `joined`, with a line for every row of two versions.

Each file is read once and each cell becomes a 64-bit hash before the join, so that memory does not
grow with the texts; two different cells pass for the same once in 1.8e19 comparisons.

    joined: kind (added, removed, changed; NULL: the same), old_index, new_index, similarity
            (NULL: the keys are the same), then a flag a shared column, c0, c1 and so on

Knows: two Parquet files, keys, cells. Does not know: how a difference is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from core.datasets.files import Column
from core.datasets.pairing import pair
from core.datasets.table import Table, quoted
from core.datasets.values import BOOLEAN, JSON, LARGEST_EXACT, NUMBER
from core.errors import Invalid
from core.store.database import literal

if TYPE_CHECKING:
    import duckdb

ROW_ID = "row_id"


class Comparison:
    """Two tables joined on a key in a DuckDB of the caller's. `join` first, then the rest."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, old: Table, new: Table, key: str
    ) -> None:
        self._connection = connection
        self._old, self._new, self._key = old, new, key
        earlier = {column.name: column for column in old.columns}
        self._shared = [(earlier[c.name], c) for c in new.columns if c.name in earlier]
        flags = range(len(self._shared))
        self._flags = "".join(f", o.h{n} <> n.h{n} AS c{n}" for n in flags)
        self._differs = " OR ".join(f"o.h{n} <> n.h{n}" for n in flags) or "false"

    @property
    def shared(self) -> Sequence[str]:
        """The columns that both have, in the order of their flags: the newer one's."""
        return [after.name for _, after in self._shared]

    def join(self) -> None:
        """Fill `joined`; Invalid when the key does not tell rows apart."""
        self._check_key()
        self._connection.execute(
            "CREATE TEMP TABLE joined AS SELECT CASE WHEN o.row_index IS NULL THEN 'added'"
            f" WHEN n.row_index IS NULL THEN 'removed' WHEN {self._differs} THEN 'changed'"
            " END AS kind, o.row_index AS old_index, n.row_index AS new_index,"
            f" NULL::DOUBLE AS similarity{self._flags}"
            f" FROM {self._side(0)} o FULL JOIN {self._side(1)} n ON o.key = n.key"
        )
        # a key that stands twice matches twice: then there are more lines than rows
        lines = self._first("SELECT count(old_index), count(new_index) FROM joined")
        if lines != (self._old.count(), self._new.count()):
            raise _not_unique(self._key)

    def rewrite(self) -> tuple[int, str]:
        """Make one of removed and added rows that are one row; how many changed, and a note."""
        import pyarrow as pa

        inputs = [name for name in self._new.names("input") if name in self._old.names("input")]
        found = pair(self._connection, self._sides(), inputs)
        if not len(found.old):
            return 0, found.note
        pairs = pa.table({"o": found.old, "n": found.new, "similarity": found.similarity})
        self._connection.register("found", pairs)
        self._connection.execute(
            f"CREATE TEMP TABLE again AS SELECT CASE WHEN {self._differs} THEN 'changed' END"
            f" AS kind, f.o AS old_index, f.n AS new_index, f.similarity{self._flags} FROM found f"
            " JOIN gone o ON o.place = f.o JOIN come n ON n.place = f.n"
        )
        self._connection.execute(
            "DELETE FROM joined WHERE (kind = 'removed' AND old_index IN (SELECT o FROM found))"
            " OR (kind = 'added' AND new_index IN (SELECT n FROM found))"
        )
        self._connection.execute("INSERT INTO joined SELECT * FROM again")
        self._connection.unregister("found")
        return int(self._first("SELECT count(kind) FROM again")[0]), found.note

    def counted(self) -> tuple[dict[str, int], dict[str, int]]:
        """Rows by kind, and changed cells by shared column."""
        sums = "".join(f", count(*) FILTER (c{n})" for n in range(len(self._shared)))
        kinds = ("added", "removed", "changed")
        counts = ", ".join(f"count(*) FILTER (kind = '{kind}')" for kind in kinds)
        values = self._first(f"SELECT {counts}, count(*) FILTER (kind IS NULL){sums} FROM joined")
        rows = dict(zip((*kinds, "same"), values[:4], strict=True))
        return rows, dict(zip(self.shared, values[4:], strict=True))

    def reordered(self) -> bool:
        """Whether the rows that are in both stand in another order."""
        found = self._first(
            "SELECT count(*) FROM (SELECT new_index, lag(new_index) OVER (ORDER BY old_index)"
            " AS last FROM joined WHERE old_index IS NOT NULL AND new_index IS NOT NULL)"
            " WHERE new_index < last"
        )
        return bool(found[0])

    def filled(self, table: Table, name: str) -> int:
        """How many cells of a column have a value."""
        return int(self._first(f"SELECT count({quoted(name)}) FROM {file_of(table)}")[0])

    def differing(self) -> Any:
        """The lines of `joined` that are not the same, as an Arrow table in the newer's order."""
        return self._connection.sql(
            "SELECT * FROM joined WHERE kind IS NOT NULL"
            " ORDER BY coalesce(new_index, old_index), kind"
        ).to_arrow_table()

    def _hashes(self, which: int) -> str:
        """A hash of each shared cell of one side, each after a comma."""
        return "".join(
            f", hash({_value(both[which], as_text=both[0].type != both[1].type)}) AS h{n}"
            for n, both in enumerate(self._shared)
        )

    def _sides(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """The files, and the hashes that go along with each row."""
        return (file_of(self._old), self._hashes(0)), (file_of(self._new), self._hashes(1))

    def _side(self, which: int) -> str:
        """A subquery over one file: the key, the position, the hashes."""
        table = (self._old, self._new)[which]
        kinds = {column.name: column.type for column in table.columns}
        key = ROW_ID
        if self._key != ROW_ID:
            key = _value(Column(self._key, "", kinds[self._key]), as_text=True)
        return f"(SELECT {key} AS key, row_index{self._hashes(which)} FROM {file_of(table)})"

    def _check_key(self) -> None:
        """Invalid unless both have the key with a value of its own in every row."""
        if self._key == ROW_ID:
            return
        if self._key not in self.shared:
            raise Invalid(f"There is no column {self._key!r} in both versions.", field="key")
        cell = quoted(self._key)
        for table in (self._old, self._new):
            if not self._first(f"SELECT count(*) = count(DISTINCT {cell}) FROM {file_of(table)}")[
                0
            ]:
                raise _not_unique(self._key)

    def _first(self, sql: str) -> tuple[Any, ...]:
        """The one row of a query, read to its end: the connection is free again."""
        return tuple(self._connection.execute(sql).fetchall()[0])


def file_of(table: Table) -> str:
    """A table's file in SQL."""
    return f"read_parquet({literal(table.path)})"


def _value(column: Column, *, as_text: bool) -> str:
    """A cell as it is compared: as text where the types differ, whole numbers without a point."""
    cell = quoted(column.name)
    if not as_text:
        return cell
    if column.type == NUMBER:
        whole = f"{cell} = trunc({cell}) AND abs({cell}) <= {LARGEST_EXACT}"
        return (
            f"CASE WHEN {whole} THEN CAST(CAST({cell} AS BIGINT) AS VARCHAR)"
            f" ELSE CAST({cell} AS VARCHAR) END"
        )
    if column.type == JSON:  # beside a column of texts: a text in it reads as it does there
        return f"CASE WHEN {cell}[1] = '\"' THEN json_extract_string({cell}, '$') ELSE {cell} END"
    return f"CAST({cell} AS VARCHAR)" if column.type != BOOLEAN else f"lower({cell}::VARCHAR)"


def _not_unique(key: str) -> Invalid:
    return Invalid(
        f"The values of {key!r} are not unique: rows cannot be told apart by them.",
        field="key",
        hint="Leave the key out: rows then match by their ids.",
    )
