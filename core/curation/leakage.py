"""Leakage: the same text, or nearly, or in other words, in two splits or in another dataset.

Knows: sides (a split of this version, another table), the methods from the surest on, what could
not be checked. Does not know: how likeness is computed (`alike`, `contamination`, `meaning`), how
splits are made.

One pass a method over all sides together: exact and near duplicates as in `duplicates`, runs of 13
words (Brown et al. 2020), embeddings.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.curation.contamination import shared_runs
from core.curation.duplicates import EXACT, NEAR, SEMANTIC, find_groups
from core.curation.findings import Finding
from core.curation.groups import Union
from core.curation.tools import Tools
from core.datasets.table import Table
from core.errors import ModelUnavailable

log = logging.getLogger(__name__)

RUNS = "13 words"
METHODS = (EXACT, NEAR, RUNS, SEMANTIC)
"""From the surest on."""
SAYS = {
    EXACT: "The same text is",
    NEAR: "Nearly the same text is",
    RUNS: "Text with the same runs of 13 words is",
    SEMANTIC: "Text that says the same in other words is",
}
SEVERITY = {EXACT: "high", NEAR: "high", RUNS: "high", SEMANTIC: "medium"}
MOST_EMBEDDED = 20_000
"""Rows of all sides together up to which meanings are compared; option `meaning_rows`."""
LISTED = 20
SPLIT_NAMES = {"split", "splits", "subset", "fold", "partition", "data_split", "dataset_split"}
SPLIT_VALUES = {
    "train", "training", "test", "testing", "dev", "val", "valid", "validation", "eval",
    "evaluation", "holdout", "hold-out",
}  # fmt: skip

Texts = Iterable[list[str]]


@dataclass(frozen=True, slots=True)
class Side:
    """Texts that must not be on another side too."""

    name: str
    open_texts: Callable[[], Texts]
    names: Sequence[str | None] | None = None
    """Of each row the side it is on, where a table has several; None for a row on no side."""


@dataclass(frozen=True, slots=True)
class Leak:
    """Rows of two sides or more that belong together."""

    method: str
    rows: Mapping[str, tuple[int, ...]]
    """By side: positions within the table or sequence that the side comes from."""
    overlap: float
    """The strongest likeness: Jaccard index, share of runs, or cosine; 1 for the same text."""


@dataclass(frozen=True, slots=True)
class LeakageReport:
    """What was found, and what could not be looked at."""

    leaks: tuple[Leak, ...]
    counts: Mapping[str, int]
    """Rows of each side."""
    not_checkable: Mapping[str, int]
    """Rows of each side under 13 words: only whole texts could be compared, not runs of words."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Methods that were left out, and why."""

    def between(self) -> dict[tuple[str, ...], int]:
        """How many leaks there are between which sides."""
        return dict(Counter(tuple(sorted(leak.rows)) for leak in self.leaks))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "leaks": [
                {
                    "method": leak.method,
                    "rows": {side: list(rows) for side, rows in leak.rows.items()},
                    "overlap": round(leak.overlap, 4),
                }
                for leak in self.leaks
            ],
            "counts": dict(self.counts),
            "not_checkable": dict(self.not_checkable),
            "skipped": dict(self.skipped),
        }


def overlaps(
    texts_a: Sequence[str],
    texts_b: Sequence[str],
    tools: Tools,
    *,
    methods: Sequence[str] = METHODS,
) -> LeakageReport:
    """What two lists of texts have in common; the sides are named “a” and “b”."""
    sides = [Side("a", lambda: [list(texts_a)]), Side("b", lambda: [list(texts_b)])]
    return compare(sides, tools, methods=methods)


def leakage_report(
    table: Table,
    splits: Sequence[str | None],
    tools: Tools,
    *,
    others: Mapping[str, Table] | None = None,
    methods: Sequence[str] = METHODS,
) -> LeakageReport:
    """What straddles the splits of a table, `splits` naming that of each row, and other tables.

    Positions are those of the rows in their file. Other tables are sides by their label.
    """
    sides = [Side("", table.texts, splits)]
    sides += [Side(label, other.texts) for label, other in (others or {}).items()]
    return compare(sides, tools, methods=methods)


