"""What a whole source amounts to: its columns, their kinds, how many rows, and every fault.

Knows: totals over batches. Does not know: where versions are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.datasets.batches import Batch, Kinds, batches, size_of
from core.datasets.faults import BadRows, Faults
from core.datasets.mapping import Field, check_present
from core.datasets.readers import MAX_COLUMNS, Source, unreadable
from core.datasets.table import connect
from core.datasets.values import TEXT, common_kind
from core.errors import Invalid

PREVIEW_ROWS = 50
HEAD_ROWS = 5_000  # of which the first good ones are shown
QUERY_ROWS = 20_000
UNSIZED = ("sqlite", "duckdb", "postgres", "hub")

Tell = Callable[[int, int, int], None]
"""Takes bytes read, bytes in all (0 where they cannot be told), rows read."""


@dataclass(slots=True)
class Scan:
    """What the batches so far amount to."""

    found: Kinds
    """Column -> kind, None where every cell is missing; in order of appearance."""
    row_count: int = 0
    faults: Faults = field(default_factory=Faults)

    @property
    def columns(self) -> list[str]:
        """Every column."""
        return list(self.found)

    @property
    def kinds(self) -> dict[str, str]:
        """Column -> kind of its values; see core.datasets.values."""
        return {name: kind or TEXT for name, kind in self.found.items()}

    def add(self, batch: Batch) -> None:
        """The next rows."""
        for name, kind in batch.kinds.items():
            self.found[name] = common_kind(self.found.get(name), kind)
        if len(self.found) > MAX_COLUMNS:
            raise unreadable(
                f"The rows have more than {MAX_COLUMNS} different keys.",
                "Put what varies into one nested object.",
            )
        self.row_count += batch.row_count
        self.faults.add(batch.faults)

    def check(self, fields: Sequence[Field]) -> None:
        """Raise what stands against an import: a missing column, no rows, or all bad rows."""
        if self.faults.count:
            raise BadRows(self.faults)
        if not self.row_count:
            raise Invalid("The file has no rows.", field="file", title="Nothing was imported")
        check_present(fields, self.columns)


def head(source: Source) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns seen so far and the values of the first good rows, at most 50."""
    first = itertools.islice(source.records(), HEAD_ROWS)
    good = (record.values for record in first if not record.faults)
    rows = list(itertools.islice(good, PREVIEW_ROWS))
    columns = dict.fromkeys(source.columns())
    for row in rows:
        columns |= dict.fromkeys(row)
    return list(columns), rows


def scan(source: Source, fields: Sequence[Field], *, most_bytes: int = 0) -> tuple[Scan, bool]:
    """Read a source and report on every row; only `fields` are looked into.

    With `most_bytes` a larger file is read that far only, and of a query or the hub, whose size
    nobody knows, 20,000 rows; the second value says whether it was read to its end.
    """
    found = Scan(dict.fromkeys(source.columns()))
    total = size_of(source)
    most_rows = QUERY_ROWS if most_bytes and source.format in UNSIZED else None
    connection = connect(memory="512MB")
    try:
        for batch in batches(source, fields, connection):
            found.add(batch)
            if most_bytes and total > most_bytes and batch.position >= most_bytes:
                return found, batch.position >= total
            if most_rows and found.row_count >= most_rows:
                return found, False
    finally:
        connection.close()
    return found, True
