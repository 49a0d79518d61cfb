"""Orders, verdicts and agreement against published figures and second implementations."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from core.errors import Invalid
from core.evals.agreement import agreement
from core.evals.ballots import BLOCK, ballots
from core.evals.preferences import by_row
from core.evals.verdicts import OUTCOMES, TIES, Policy, tally, verdict

PAIR = ("variant_a", "variant_b")
outcomes = st.lists(st.sampled_from(OUTCOMES), max_size=7)
policies = st.builds(
    Policy, st.sampled_from([*TIES]), st.integers(1, 4), st.sampled_from([0.0, 0.5, 2 / 3, 1.0])
)


@given(st.text(min_size=1, max_size=8), st.integers(0, 100))
def test_every_row_comes_once_and_each_variant_is_left_as_often(seed: str, count: int) -> None:
    rows = [f"row_{n}" for n in range(count)]
    found = ballots(seed, rows, PAIR)
    assert sorted(ballot.row_id for ballot in found) == sorted(rows)
    assert found == ballots(seed, rows[::-1], PAIR[::-1]), "however they are given"
    assert len({ballot.token for ballot in found}) == count
    for ballot in found:
        assert {ballot.left_variant_id, ballot.right_variant_id} == set(PAIR)
    left = [ballot.left_variant_id == PAIR[0] for ballot in found]
    for begin in range(0, count - count % BLOCK, BLOCK):
        assert sum(left[begin : begin + BLOCK]) == BLOCK // 2


def test_sides_and_orders_of_different_people_have_nothing_in_common() -> None:
    rows = [f"row_{n}" for n in range(400)]
    first, second = (ballots(seed, rows, PAIR) for seed in ("one", "other"))
    left = {ballot.row_id: ballot.left_variant_id for ballot in first}
    same = sum(left[ballot.row_id] == ballot.left_variant_id for ballot in second)
    assert binomtest(same, len(rows)).pvalue > 0.001
    assert first[0].row_id != second[0].row_id
    assert [b.row_id for b in first] != rows, "a part of the rows is a sample of them"


@given(outcomes, policies)
def test_a_verdict_is_what_counting_says(votes: list[str], policy: Policy) -> None:
    """The policy said once more, with every vote as a fraction handed out."""
    shares: Counter[str] = Counter()
    counted = [vote for vote in votes if not (policy.ties == "ignore" and vote == "tie")]
    for vote in counted:
        if vote == "tie" and policy.ties == "half":
            shares["first"] += 1  # in halves
            shares["second"] += 1
        else:
            shares[vote] += 2
    found = verdict(votes, policy)
    assert found.voters == len(counted)
    if len(counted) < policy.min_votes:
        assert (found.outcome, found.why) == (None, "too few votes")
        return
    (winner, most), *others = shares.most_common()
    if others and others[0][1] == most:
        assert (found.outcome, found.why) == (None, "no majority")
    elif most / 2 / len(counted) < policy.min_agreement:
        assert (found.outcome, found.why) == (None, "too little agreement")
    else:
        assert (found.outcome, found.why) == (winner, None)
        assert found.share == pytest.approx(most / 2 / len(counted))


@given(outcomes, policies)
def test_a_verdict_knows_neither_the_order_of_votes_nor_which_variant_is_first(
    votes: list[str], policy: Policy
) -> None:
    swap = {"first": "second", "second": "first"}
    found, turned = verdict(votes, policy), verdict([swap.get(v, v) for v in votes[::-1]], policy)
    assert swap.get(found.outcome or "", found.outcome) == turned.outcome
    assert (found.voters, found.share, found.why) == (turned.voters, turned.share, turned.why)


@given(st.lists(st.tuples(st.sampled_from(["left", "right", "tie", "both_bad"]), st.booleans())))
def test_an_outcome_follows_the_variant_and_not_the_side(votes: list[tuple[str, bool]]) -> None:
    recorded = [
        {
            "row_id": "r",
            "choice": choice,
            "left_variant_id": PAIR[swapped],
            "right_variant_id": PAIR[not swapped],
        }
        for choice, swapped in votes
    ]
    first = sum(
        (choice, swapped) in (("left", False), ("right", True)) for choice, swapped in votes
    )
    second = sum(choice in ("left", "right") for choice, _ in votes) - first
    counted = Counter(by_row(recorded, PAIR).get("r", []))
    assert (counted["first"], counted["second"]) == (first, second)
    turned = Counter(by_row(recorded, PAIR[::-1]).get("r", []))
    assert (turned["first"], turned["second"]) == (second, first)


def test_the_interval_and_the_test_are_the_published_ones() -> None:
    """Newcombe 1998, table I, method 3: 15 of 148 has [0.0624, 0.1605] (Wilson, 95%)."""
    rows = {f"{n}": ["second" if n < 15 else "first"] for n in range(148)}
    found = tally({**rows, "t": ["tie"], "b": ["both_bad"], "s": ["first", "second"]})
    assert found["win_rate"] == pytest.approx(15 / 148)
    assert found["win_interval"]["low"] == pytest.approx(0.0624, abs=5e-5)
    assert found["win_interval"]["high"] == pytest.approx(0.1605, abs=5e-5)
    assert (found["ties"], found["both_bad"], found["split"]) == (1, 1, 1)
    assert found["p_value"] == pytest.approx(binomtest(15, 148).pvalue)


@given(st.dictionaries(st.text(max_size=3), outcomes.filter(len), max_size=12))
def test_a_tally_counts_every_row_once(rows: dict[str, list[str]]) -> None:
    found = tally(rows)
    parts = ("first_wins", "second_wins", "ties", "both_bad", "split")
    assert sum(found[name] for name in parts) == found["row_count"] == len(rows)
    if found["win_rate"] is None:
        assert found["win_interval"] is found["p_value"] is None
    else:
        low, high = found["win_interval"]["low"], found["win_interval"]["high"]
        assert 0 <= low <= found["win_rate"] <= high <= 1


def test_alpha_is_what_krippendorff_has() -> None:
    """Krippendorff 2011, sections B and C: 0.692 for two observers, 0.743 for four with gaps."""
    meg, owen = "aabbdcccedda", "babbbccceddd"
    assert agreement(zip(meg, owen, strict=True)).alpha == pytest.approx(0.692, abs=5e-4)
    observers = ("123321412...", "123322412 5.3".replace(" ", ""), ".3332342251.", "12332441251.")
    units = [[label for label in unit if label != "."] for unit in zip(*observers, strict=True)]
    found = agreement(units)
    assert found.alpha == pytest.approx(0.743, abs=5e-4)
    assert found.row_count == 11


@given(st.lists(outcomes, max_size=10))
def test_agreement_counts_pairs_of_labels(rows: list[list[str]]) -> None:
    """Each label weighs once: the share of others on its row that are like it, on average."""
    shares = [
        sum(a == b for b in [*row[:n], *row[n + 1 :]]) / (len(row) - 1)
        for row in rows
        if len(row) > 1
        for n, a in enumerate(row)
    ]
    found = agreement(rows)
    assert found.row_count == sum(len(row) > 1 for row in rows)
    assert found.rate == (pytest.approx(sum(shares) / len(shares)) if shares else None)
    if shares and found.alpha is not None:
        assert found.alpha <= 1
    for row in rows:
        pairs = [a == b for a, b in combinations(row, 2)]
        if pairs:
            assert agreement([row]).rate == pytest.approx(sum(pairs) / len(pairs))


@pytest.mark.parametrize(
    "policy", [Policy(ties="some"), Policy(min_votes=0), Policy(min_agreement=-0.1)]
)
def test_a_policy_that_cannot_be_is_refused(policy: Policy) -> None:
    with pytest.raises(Invalid):
        policy.check()
    assert "majority" in Policy(min_votes=2).words()
