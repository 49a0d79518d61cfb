"""Blind votes on a real finished run: who sees what, what counts, what becomes of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.evals.ballots import BLOCK
from core.governance.permissions import Actor
from core.settings import Settings
from core.store.database import Row
from core.workbench import OWNER
from tests.evals.conftest import LABELS, World, open_world

ROWS = 12
TICKETS = [{"text": f"ticket {i:02}", "label": LABELS[i % 4]} for i in range(ROWS)]
RIGHT = {row["text"]: row["label"] for row in TICKETS}
ANN, BOB, CID = (Actor(f"user_{name}", name, "engineer") for name in ("ann", "bob", "cid"))
LEAD = Actor("user_lead", "lead", "lead")
REVIEWER = Actor("user_reviewer", "reviewer", "reviewer")


@pytest.fixture(scope="module")
def voted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    """Twelve tickets: 'base' says billing to all, 'tuned' is right but for ticket 1.

    Three of the tickets are about billing, so nine rows differ.
    """
    with open_world(Settings(home=tmp_path_factory.mktemp("voted") / "home")) as world:
        run_id = world.start(
            world.variant(0, name="base", model="base", default="billing"),
            world.variant(1, name="tuned", model="tuned", replies=RIGHT | {"ticket 01": " no\n"}),
            version_id=world.import_rows(TICKETS),
        )
        world.finish(run_id)
        yield world, run_id


@pytest.fixture
def world(voted: tuple[World, str]) -> World:
    for table in ("votes", "vote_orders", "vote_preferences"):
        voted[0].workbench.store.execute(f"DELETE FROM {table}")
    return voted[0]


@pytest.fixture
def run_id(voted: tuple[World, str]) -> str:
    return voted[1]


@pytest.fixture
def pair(world: World, run_id: str) -> tuple[str, str]:
    base, tuned = world.runs.get(OWNER, run_id)["variants"]
    return base["id"], tuned["id"]


def side_of(ballot: Row, answer: str) -> str:
    """Where an answer stands, so that a test can vote for it."""
    return "left" if ballot["left"].strip() == answer else "right"


def there(ballot: Row | None) -> Row:
    assert ballot is not None
    return ballot


def cast(world: World, actor: Actor, run_id: str, pair: Any, ballot: Row, choice: str) -> str:
    return str(
        world.workbench.votes.cast(
            actor, run_id, pair, ballot["row_id"], choice, ballot["token"], seconds=1.5
        )
    )


def vote_all(world: World, actor: Actor, run_id: str, pair: Any, against: str = "billing") -> int:
    """Vote against that answer on every row; how many rows there were."""
    count = 0
    while ballot := world.workbench.votes.next(actor, run_id, pair):
        bad = side_of(ballot, against)
        cast(world, actor, run_id, pair, ballot, "right" if bad == "left" else "left")
        count += 1
    return count


def rows_of(world: World, version: Row) -> list[Row]:
    return list(world.workbench.datasets.page(OWNER, version["id"]))


def test_a_ballot_has_both_answers_and_nothing_that_says_whose_they_are(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    ballot = there(world.workbench.votes.next(ANN, run_id, pair))
    assert set(ballot) == {
        "row_id", "row_index", "inputs", "expected", "left", "right", "token", "progress",
    }  # fmt: skip
    assert ballot["inputs"] == {"text": f"ticket {ballot['row_index']:02}"}
    told = json.dumps(ballot)
    assert not any(word in told for word in (*pair, "base", "tuned"))
    turned = there(world.workbench.votes.next(ANN, run_id, pair[::-1]))
    assert turned["token"] == ballot["token"], "whichever is named first"
    assert world.workbench.votes.next(ANN, run_id, pair) == ballot, "a reload shows the same"


def test_only_rows_with_different_answers_come_each_once(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    assert world.workbench.votes.progress(ANN, run_id, pair) == {
        "row_count": 9, "voted_count": 0, "skipped_count": 0, "open_count": 9, "same_count": 3,
        "lost_count": 1, "can_undo": False,
    }  # fmt: skip
    assert vote_all(world, ANN, run_id, pair) == 9
    assert world.workbench.votes.progress(ANN, run_id, pair)["voted_count"] == 9
    assert world.workbench.votes.progress(BOB, run_id, pair)["open_count"] == 9, "everybody's own"
    recorded = world.workbench.store.rows("SELECT * FROM votes")
    assert {row["left_variant_id"] for row in recorded} == set(pair)
    assert all(row["choice"] in ("left", "right") and row["seconds"] == 1.5 for row in recorded)
    [audited] = world.workbench.audit.list(OWNER, action_prefix="votes.cast", limit=1)
    assert json.loads(audited["detail"])["choice"] in ("left", "right")


def test_the_order_is_the_persons_own_and_sides_are_balanced(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    orders = set()
    for number in range(6):
        actor = Actor(f"user_{number}", str(number), "engineer")
        seen, left = [], 0
        while ballot := world.workbench.votes.next(actor, run_id, pair):
            seen.append(ballot["row_id"])
            left += ballot["left"] == "billing"
            cast(world, actor, run_id, pair, ballot, "tie")
        assert len(seen) == 9
        assert BLOCK // 2 <= left <= BLOCK // 2 + 1, "four of the first eight, and the ninth"
        orders.add(tuple(seen))
    assert len(orders) == 6
    assert len(world.workbench.store.rows("SELECT DISTINCT seed FROM vote_orders")) == 6


def test_the_tally_tells_wins_ties_interval_and_test(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    votes = world.workbench.votes
    assert votes.tally(LEAD, run_id, pair)["win_rate"] is None
    assert vote_all(world, ANN, run_id, pair) == 9
    found = votes.tally(LEAD, run_id, pair)
    assert (found["first_wins"], found["second_wins"]) == (0, 9)
    assert (found["win_rate"], found["p_value"]) == (1.0, pytest.approx(2 / 2**9))
    assert found["win_interval"] == {"low": pytest.approx(0.70085, abs=1e-5), "high": 1.0}
    assert (found["first"]["name"], found["second"]["name"]) == ("base", "tuned")
    assert votes.tally(LEAD, run_id, pair[::-1])["win_rate"] == 0.0
    assert (found["different_count"], found["same_count"], found["picked_count"]) == (9, 3, 0)
    assert found["left_count"] + found["right_count"] == 9
    assert found["agreement"] == {"row_count": 0, "rate": None, "alpha": None}
    [listed] = votes.pairs(LEAD, run_id)
    assert (listed["pair"], listed["names"]) == (list(pair), ["base", "tuned"])
    assert (listed["vote_count"], listed["voter_count"]) == (9, 1)


def test_several_voters_are_one_row_each_and_agree_or_not(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    vote_all(world, ANN, run_id, pair)
    vote_all(world, BOB, run_id, pair)
    ballot = there(world.workbench.votes.next(CID, run_id, pair))
    cast(world, CID, run_id, pair, ballot, "both_bad")
    found = world.workbench.votes.tally(LEAD, run_id, pair)
    assert (found["vote_count"], found["row_count"], found["second_wins"]) == (19, 9, 9)
    assert found["agreement"]["row_count"] == 9
    assert found["agreement"]["rate"] == pytest.approx(1 - 2 / 19)
    assert [v["vote_count"] for v in found["voters"]] == [9, 9, 1]


def test_the_newest_vote_counts_and_undo_brings_back_the_one_before(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    votes = world.workbench.votes
    assert votes.undo(ANN, run_id, pair) is None
    ballot = there(votes.next(ANN, run_id, pair))
    cast(world, ANN, run_id, pair, ballot, "tie")
    again = there(votes.next(ANN, run_id, pair, row_id=ballot["row_id"]))
    assert again["token"] == ballot["token"], "the sides stay"
    cast(world, ANN, run_id, pair, again, "both_bad")
    assert votes.tally(ANN, run_id, pair)["both_bad"] == 1
    assert votes.undo(BOB, run_id, pair) is None, "of nobody else"
    assert votes.undo(ANN, run_id, pair[::-1]) == {"row_id": ballot["row_id"], "choice": "both_bad"}
    assert (votes.tally(ANN, run_id, pair)["ties"], votes.tally(ANN, run_id, pair)["both_bad"]) == (
        1, 0,
    )  # fmt: skip
    votes.undo(ANN, run_id, pair)
    assert votes.progress(ANN, run_id, pair)["open_count"] == 9


def test_a_skipped_row_comes_last_and_is_no_vote(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    votes = world.workbench.votes
    ballot = there(votes.next(ANN, run_id, pair))
    votes.skip(ANN, run_id, pair, ballot["row_id"], ballot["token"])
    assert vote_all(world, ANN, run_id, pair) == 8
    assert votes.progress(ANN, run_id, pair)["skipped_count"] == 1
    assert votes.tally(ANN, run_id, pair)["row_count"] == 8
    again = there(votes.next(ANN, run_id, pair, skipped=True))
    assert (again["row_id"], again["token"]) == (ballot["row_id"], ballot["token"])
    cast(world, ANN, run_id, pair, ballot, "tie")
    assert votes.next(ANN, run_id, pair, skipped=True) is None


def test_the_queue_of_losses_has_the_rows_that_the_second_did_not_pass(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    votes = world.workbench.votes
    ballot = there(votes.next(ANN, run_id, pair, queue="losses"))
    assert ballot["row_index"] == 1
    assert {ballot["left"], ballot["right"]} == {"billing", " no"}
    votes.cast(ANN, run_id, pair, ballot["row_id"], "tie", ballot["token"], queue="losses")
    assert votes.next(ANN, run_id, pair, queue="losses") is None
    assert votes.tally(ANN, run_id, pair)["picked_count"] == 1
    assert votes.progress(ANN, run_id, pair[::-1], queue="losses")["row_count"] == 9
    vote_all(world, ANN, run_id, pair)
    assert votes.tally(ANN, run_id, pair)["picked_count"] == 0, "all rows are voted on by now"


def test_what_is_wrong_is_refused(world: World, run_id: str, pair: tuple[str, str]) -> None:
    votes = world.workbench.votes
    ballot = there(votes.next(ANN, run_id, pair))
    with pytest.raises(Invalid, match="choice is one of"):
        cast(world, ANN, run_id, pair, ballot, "skip")
    with pytest.raises(Conflict, match="not shown to you like that"):
        votes.cast(BOB, run_id, pair, ballot["row_id"], "left", ballot["token"])
    with pytest.raises(Conflict):
        votes.cast(ANN, run_id, pair, "row_none", "left", ballot["token"])
    with pytest.raises(Invalid, match="queue"):
        votes.cast(ANN, run_id, pair, ballot["row_id"], "left", ballot["token"], queue="some")
    with pytest.raises(Invalid, match="2000 characters"):
        votes.cast(ANN, run_id, pair, ballot["row_id"], "tie", ballot["token"], reason="x" * 2001)
    for wrong in ((pair[0], pair[0]), (pair[0], "variant_none"), pair[:1]):
        with pytest.raises(Invalid, match="two different variants"):
            votes.next(ANN, run_id, wrong)
    with pytest.raises(Invalid, match="queue"):
        votes.next(ANN, run_id, pair, queue="some")
    with pytest.raises(NotFound):
        votes.next(ANN, "run_none", pair)
    same = next(r for r in world.results(run_id) if r["output"] == "billing" and not r["row_index"])
    with pytest.raises(NotFound, match="no two different answers"):
        votes.next(ANN, run_id, pair, row_id=same["row_id"])
    assert world.workbench.store.rows("SELECT * FROM votes") == []


def test_who_reads_does_not_vote(world: World, run_id: str, pair: tuple[str, str]) -> None:
    votes = world.workbench.votes
    votes.tally(LEAD, run_id, pair)
    for actor in (LEAD, REVIEWER):
        with pytest.raises(Forbidden):
            votes.next(actor, run_id, pair)
        with pytest.raises(Forbidden):
            votes.preferences(actor, run_id)
    with pytest.raises(Forbidden):
        votes.tally(REVIEWER, run_id, pair)


def test_a_run_that_goes_on_is_not_voted_on(world: World) -> None:
    slow = world.start(
        world.variant(0, name="one", model="slow", default="a", delay_ms=1_000),
        world.variant(1, name="two", model="slow", default="b"), rows=ROWS,
    )  # fmt: skip
    ids = [variant["id"] for variant in world.runs.get(OWNER, slow)["variants"]]
    with pytest.raises(Conflict, match="still going on"):
        world.workbench.votes.next(ANN, slow, ids)
    world.workbench.jobs.cancel(OWNER, world.job_id(slow))
    world.finish(slow, "cancelled")


def test_votes_become_a_dataset_of_preferences(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    votes = world.workbench.votes
    with pytest.raises(Conflict, match="No row has a preference"):
        votes.preferences(ANN, run_id)
    vote_all(world, ANN, run_id, pair)
    assert votes.outline(LEAD, run_id) == {"pair_count": 9, "left_out": {}}
    version = votes.preferences(ANN, run_id)
    assert version["label"] == "a run preferences v1"
    assert "9 pairs from 9 votes of 1 people" in version["message"]
    assert "ties left out" in version["message"]
    roles = {column["name"]: column["role"] for column in version["columns"]}
    assert roles == {
        "text": "input", "label": "expected",
        **dict.fromkeys(
            ("chosen", "rejected", "vote_run", "vote_row", "vote_count", "vote_agreement",
             "chosen_variant", "rejected_variant"), "metadata",
        ),
    }  # fmt: skip
    rows = rows_of(world, version)
    assert [row["row_index"] for row in rows] == list(range(9))
    for row in rows:
        number = int(row["text"].split()[1])
        assert row["chosen"].strip() == (RIGHT | {"ticket 01": "no"})[row["text"]]
        assert (row["rejected"], row["label"]) == ("billing", LABELS[number % 4])
        assert (row["vote_run"], row["chosen_variant"], row["vote_count"]) == (run_id, "tuned", 1)
        assert row["vote_row"] == row["row_id"], "the same inputs, the same name"
    assert [row["text"] for row in rows] == sorted(row["text"] for row in rows)
    assert votes.preferences(ANN, run_id)["id"] == version["id"], "the same votes, the same version"
    votes.undo(ANN, run_id, pair)
    second = votes.preferences(ANN, run_id, name="a run preferences")
    assert (second["number"], second["row_count"]) == (2, 8)
    kept = world.workbench.store.rows("SELECT * FROM vote_preferences ORDER BY created_at")
    assert [json.loads(row["policy"])["row_count"] for row in kept] == [9, 8]


def test_the_policy_decides_what_is_a_preference(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    votes = world.workbench.votes
    rows = sorted(different(world, run_id))
    for actor, choices in ((ANN, "ssttbs"), (BOB, "sftsb")):
        for row_id, choice in zip(rows, choices, strict=False):
            ballot = there(votes.next(actor, run_id, pair, row_id=row_id))
            first = side_of(ballot, "billing")
            second = "right" if first == "left" else "left"
            said = {"s": second, "f": first, "t": "tie", "b": "both_bad"}[choice]
            cast(world, actor, run_id, pair, ballot, said)

    def outline(**policy: Any) -> tuple[int, dict[str, int]]:
        found = votes.outline(OWNER, run_id, **policy)
        return found["pair_count"], found["left_out"]

    # The rows have ss, sf, tt, ts, bb, s: s for the second's answer, f for the first's.
    assert outline() == (2, {"no majority": 2, "tie": 1, "both_bad": 1})
    assert outline(ties="half") == (3, {"no majority": 2, "both_bad": 1})
    assert outline(ties="ignore") == (3, {"no majority": 1, "too few votes": 1, "both_bad": 1})
    assert outline(min_votes=2) == (
        1, {"no majority": 2, "tie": 1, "both_bad": 1, "too few votes": 1},
    )  # fmt: skip
    assert outline(ties="half", min_agreement=0.9)[1]["too little agreement"] == 1
    for wrong in ({"ties": "x"}, {"min_votes": 0}, {"min_agreement": 1.5}):
        with pytest.raises(Invalid):
            outline(**wrong)


def different(world: World, run_id: str) -> list[str]:
    outputs: dict[str, set[str]] = {}
    for row in world.results(run_id):
        outputs.setdefault(row["row_id"], set()).add(row["output"])
    return [row_id for row_id, texts in outputs.items() if len(texts) > 1]


def test_preferences_of_a_dataset_that_wants_a_review_want_one_too(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    vote_all(world, ANN, run_id, pair)
    source = world.workbench.datasets.version(
        OWNER, world.runs.get(OWNER, run_id)["dataset_version_id"]
    )
    world.workbench.reviews.require(OWNER, source["dataset_id"], True)
    version = world.workbench.votes.preferences(ANN, run_id, name="guarded pairs")
    made = world.workbench.datasets.get(OWNER, version["dataset_id"])
    world.workbench.reviews.require(OWNER, source["dataset_id"], False)
    assert made["requires_review"]


def test_the_loop_closes_preferences_are_compared_and_voted_on_again(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    vote_all(world, ANN, run_id, pair)
    version = world.workbench.votes.preferences(ANN, run_id, name="first round")
    again = world.start(
        world.variant(0, name="base", model="base", default="billing"),
        world.variant(1, name="tuned", model="tuned", replies=RIGHT),
        version_id=version["id"],
    )  # fmt: skip
    world.finish(again)
    ids = [variant["id"] for variant in world.runs.get(OWNER, again)["variants"]]
    assert vote_all(world, BOB, again, ids) == 9
    second = world.workbench.votes.preferences(BOB, again, name="second round")
    rows = rows_of(world, second)
    assert Counter(row["vote_run"] for row in rows) == {again: 9}
    assert len({column["name"] for column in second["columns"]}) == len(second["columns"])


def test_erasing_a_person_takes_the_reasons_with_the_rows(
    world: World, run_id: str, pair: tuple[str, str]
) -> None:
    votes = world.workbench.votes
    for number, reason in enumerate(("Zelda Quince knows better", "shorter", "")):
        ballot = there(votes.next(ANN, run_id, pair))
        votes.cast(
            ANN, run_id, pair, ballot["row_id"], "tie", ballot["token"], reason=reason,
            seconds=number,
        )  # fmt: skip
    found = world.workbench.erasure.find(OWNER, "Zelda Quince")
    assert {place["place"]: place["count"] for place in found["places"]} == {"Votes": 1}
    world.workbench.erasure.erase(OWNER, "Zelda Quince")
    kept = world.workbench.store.rows("SELECT reason FROM votes ORDER BY created_at")
    assert [row["reason"] for row in kept] == ["[erased] knows better", "shorter", ""]
