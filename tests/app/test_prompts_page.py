"""The Prompts page as people use it: samples, drafts, versions, tags, differences."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.errors import NotFound
from core.workbench import OWNER, Workbench
from tests.pages_runner import Pages


@pytest.fixture
def triage(workbench: Workbench) -> dict[str, Any]:
    """The sample prompt with two versions."""
    made = workbench.prompts.create_samples(OWNER)
    return next(row for row in made if row["prompt_name"] == "Triage a ticket")


def button(page: AppTest, label: str) -> Any:
    return next(found for found in page.button if found.label == label)


def texts(page: AppTest) -> str:
    return "\n".join(m.value for m in [*page.markdown, *page.caption])


def test_the_samples_are_one_click_away(pages: Pages, workbench: Workbench) -> None:
    page = pages.open("prompts")
    assert not page.exception
    button(page, "Add the sample prompts").click().run()
    assert not page.exception
    shown = page.dataframe[0].value
    assert set(shown["name"]) == {"Triage a ticket", "Answer from context"}
    assert set(shown["newest"]) == {"v2"}
    assert len(workbench.prompts.list(OWNER)) == 2


def test_search_and_tag_are_filters_in_the_url(
    pages: Pages, workbench: Workbench, triage: dict[str, Any]
) -> None:
    workbench.prompts.tag(OWNER, triage["prompt_id"], "production", triage["id"])
    assert list(pages.open("prompts", q="passage").dataframe[0].value["name"]) == [
        "Answer from context"
    ]
    tagged = pages.open("prompts", tag="production").dataframe[0].value
    assert list(tagged["name"]) == ["Triage a ticket"]
    assert list(tagged["tagged"][0]) == [f"production v{triage['number']}"]
    assert "No prompt matches" in pages.open("prompts", q="zebra").info[0].value


def test_a_link_opens_a_prompt_and_a_wrong_one_says_so(
    pages: Pages, triage: dict[str, Any]
) -> None:
    page = pages.open("prompts", prompt=triage["prompt_id"])
    assert not page.exception
    assert page.title[0].value == "Triage a ticket"
    assert "{{subject}}" in page.text_area[1].value
    lost = pages.open("prompts", prompt="prompt_gone")
    assert "no prompt" in lost.error[0].value.lower()
    assert lost.dataframe


def test_a_draft_outlives_the_page_and_becomes_a_version(
    pages: Pages, workbench: Workbench, triage: dict[str, Any]
) -> None:
    page = pages.open("prompts", prompt=triage["prompt_id"])
    assert button(page, "Save as v3").disabled
    page.text_area[1].input("{{subject}} and {{tone}}").run()
    assert "Draft" in texts(page)

    again = pages.open("prompts", prompt=triage["prompt_id"])  # a reload: another session
    assert again.text_area[1].value == "{{subject}} and {{tone}}"
    again.text_input[0].input("Asks for a tone").run()
    button(again, "Save as v3").click().run()
    assert not again.exception
    saved = workbench.prompts.versions(OWNER, triage["prompt_id"])[0]
    assert (saved["number"], saved["message"]) == (3, "Asks for a tone")
    assert saved["variables"] == ["subject", "tone"]
    assert workbench.prompts.version(OWNER, saved["id"])["created_by"] != OWNER.id
    assert "v3, the newest version" in texts(again)
    assert button(again, "Save as v4").disabled


def test_discarding_a_draft_brings_the_newest_version_back(
    pages: Pages, triage: dict[str, Any]
) -> None:
    page = pages.open("prompts", prompt=triage["prompt_id"])
    before = page.text_area[1].value
    page.text_area[1].input("something else").run()
    button(page, "Discard draft").click().run()
    assert page.text_area[1].value == before
    assert pages.open("prompts", prompt=triage["prompt_id"]).text_area[1].value == before


def test_drafts_are_each_persons_own(pages: Pages, triage: dict[str, Any]) -> None:
    pages.open("prompts", prompt=triage["prompt_id"]).text_area[1].input("mine").run()
    other = pages.open("prompts", role="engineer", prompt=triage["prompt_id"])
    assert other.text_area[1].value != "mine"


def test_a_mistake_is_named_and_stops_the_save(pages: Pages, triage: dict[str, Any]) -> None:
    page = pages.open("prompts", prompt=triage["prompt_id"])
    page.text_area[1].input("{{subject}}\n{{#open}}").run()
    assert "user template: Line 2" in page.warning[0].value.replace("\\", "")
    assert button(page, "Save as v3").disabled


def test_the_preview_shows_a_row_and_names_what_it_lacks(
    pages: Pages, workbench: Workbench, triage: dict[str, Any]
) -> None:
    version = workbench.datasets.import_sample(OWNER, "support-tickets")
    workbench.datasets.import_sample(OWNER, "short-answers")
    second = workbench.datasets.examples(OWNER, version["id"], limit=2)[1]
    page = pages.open("prompts", prompt=triage["prompt_id"])
    row = next(found for found in page.number_input if found.label.startswith("Row of"))
    row.set_value(2).run()
    codes = [code.value for code in page.code]
    assert any(
        second.inputs["subject"] in code for code in codes
    )  # the fitting dataset comes first
    assert codes[-1] == second.expected
    page.text_area[1].input("{{subject}} {{tone}}").run()
    warning = page.warning[0].value.replace("\\", "")
    assert "Row 2 has no value for {{tone}}" in warning


def test_a_version_link_shows_who_saved_it_and_what_changed(
    pages: Pages, workbench: Workbench, triage: dict[str, Any]
) -> None:
    newest = workbench.prompts.versions(OWNER, triage["prompt_id"])[0]
    page = pages.open("prompts", version=newest["id"])
    assert not page.exception
    assert list(page.dataframe[0].value["author"]) == ["local owner", "local owner"]
    assert page.query_params["prompt"] == triage["prompt_id"]
    drawn = "".join(html.proto.body for html in page.get("html"))
    assert "<ins" in drawn
    assert "<del" in drawn


def test_an_older_version_goes_back_into_the_editor(
    pages: Pages, workbench: Workbench, triage: dict[str, Any]
) -> None:
    first = workbench.prompts.versions(OWNER, triage["prompt_id"])[-1]
    page = pages.open("prompts", version=first["id"])
    button(page, "Write from v1").click().run()
    assert not page.exception
    assert page.text_area[1].value == first["user_template"]
    assert not button(page, "Save as v3").disabled


def test_a_tag_is_set_moved_and_removed(
    pages: Pages, workbench: Workbench, triage: dict[str, Any]
) -> None:
    newest, first = workbench.prompts.versions(OWNER, triage["prompt_id"])
    workbench.prompts.tag(OWNER, triage["prompt_id"], "production", first["id"])
    page = pages.open("prompts", version=newest["id"])
    chosen = next(found for found in page.selectbox if found.label == "Tag")
    chosen.select("production").run()
    button(page, "Move production from v1 to v2").click().run()
    assert not page.exception
    assert workbench.prompts.version(OWNER, newest["id"])["tags"] == ["production"]
    button(page, "Remove production from v2").click().run()
    assert workbench.prompts.version(OWNER, newest["id"])["tags"] == []


def test_an_archived_prompt_is_read_only_until_it_is_restored(
    pages: Pages, workbench: Workbench, triage: dict[str, Any]
) -> None:
    page = pages.open("prompts", prompt=triage["prompt_id"])
    page.button(key="archive").click().run()
    assert not page.exception
    assert list(page.dataframe[0].value["name"]) == ["Answer from context"]
    kept = pages.open("prompts", prompt=triage["prompt_id"])
    assert kept.text_area[1].disabled
    button(kept, "Restore prompt").click().run()
    assert not kept.text_area[1].disabled


def test_a_lead_reads_and_changes_nothing(pages: Pages, triage: dict[str, Any]) -> None:
    page = pages.open("prompts", role="lead", prompt=triage["prompt_id"])
    assert not page.exception
    assert page.text_area[1].disabled
    assert {found.label for found in page.button} == {"Prompts"}
    versions = pages.open("prompts", role="lead", version=triage["id"])
    assert {found.label for found in versions.button} == {"Prompts"}


def test_a_reviewer_sees_nothing_of_it(pages: Pages, triage: dict[str, Any]) -> None:
    page = pages.open("prompts", role="reviewer", prompt=triage["prompt_id"])
    assert "does not permit" in page.error[0].value
    assert not page.text_area


def test_a_prompt_that_is_gone_is_not_found(workbench: Workbench) -> None:
    with pytest.raises(NotFound):
        workbench.prompts.get(OWNER, "prompt_gone")
