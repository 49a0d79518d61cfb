"""The Card tab: what it shows, editing, licences for a use, and a date that has passed."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.cli import main
from core.workbench import OWNER, Workbench
from tests.pages_runner import Pages


@pytest.fixture
def version(workbench: Workbench) -> Any:
    return workbench.datasets.import_sample(OWNER, "support-tickets")


def opened(pages: Pages, version: Any, **how: Any) -> AppTest:
    page = pages.open("datasets", dataset=version["dataset_id"], view="Card", **how)
    assert not page.exception
    return page


def words(page: AppTest) -> str:
    return "\n".join(str(found.value) for found in [*page.markdown, *page.caption, *page.warning])


def test_the_card_is_read_without_its_front_matter(pages: Pages, version: Any) -> None:
    shown = words(opened(pages, version, role="lead"))
    assert "Public domain" in shown
    assert "#### Sources and licences" in shown
    assert "size_categories" not in shown
    assert "Nothing stands in the way" in shown


def test_a_lead_reads_and_an_engineer_edits(
    pages: Pages, workbench: Workbench, version: Any
) -> None:
    assert "edit-card" not in [b.key for b in opened(pages, version, role="lead").button]
    page = opened(pages, version, role="engineer")
    page.button(key="edit-card").click().run()
    assert not page.exception
    next(f for f in page.text_area if f.label == "Purpose").input("Route tickets")
    next(f for f in page.text_area if f.label == "Limits").input("English $only$")
    next(f for f in page.text_input if f.label == "Contact").input("data@example.org")
    page.date_input[0].set_value(date(2031, 5, 1))
    next(b for b in page.button if b.label == "Save card").click().run()
    assert not page.exception
    card = workbench.cards.get(OWNER, version["dataset_id"])
    assert (card["purpose"], card["contact"]) == ("Route tickets", "data@example.org")
    assert card["retention_until"] == date(2031, 5, 1)
    assert card["licenses"] == ["CC0-1.0"]
    shown = words(page)
    assert "**Purpose**: Route tickets" in shown
    assert "English \\$only\\$" in shown
    assert "May be kept until 2031-05-01" in shown


def test_what_licences_ask_depends_on_the_use(
    pages: Pages, workbench: Workbench, version: Any
) -> None:
    sources = [{"name": "A", "license": "ODbL-1.0"}, {"name": "B", "license": "CC-BY-NC-4.0"}]
    workbench.cards.save(OWNER, version["dataset_id"], sources=sources)
    page = opened(pages, version)
    assert "cannot be combined and passed on" in words(page).split("Meant for")[0]
    page.selectbox(key="use").set_value("internal").run()
    assert "Does not go together" not in words(page)
    assert "permits no commercial use" in words(page)


def test_a_date_that_has_passed_is_told_and_an_admin_deletes(
    pages: Pages, workbench: Workbench, version: Any
) -> None:
    workbench.cards.save(OWNER, version["dataset_id"], retention_until="2020-01-01")
    listed = pages.open("datasets", role="lead")
    assert "1 dataset is kept longer than its date permits" in listed.warning[0].value
    engineer = opened(pages, version, role="engineer")
    assert "Its time is over" in words(engineer)
    assert "delete-rows" not in [button.key for button in engineer.button]
    page = opened(pages, version)
    page.button(key="delete-rows").click().run()
    assert not page.exception
    (made,) = workbench.erasure.certificates(OWNER)
    assert made["dataset_id"] == version["dataset_id"]
    assert not pages.open("datasets", role="lead").warning


def test_the_card_and_an_erasure_from_the_shell(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from click.testing import CliRunner

    monkeypatch.setenv("LATHE_HOME", str(settings.home))
    with Workbench.open(settings) as workbench:
        workbench.datasets.import_rows(
            OWNER, name="qa", filename="qa.csv", data=b"q,a\nask Ann Lee,1\nother,2\n",
            mapping={"q": "input", "a": "expected"}, license="MIT",
        )  # fmt: skip

    def lathe(*arguments: str, **more: Any) -> Any:
        return CliRunner().invoke(main, ["datasets", *arguments], **more)

    assert "license: mit" in lathe("card", "qa@1").stdout
    assert json.loads(lathe("card", "qa", "--json").stdout)["licenses"] == ["MIT"]
    found = json.loads(lathe("erase", "ann lee", "--json").stdout)
    assert found["places"][0] == {
        "place": "Dataset rows", "count": 1, "examples": ["qa v1: ask A•••"],
    }  # fmt: skip
    refused = lathe("erase", "ann lee", input="n\n")
    assert refused.exit_code == 1
    assert "Dataset rows" in refused.stdout
    done = lathe("erase", "ann lee", "--yes", "--reason", "letter", "--json")
    assert json.loads(done.stdout)["found"] == {"Dataset rows": 1}
    assert "Nothing in this workspace has it" in lathe("erase", "ann lee", "--yes").stdout
    assert "at least 3 letters" in lathe("erase", "al").stderr
