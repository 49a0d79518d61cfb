"""Groups of rows that are alike, what holds each together, and which row of it stays.

Knows: links, union-find, the rules for a keeper, what may be dropped. Does not know: texts, how
likeness is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.datasets.values import is_blank
from core.errors import Invalid

RULES: dict[str, str] = {
    "first": "The first row",
    "longest": "The row with the longest text",
    "newest": "The row with the largest value in a column",
    "complete": "The row with the fewest missing values",
    "label": "The first row that has an expected answer",
}
"""How a keeper is chosen, in words. Where two are equal the earlier row stays."""
COMPARED = 40
"""Groups of up to so many different texts are compared each with each."""


@dataclass(frozen=True, slots=True)
class Link:
    """Two rows and how alike they are."""

    rows: tuple[int, int]
    similarity: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"rows": list(self.rows), "similarity": round(self.similarity, 4)}


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that hang together."""

    rows: tuple[int, ...]
    """Positions, ascending."""
    links: tuple[Link, ...] = ()
    """The strongest links that hold all texts together: one fewer than there are texts."""
    pairs: tuple[Link, ...] = ()
    """Every pair of different texts, where they were compared each with each."""

    @property
    def weakest(self) -> Link | None:
        """The link that the group would fall apart at first; None where all texts are the same."""
        return min(self.links, key=lambda link: link.similarity, default=None)

    @property
    def farthest(self) -> Link | None:
        """The two texts that are least alike, where all pairs are known."""
        return min(self.pairs, key=lambda link: link.similarity, default=None)

    def is_chain(self, threshold: float) -> bool:
        """Whether it holds rows that are not alike themselves, only by way of others."""
        return self.farthest is not None and self.farthest.similarity < threshold


