"""The Runs page: the list, the form with its estimate, the drawer, as each role meets them."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from core.workbench import OWNER, Workbench
from tests.app import evaluations
from tests.pages_runner import Pages


def button(page: AppTest, label: str) -> object:
    return next(one for one in page.button if one.label == label)


def labels(page: AppTest) -> set[str]:
    return {one.label for one in page.button}


def test_an_empty_workspace_offers_the_samples_and_then_the_form(
    pages: Pages, workbench: Workbench
) -> None:
    evaluations.model(workbench)
    page = pages.open("runs")
    assert not page.exception
    assert "No runs yet" in page.markdown[0].value
    button(page, "Add sample data and prompts").click().run()
    assert {row["name"] for row in workbench.datasets.list(OWNER)} >= {"Support tickets"}
    button(page, "Set up a run").click().run()
    assert not page.exception
    assert not page.error
    assert page.selectbox[0].label == "Dataset"
    [start] = [one for one in page.button if one.label.startswith("Run ")]
    assert start.label in ("Run 127 rows", "Run 107 rows")


def test_a_lead_reads_runs_and_starts_none(pages: Pages) -> None:
    page = pages.open("runs", role="lead", new="1")
    assert not page.exception
    assert "New run" not in labels(page)


def test_the_form_says_what_a_run_takes_and_starts_it(pages: Pages, workbench: Workbench) -> None:
    version_id = evaluations.tickets(workbench, 14)  # four labels among them: few
    evaluations.prompts(workbench)
    evaluations.model(workbench, default="billing")
    page = pages.open("runs", new="1")
    assert not page.exception
    tiles = {one.label: one for one in page.metric}
    assert tiles["Answers"].value == "28"
    assert tiles["Time, not measured yet"].value == "not known yet"
    estimates = page.dataframe[0].value
    assert list(estimates["loads"]) == ["scripted fp32 on cpu"] * 2
    rows = next(one for one in page.number_input if one.label == "Rows")
    rows.set_value(2).run()
    assert {one.label: one.value for one in page.metric}["Answers"] == "4"
    button(page, "Run 2 rows").click().run()
    assert not page.exception
    [run] = workbench.runs.list(OWNER)
    assert (run["row_count"], run["dataset_version_id"]) == (2, version_id)
    assert [s["kind"] for s in run["scorers"]] == ["exact_match"]
    assert page.query_params["run"] in (run["id"], [run["id"]])
    evaluations.finish(workbench, run["id"])


def test_variants_and_scorers_come_and_go_and_outlive_a_reload(
    pages: Pages, workbench: Workbench
) -> None:
    evaluations.tickets(workbench, 4)
    evaluations.prompts(workbench)
    evaluations.model(workbench)
    page = pages.open("runs", new="1")
    button(page, "Add a variant").click().run()
    button(page, "Latency").click().run()
    assert not page.exception
    limit = next(one for one in page.number_input if one.label == "At most, in ms")
    limit.set_value(500.0).run()
    assert {one.label: one.value for one in page.metric}["Answers"] == "12"
    again = pages.open("runs", new="1")
    draft = workbench.drafts.get(workbench.sessions.actor(pages.session("admin")), "runs.new")
    assert len(draft["variants"]) == 3
    assert draft["scorers"][1]["max_ms"] == 500.0
    assert {one.label: one.value for one in again.metric}["Answers"] == "12"
    removes = [one for one in again.button if one.label == "Remove"]
    removes[0].click().run()
    assert {one.label: one.value for one in again.metric}["Answers"] == "8"


def test_what_is_wrong_with_a_scorer_is_said_beside_it(pages: Pages, workbench: Workbench) -> None:
    evaluations.tickets(workbench, 4)
    evaluations.prompts(workbench)
    evaluations.model(workbench)
    page = pages.open("runs", new="1")
    button(page, "Regular expression").click().run()
    pattern = next(one for one in page.text_input if one.label == "Pattern")
    pattern.set_value("(").run()
    assert not page.exception
    assert page.error
    assert not [one for one in page.button if one.label.startswith("Run ")]


@pytest.fixture
def finished(workbench: Workbench) -> str:
    return evaluations.finished_run(workbench)


def test_a_finished_run_is_listed_opened_and_cloned(
    pages: Pages, workbench: Workbench, finished: str
) -> None:
    page = pages.open("runs")
    assert not page.exception
    [shown] = page.dataframe[0].value.to_dict("records")
    assert shown["rates"] == "33.3 · 83.3"
    assert (list(shown["state"]), shown["by"]) == (["succeeded"], "local owner")
    drawn = pages.open("runs", run=finished)
    assert not drawn.exception
    assert {"Compare", "Clone"} <= labels(drawn)
    assert "Cancel run" not in labels(drawn)
    button(drawn, "Clone").click().run()
    assert not drawn.exception
    assert [one.value for one in drawn.text_input if one.label == "Name of the run"] == [
        "labels again"
    ]
    lead = pages.open("runs", role="lead", run=finished)
    assert labels(lead) & {"Clone", "Archive", "Compare"} == {"Compare"}


def test_a_run_that_is_gone_is_said(pages: Pages) -> None:
    page = pages.open("runs", run="run_nothing")
    assert not page.exception
    assert page.error
