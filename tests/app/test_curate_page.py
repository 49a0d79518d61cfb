"""The Curate page as people use it: which version, the areas, pending steps, edits, saving."""

from __future__ import annotations

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import curate_filter
from app.curate_grid import edits
from app.curate_recipe import describe
from app.curate_versions import AREAS
from core.errors import Invalid
from core.workbench import OWNER, Workbench
from tests.curation.test_replay import ended
from tests.pages_runner import Pages

FIRST = AREAS[0].title


@pytest.fixture
def tickets(workbench: Workbench) -> dict[str, Any]:
    return workbench.datasets.import_sample(OWNER, "support-tickets")


def admin(workbench: Workbench, pages: Pages) -> Any:
    actor = workbench.sessions.actor(pages.session("admin"))
    assert actor is not None
    return actor


def button(page: AppTest, label: str) -> Any:
    return next(found for found in page.button if found.label == label)


def texts(page: AppTest) -> str:
    return "\n".join(m.value for m in [*page.markdown, *page.caption])


def steps_of(workbench: Workbench, pages: Pages, version: dict[str, Any]) -> list[Any]:
    return [
        row["step"] for row in workbench.recipes.pending(admin(workbench, pages), version["id"])
    ]


def test_an_empty_workspace_offers_the_samples(pages: Pages) -> None:
    page = pages.open("curate")
    assert not page.exception
    assert "Nothing to curate yet" in texts(page)
    button(page, "Import the messy sample").click().run()
    assert not page.exception
    assert page.query_params["version"]


@pytest.mark.parametrize("area", [area.title for area in AREAS])
def test_every_area_opens(pages: Pages, tickets: dict[str, Any], area: str) -> None:
    page = pages.open("curate", version=tickets["id"], area=area)
    assert not page.exception
    assert not page.error


