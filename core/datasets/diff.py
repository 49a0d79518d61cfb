"""What differs between two versions: rows added, removed and changed, and columns.

A diff is a join on `row_id`, computed by DuckDB over the two Parquet files (see `comparison`). An
import names a row by its inputs: a row whose input was edited comes back under another id, and
`pairing` finds those.

Knows: two tables, counts, pages of rows that differ. Does not know: versions, how words differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.datasets.comparison import ROW_ID, Comparison
from core.datasets.files import Column
from core.datasets.table import Table, connect, quoted
from core.errors import Invalid
from core.store.files import read_json, write_json

KINDS = ("changed", "added", "removed")
SAME, ADDED, REMOVED, RETYPED, ROLE = "same", "added", "removed", "retyped", "role"
FORMAT = 1  # of the files that `save` writes


@dataclass(frozen=True, slots=True)
class ColumnDiff:
    """One column of either version."""

    name: str
    state: str
    """same, added, removed, retyped (its values are compared as text), role (same type)."""
    before: Column | None
    after: Column | None
    changed_count: int
    """Rows in both versions whose cell differs; of a column in one version, its filled cells."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        before, after = (c and c.to_dict() for c in (self.before, self.after))
        return {
            "name": self.name,
            "state": self.state,
            "before": before,
            "after": after,
            "changed_count": self.changed_count,
        }


@dataclass(frozen=True, slots=True)
class Diff:
    """The difference of two tables. `rows` reads cells from the files only when it is asked."""

    old: Table
    new: Table
    key: str
    """The column whose values say which rows are the same."""
    counts: Mapping[str, int]
    """Rows added, removed, changed and same."""
    rewritten_count: int
    """Changed rows that were found by likeness, as their id is another."""
    reordered: bool
    """Whether the rows that are in both stand in another order."""
    columns: tuple[ColumnDiff, ...]
    note: str
    """What the pairing left out, or nothing."""
    pairs: Any
    """An Arrow table of every row that is not the same: old_index, new_index, similarity, then
    one flag a compared column, c0, c1 and so on."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the rows."""
        return {
            "format": FORMAT,
            "key": self.key,
            "counts": dict(self.counts),
            "rewritten_count": self.rewritten_count,
            "reordered": self.reordered,
            "columns": [column.to_dict() for column in self.columns],
            "note": self.note,
        }

    @property
    def compared(self) -> list[str]:
        """The columns that both versions have, in the order of the flags."""
        return [column.name for column in self.columns if column.before and column.after]

    def rows(
        self,
        kind: str | None = None,
        *,
        offset: int = 0,
        limit: int = 20,
        column: str | None = None,
    ) -> list[dict[str, Any]]:
        """A page of rows that differ, in the order of the newer version; one kind, or all.

        Each has `kind`, `row_id` and `row_index` (of the newer, of a removed row the older),
        `old_row_id`, `old_row_index`, `similarity` (None: the ids are the same), `changed`
        (column names), `before` and `after` (every column as it is stored: nested values as JSON
        text; None on the side that has no such row). `column`: only rows whose cell there changed.
        """
        found = self._chosen(kind, column).slice(max(offset, 0), max(limit, 0)).to_pylist()
        before = _cells(self.old, [row["old_index"] for row in found])
        after = _cells(self.new, [row["new_index"] for row in found])
        compared = self.compared
        return [_row(row, compared, before, after) for row in found]

    def count(self, kind: str | None = None, *, column: str | None = None) -> int:
        """How many rows `rows` has in all."""
        return int(self._chosen(kind, column).num_rows)

    def save(self, stem: Path) -> None:
        """Write it beside `stem`, .parquet first: the .json says that both are whole."""
        import os

        import pyarrow.parquet as pq

        stem.parent.mkdir(parents=True, exist_ok=True)
        unfinished = stem.with_suffix(".unfinished")
        pq.write_table(self.pairs, unfinished, compression="zstd")
        os.replace(unfinished, stem.with_suffix(".parquet"))
        write_json(stem.with_suffix(".json"), self.to_dict())

    @classmethod
    def load(cls, stem: Path, old: Table, new: Table) -> Diff | None:
        """What `save` wrote; None when it is not there or of another format."""
        import pyarrow.parquet as pq

        data = read_json(stem.with_suffix(".json"))
        if data is None or data["format"] != FORMAT:
            return None
        columns = tuple(_column_diff(item) for item in data["columns"])
        pairs = pq.read_table(stem.with_suffix(".parquet"))
        plain = {name: data[name] for name in ("rewritten_count", "reordered", "note")}
        return cls(old, new, data["key"], data["counts"], columns=columns, pairs=pairs, **plain)

    def _chosen(self, kind: str | None, column: str | None) -> Any:
        import pyarrow.compute as pc

        table = self.pairs
        if kind is not None:
            if kind not in KINDS:
                raise Invalid(f"{kind!r} is none of {', '.join(KINDS)}.", field="kind")
            table = table.filter(pc.equal(table["kind"], kind))
        if column is not None:
            if column not in self.compared:
                raise Invalid(f"{column!r} is not a column of both versions.", field="column")
            table = table.filter(table[f"c{self.compared.index(column)}"])
        return table


