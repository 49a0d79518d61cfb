"""Splits: nothing that belongs together straddles, shares are kept, the same seed says the same."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.curation.splits import DEFAULT_FRACTIONS, assign, check_fractions, joined
from core.errors import Invalid

names = st.lists(st.integers(0, 30), min_size=1, max_size=200)


def alone(count: int) -> np.ndarray:
    return np.arange(count)


def keys(count: int) -> list[str]:
    return [f"row_{number}" for number in range(count)]


def test_rows_alone_are_split_by_the_fractions_exactly() -> None:
    found = assign(alone(1000), keys(1000), DEFAULT_FRACTIONS)
    assert collections.Counter(found) == {"train": 800, "validation": 100, "test": 100}


def test_every_stratum_keeps_its_shares() -> None:
    strata = ["rare"] * 50 + ["common"] * 950
    found = assign(alone(1000), keys(1000), DEFAULT_FRACTIONS, strata=strata)
    assert collections.Counter(zip(strata, found, strict=True)) == {
        ("rare", "train"): 40,
        ("rare", "validation"): 5,
        ("rare", "test"): 5,
        ("common", "train"): 760,
        ("common", "validation"): 95,
        ("common", "test"): 95,
    }


def test_strata_of_one_row_do_not_all_end_in_train() -> None:
    strata = [str(number) for number in range(300)]
    found = collections.Counter(assign(alone(300), keys(300), DEFAULT_FRACTIONS, strata=strata))
    assert found == {"train": 240, "validation": 30, "test": 30}


@given(names, st.integers(0, 5))
def test_no_group_straddles(group_names: list[int], seed: int) -> None:
    rows = collections.defaultdict(list)
    for row, name in enumerate(group_names):
        rows[name].append(row)
    groups = joined(len(group_names), rows.values())
    found = assign(groups, keys(len(groups)), DEFAULT_FRACTIONS, seed=seed)
    for members in rows.values():
        assert len({found[row] for row in members}) == 1


@given(st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=4), max_size=20))
def test_joined_is_the_transitive_closure(sets: list[list[int]]) -> None:
    groups = joined(21, sets)
    reached = {row: {row} for row in range(21)}
    changed = True
    while changed:
        changed = False
        for rows in [*sets, *reached.values()]:
            union = set().union(*(reached[row] for row in rows))
            for row in set(rows):
                if union - reached[row]:
                    reached[row] |= union
                    changed = True
    for row in range(21):
        assert groups[row] == min(reached[row])


def test_groups_still_come_near_the_fractions() -> None:
    groups = joined(1000, [range(start, start + 10) for start in range(0, 500, 10)])
    found = collections.Counter(assign(groups, keys(1000), DEFAULT_FRACTIONS))
    assert found == {"train": 800, "validation": 100, "test": 100}


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    one = dict(zip(keys(100), assign(alone(100), keys(100), DEFAULT_FRACTIONS), strict=True))
    backwards = keys(100)[::-1]
    again = dict(zip(backwards, assign(alone(100), backwards, DEFAULT_FRACTIONS), strict=True))
    assert one == again
    assert list(one.values()) != assign(alone(100), keys(100), DEFAULT_FRACTIONS, seed=1)


def test_what_is_fixed_stays_and_takes_its_group_along() -> None:
    groups = joined(6, [[0, 1], [2, 3]])
    fixed = ["test", None, None, "golden", None, None]
    found = assign(groups, keys(6), DEFAULT_FRACTIONS, fixed=fixed)
    assert found[:4] == ["test", "test", "golden", "golden"]
    assert set(found[4:]) <= set(DEFAULT_FRACTIONS)


def test_a_group_fixed_to_two_splits_is_refused_with_the_row() -> None:
    with pytest.raises(Invalid, match="Row 1 is in 'train'") as caught:
        assign(joined(2, [[0, 1]]), keys(2), DEFAULT_FRACTIONS, fixed=["test", "train"])
    assert caught.value.row == 1


@pytest.mark.parametrize(
    "fractions", [{}, {"train": 0.5}, {"train": 0, "test": 1}, {"train": "x"}, {" ": 1}]
)
def test_fractions_that_do_not_sum_to_one_are_refused(fractions: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        check_fractions(fractions)
    assert caught.value.field.startswith("fractions")


def test_no_rows_have_no_splits() -> None:
    assert assign(joined(0, []), [], DEFAULT_FRACTIONS) == []
