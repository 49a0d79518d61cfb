"""The playground page: from nothing to two answers side by side, and what a reload keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from core.models.pool import WorkerPool
from core.models.spec import WorkerSpec
from core.workbench import OWNER, Workbench
from tests.jobs.test_jobs import wait_for
from tests.pages_runner import Pages

BEGIN = "Begin with the sample prompts and questions"


@pytest.fixture
def model_id(workbench: Workbench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An OpenAI-compatible endpoint: a scripted worker of another home."""
    pool = WorkerPool(tmp_path_factory.mktemp("elsewhere"))
    script = json.dumps({"replies": {"Passage:": "billing, surely"}, "default": "billing"})
    there = pool.ensure(WorkerSpec("m", "tester", "scripted", "fp32", script=script))
    yield workbench.models.add(
        OWNER, "far", "endpoint", there.base_url, revision="tester", key=there.api_key
    )
    pool.stop_all()


def sample(workbench: Workbench) -> list[dict[str, Any]]:
    """The versions of the first sample prompt, newest first."""
    (prompt,) = workbench.prompts.list(OWNER, search="Answer from")
    return workbench.prompts.versions(OWNER, prompt["id"])


def press(page: Any, label: str) -> Any:
    return next(b for b in page.button if b.label == label).click().run()


def run(page: Any, workbench: Workbench) -> Any:
    press(page, "Run 2 columns")
    (actor_id,) = workbench.playground._live
    wait_for(lambda: all(one.state == "done" for one in workbench.playground._live[actor_id]))
    return page.run()


def test_two_answers_side_by_side_with_their_figures_and_difference(
    pages: Pages, workbench: Workbench, model_id: str
) -> None:
    page = press(pages.open("playground"), BEGIN)
    assert not page.exception
    assert [box.value for box in page.selectbox if "Prompt" in box.label] == [
        version["id"] for version in reversed(sample(workbench))
    ]
    page = run(page, workbench)
    assert not page.exception
    assert [code.value for code in page.code][:2] == ["billing", "billing, surely"]
    assert any("first token" in caption.value for caption in page.caption)
    assert page.subheader[0].value == "Word by word"


def test_a_reload_finds_the_drafts_and_the_answers(
    pages: Pages, workbench: Workbench, model_id: str
) -> None:
    page = press(pages.open("playground"), BEGIN)
    box = next(area for area in page.text_area if area.label == "User template")
    box.set_value("{{question}}: which label?").run()
    run(page, workbench)
    again = pages.open("playground")
    texts = [area.value for area in again.text_area if area.label == "User template"]
    assert texts[0] == "{{question}}: which label?"
    assert [code.value for code in again.code][:2] == ["billing", "billing, surely"]
    live = next(iter(workbench.playground._live.values()))
    assert live[0].column.prompt_version_id is None, "an edited version is a draft"
    assert live[0].column.prompt_label.startswith("draft of ")
    assert live[1].column.prompt_version_id is not None


def test_a_variable_that_nobody_gave_is_named(
    pages: Pages, workbench: Workbench, model_id: str
) -> None:
    page = press(pages.open("playground"), BEGIN)
    box = next(area for area in page.text_area if area.label == "User template")
    box.set_value("{{nonsense}}").run()
    page = press(page, "Run 2 columns")
    assert "nonsense" in page.error[0].value
    assert not workbench.playground._live


def test_columns_come_and_go(pages: Pages, model_id: str) -> None:
    page = press(pages.open("playground"), BEGIN)
    page = press(page, "Add column")
    assert any(b.label == "Run 3 columns" for b in page.button)
    page = press(page, "Remove this column")
    assert any(b.label == "Run 2 columns" for b in page.button)
    assert not page.exception


def test_an_answer_is_saved_as_a_new_version(
    pages: Pages, workbench: Workbench, model_id: str
) -> None:
    page = press(pages.open("playground"), BEGIN)
    box = next(area for area in page.text_area if area.label == "User template")
    box.set_value("{{question}}?").run()
    page = run(page, workbench)
    page = press(page, "Save as new version")
    assert not page.exception
    newest = sample(workbench)[0]
    assert (newest["number"], newest["user_template"]) == (3, "{{question}}?")


def test_a_lead_may_not_use_models(pages: Pages) -> None:
    page = pages.open("playground", role="lead")
    assert "does not permit" in page.error[0].value