def diff(old: Table, new: Table, *, key: str = ROW_ID) -> Diff:
    """Compare two tables row by row.

    `key` may be any column of both whose values are unique, where the data has an id of its own;
    Invalid when they are not. A column that only one version has changes no row; a row that moved
    is the same row. Time: one reading of both files, and of those rows again that pair up.
    """
    connection = connect(memory="1GB", temp=new.path.parent / ".tmp")
    try:
        both = Comparison(connection, old, new, key)
        both.join()
        reordered = both.reordered()
        rewritten, note = both.rewrite() if key == ROW_ID else (0, "")
        counts, changed = both.counted()
        columns = _columns(both, old, new, changed)
        return Diff(old, new, key, counts, rewritten, reordered, columns, note, both.differing())
    finally:
        connection.close()


def _columns(
    both: Comparison, old: Table, new: Table, changed: Mapping[str, int]
) -> tuple[ColumnDiff, ...]:
    """The newer version's columns in order, then those that went."""
    before, after = ({c.name: c for c in table.columns} for table in (old, new))
    found = []
    for name in [*after, *(name for name in before if name not in after)]:
        one, other = before.get(name), after.get(name)
        if one and other:
            state = RETYPED if one.type != other.type else ROLE if one.role != other.role else SAME
            count = changed[name]
        else:
            state, table = (ADDED, new) if other else (REMOVED, old)
            count = both.filled(table, name)
        found.append(ColumnDiff(name, state, one, other, count))
    return tuple(found)


def _cells(table: Table, indices: Sequence[int | None]) -> dict[int, dict[str, Any]]:
    """Whole rows by their position, from those parts of the file that hold them."""
    wanted = sorted({index for index in indices if index is not None})
    if not wanted:
        return {}
    names = ", ".join(quoted(column.name) for column in table.columns)
    comma = ", " if names else ""
    with table.connect() as connection:
        found = connection.execute(
            f"SELECT row_index, row_id{comma}{names} FROM rows"
            f" WHERE row_index IN ({', '.join(map(str, wanted))})"
        ).fetchall()
    keys = ["row_id", *(column.name for column in table.columns)]
    return {row[0]: dict(zip(keys, row[1:], strict=True)) for row in found}


def _row(
    pair: Mapping[str, Any],
    compared: Sequence[str],
    before: Mapping[int, dict[str, Any]],
    after: Mapping[int, dict[str, Any]],
) -> dict[str, Any]:
    old, new = before.get(pair["old_index"]), after.get(pair["new_index"])
    return {
        "kind": pair["kind"],
        "row_id": (new or old or {}).get("row_id"),
        "row_index": pair["old_index"] if new is None else pair["new_index"],
        "old_row_id": old and old["row_id"],
        "old_row_index": pair["old_index"],
        "similarity": pair["similarity"],
        "changed": [name for n, name in enumerate(compared) if pair[f"c{n}"]],
        "before": old and {name: value for name, value in old.items() if name != "row_id"},
        "after": new and {name: value for name, value in new.items() if name != "row_id"},
    }


def _column_diff(data: Mapping[str, Any]) -> ColumnDiff:
    before, after = (data[side] and Column(**data[side]) for side in ("before", "after"))
    return ColumnDiff(data["name"], data["state"], before, after, data["changed_count"])