class Union:
    """Which of n things hang together."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def find(self, at: int) -> int:
        """The lowest thing that it hangs together with."""
        parent = self._parent
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    def join(self, one: int, other: int) -> bool:
        """Connect two; False where they were connected already."""
        first, second = self.find(one), self.find(other)
        if first == second:
            return False
        self._parent[max(first, second)] = min(first, second)
        return True


def joined(
    rows_of: Mapping[int, Sequence[int]],
    edges: Iterable[tuple[int, int, float]],
    compare: Callable[[int, int], float],
) -> list[Group]:
    """The groups that links between texts make, by their first row.

    `rows_of` gives each text's rows. Links are taken from the strongest on, so that those which
    a group keeps are a maximal spanning tree (Kruskal) and its weakest is the best there is.
    `compare` is asked for the pairs of small groups that have no link.
    """
    numbers = sorted(rows_of)
    place = {number: at for at, number in enumerate(numbers)}
    union = Union(len(numbers))
    tree: dict[int, list[tuple[int, int, float]]] = {}
    strongest = sorted(edges, key=lambda edge: (-edge[2], edge[0], edge[1]))
    kept = [edge for edge in strongest if union.join(place[edge[0]], place[edge[1]])]
    for edge in kept:
        tree.setdefault(union.find(place[edge[0]]), []).append(edge)
    texts: dict[int, list[int]] = {}
    for at, number in enumerate(numbers):
        texts.setdefault(union.find(at), []).append(number)
    known = {(a, b): s for a, b, s in strongest}
    found = []
    for root, members in texts.items():
        rows = tuple(sorted(row for number in members for row in rows_of[number]))
        if len(rows) > 1:
            links = [_link(rows_of, *edge) for edge in tree.get(root, [])]
            pairs = _pairs(members, known, compare) if 1 < len(members) <= COMPARED else []
            found.append(Group(rows, tuple(links), tuple(_link(rows_of, *pair) for pair in pairs)))
    return sorted(found, key=lambda group: group.rows)


def _pairs(
    members: Sequence[int],
    known: Mapping[tuple[int, int], float],
    compare: Callable[[int, int], float],
) -> list[tuple[int, int, float]]:
    pairs = [(a, b) for at, a in enumerate(members) for b in members[at + 1 :]]
    return [(a, b, known[a, b] if (a, b) in known else compare(a, b)) for a, b in pairs]


def _link(rows_of: Mapping[int, Sequence[int]], a: int, b: int, similarity: float) -> Link:
    first, second = sorted((rows_of[a][0], rows_of[b][0]))
    return Link((first, second), float(similarity))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with one group: one row stays, others go, and why."""

    keep: str
    """row_id"""
    drop: tuple[str, ...]
    """row_ids"""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a recipe."""
        return {"keep": self.keep, "drop": list(self.drop), "reason": self.reason}


def parse_decisions(given: Any) -> list[Decision]:
    """The `groups` of a deduplicate step; Invalid says which of them is wrong."""
    if not isinstance(given, list):
        raise Invalid("`groups` is a list of {keep, drop, reason}.", field="groups")
    return [_decision(at, item) for at, item in enumerate(given)]


def _decision(at: int, item: Any) -> Decision:
    if not isinstance(item, Mapping) or not {"keep", "drop"} <= set(item):
        raise Invalid(f"Group {at + 1} needs `keep` and `drop`.", field="groups", row=at)
    keep, drop, reason = item["keep"], item["drop"], item.get("reason") or ""
    if not isinstance(keep, str) or not isinstance(drop, list) or not isinstance(reason, str):
        raise Invalid(
            f"In group {at + 1} `keep` is a row id, `drop` a list of row ids, `reason` text.",
            field="groups",
            row=at,
        )
    if not drop or not all(isinstance(one, str) for one in drop):
        raise Invalid(f"Group {at + 1} drops nothing.", field="groups", row=at)
    if keep in drop:
        raise Invalid(
            f"Group {at + 1} would drop the row that it keeps, {keep!r}.", field="groups", row=at
        )
    return Decision(keep, tuple(drop), reason)


def dropped(decisions: Iterable[Decision], present: Iterable[str]) -> dict[str, Decision]:
    """row_id -> the decision by which it goes, of the rows that are `present`.

    No group ever loses all its rows, also where groups of several kinds overlap: a row stays
    when it is the last of any of the groups that it is in. Where the keeper of a group is not
    there any more, the first of its rows that is there stays instead.
    """
    there = set(present)
    groups = [
        (decision, [row for row in (decision.keep, *decision.drop) if row in there])
        for decision in decisions
    ]
    groups_of: dict[str, set[int]] = {}
    for number, (_, members) in enumerate(groups):
        for row in members:
            groups_of.setdefault(row, set()).add(number)
    left = [len(set(members)) for _, members in groups]
    gone: dict[str, Decision] = {}
    for decision, members in groups:
        for row in members[1:]:
            if row not in gone and all(left[number] > 1 for number in groups_of[row]):
                gone[row] = decision
                for number in groups_of[row]:
                    left[number] -= 1
    return gone


def keeper_of(records: Sequence[Mapping[str, Any]], rule: str) -> int:
    """Which of a group's records stays, as a position; of equals the first.

    A record has what the rule looks at: `length` of the text in characters for longest, `filled`
    cells for complete, the expected answer as `label`, the column's value as `newest`. Invalid
    names a rule that there is not.
    """
    if rule not in RULES:
        raise Invalid(
            f"There is no rule {rule!r} for what stays.",
            field="keep",
            hint=f"There are {', '.join(RULES)}.",
        )
    return max(range(len(records)), key=lambda at: (_worth(records[at], rule), -at))


def _worth(record: Mapping[str, Any], rule: str) -> Any:
    if rule == "longest":
        return record["length"]
    if rule == "complete":
        return record["filled"]
    if rule == "label":
        return not is_blank(record.get("label"))
    if rule == "newest":
        return _order(record.get("newest"))
    return 0


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, text (so dates in ISO 8601) by its order; a missing value is the oldest."""
    if is_blank(value) or (isinstance(value, float) and math.isnan(value)):
        return (0, 0.0, "")
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (2, 0.0, str(value))
