"""Groups, keepers, and that nobody loses all rows of a group."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.curation.groups import (
    RULES,
    Decision,
    Group,
    Link,
    dropped,
    joined,
    keeper_of,
    parse_decisions,
)
from core.errors import Invalid

EDGES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(10, 19), st.floats(0.8, 1.0)), max_size=25
)
ROW = st.sampled_from("abcdefgh")
DECISIONS = st.lists(
    st.tuples(ROW, st.lists(ROW, min_size=1, max_size=4)).map(
        lambda pair: Decision(pair[0], tuple(row for row in pair[1] if row != pair[0]))
    ),
    max_size=8,
)


def reachable(edges: list[tuple[int, int, float]], least: float = 0.0) -> set[frozenset[int]]:
    """The connected components, by spreading."""
    left = {at for a, b, _ in edges for at in (a, b)}
    found = set()
    while left:
        spread = {left.pop()}
        while (
            more := {at for a, b, s in edges if s >= least and {a, b} & spread for at in (a, b)}
            - spread
        ):
            spread |= more
        left -= spread
        found.add(frozenset(spread))
    return found


@given(EDGES)
def test_groups_are_what_hangs_together_by_its_strongest_links(
    edges: list[tuple[int, int, float]],
) -> None:
    edges = list({(a, b): (a, b, s) for a, b, s in edges}.values())
    rows_of = {at: [at] for a, b, _ in edges for at in (a, b)}
    groups = joined(rows_of, edges, lambda a, b: 0.5)
    assert {frozenset(group.rows) for group in groups} == reachable(edges)
    assert groups == sorted(groups, key=lambda group: group.rows)
    for group in groups:
        assert len(group.links) == len(group.rows) - 1
        assert group.weakest is not None
        # no way of holding it together has a better weakest link
        limit = group.weakest.similarity
        assert frozenset(group.rows) in reachable(edges, limit)
        assert frozenset(group.rows) not in reachable(edges, limit + 1e-9)
        assert len(group.pairs) == len(list(combinations(group.rows, 2)))


def test_a_text_with_several_rows_is_a_group_of_its_own() -> None:
    (group,) = joined({4: [7, 9]}, [], lambda a, b: 0.0)
    assert group == Group((7, 9))
    assert group.weakest is None
    assert not group.is_chain(0.8)


def test_links_are_told_by_the_first_rows_of_their_texts() -> None:
    (group,) = joined({0: [5, 6], 1: [2, 8]}, [(0, 1, 0.9)], lambda a, b: 0.0)
    assert group.rows == (2, 5, 6, 8)
    assert group.links == (Link((2, 5), 0.9),)


@given(DECISIONS, st.sets(ROW))
def test_no_group_ever_loses_all_its_rows(decisions: list[Decision], present: set[str]) -> None:
    gone = dropped(decisions, present)
    assert set(gone) <= present
    for decision in decisions:
        members = {decision.keep, *decision.drop} & present
        assert not members or members - set(gone)
    assert set(gone) <= {row for decision in decisions for row in (decision.keep, *decision.drop)}


def test_groups_of_two_kinds_that_overlap_crosswise_keep_a_row_each() -> None:
    near = Decision("a", ("b",), "near")
    semantic = Decision("b", ("a",), "semantic")
    assert dropped([near, semantic], "ab") == {"b": near}
    apart = [Decision("a", ("b",)), Decision("c", ("d",)), Decision("b", ("d",))]
    assert set(dropped(apart, "abcd")) == {"b"}  # d stays: the third group has nothing else


def test_a_keeper_that_is_gone_is_replaced_by_the_first_row_that_is_there() -> None:
    assert set(dropped([Decision("x", ("b", "a"))], ["a", "b"])) == {"a"}
    assert dropped([Decision("x", ("a",))], ["a"]) == {}


RECORDS: list[dict[str, Any]] = [
    {"length": 10, "filled": 2, "label": None, "newest": "2024-05-01"},
    {"length": 30, "filled": 1, "label": " ", "newest": None},
    {"length": 30, "filled": 3, "label": "billing", "newest": "2025-01-01"},
    {"length": 5, "filled": 3, "label": "refund", "newest": "2023-01-01"},
]


@pytest.mark.parametrize(
    ("rule", "at"), [("first", 0), ("longest", 1), ("complete", 2), ("label", 2), ("newest", 2)]
)
def test_each_rule_keeps_its_row_and_of_equals_the_first(rule: str, at: int) -> None:
    assert rule in RULES
    assert keeper_of(RECORDS, rule) == at


def test_newest_orders_numbers_by_size_and_missing_values_last() -> None:
    given = [{"newest": value} for value in (9, 10.5, None, float("nan"))]
    assert keeper_of(given, "newest") == 1
    assert keeper_of(given[2:], "newest") == 0


def test_a_rule_that_there_is_not_names_those_there_are() -> None:
    with pytest.raises(Invalid, match="'best'") as caught:
        keeper_of(RECORDS, "best")
    assert caught.value.hint is not None
    assert "longest" in caught.value.hint


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a", "list"),
        ([{"keep": "a"}], "Group 1 needs"),
        ([{"keep": "a", "drop": ["b"]}, {"keep": "a", "drop": []}], "Group 2 drops nothing"),
        ([{"keep": "a", "drop": ["a"]}], "would drop the row that it keeps"),
        ([{"keep": 1, "drop": ["a"]}], "row id"),
        ([{"keep": "a", "drop": [1]}], "drops nothing"),
    ],
)
def test_decisions_that_make_no_sense_are_refused(given: Any, said: str) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        parse_decisions(given)
    assert caught.value.field == "groups"


def test_decisions_read_back_as_they_were() -> None:
    told = [{"keep": "a", "drop": ["b", "c"], "reason": "the same ticket"}]
    assert [decision.to_dict() for decision in parse_decisions(told)] == told