def test_the_version_is_in_the_url_and_can_be_chosen(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    other = workbench.datasets.import_sample(OWNER, "short-answers")
    page = pages.open("curate", dataset=tickets["dataset_id"], area="Edit")
    assert page.query_params["version"] == tickets["id"]
    page.selectbox(key="curate-dataset").select(other["dataset_id"]).run()
    assert not page.exception
    assert page.query_params["version"] == other["id"]
    gone = pages.open("curate", version="dsversion_gone", area="Edit")
    assert not gone.exception
    assert "no dataset version" in gone.error[0].value


def test_pending_steps_are_moved_removed_and_brought_back(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    actor = admin(workbench, pages)
    column = tickets["inputs"][0]
    workbench.recipes.add(actor, tickets["id"], {"step": "trim", "columns": [column]})
    workbench.recipes.add(actor, tickets["id"], {"step": "sample", "rows": 9, "seed": 1})
    page = pages.open("curate", version=tickets["id"], area="Edit")
    assert "**2 pending steps**" in texts(page)
    page.button(key="recipe-up-1").click().run()
    assert [s["step"] for s in steps_of(workbench, pages, tickets)] == ["sample", "trim"]
    page.button(key="recipe-remove-0").click().run()
    assert [s["step"] for s in steps_of(workbench, pages, tickets)] == ["trim"]
    page.button(key="recipe-remove-0").click().run()
    assert steps_of(workbench, pages, tickets) == []
    page.button(key="recipe-undo").click().run()
    page.button(key="recipe-undo").click().run()
    assert not page.exception
    assert [s["step"] for s in steps_of(workbench, pages, tickets)] == ["sample", "trim"]
    page.button(key="recipe-preview").click().run()
    assert not page.exception
    assert "rows dropped" in texts(page)


def test_a_transform_is_tried_live_and_added(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    page = pages.open("curate", version=tickets["id"], area="Edit", edit="Transform")
    page.selectbox(key="form-step").select("case").run()
    assert not page.exception
    assert "cells changed" in texts(page)
    button(page, "Add to recipe").click().run()
    assert not page.exception
    (step,) = steps_of(workbench, pages, tickets)
    assert step == {"step": "case", "columns": [tickets["inputs"][0]], "to": "lower"}


def test_every_form_can_be_drawn(pages: Pages, tickets: dict[str, Any]) -> None:
    page = pages.open("curate", version=tickets["id"], area="Edit", edit="Transform")
    for step in page.selectbox(key="form-step").options:
        page.selectbox(key="form-step").select(step).run()
        assert not page.exception, step
        assert not page.error, step


def test_the_filter_is_in_the_url_counts_and_becomes_a_step(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    column = tickets["inputs"][0]
    where = [{"column": column, "op": "contains", "value": "invoice"}]
    page = pages.open("curate", version=tickets["id"], area="Edit", where=json.dumps(where))
    assert not page.exception
    total = workbench.recipes.matching(OWNER, tickets["id"], where)["count"]
    assert 0 < total < tickets["row_count"]
    assert f"of {total} matching row" in texts(page)
    page.button(key="grid-keep").click().run()
    assert not page.exception
    (step,) = steps_of(workbench, pages, tickets)
    assert step == {"step": "filter", "where": where, "match": "all"}
    page.button(key="filter-remove-0").click().run()
    assert "where" not in page.query_params
    nothing = pages.open("curate", version=tickets["id"], area="Edit", where="[{]")
    assert f"of {tickets['row_count']} rows" in texts(nothing)


def test_a_condition_is_added_by_the_builder(pages: Pages, tickets: dict[str, Any]) -> None:
    page = pages.open("curate", version=tickets["id"], area="Edit")
    page.text_input(key="filter-value").input("refund").run()
    page.button(key="filter-add").click().run()
    assert not page.exception
    assert json.loads(page.query_params["where"])[0]["value"] == "refund"
    assert "Type the value" in button_error(page)


def button_error(page: AppTest) -> str:
    page.button(key="filter-add").click().run()
    return str(page.error[0].value)


def test_cells_that_differ_are_edits_with_what_was_before(tickets: dict[str, Any]) -> None:
    columns = [
        {"name": "a", "type": "text"}, {"name": "n", "type": "integer"},
        {"name": "x", "type": "number"}, {"name": "j", "type": "json"},
    ]  # fmt: skip
    before = [
        {"row_id": "r0", "row_index": 0, "a": "one", "n": 1, "x": 2.0, "j": '["t"]'},
        {"row_id": "r1", "row_index": 1, "a": None, "n": None, "x": None, "j": None},
    ]
    assert edits(before, [dict(row) for row in before], columns) == []
    after = [
        {**before[0], "a": "uno", "x": 2, "j": '["t", "u"]'},
        {**before[1], "n": 5, "a": ""},
    ]
    assert edits(before, after, columns) == [
        {"row_id": "r0", "column": "a", "value": "uno", "before": "one"},
        {"row_id": "r0", "column": "j", "value": ["t", "u"], "before": ["t"]},
        {"row_id": "r1", "column": "a", "value": "", "before": None},
        {"row_id": "r1", "column": "n", "value": 5, "before": None},
    ]
    with pytest.raises(Invalid, match="is not JSON") as caught:
        edits(before, [{**before[0], "j": "["}, before[1]], columns)
    assert (caught.value.row, caught.value.field) == (0, "j")


def test_pending_edits_stand_in_their_cells(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    row = workbench.datasets.page(OWNER, tickets["id"], limit=1)[0]
    column = tickets["inputs"][0]
    cell = {"row_id": row["row_id"], "column": column, "value": "MINE", "before": row[column]}
    workbench.recipes.add(
        admin(workbench, pages), tickets["id"], {"step": "edit_cells", "cells": [cell]}
    )
    page = pages.open("curate", version=tickets["id"], area="Edit")
    assert not page.exception
    assert page.dataframe[0].value[column].iloc[0] == "MINE"


def test_saving_runs_the_job_and_opens_the_new_version(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    actor = admin(workbench, pages)
    workbench.recipes.add(actor, tickets["id"], {"step": "sample", "rows": 20, "seed": 3})
    page = pages.open("curate", version=tickets["id"], area="Edit")
    page.text_input(key="recipe-message").input("twenty")
    page.button(key="recipe-start").click().run()
    assert not page.exception
    job = workbench.recipes.running(actor, tickets["id"])
    assert job is not None
    assert ended(workbench, job["id"]) == "succeeded"
    page.run()
    page.run()
    assert not page.exception
    made = workbench.datasets.versions(OWNER, tickets["dataset_id"])[0]
    assert (made["number"], made["row_count"], made["message"]) == (2, 20, "twenty")
    assert made["created_by"] == actor.id
    assert page.query_params["version"] == made["id"]

    removed = pages.open("curate", version=made["id"], area="Edit", edit="Removed rows")
    assert not removed.exception
    assert f"{tickets['row_count'] - 20} rows of v1 left it since" in texts(removed)
    recipe = pages.open("curate", version=made["id"], area="Edit", edit="Recipe")
    assert "step: sample" in recipe.code[0].value
    recipe.text_area(key="paste").input("recipe: 1\nsteps: [{step: sort, by: [nope]}]").run()
    recipe.button(key="paste-add").click().run()
    button(recipe, "Preview").click().run()
    assert "There is no column 'nope'" in recipe.error[0].value


def test_a_lead_reads_and_changes_nothing(pages: Pages, tickets: dict[str, Any]) -> None:
    for view in ("Rows", "Transform", "Removed rows", "Recipe"):
        page = pages.open("curate", role="lead", version=tickets["id"], area="Edit", edit=view)
        assert not page.exception
        assert not page.error
        assert {b.label for b in page.button} <= {"Add condition", "Open dataset"}


def test_a_step_and_a_filter_in_words() -> None:
    assert describe({"step": "trim", "columns": ["a", "b"]}) == "columns a, b"
    assert describe({"step": "drop_rows", "row_ids": ["r"] * 9, "reason": ""}) == "9 rows"
    split = {"fractions": {"train": 0.8, "test": 0.2}, "together": ["exact", "near"], "keep": True}
    assert describe({"step": "split", **split}) == (
        "train 80 %, test 20 % · keep together exact, near · keep what is split already"
    )
    found = {"step": "drop_where", "where": [{"column": "a", "op": "empty"}], "match": "all"}
    assert describe(found) == "1 condition"
    assert describe({"step": "redact", "only": [{}, {}], "types": []}) == "only 2 hits"
    said = curate_filter.said([{"column": "a", "op": "contains", "value": "x*y"}])
    assert said == r"`a` contains **x\*y**"


def test_a_page_of_rows_that_is_not_there_is_the_first(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    for asked in ("99", "many", "-1"):
        page = pages.open("curate", version=tickets["id"], area="Edit", **{"rows-page": asked})
        assert not page.exception, asked
        assert "**1 to 50** of" in texts(page), asked
