"""Voting blind on the Compare page over a real finished run, as each role meets it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import compare_vote
from core.store.database import Row
from core.workbench import OWNER, Workbench
from tests.app import evaluations
from tests.pages_runner import Pages

ROWS = 6  # 'guesses' says billing to all; 'lists' is right but for row 0: five rows differ, and it


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_vote, "TOO_QUICK_S", 0.0)


@pytest.fixture
def run(workbench: Workbench) -> Row:
    run_id = evaluations.finished_run(workbench, ROWS)
    return dict(workbench.runs.get(OWNER, run_id))


@pytest.fixture
def pair(run: Row) -> str:
    return ",".join(variant["id"] for variant in run["variants"])


def press(page: AppTest, key: str) -> AppTest:
    page = page.button(key=key).click().run()
    assert not page.exception
    return page


def said(page: AppTest) -> str:
    return "\n".join(one.value for one in [*page.markdown, *page.caption])


def progress(page: AppTest) -> str:
    return str(page.get("progress")[0].proto.text)


def answers(page: AppTest) -> list[str]:
    return [one.value for one in page.code]


def better(page: AppTest) -> str:
    """The key of the side on which the answer of 'lists' stands: the other says billing."""
    left = answers(page)[1]
    return "vote-right" if left == "billing" else "vote-left"


def test_the_desk_is_one_click_from_the_comparison_and_names_nobody(
    pages: Pages, run: Row, pair: str
) -> None:
    page = press(pages.open("compare", run=run["id"]), "vote")
    assert page.query_params["vote"] in (pair, [pair])
    assert "**0** of 5 rows voted on" in progress(page)
    assert not {"guesses", "lists"} & set(said(page).split())
    assert not any("pass rate" in caption.value for caption in page.caption)
    labels = [button.label for button in page.button]
    assert {"Left is better", "Right is better", "Tie", "Both bad", "Skip", "Undo"} <= {*labels}
    assert page.button(key="vote-undo").disabled
    text, left, right = answers(page)
    assert text.startswith("ticket")
    assert "billing" in (left, right)
    assert "**Row" not in said(press(page, "vote-leave")), "the comparison is back"


def test_a_person_votes_undoes_skips_and_sees_the_tally(
    pages: Pages, workbench: Workbench, run: Row, pair: str
) -> None:
    page = pages.open("compare", run=run["id"], vote=pair)
    first = answers(page)
    page.text_input[0].input("names the label").run()
    page = press(page, better(page))
    assert answers(page) != first
    assert "**1** of 5" in progress(page)
    [vote] = workbench.store.rows("SELECT * FROM votes")
    assert (vote["reason"], vote["queue"]) == ("names the label", "all")
    assert vote["seconds"] >= 0
    page = press(page, "vote-undo")
    assert answers(page) == first
    assert "your last one again" in progress(page)
    page = press(page, "vote-skip")
    assert "1 skipped" in progress(page)
    for _ in range(4):
        page = press(page, better(page))
    page = page.run()  # a fragment that is done asks for a run of the page
    assert "Go through the 1 skipped" in [button.label for button in page.button]
    page = press(page, "vote-skipped-on")
    assert answers(page) == first
    press(page, "vote-tie")
    page = pages.open("compare", run=run["id"], vote=pair)
    assert "voted on every row" in page.success[0].value
    metrics = {metric.label: metric.value for metric in page.metric}
    assert "lists wins 100.0 % \\[51, 100] of 4 decided rows against guesses" in said(page)
    assert (metrics["lists wins"], metrics["guesses wins"]) == ("4", "0")
    assert metrics["Ties / both bad"] == "1 / 0"
    assert "could be chance (p = 0.12)" in said(page)
    assert "4 pairs to learn from" in said(page)


def test_a_key_pressed_twice_is_one_vote(
    pages: Pages, workbench: Workbench, run: Row, pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = pages.open("compare", run=run["id"], vote=pair)
    monkeypatch.setattr(compare_vote, "TOO_QUICK_S", 60.0)
    press(page, "vote-tie")
    assert workbench.store.rows("SELECT * FROM votes") == []


def test_the_lost_rows_alone_and_the_tally_in_between(pages: Pages, run: Row, pair: str) -> None:
    page = press(pages.open("compare", run=run["id"]), "lost-1")
    assert "of 1 row voted on" in progress(page)
    assert "<script>" in "".join(answers(page)), "shown as text"
    press(page, "vote-both_bad")
    page = pages.open("compare", run=run["id"], vote=pair, tally="1")
    assert "no fair sample" in page.warning[0].value
    assert "Vote on 4 more rows" in [button.label for button in page.button]
    assert page.button(key="vote-finetune").disabled
    page = press(page, "vote-on")
    assert "**1** of 5" in progress(page)


def test_votes_become_a_dataset_and_the_form_of_a_fine_tune(
    pages: Pages, workbench: Workbench, run: Row, pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = pages.open("compare", run=run["id"], vote=pair)
    for _ in range(5):
        press(page, better(page))
    page = pages.open("compare", run=run["id"], vote=pair)
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "streamlit.switch_page", lambda target, query_params: asked.update(query_params)
    )
    page.text_input(key="vote-name").input("Pairs").run()
    page = press(page, "vote-finetune")
    (made,) = (row for row in workbench.datasets.list(OWNER) if row["name"] == "Pairs")
    assert made["row_count"] == 5
    lists = run["variants"][1]
    assert asked == {
        "new": "1", "method": "dpo", "dataset": made["newest_version_id"],
        "prompt": lists["prompt_version_id"], "base": lists["model_id"],
    }  # fmt: skip
    [version] = workbench.datasets.versions(OWNER, made["id"])
    assert "5 votes of 1 people" in version["message"]


def test_where_all_answers_are_the_same_it_is_said(pages: Pages, workbench: Workbench) -> None:
    version_id, (bare, asks) = evaluations.tickets(workbench, 2), evaluations.prompts(workbench)
    from core.evals.variants import Variant

    model = evaluations.model(workbench, "parrot", default="billing")
    run_id = workbench.runs.create(
        OWNER, "same", version_id, [Variant(bare, model, name="a"), Variant(asks, model, name="b")],
        [{"kind": "exact_match", "name": "label"}],
    )  # fmt: skip
    evaluations.finish(workbench, run_id)
    pair = ",".join(variant["id"] for variant in workbench.runs.get(OWNER, run_id)["variants"])
    page = pages.open("compare", run=run_id, vote=pair)
    assert not page.exception
    assert "the same on all 2 rows" in page.info[0].value


def test_a_lead_sees_the_tally_and_cannot_vote(
    pages: Pages, workbench: Workbench, run: Row, pair: str
) -> None:
    page = pages.open("compare", role="lead", run=run["id"], vote=pair)
    assert not page.exception
    assert "No votes yet" in page.markdown[0].value + page.markdown[1].value
    assert not any((button.key or "").startswith("vote-left") for button in page.button)
    page = pages.open("compare", run=run["id"], vote="variant_none,variant_two")
    assert "Vote blind" in [button.label for button in page.button], "a pair that is none"
    assert json.dumps(workbench.votes.pairs(OWNER, run["id"])) == "[]"


def test_a_link_to_another_pair_shows_no_row_that_was_undone_elsewhere(
    pages: Pages, run: Row, pair: str
) -> None:
    page = pages.open("compare", run=run["id"], vote=pair)
    page.session_state[compare_vote.OF] = ("run_of_before", *pair.split(","))
    page.session_state[compare_vote.ROW] = "a row of it"
    page.session_state[compare_vote.SKIPPED] = True
    page.run()
    assert not page.error
    assert "these were skipped" not in progress(page)
    assert len(answers(page)) == 3
