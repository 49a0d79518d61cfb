"""The Models page: the list, the drawer of one model, the form that adds one; by roles."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.governance.permissions import OWNER
from core.workbench import Workbench
from tests.jobs.test_jobs import wait_for
from tests.models.making import folder_of
from tests.pages_runner import Pages


@pytest.fixture
def parrot(workbench: Workbench) -> Iterator[str]:
    """A model whose worker is real and whose answers are written."""
    yield workbench.models.add(OWNER, "Parrot", "scripted", json.dumps({"default": "a b c"}))
    for state in workbench.models.states(OWNER):
        if state["key"]:
            workbench.models.unload(OWNER, state["key"])


def words(page: object) -> str:
    elements = [*page.markdown, *page.caption, *page.info, *page.error, *page.success]  # type: ignore[attr-defined]
    return "\n".join(str(element.value) for element in elements)


def test_an_empty_workspace_offers_the_starter_and_says_when_it_is_not_there(pages: Pages) -> None:
    page = pages.open("models")
    assert not page.exception
    assert "No models yet" in words(page)
    page.button(key="empty-No models yet").click().run()
    assert "lathe models fetch" in page.error[0].value


@pytest.mark.parametrize("role", ["admin", "engineer", "lead", "reviewer"])
def test_who_may_read_and_who_may_change(pages: Pages, parrot: str, role: str) -> None:
    page = pages.open("models", role=role, model=parrot)
    assert not page.exception
    labels = {button.label for button in page.button}
    if role == "reviewer":
        assert "does not permit" in page.error[0].value
        assert labels == set()
    elif role == "lead":
        assert "Ways to load it" in words(page)
        assert labels & {"Load", "Add model", "Measure speed", "Archive model"} == set()
    else:
        assert {"Load", "Add model", "Measure speed", "Archive model"} <= labels


def test_the_list_shows_what_each_model_is(pages: Pages, parrot: str, tmp_path: Path) -> None:
    pages.workbench.models.add(OWNER, "Mine", "directory", str(folder_of(tmp_path / "model")))
    rows = pages.open("models").dataframe[0].value
    assert rows["name"].tolist() == ["Mine", "Parrot"]
    assert rows["from"].tolist() == ["directory, chat", "scripted, chat"]
    assert rows["license"].tolist() == ["mit", "CC0-1.0"]
    searched = pages.open("models", q="par").dataframe[0].value
    assert searched["name"].tolist() == ["Parrot"]


def test_a_model_is_loaded_and_unloaded_in_the_drawer(
    pages: Pages, workbench: Workbench, parrot: str
) -> None:
    page = pages.open("models", model=parrot)
    page.button(key="load-scripted-fp32").click().run()
    assert not page.exception
    wait_for(lambda: workbench.models.states(OWNER)[0]["state"] == "ready")
    page.run()
    assert "ready" in words(page)
    assert "in memory, loaded in" in words(page)
    assert page.dataframe[0].value["state"].tolist() == [["ready"]]
    page.button(key="unload-scripted-fp32").click().run()
    assert workbench.models.states(OWNER)[0]["state"] == "unloaded"


def test_a_killed_worker_shows_why_and_can_be_loaded_again(
    pages: Pages, workbench: Workbench, parrot: str
) -> None:
    workbench.models.load(OWNER, workbench.models.resolve(OWNER, parrot))
    os.kill(workbench.models.states(OWNER)[0]["pid"], signal.SIGKILL)
    wait_for(lambda: workbench.models.states(OWNER)[0]["state"] == "crashed")
    page = pages.open("models", model=parrot)
    assert "The worker died" in page.error[0].value
    page.button(key="load-scripted-fp32").click().run()
    wait_for(lambda: workbench.models.states(OWNER)[0]["state"] == "ready")


def test_every_way_has_its_forecast_and_auto_its_reason(pages: Pages, tmp_path: Path) -> None:
    model_id = pages.workbench.models.add(
        OWNER, "Mine", "directory", str(folder_of(tmp_path / "model"))
    )
    page = pages.open("models", model=model_id)
    assert not page.exception
    assert "**Auto**" in page.info[0].value
    text = words(page)
    for label in ("fp32", "bf16", "int8", "NF4", "double quantization"):
        assert f"transformers {label}" in text or label in text
    assert text.count("free") >= 5
    assert len([button for button in page.button if button.label == "Load"]) == 5


def test_an_endpoint_s_key_is_written_and_never_shown(pages: Pages, workbench: Workbench) -> None:
    model_id = workbench.models.add(
        OWNER, "Far", "endpoint", "http://127.0.0.1:9/v1", revision="m", key="sk-secret"
    )
    page = pages.open("models", model=model_id)
    assert page.text_input(key="address-key").value == ""
    assert "A key is kept" in page.text_input(key="address-key").placeholder
    page.text_input(key="address-location").input("http://127.0.0.1:10/v1")
    next(b for b in page.button if b.label == "Save").click().run()
    assert "is gone" in page.success[0].value
    assert not workbench.models.get(OWNER, model_id)["has_key"]
    next(b for b in page.button if b.label == "Check the endpoint").click().run()
    assert "could not be reached" in page.error[0].value
    assert "sk-secret" not in words(page)


def test_the_form_says_what_is_wrong_and_adds_what_is_right(
    pages: Pages, workbench: Workbench, tmp_path: Path
) -> None:
    page = pages.open("models", add="yes")
    page.text_input(key="add-name").input("Mine")
    page.text_input(key="add-location-directory").input(str(tmp_path / "nowhere"))
    next(b for b in page.button if b.label == "Inspect and add").click().run()
    assert "is not a folder" in page.error[0].value.replace("\\", "")
    page.text_input(key="add-location-directory").input(str(folder_of(tmp_path / "model")))
    next(b for b in page.button if b.label == "Inspect and add").click().run()
    assert [m["name"] for m in workbench.models.list(OWNER)] == ["Mine"]
