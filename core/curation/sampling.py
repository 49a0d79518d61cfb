"""Bounded reading: a number of rows drawn by a seed, cells cut to a length, hits cut to a number.

Knows: how much a detector may hold in memory. Does not know: what it looks for.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.curation.findings import Finding
from core.curation.secrets import covered
from core.datasets.table import Table
from core.datasets.values import JSON

if TYPE_CHECKING:
    import numpy as np

BATCH_ROWS = 1_024
"""Small, because a cell may have a megabyte."""
LOOKED_AT = 4_000
"""Characters of a text in which secrets are looked for before a piece of it is shown."""
MOST_HITS = 2_000
"""Findings of one row each that a column may give; the rows beyond come as one finding."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some rows, or all of them where they are few."""

    rows: np.ndarray[Any, Any]
    """`row_index` of each, ascending, int64."""
    values: dict[str, list[Any]]
    """By column; text is cut."""
    total: int
    """Rows that the table has."""

    @property
    def said(self) -> str:
        """What a message adds about it: empty when every row was looked at."""
        if len(self.rows) >= self.total:
            return ""
        return f" (Looked at {len(self.rows):,} of {self.total:,} rows, drawn at random.)"

    def texts(self, names: Sequence[str]) -> list[str]:
        """The text of each row: these columns, a line each, blanks left out."""
        columns = [self.values[name] for name in names]
        return [
            "\n".join(str(value) for value in row if value is not None)
            for row in zip(*columns, strict=True)
        ]


def drawn(
    table: Table, names: Sequence[str], *, limit: int, characters: int = 2_000, seed: int = 0
) -> Sample:
    """At most `limit` rows, each equally likely, in row order; the same ones every time."""
    import numpy as np

    total = table.count()
    chosen = np.arange(total)
    if total > limit:
        chosen = np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))
    values: dict[str, list[Any]] = {name: [] for name in names}
    rows: list[np.ndarray[Any, Any]] = []
    start = 0
    for batch in table.batches(["row_index", *names], BATCH_ROWS) if total else ():
        low, high = np.searchsorted(chosen, (start, start + batch.num_rows))
        start += batch.num_rows
        if low == high:
            continue
        taken = batch.take(chosen[low:high] - (start - batch.num_rows))
        rows.append(taken.column("row_index").to_numpy())
        for name in names:
            cells = taken.column(name).to_pylist()
            values[name] += [c[:characters] if isinstance(c, str) else c for c in cells]
    return Sample(np.concatenate(rows) if rows else np.array([], np.int64), values, total)


def cells(table: Table, name: str) -> Iterator[tuple[list[int], list[Any]]]:
    """`row_index` and the values of one column, batch by batch."""
    for batch in table.batches(["row_index", name], BATCH_ROWS):
        yield batch.column("row_index").to_pylist(), batch.column(name).to_pylist()


def prose(value: Any, kind: str) -> str:
    """A cell as people would read it: of nested values the texts, without keys and marks."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    if kind != JSON:
        return value
    try:
        return "\n".join(_leaves(json.loads(value)))
    except (ValueError, RecursionError):
        return value


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in ("role", "from", "type", "id"):
                yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)


@dataclass(slots=True)
class Hits:
    """Findings of one row each, up to a number; beyond it the rows alone, as one finding."""

    findings: list[Finding] = field(default_factory=list)
    most: int = MOST_HITS
    _seen: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    _beyond: dict[tuple[str, str | None], tuple[str, list[int]]] = field(default_factory=dict)

    def add(self, found: Finding) -> None:
        """Keep it, or its row alone."""
        key = (found.kind, found.column)
        self._seen[key] += 1
        if self._seen[key] <= self.most:
            self.findings.append(found)
        else:
            self._beyond.setdefault(key, (found.severity, []))[1].extend(found.rows)

    def all(self) -> list[Finding]:
        """Everything, the rows beyond the limit last."""
        rest = [
            Finding(
                kind,
                severity,
                f"{len(rows):,} more rows like the {self.most:,} listed one by one.",
                tuple(sorted(rows)),
                column,
                {"more": True},
            )
            for (kind, column), (severity, rows) in self._beyond.items()
        ]
        return self.findings + rest


def shown(text: str, length: int = 80) -> str:
    """A piece of a cell for a message: one line, cut, of secrets only their ends."""
    line = " ".join(covered(text[:LOOKED_AT])[: length * 4].split())
    return line if len(line) <= length else line[: length - 1] + "…"