def compare(
    sides: Sequence[Side], tools: Tools, *, methods: Sequence[str] = METHODS
) -> LeakageReport:
    """Every method in turn; a group that adds no row to those found before is left out.

    Where a table has rows on several sides, its rows on none are compared with nothing.
    """
    import numpy as np

    placed = _placed(sides)
    found: list[Leak] = []
    known: set[int] = set()
    skipped: dict[str, str] = {}
    short = np.zeros(len(placed.side), bool)
    for method in [method for method in METHODS if method in methods]:
        tools.tell(METHODS.index(method) / len(METHODS), f"Looking for leakage: {method}")
        try:
            if method == RUNS:
                groups, short = _by_runs(sides, placed, tools)
            else:
                groups = _by_groups(method, sides, placed, tools)
        except ModelUnavailable as error:
            skipped[method] = str(error)
            continue
        except _TooMany as error:
            skipped[method] = str(error)
            continue
        for rows, overlap in groups:
            if not known.issuperset(rows):
                known.update(rows)
                found.append(Leak(method, placed.by_side(rows), overlap))
    counts = Counter(placed.name_of(at) for at in range(len(placed.side)) if placed.side[at] >= 0)
    uncheckable = Counter(placed.name_of(int(at)) for at in np.flatnonzero(short))
    return LeakageReport(tuple(found), dict(counts), dict(uncheckable), skipped)


class _TooMany(Exception):
    """More rows than a method is used for."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """All rows of all sides in one order."""

    side: Any
    """(n,) number of each row's side in `names`; -1 for none."""
    position: Any
    """(n,) place of each row in the table that it is from."""
    names: list[str]

    def name_of(self, at: int) -> str:
        return self.names[int(self.side[at])]

    def by_side(self, rows: Sequence[int]) -> dict[str, tuple[int, ...]]:
        found: dict[str, list[int]] = {}
        for at in rows:
            found.setdefault(self.name_of(at), []).append(int(self.position[at]))
        return {name: tuple(sorted(places)) for name, places in sorted(found.items())}

    def straddling(self, rows: Iterable[int]) -> list[int]:
        """Those of the rows that are on a side, when there are two sides or more; else none."""
        placed = [at for at in rows if self.side[at] >= 0]
        return placed if len({int(self.side[at]) for at in placed}) > 1 else []


def _placed(sides: Sequence[Side]) -> _Placed:
    import numpy as np

    names: list[str] = []
    numbers: list[Any] = []
    places: list[Any] = []
    for side in sides:
        if side.names is None:
            count = sum(len(batch) for batch in side.open_texts())
            names.append(side.name)
            numbers.append(np.full(count, len(names) - 1))
        else:
            known = sorted({name for name in side.names if name is not None})
            at = {name: len(names) + i for i, name in enumerate(known)}
            numbers.append(np.array([at.get(name or "", -1) for name in side.names], np.int64))
            names += known
        places.append(np.arange(len(numbers[-1])))
    none = np.array([], np.int64)
    return _Placed(np.concatenate([none, *numbers]), np.concatenate([none, *places]), names)


def _all_texts(sides: Sequence[Side]) -> Iterator[list[str]]:
    for side in sides:
        yield from side.open_texts()


def _by_groups(
    method: str, sides: Sequence[Side], placed: _Placed, tools: Tools
) -> list[tuple[list[int], float]]:
    most = int(tools.options.get("meaning_rows", MOST_EMBEDDED))
    if method == SEMANTIC and len(placed.side) > most:
        raise _TooMany(f"Meanings are compared up to {most:,} rows, here are {len(placed.side):,}.")
    found = []
    for group in find_groups(method, lambda: _all_texts(sides), tools, total=len(placed.side)):
        rows = placed.straddling(group.rows)
        if rows:
            strongest = [
                link.similarity
                for link in (*group.pairs, *group.links)
                if placed.side[link.rows[0]] != placed.side[link.rows[1]]
            ]
            found.append((rows, float(max(strongest, default=1.0))))
    return found


