"""The Loop page: empty, with a sample, and over a task that was compared and voted on."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.workbench import OWNER, Workbench
from tests.app import evaluations
from tests.pages_runner import Pages


def said(page: AppTest) -> str:
    return "\n".join(one.value for one in [*page.markdown, *page.caption])


def metrics(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def test_the_empty_page_offers_the_sample_and_then_the_first_step(
    pages: Pages, workbench: Workbench
) -> None:
    page = pages.open("loop")
    assert not page.exception
    assert "No task yet" in said(page)
    page.button[0].click().run()
    assert not page.exception
    assert "Nothing is compared yet" in said(page)
    assert page.button(key="loop-next").label == "Set up a comparison"
    assert metrics(page)["Comparisons"] == "0"
    assert len(workbench.datasets.list(OWNER)) == 1


def test_a_task_is_told_newest_first_with_what_comes_next(
    pages: Pages, workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = evaluations.finished_run(workbench, 6)
    pair = [variant["id"] for variant in workbench.runs.get(OWNER, run_id)["variants"]]
    page = pages.open("loop")
    assert not page.exception
    assert page.button(key="loop-next").label == "Vote blind"
    assert "guesses 33.3 % \\[10, 70] n = 6" in said(page)
    while ballot := workbench.votes.next(OWNER, run_id, pair):
        workbench.votes.cast(OWNER, run_id, pair, ballot["row_id"], "left", ballot["token"])
    page = pages.open("loop", role="lead")
    assert not page.exception
    shown = metrics(page)
    assert (shown["Comparisons"], shown["Blind votes"], shown["Fine-tunes"]) == ("1", "5", "0")
    assert shown["Best pass rate"] == "83.3 %"
    lines = [one.value for one in page.markdown if "-badge[" in one.value]
    assert [line.split("**")[1] for line in lines] == ["5 blind votes", "labels", "tickets v1"]
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "streamlit.switch_page",
        lambda target, query_params: asked.update(query_params, page=target),
    )
    page.button(key="loop-open-1").click().run()
    assert asked == {"page": "../pages/compare.py", "run": run_id}
    page.toggle(key="loop-steps").set_value(True).run()
    lines = [one.value for one in page.markdown if "-badge[" in one.value]
    assert len(lines) == 2


def test_a_task_that_does_not_exist_is_said_and_a_reviewer_sees_nothing(pages: Pages) -> None:
    page = pages.open("loop", role="reviewer")
    assert "does not permit" in page.error[0].value
    page = pages.open("loop")
    page.button[0].click().run()
    page = pages.open("loop", dataset="dataset_none")
    assert not page.exception
    assert "no dataset with the id" in page.error[0].value
