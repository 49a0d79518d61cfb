"""The areas Explore, Checks and Split of the Curate page, as people use them."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.charts_map import dataset_map
from core.workbench import OWNER, Workbench
from tests.pages_runner import Pages


@pytest.fixture
def tickets(workbench: Workbench) -> dict[str, Any]:
    return workbench.datasets.import_sample(OWNER, "support-tickets")


def button(page: AppTest, label: str) -> Any:
    return next(found for found in page.button if found.label == label)


def labels(page: AppTest) -> list[str]:
    return [found.label for found in page.button]


def test_explore_offers_the_map_with_what_it_costs(pages: Pages, tickets: dict[str, Any]) -> None:
    page = pages.open("curate", version=tickets["id"], area="Explore")
    assert not page.exception
    assert "Make the map" in labels(page)
    assert "about" in "".join(text.value for text in page.markdown)


def test_words_are_found_without_a_map_and_it_says_so(
    pages: Pages, tickets: dict[str, Any]
) -> None:
    page = pages.open(
        "curate", version=tickets["id"], area="Explore", explore="Search", ask="printer"
    )
    assert not page.exception
    assert "make the map" in page.info[0].value
    assert len(page.dataframe[0].value) > 0


def test_a_query_is_answered_and_its_rows_go_onto_the_recipe(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    page = pages.open("curate", version=tickets["id"], area="Explore", explore="SQL")
    page.text_area[0].set_value("SELECT row_id FROM rows WHERE row_index < 3")
    button(page, "Run query").click().run()
    assert not page.exception
    assert len(page.dataframe[0].value) == 3
    button(page, "Drop these rows").click().run()
    (pending,) = workbench.recipes.pending(OWNER, tickets["id"]) or _pending(workbench, tickets)
    assert pending["step"]["mode"] == "drop"


def _pending(workbench: Workbench, tickets: dict[str, Any]) -> Any:
    """The pending steps of the page's user: they are by user."""
    user = next(u for u in workbench.users.list(OWNER) if u["name"] == "test-admin")
    actor = type(OWNER)(user["id"], user["name"], "admin")
    return workbench.recipes.pending(actor, tickets["id"])


def test_a_query_that_reaches_out_is_refused_on_the_page(
    pages: Pages, tickets: dict[str, Any]
) -> None:
    page = pages.open("curate", version=tickets["id"], area="Explore", explore="SQL")
    page.text_area[0].set_value("SELECT * FROM read_csv('/etc/passwd')")
    button(page, "Run query").click().run()
    assert "not let through" in page.error[0].value


def test_checks_are_suggested_run_and_removed(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    page = pages.open("curate", version=tickets["id"], area="Checks")
    button(page, "Suggest checks from these rows").click().run()
    assert not page.exception
    assert "pass" in page.success[0].value
    before = len(workbench.checks.list(OWNER, tickets["dataset_id"]))
    assert before >= 2
    button(page, "Remove").click().run()
    assert len(workbench.checks.list(OWNER, tickets["dataset_id"])) == before - 1


def test_a_failing_check_names_its_rows(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    label = tickets["expected"]
    values = ["nothing of the kind"]
    workbench.checks.save(
        OWNER, tickets["dataset_id"], [{"check": "one_of", "column": label, "values": values}]
    )
    page = pages.open("curate", version=tickets["id"], area="Checks")
    button(page, "Run checks").click().run()
    assert "1 check of 1 fail" in page.error[0].value
    assert page.dataframe[0].value["row_count"][0] == tickets["row_count"]


def test_a_split_goes_onto_the_recipe_with_the_label_kept_in_proportion(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    page = pages.open("curate", version=tickets["id"], area="Split")
    assert not page.exception
    button(page, "Add split to the recipe").click().run()
    (pending,) = _pending(workbench, tickets)
    assert pending["step"]["stratify"] == tickets["expected"]
    assert pending["step"]["fractions"] == {"train": 0.8, "validation": 0.1, "test": 0.1}


def test_shares_that_do_not_sum_to_a_hundred_cannot_be_added(
    pages: Pages, tickets: dict[str, Any]
) -> None:
    page = pages.open("curate", version=tickets["id"], area="Split")
    page.number_input[0].set_value(50).run()
    assert "sum to 70 %" in page.warning[0].value
    assert button(page, "Add split to the recipe").disabled


def test_readers_see_and_change_nothing(pages: Pages, tickets: dict[str, Any]) -> None:
    for area in ("Checks", "Split", "Explore"):
        page = pages.open("curate", role="lead", version=tickets["id"], area=area)
        assert not page.exception
        assert not {"Add split to the recipe", "Make the map"} & set(labels(page))


def test_a_map_of_many_points_is_drawn_by_webgl_and_quiet_values_lie_below() -> None:
    def points(count: int) -> dict[str, Any]:
        colours = ["in no cluster" if n % 3 else f"topic {n % 2}" for n in range(count)]
        return {"row_index": list(range(count)), "x": [0.0] * count, "y": [0.0] * count,
                "colour": colours}  # fmt: skip

    small = dataset_map(points(9), theme="light", texts=["t"] * 9)
    assert [trace.type for trace in small.data] == ["scatter"] * 3
    assert small.data[0].name.startswith("in no cluster")
    assert list(small.data[0].customdata) == [1, 2, 4, 5, 7, 8]
    large = dataset_map(points(6_000), theme="dark", texts=["t"] * 6_000)
    assert {trace.type for trace in large.data} == {"scattergl"}


def test_what_data_says_on_the_map_is_no_markup() -> None:
    points = {"row_index": [0], "x": [0.0], "y": [0.0], "colour": ["<b>loud</b>"]}
    (trace,) = dataset_map(points, theme="light", texts=["Row 1\n<a href='x'>1 &lt; 2"]).data
    assert trace.name == "&lt;b>loud&lt;/b> (1)"
    assert list(trace.text) == ["Row 1<br>&lt;a href='x'>1 &amp;lt; 2"]


def test_rows_by_split_are_all_counted_where_every_answer_is_another(
    pages: Pages, workbench: Workbench
) -> None:
    lines = [f"Question {n},answer {n},{'test' if n % 4 else 'train'}" for n in range(1_600)]
    version = workbench.datasets.import_rows(
        OWNER, name="Many answers", filename="many.csv",
        mapping={"question": "input", "answer": "expected", "split": "metadata"},
        data="\n".join(["question,answer,split", *lines]).encode(),
    )  # fmt: skip
    page = pages.open("curate", version=version["id"], area="Split")
    assert not page.exception
    assert list(page.dataframe[0].value["row_count"]) == [400, 1_200]


def test_a_reader_sees_a_running_job_and_cannot_stop_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from app import job_progress, ui

    job = {"id": "job_1", "state": "running", "progress_done": None, "progress_total": None,
           "message": "Reads *a*", "eta_s": 12}  # fmt: skip
    drawn: list[str] = []
    monkeypatch.setattr(ui, "may", lambda permission: permission != "jobs.write")
    monkeypatch.setattr("streamlit.progress", lambda share, said: drawn.append(f"{share} {said}"))
    monkeypatch.setattr("streamlit.button", lambda *a, **k: drawn.append("button"))
    job_progress.bar(job, "Waiting", key="x")
    assert drawn == [r"0.0 Reads \*a\* · about 15 s left"]
    assert job_progress.is_going(job)
    assert not job_progress.is_going(None)
