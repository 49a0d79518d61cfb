"""The Compare page over a real finished run, as each role meets it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import compare_head
from app.compare_grid import change, data, verdict
from core.evals.statistics import mcnemar
from core.workbench import OWNER, Workbench
from tests.app import evaluations
from tests.pages_runner import Pages

ROWS = 14


@pytest.fixture
def finished(workbench: Workbench) -> str:
    return evaluations.finished_run(workbench, ROWS)


def written(page: AppTest) -> str:
    return "\n".join(one.value for one in [*page.markdown, *page.caption])


def shown(page: AppTest) -> dict[str, Any]:
    """What the grid was given."""
    [grid] = page.get("bidi_component")
    return dict(json.loads(grid.proto.json))


def press(page: AppTest, label: str) -> AppTest:
    return next(one for one in page.button if one.label == label).click().run()


def test_without_runs_the_page_says_what_it_will_show(pages: Pages) -> None:
    page = pages.open("compare")
    assert not page.exception
    assert "Nothing to compare yet" in page.markdown[0].value


def test_a_run_that_does_not_exist_is_said(pages: Pages) -> None:
    page = pages.open("compare", run="run_nothing")
    assert not page.exception
    assert "no run with the id" in page.error[0].value


def test_the_head_says_how_good_and_how_sure(
    pages: Pages, workbench: Workbench, finished: str
) -> None:
    page = pages.open("compare", run=finished)
    assert not page.exception
    assert not page.error
    said = written(page)
    assert "28.6 %" in said, "four of fourteen tickets are about billing"
    assert "92.9 %" in said
    assert "▲ 10 fixed" in said
    assert "▼ 1 broke" in said
    assert "unlikely to be chance (p = 0.0117)" in said
    press(page, "Use as baseline")
    lists = workbench.runs.get(OWNER, finished)["variants"][1]
    assert workbench.runs.get(OWNER, finished)["baseline_variant_id"] == lists["id"]
    assert "▲ 1 fixed" in written(page)
    press(page, "Next baseline")
    assert "▲ 10 fixed" in written(page)


def test_rows_are_filtered_searched_and_opened(
    pages: Pages, workbench: Workbench, finished: str
) -> None:
    page = pages.open("compare", run=finished)
    grid = shown(page)
    assert [v["name"] for v in grid["variants"]] == ["guesses", "lists"]
    assert len(grid["rows"]) == ROWS
    first = grid["rows"][0]
    assert first["cells"][1]["marks"] == [["✗", "failed", "bad"], ["▼", "broke", "bad"]]
    assert first["cells"][1]["text"].startswith("<script>"), "escaped by being a text node"
    failures = pages.open("compare", run=finished, show="different")
    assert len(shown(failures)["rows"]) == 11
    found = pages.open("compare", run=finished, q="ticket 12 ")
    assert [row["number"] for row in shown(found)["rows"]] == ["13"]
    nothing = pages.open("compare", run=finished, q="no such words")
    assert "No row matches" in nothing.info[0].value


def test_the_drawer_shows_every_answer_and_steps_through_the_rows(
    pages: Pages, finished: str
) -> None:
    rows = shown(pages.open("compare", run=finished))["rows"]
    page = pages.open("compare", run=finished, row=rows[0]["id"])
    assert not page.exception
    assert "**Row 1 of 14**" in written(page)
    assert "Expected 'billing', got" in written(page).replace("\\", "")
    press(page, "Next")
    assert not page.exception
    assert page.query_params["row"] in (rows[1]["id"], [rows[1]["id"]])
    assert "**Row 2 of 14**" in written(page)
    press(page, "Previous")
    press(page, "Previous")
    assert "no further row" in written(page)
    assert [one for one in page.button if one.label == "Open trace"]


def test_a_link_to_one_row_opens_it_wherever_it_is(
    pages: Pages, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app import compare_rows

    rows = shown(pages.open("compare", run=finished))["rows"]
    monkeypatch.setattr(compare_rows.Rows._grid, "__kwdefaults__", {"show": None, "limit": 5})
    page = pages.open("compare", run=finished, row=rows[9]["id"])
    assert not page.exception
    assert "**Row 10 of 14**" in written(page)
    assert [row["number"] for row in shown(page)["rows"]] == ["10", "11", "12", "13", "14"]
    for _ in range(5):
        press(page, "Next")
    assert "**Row 14 of 14**" in written(page)
    assert "no further row" in written(page)


def test_a_lead_compares_and_changes_nothing(pages: Pages, finished: str) -> None:
    page = pages.open("compare", role="lead", run=finished)
    assert not page.exception
    assert not {"Use as baseline", "Next baseline"} & {one.label for one in page.button}


@pytest.mark.parametrize(
    ("fixed", "broke", "words"),
    [
        (0, 0, "no difference to explain"),
        (1, 0, "could well be chance (p = 1.0)"),
        (5, 1, "could well be chance"),
        (9, 2, "could be chance"),
        (10, 1, "unlikely to be chance"),
        (40, 2, "hardly chance (p < 0.001)"),
    ],
)
def test_a_p_value_is_said_in_words(fixed: int, broke: int, words: str) -> None:
    versus = {"fixed": fixed, "broke": broke, "p_value": mcnemar(fixed, broke)}
    assert words in compare_head.surely(versus)


@pytest.mark.parametrize(
    ("p50", "p95", "shown"),
    [
        (229.4, 422.0, "229 / 422 ms"),
        (840.0, 1920.0, "840 ms / 1.92 s"),
        (229.4, None, "229 ms / n < 20"),
        (None, None, "n < 3 / n < 20"),
    ],
)
def test_two_latencies_share_a_unit_or_say_what_is_missing(
    p50: float | None, p95: float | None, shown: str
) -> None:
    assert compare_head.latencies(p50, p95) == shown


def test_marks_are_words_and_signs() -> None:
    cell = {"state": "ok", "passed": True, "change": "fixed"}
    assert verdict(cell) == ("✓", "passed", "good")
    assert change(cell) == ("▲", "fixed", "good")
    assert verdict({**cell, "passed": None})[1] == "not judged"
    assert verdict({**cell, "state": "failed"})[1] == "error"
    assert verdict(None)[1] == "no answer yet"
    assert change({**cell, "change": "same"}) is None
    row = {"row_id": "r", "row_index": 0, "input_preview": None, "expected": None, "cells": {}}
    [made] = data([row], [{"id": "v", "name": "x"}], "v")["rows"]
    assert made["cells"][0]["text"] == ""
