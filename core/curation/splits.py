"""Splits: which group of rows goes to train, validation or test.

Knows: group sizes, strata, fractions, a seed. Does not know: texts, how groups are found, files.

Rows that belong together never straddle. Groups of several rows go first, largest first, each to
the split that lacks its strata most; rows alone then fill every stratum to its quota, so that the
shares are as exact as the groups allow. The same rows and seed give the same splits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.curation.groups import Union
from core.errors import Invalid

if TYPE_CHECKING:
    import numpy as np

DEFAULT_FRACTIONS: dict[str, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


def check_fractions(fractions: Mapping[str, Any]) -> dict[str, float]:
    """The fractions as numbers that sum to 1; Invalid names the split that is wrong."""
    found: dict[str, float] = {}
    for name, share in fractions.items():
        if not str(name).strip():
            raise Invalid("A split has no name.", field="fractions", hint="Name it.")
        try:
            value = float(share)
        except (TypeError, ValueError):
            value = math.nan
        if not 0 < value <= 1:
            raise Invalid(
                f"The share of {name!r} is {share!r}.",
                field=f"fractions.{name}",
                hint="Give a number over 0 and up to 1.",
            )
        found[str(name).strip()] = value
    if not found or not math.isclose(sum(found.values()), 1.0, abs_tol=1e-6):
        raise Invalid(
            f"The shares sum to {sum(found.values()):g}.", field="fractions", hint="Make it 1."
        )
    return found


def joined(count: int, sets: Iterable[Sequence[int]]) -> np.ndarray[Any, Any]:
    """Group number of each of `count` rows, when all rows of each set belong together.

    The number is the smallest row of the group. Sets may overlap: groups grow together.
    """
    import numpy as np

    union = Union(count)
    for rows in sets:
        for row in rows[1:]:
            union.join(rows[0], row)
    return np.array([union.find(row) for row in range(count)], dtype=np.int64)


def assign(
    groups: np.ndarray[Any, Any],
    keys: Sequence[str],
    fractions: Mapping[str, float],
    *,
    strata: Sequence[str | None] | None = None,
    fixed: Sequence[str | None] | None = None,
    seed: int = 0,
) -> list[str]:
    """The split of every row.

    `groups` (n,) is what `joined` gives; `keys` are stable names of the rows (`row_id`) that the
    order of chance is drawn from; `strata` are values whose shares every split should keep;
    `fixed` are splits that rows have already: they stay, and take their whole group along. Two
    members of one group fixed to two splits raise Invalid with the row.
    """
    import numpy as np

    count = len(groups)
    names = list(fractions)
    kinds, stratum = np.unique(
        np.array(["" if s is None else f"={s}" for s in strata or [None] * count]),
        return_inverse=True,
    )
    sizes = np.bincount(stratum, minlength=len(kinds)).astype(float)
    wanted = sizes[:, None] * np.array([fractions[name] for name in names])[None, :]
    have = np.zeros_like(wanted)
    split = np.full(count, -1, dtype=np.int64)
    others = _fix(groups, fixed, names, split)
    for row in np.flatnonzero(split >= 0):
        if split[row] < len(names):
            have[stratum[row], split[row]] += 1
    chance = np.array([_chance(key, seed) for key in keys], dtype=np.uint64)
    for rows in _groups_of_several(groups, split, chance):
        lacks = (wanted - have)[stratum[rows]].sum(axis=0)
        chosen = int(np.argmax(lacks))
        split[rows] = chosen
        np.add.at(have, (stratum[rows], chosen), 1)
    _fill(split, stratum, wanted, have, chance)
    every = [*names, *others]
    return [every[number] for number in split]


def _fix(
    groups: np.ndarray[Any, Any],
    fixed: Sequence[str | None] | None,
    names: Sequence[str],
    split: np.ndarray[Any, Any],
) -> list[str]:
    """Write down what is decided already, whole groups at a time; names of other splits there."""
    others: list[str] = []
    by_group: dict[int, str] = {}
    for row, name in enumerate(fixed or ()):
        if not name:
            continue
        known = by_group.setdefault(int(groups[row]), name)
        if known != name:
            raise Invalid(
                f"Row {row} is in {name!r}, and a row that belongs with it is in {known!r}.",
                row=row,
                field="split",
                hint="Let the split be made anew, or drop one of the two rows.",
            )
        if name not in names and name not in others:
            others.append(name)
    if by_group:
        every = [*names, *others]
        for row, group in enumerate(groups):
            if int(group) in by_group:
                split[row] = every.index(by_group[int(group)])
    return others


def _groups_of_several(
    groups: np.ndarray[Any, Any], split: np.ndarray[Any, Any], chance: np.ndarray[Any, Any]
) -> list[np.ndarray[Any, Any]]:
    """Rows of each group of two and more that is undecided, largest group first, then by chance."""
    import numpy as np

    order = np.argsort(groups, kind="stable")
    borders = np.flatnonzero(np.diff(groups[order])) + 1
    found = [rows for rows in np.split(order, borders) if len(rows) > 1 and (split[rows] < 0).all()]
    return sorted(found, key=lambda rows: (-len(rows), int(chance[rows].min())))


def _fill(
    split: np.ndarray[Any, Any],
    stratum: np.ndarray[Any, Any],
    wanted: np.ndarray[Any, Any],
    have: np.ndarray[Any, Any],
    chance: np.ndarray[Any, Any],
) -> None:
    """Rows alone, stratum by stratum; what rounding costs one stratum, the next gives back."""
    import numpy as np

    owed = np.zeros(wanted.shape[1])
    for kind in range(wanted.shape[0]):
        rows = np.flatnonzero((stratum == kind) & (split < 0))
        rows = rows[np.argsort(chance[rows], kind="stable")]
        lacks = np.maximum(wanted[kind] - have[kind] + owed, 0)
        if len(rows):
            share = lacks / lacks.sum() if lacks.sum() else wanted[kind] / wanted[kind].sum()
            quota = _rounded(share * len(rows), len(rows))
            split[rows] = np.repeat(np.arange(len(quota)), quota)
            have[kind] += quota
        owed = owed + wanted[kind] - have[kind]


def _rounded(exact: np.ndarray[Any, Any], total: int) -> np.ndarray[Any, Any]:
    """Whole numbers that sum to `total`, by the largest remainders (Hamilton's method)."""
    import numpy as np

    down = np.floor(exact + 1e-9).astype(np.int64)
    left = total - int(down.sum())
    down[np.argsort(-(exact - down), kind="stable")[:left]] += 1
    return down


def _chance(key: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest())
