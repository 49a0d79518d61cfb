"""The Duplicates area over the findings of a real analysis."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from core.governance.permissions import Actor
from core.workbench import OWNER, Workbench
from tests.pages_runner import Pages

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

ROWS = [
    {"text": "Where is my order 17? It was to come on Monday.", "label": "delivery"},
    {"text": "Where is my order 17? It was to come on Sunday.", "label": "delivery"},
    {"text": "where is my order 17, it was to come on monday", "label": "complaint"},
    {"text": "Pay my bill", "label": "billing"},
    {"text": "Pay my bill", "label": "billing"},
    {"text": "Something else entirely", "label": "other"},
]


@pytest.fixture
def version(workbench: Workbench) -> dict[str, Any]:
    data = "\n".join(json.dumps(row) for row in ROWS).encode()
    mapping = {
        name: {"role": role, "name": name, "optional": False}
        for name, role in (("text", "input"), ("label", "expected"))
    }
    return dict(
        workbench.datasets.import_rows(
            OWNER, name="Doubles", filename="doubles.jsonl", data=data, mapping=mapping
        )
    )


@pytest.fixture
def analysed(workbench: Workbench, version: dict[str, Any]) -> dict[str, Any]:
    job_id = workbench.curation.analyse(OWNER, version["id"], detectors=["exact", "near"])
    deadline = time.monotonic() + 60
    while workbench.jobs.get(OWNER, job_id)["state"] not in ("succeeded", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert workbench.jobs.get(OWNER, job_id)["state"] == "succeeded"
    return version


def opened(pages: Pages, version: dict[str, Any], **how: Any) -> AppTest:
    page = pages.open("curate", version=version["id"], area="Duplicates", **how)
    assert not page.exception
    return page


def choose_near(page: AppTest) -> AppTest:
    page.segmented_control(key="dup-kind").set_value("near").run()
    assert not page.exception
    return page


def steps(workbench: Workbench, version: dict[str, Any]) -> list[dict[str, Any]]:
    """What stands on the recipe of whoever has put something there."""
    found = workbench.store.rows("SELECT id, name, role FROM users")
    users = [Actor(row["id"], row["name"], row["role"]) for row in found]
    pending = [workbench.recipes.pending(user, version["id"]) for user in users]
    return [row["step"] for rows in pending for row in rows]


def test_before_an_analysis_it_offers_one(pages: Pages, version: dict[str, Any]) -> None:
    page = opened(pages, version)
    assert any("No duplicates looked for yet" in block.value for block in page.markdown)
    assert page.button(key="dup-look")


def test_groups_are_shown_with_what_holds_them_together(
    pages: Pages, analysed: dict[str, Any]
) -> None:
    page = choose_near(opened(pages, analysed))
    said = " ".join(block.value for block in page.markdown)
    assert "**3 rows**" in said
    assert "weakest link" in said
    assert "labels disagree: delivery (2), complaint (1)" in said
    captions = " ".join(block.value for block in page.caption)
    assert "**Row 1** stays · delivery" in captions
    assert "Row 3 · the same words · complaint" in captions
    assert len(page.main) < 200


def test_a_decision_goes_on_the_recipe_with_its_reason(
    pages: Pages, workbench: Workbench, analysed: dict[str, Any]
) -> None:
    page = opened(pages, analysed)
    (drop,) = [button for button in page.button if button.label.startswith("Drop 1 row of")]
    finding = drop.key.removeprefix("dup-drop-")
    page.text_input(key=f"dup-why-{finding}").set_value("asked twice").run()
    page.button(key=drop.key).click().run()
    assert not page.exception
    page = choose_near(page)
    (keep,) = [c for c in page.segmented_control if c.label == "What stays"]
    keep.set_value(2).run()
    (drop,) = [button for button in page.button if button.label.startswith("Drop 2 rows of")]
    drop.click().run()
    assert not page.exception
    ids = [row["row_id"] for row in workbench.datasets.page(OWNER, analysed["id"])]
    exact, near = steps(workbench, analysed)
    assert exact == {
        "step": "deduplicate",
        "kind": "exact",
        "groups": [{"keep": ids[3], "drop": [ids[4]], "reason": "asked twice"}],
    }
    assert near["groups"] == [{"keep": ids[2], "drop": [ids[0], ids[1]], "reason": ""}]
    assert any("On the recipe: 2 rows go" in block.value for block in page.markdown)
    assert page.button(key=drop.key).disabled


def test_the_rule_for_all_groups_is_one_step(
    pages: Pages, workbench: Workbench, analysed: dict[str, Any]
) -> None:
    page = choose_near(opened(pages, analysed))
    page.selectbox(key="dup-rule").set_value("longest").run()
    page.text_input(key="dup-reason-all-near").set_value("double imports").run()
    page.button(key="dup-all-near").click().run()
    assert not page.exception
    assert steps(workbench, analysed) == [
        {
            "step": "deduplicate",
            "kind": "near",
            "keep": "longest",
            "threshold": 0.8,
            "reason": "double imports",
        }
    ]


def test_who_may_only_read_sees_groups_and_no_buttons(
    pages: Pages, analysed: dict[str, Any]
) -> None:
    page = opened(pages, analysed, role="lead")
    assert any("**2 rows**" in block.value for block in page.markdown)
    assert not [button for button in page.button if button.label.startswith("Drop")]
