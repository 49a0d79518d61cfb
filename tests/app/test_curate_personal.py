"""The Personal data area: the queue, its decisions, the step it puts on the recipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from core.curation.pseudonyms import writing
from core.workbench import OWNER, Workbench
from tests.curation.versions import analysed
from tests.pages_runner import Pages

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

ROWS = [
    {"text": "Nothing in here."},
    {"text": "Write to jane@example.com"},
    {"text": "Ring +44 20 7946 0958 or mail bo@example.com <b>"},
    {"text": "password: hunter2"},
]


@pytest.fixture
def version(workbench: Workbench) -> Any:
    return analysed(workbench, OWNER, ROWS)


def opened(pages: Pages, version: Any, **how: Any) -> AppTest:
    page = pages.open("curate", version=version["id"], area="Personal data", **how)
    assert not page.exception
    return page


def shown(page: AppTest) -> str:
    """The text of the hit that is up."""
    return str(page.get("html")[-1].proto.body)


def field(page: AppTest, label: str) -> Any:
    """The text field of that label."""
    return next(field for field in page.text_input if field.label == label)


def state(workbench: Workbench, version: Any) -> dict[str, Any]:
    return workbench.reviews.state(OWNER, version["id"])


def test_before_anybody_looked_it_offers_to_look(pages: Pages, workbench: Workbench) -> None:
    made = workbench.datasets.import_rows(
        OWNER, name="Raw", filename="raw.csv", data=b"text\nhello\n",
        mapping={"text": {"role": "input", "name": "text", "optional": False}},
    )  # fmt: skip
    page = opened(pages, made)
    assert page.button(key="personal-look").label == "Look through 1 row"
    assert not opened(pages, made, role="lead").get("button_group")


def test_hits_come_one_by_one_marked_in_their_text(pages: Pages, version: Any) -> None:
    page = opened(pages, version)
    assert "<mark" in shown(page)
    assert ">jane@example.com</mark>" in shown(page)
    page.button(key="personal-next").click().run()
    assert ">+44 20 7946 0958</mark>" in shown(page)
    assert "&lt;b&gt;" in shown(page)
    page.button(key="personal-previous").click().run()
    assert ">jane@example.com</mark>" in shown(page)


def test_accept_reject_edit_and_undo(pages: Pages, workbench: Workbench, version: Any) -> None:
    page = opened(pages, version)
    page.button(key="personal-accept").click().run()
    assert ">+44 20 7946 0958</mark>" in shown(page)
    page.button(key="personal-edit").click().run()
    field(page, "In its place").set_value("a number")
    next(b for b in page.button if b.label == "Save edit").click().run()
    page.button(key="personal-reject").click().run()
    assert {k: state(workbench, version)[k] for k in ("open", "accept", "edit", "reject")} == {
        "open": 1, "accept": 1, "edit": 1, "reject": 1,
    }  # fmt: skip
    page.button(key="personal-undo").click().run()
    assert not page.exception
    assert state(workbench, version)["reject"] == 0
    [edited] = workbench.reviews.queue(OWNER, version["id"], decision="edit")
    assert edited["replacement"] == "a number"


def test_a_type_at_once_then_the_step_on_the_recipe(
    pages: Pages, workbench: Workbench, version: Any
) -> None:
    page = opened(pages, version)
    assert page.button(key="personal-take-out").disabled
    page.button(key="personal-all-accept-email").click().run()
    assert state(workbench, version)["accept"] == 2
    page.button(key="personal-take-out").click().run()
    assert not page.exception
    admin = next(u for u in workbench.users.list(OWNER) if u["name"] == "test-admin")
    pending = workbench.store.rows("SELECT steps FROM pending_recipes WHERE user_id = $id",
                                   {"id": admin["id"]})  # fmt: skip
    assert json.loads(pending[-1]["steps"])[-1] == {"step": "redact", "types": ["email"]}


def test_when_all_is_decided_it_says_so(pages: Pages, workbench: Workbench, version: Any) -> None:
    for type_ in ("email", "phone", "password"):
        workbench.reviews.decide_type(OWNER, version["id"], type_, "reject")
    page = opened(pages, version)
    assert "Every hit is decided." in [box.value for box in page.success]
    assert any("Reviewed" in mark.value for mark in page.markdown)
    page.selectbox(key="personal-show").set_value("reject").run()
    assert ">jane@example.com</mark>" in shown(page)


def test_the_switch_requires_a_review(pages: Pages, workbench: Workbench, version: Any) -> None:
    page = opened(pages, version)
    page.toggle[0].set_value(True).run()
    assert not page.exception
    assert state(workbench, version)["required"] is True


def test_a_lead_reads_and_decides_nothing(pages: Pages, version: Any) -> None:
    page = opened(pages, version, role="lead")
    assert ">jane@example.com</mark>" in shown(page)
    keys = {button.key for button in page.button}
    assert not keys & {"personal-accept", "personal-take-out", "personal-undo"}
    assert page.toggle[0].disabled


def test_only_an_admin_can_go_back_from_a_pseudonym(
    pages: Pages, workbench: Workbench, version: Any
) -> None:
    with writing(workbench.settings.home) as book:
        book.name("person", "Anna Kowalska")
    page = opened(pages, version)
    field(page, "Who is behind a pseudonym").set_value("person_0001")
    next(b for b in page.button if b.label == "Reveal").click().run()
    assert "Anna Kowalska" in [block.value for block in page.code]
    engineer = opened(pages, version, role="engineer")
    assert "Reveal" not in [button.label for button in engineer.button]


def test_a_version_without_hits_says_so(pages: Pages, workbench: Workbench) -> None:
    clean = analysed(workbench, OWNER, [{"text": "Nothing in here."}], name="Clean")
    page = opened(pages, clean)
    assert any("No personal data" in box.value for box in page.success)
