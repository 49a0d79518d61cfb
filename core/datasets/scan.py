"""The first reading of a file: everything wrong with it, and what its columns hold.

Knows: faults and kinds of all rows. Does not know: where versions are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from core.datasets.faults import BadRows, Fault, Faults
from core.datasets.mapping import Field, check_present
from core.datasets.readers import MAX_COLUMNS, Record, Source, unreadable
from core.datasets.values import TEXT, common_kind, fault_in, is_blank, kind_of
from core.errors import Invalid

MAX_ROWS = 1_000_000
PREVIEW_ROWS = 50


@dataclass(frozen=True, slots=True)
class Scan:
    """What a whole file amounts to."""

    columns: list[str]
    """Every column, in order of appearance."""
    kinds: dict[str, str]
    """Column -> kind of its values; see core.datasets.values."""
    row_count: int
    faults: Faults

    def check(self, fields: Sequence[Field]) -> None:
        """Raise what stands against an import: a missing column, no rows, or all bad rows."""
        if self.faults.count:
            raise BadRows(self.faults)
        if not self.row_count:
            raise Invalid("The file has no rows.", field="file", title="Nothing was imported")
        check_present(fields, self.columns)


def head(source: Source) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns seen so far and the values of the first good rows, at most 50."""
    good = (record.values for record in source.records() if not record.faults)
    rows = list(itertools.islice(good, PREVIEW_ROWS))
    columns = dict.fromkeys(source.columns())
    for row in rows:
        columns |= dict.fromkeys(row)
    return list(columns), rows


def scan(source: Source, fields: Sequence[Field]) -> Scan:
    """Read a file to its end and report on every row; only `fields` are looked into."""
    faults = Faults()
    columns: dict[str, None] = dict.fromkeys(source.columns())
    kinds: dict[str, str | None] = {}
    count = 0
    for record in source.records():
        count += 1
        if count > MAX_ROWS:
            raise unreadable(f"The file has more than {MAX_ROWS:,} rows.", "Split it.")
        if record.values.keys() - columns.keys():
            columns |= dict.fromkeys(record.values)
            if len(columns) > MAX_COLUMNS:
                raise unreadable(
                    f"The rows have more than {MAX_COLUMNS} different keys.",
                    "Put what varies into one nested object.",
                )
        for name, value in record.values.items():
            kinds[name] = common_kind(kinds.get(name), kind_of(value))
        faults.add(record.faults or faults_of(record, fields))
    return Scan(list(columns), {name: kinds.get(name) or TEXT for name in columns}, count, faults)


def faults_of(record: Record, fields: Sequence[Field]) -> Iterator[Fault]:
    """What is wrong with the mapped cells of a row that could be read."""
    for field in fields:
        value = record.values.get(field.column)
        if field.role == "input" and not field.optional and is_blank(value):
            yield Fault(
                record.index,
                field.column,
                f"the input {field.column!r} is blank",
                "Fill it in, or mark the column as optional.",
                record.line,
            )
        elif why := fault_in(value):
            yield Fault(
                record.index,
                field.column,
                f"{field.column!r} {why}",
                "Replace what cannot be kept as text or number.",
                record.line,
            )
