"""Agreement of several people over the same rows: how often, and how much beyond chance.

Knows: labels, one list a row. Does not know: who gave them, what they are about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree on rows that two or more of them have judged."""

    row_count: int
    """Rows with two labels or more; the others say nothing here."""
    rate: float | None
    """Share of pairs of labels on one row that are equal; every row weighs as its labels do."""
    alpha: float | None
    """Krippendorff's alpha for names: 1 all agree, 0 as chance would; None: all labels are one."""


def agreement(rows: Iterable[Sequence[Hashable]]) -> Agreement:
    """Agreement on rows of labels, any number of them a row; missing ones are left out.

    Krippendorff's alpha, nominal, with missing data (Krippendorff 2011, "Computing Krippendorff's
    Alpha-Reliability", section C).
    """
    pairable = [Counter(labels) for labels in rows if len(labels) > 1]
    if not pairable:
        return Agreement(0, None, None)
    total: Counter[Hashable] = Counter()
    disagreeing = 0.0
    for counts in pairable:
        total.update(counts)
        m = counts.total()
        disagreeing += (m * m - _squares(counts)) / (m - 1)
    n = total.total()
    by_chance = (n * n - _squares(total)) / (n - 1)
    return Agreement(
        len(pairable), 1 - disagreeing / n, 1 - disagreeing / by_chance if by_chance else None
    )


def _squares(counts: Counter[Hashable]) -> int:
    return sum(count * count for count in counts.values())