def _by_runs(
    sides: Sequence[Side], placed: _Placed, tools: Tools
) -> tuple[list[tuple[list[int], float]], Any]:
    pairs, short = shared_runs(lambda: _all_texts(sides), placed.side, tools)
    at = {row: i for i, row in enumerate(sorted({row for pair in pairs for row in pair.rows}))}
    union = Union(len(at))
    for pair in pairs:
        union.join(at[pair.rows[0]], at[pair.rows[1]])
    groups: dict[int, list[int]] = {}
    for row, i in at.items():
        groups.setdefault(union.find(i), []).append(row)
    strongest: dict[int, float] = {}
    for pair in pairs:
        root = union.find(at[pair.rows[0]])
        strongest[root] = max(pair.overlap, strongest.get(root, 0.0))
    return [(rows, strongest[root]) for root, rows in groups.items()], short


def split_column(table: Table) -> str | None:
    """The column that says which split a row is in: by its name and values such as train, test."""
    for column in table.columns:
        if column.name.lower() not in SPLIT_NAMES:
            continue
        for batch in table.batches([column.name]):
            values = {str(value).strip().lower() for value in batch.column(0).to_pylist()}
            if values & SPLIT_VALUES:
                return column.name
    return None


def splits_of(table: Table, name: str | None) -> list[str | None]:
    """The split of each row; None where there is no word for it."""
    if name is None:
        return [None] * table.count()
    found: list[str | None] = []
    for batch in table.batches([name]):
        for value in batch.column(0).to_pylist():
            word = " ".join(str(value).split()) if value is not None else ""
            found.append(word or None)
    return found


def detect(table: Table, tools: Tools) -> list[Finding]:
    """One finding for each group of rows that is on two sides.

    `detail` is {between, method, overlap, by_side: {side: [row]}}, in `by_side` the first LISTED
    positions in each; `rows` are those of this table.
    """
    name = split_column(table)
    if not table.text_columns() or (name is None and not tools.others) or not table.count():
        return []
    others = {label: Table.of(other) for label, other in tools.others.items()}
    here = splits_of(table, name)
    if others:  # rows in no split can be in another dataset all the same
        here = [split or OWN for split in here]
    report = leakage_report(table, here, tools, others=others)
    own = {split for split in here if split is not None}
    _tell(report, tools)
    index = _row_index(table)
    found = (_finding(leak, own, index) for leak in report.leaks)
    return [finding for finding in found if finding is not None]


def _row_index(table: Table) -> Any:
    """`row_index` of each row by its place in the file."""
    import numpy as np

    return np.concatenate([batch.column(0).to_numpy() for batch in table.batches(["row_index"])])


OWN = "this dataset"
"""The side of rows without a split."""


def _tell(report: LeakageReport, tools: Tools) -> None:
    said = [f"{count:,} of {side}" for side, count in report.not_checkable.items() if count]
    if said:
        log.info("under 13 words, not checkable for shared runs: %s", ", ".join(said))
        tools.tell(1.0, f"Rows under 13 words, whole texts compared only: {', '.join(said)}")
    for method, why in report.skipped.items():
        log.info("leakage by %s was left out: %s", method, why)


def _finding(leak: Leak, own: set[str], index: Any) -> Finding | None:
    mine = sorted(int(index[at]) for side in own & set(leak.rows) for at in leak.rows[side])
    between = list(leak.rows)
    elsewhere = [side for side in between if side not in own]
    if not mine or (not elsewhere and set(between) <= {OWN}):
        return None
    if not elsewhere and OWN in between and len(between) < 3:
        return None  # a split and rows without one: no two splits
    counted = " and ".join(
        f"{side} ({len(leak.rows[side]):,} {'row' if len(leak.rows[side]) == 1 else 'rows'})"
        for side in between
    )
    alike = "" if leak.method == EXACT else f" Overlap {leak.overlap:.0%}."
    return Finding(
        "leakage",
        SEVERITY[leak.method],
        f"{SAYS[leak.method]} in {counted}.{alike}",
        tuple(mine),
        None,
        {
            "between": between,
            "method": leak.method,
            "overlap": round(leak.overlap, 4),
            "by_side": {side: list(rows[:LISTED]) for side, rows in leak.rows.items()},
        },
    )
