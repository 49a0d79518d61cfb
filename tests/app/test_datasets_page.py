"""The Datasets page as people use it: samples, an import with its faults, rows, versions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app import paging
from app.dataset_import import as_before, mapping_of, name_for
from core.workbench import OWNER, Workbench
from tests.jobs.test_jobs import wait_for
from tests.pages_runner import Pages

CSV = b"question,answer,topic\nWhat is 1+1?,2,sums\nCapital of France?,Paris,places\n"


@pytest.fixture
def tickets(workbench: Workbench) -> dict[str, Any]:
    return workbench.datasets.import_sample(OWNER, "support-tickets")


def button(page: AppTest, label: str) -> Any:
    return next(found for found in page.button if found.label == label)


def texts(page: AppTest) -> str:
    return "\n".join(m.value for m in [*page.markdown, *page.caption])


def imports(pages: Pages, data: bytes, filename: str = "my_questions.csv") -> AppTest:
    """The dialog with a file in it."""
    page = pages.open("datasets")
    button(page, "Import dataset").click().run()
    page.get("file_uploader")[0].upload(filename, data).run()
    return page


def test_the_samples_are_one_click_away(pages: Pages, workbench: Workbench) -> None:
    page = pages.open("datasets")
    assert not page.exception
    button(page, "Import 234 sample rows").click().run()
    assert not page.exception
    shown = page.dataframe[0].value
    assert set(shown["name"]) == {"Support tickets", "Short answers"}
    assert shown["row_count"].sum() == 234


def test_search_is_a_filter_in_the_url(pages: Pages, tickets: dict[str, Any]) -> None:
    assert list(pages.open("datasets", q="help desk").dataframe[0].value["name"]) == [
        "Support tickets"
    ]
    assert "No dataset matches" in pages.open("datasets", q="zebra").info[0].value


def test_a_file_is_imported_by_the_button_that_counts_its_rows(
    pages: Pages, workbench: Workbench
) -> None:
    page = imports(pages, CSV)
    assert not page.exception
    name = next(found for found in page.text_input if found.label == "Name")
    assert name.value == "My questions"
    button(page, "Import 2 rows").click().run()
    assert not page.exception
    dataset = workbench.datasets.list(OWNER)[0]
    assert dataset["name"] == "My questions"
    assert {c["name"]: c["role"] for c in dataset["columns"]} == {
        "question": "input",
        "answer": "expected",
        "topic": "metadata",
    }
    assert page.title[0].value == "My questions"
    assert page.query_params["version"] == dataset["newest_version_id"]


def test_bad_rows_are_named_and_nothing_is_imported(pages: Pages, workbench: Workbench) -> None:
    good = b"".join(b"What is %d+1?,%d,sums\n" % (n, n + 1) for n in range(8))
    page = imports(pages, CSV + good + b",3,sums\nToo,many,cells,here\n")
    assert button(page, "Import 12 rows").disabled
    assert "2 rows cannot be imported" in page.error[0].value
    faults = next(f.value for f in page.dataframe if "hint" in f.value.columns)
    assert list(faults["row"]) == [11, 12]
    assert list(faults["line"]) == [12, 13]
    assert faults["field"][0] == "question"
    assert workbench.datasets.list(OWNER) == []


def test_a_file_that_cannot_be_read_says_why(pages: Pages) -> None:
    page = imports(pages, b"PK\x03\x04rest", "sheet.csv")
    assert not page.exception
    assert "cannot be imported" in page.error[0].value


def test_the_same_name_makes_a_new_version(pages: Pages, workbench: Workbench) -> None:
    first = workbench.datasets.import_rows(
        OWNER, name="My questions", filename="q.csv", data=CSV,
        mapping={"question": "input", "answer": "metadata", "topic": "expected"},
    )  # fmt: skip
    page = imports(pages, CSV.replace(b"Paris", b"paris"))
    assert "become its v2" in texts(page)

    page = pages.open("datasets", dataset=first["dataset_id"])
    button(page, "Import version").click().run()
    page.get("file_uploader")[0].upload("q.csv", CSV.replace(b"Paris", b"paris")).run()
    button(page, "Import 2 rows").click().run()
    assert not page.exception
    arrived(page)
    assert "A new version waits" in texts(page)
    assert "1 row changed" in texts(page)
    assert len(workbench.datasets.versions(OWNER, first["dataset_id"])) == 1
    button(page, "See what differs").click().run()
    assert not page.exception
    page.button(key="staged-accept").click().run()
    assert not page.exception
    newest = workbench.datasets.versions(OWNER, first["dataset_id"])[0]
    assert newest["number"] == 2
    assert newest["columns"] == first["columns"]  # the roles of the version before, not the guess


def arrived(page: AppTest) -> None:
    """Look at the dialog, as it does by the clock, until the job has gone on to its outcome."""
    deadline = time.monotonic() + 60
    while "import-job" in page.session_state:
        assert time.monotonic() < deadline, texts(page)
        assert not page.exception
        time.sleep(0.3)
        page.run()


def test_a_path_on_this_machine_is_imported_by_a_job_with_its_faults_or_discarded(
    pages: Pages, workbench: Workbench, tmp_path: Path
) -> None:
    path = tmp_path / "big_rows.csv"
    path.write_bytes(CSV)
    page = pages.open("datasets")
    button(page, "Import dataset").click().run()
    page.session_state["import-from"] = "Path on this machine"
    page.run()
    field = next(found for found in page.text_input if found.label == "Path")
    field.input(str(tmp_path / "none.csv")).run()
    assert "no file" in page.error[0].value
    field.input(str(path)).run()
    assert not page.exception
    button(page, "Import 2 rows").click().run()
    arrived(page)
    assert page.title[0].value == "Big rows"

    dataset_id = workbench.datasets.list(OWNER)[0]["id"]
    path.write_bytes(CSV + b"And 2+2?,4,sums\n")
    mapping = {"question": "input", "answer": "expected", "topic": "metadata"}
    job_id = workbench.datasets.start_import(OWNER, str(path), dataset=dataset_id, mapping=mapping)
    wait_for(lambda: workbench.datasets.staged(OWNER, dataset_id))
    page = pages.open("datasets", dataset=dataset_id)
    assert "1 row added" in texts(page)
    button(page, "See what differs").click().run()
    page.button(key="staged-discard").click().run()
    assert not page.exception
    assert workbench.datasets.import_outcome(OWNER, job_id) == {"staged": None, "version": None}
    reading = pages.open("datasets", role="lead", dataset=dataset_id)
    assert "waits" not in texts(reading)


def test_a_version_link_shows_its_rows_searched_and_paged(
    pages: Pages, tickets: dict[str, Any]
) -> None:
    page = pages.open("datasets", version=tickets["id"])
    assert not page.exception
    assert len(page.dataframe[0].value) == 50
    assert "**1 to 50** of 127 rows" in texts(page)
    third = pages.open("datasets", version=tickets["id"], page="3")
    assert len(third.dataframe[0].value) == 27
    assert third.dataframe[0].value["_number"].iloc[0] == 101
    found = pages.open("datasets", version=tickets["id"], find="invoice")
    assert 0 < len(found.dataframe[0].value) < 50
    assert "matching rows" in texts(found)
    none = pages.open("datasets", version=tickets["id"], find="zebra unicorn")
    assert "No row has all of these words" in none.info[0].value


def test_a_search_starts_at_the_first_page(pages: Pages, tickets: dict[str, Any]) -> None:
    page = pages.open("datasets", version=tickets["id"], page="3")
    page.text_input[0].input("e").run()
    assert not page.exception
    assert page.dataframe[0].value["_number"].iloc[0] == 1


def test_a_row_opens_in_a_drawer_and_leads_to_the_next(
    pages: Pages, workbench: Workbench, tickets: dict[str, Any]
) -> None:
    page = pages.open("datasets", version=tickets["id"])
    key = f"rows-{tickets['id']}-0-"
    page.session_state[key] = {"selection": {"rows": [4], "columns": [], "cells": []}}
    page.run()
    rows = workbench.datasets.examples(OWNER, tickets["id"], limit=6)
    assert [code.value for code in page.code][:2] == list(rows[4].inputs.values())
    assert rows[4].expected in [code.value for code in page.code]
    button(page, "Next").click().run()
    assert not page.exception
    assert [code.value for code in page.code][:2] == list(rows[5].inputs.values())


def test_versions_say_who_and_from_which_file(pages: Pages, tickets: dict[str, Any]) -> None:
    page = pages.open("datasets", dataset=tickets["dataset_id"], view="Versions")
    assert not page.exception
    shown = page.dataframe[0].value
    assert list(shown["author"]) == ["local owner"]
    assert "support-tickets.jsonl" in shown["source"][0]


def test_archive_and_restore(pages: Pages, tickets: dict[str, Any]) -> None:
    page = pages.open("datasets", dataset=tickets["dataset_id"])
    page.button(key="archive").click().run()
    assert not page.exception
    assert "No dataset matches" in page.info[0].value
    kept = pages.open("datasets", dataset=tickets["dataset_id"])
    button(kept, "Restore dataset").click().run()
    assert not kept.info


def test_a_lead_reads_and_changes_nothing(pages: Pages, tickets: dict[str, Any]) -> None:
    listed = pages.open("datasets", role="lead")
    assert not listed.button
    page = pages.open("datasets", role="lead", dataset=tickets["dataset_id"])
    assert not page.exception
    assert {found.label for found in page.button} == {"Datasets"}


def test_a_dataset_that_is_gone_says_so(pages: Pages, tickets: dict[str, Any]) -> None:
    page = pages.open("datasets", dataset="dataset_gone")
    assert "no dataset" in page.error[0].value.lower()
    assert page.dataframe


def test_only_an_input_may_be_blank_and_an_emptied_name_is_the_columns() -> None:
    rows = [
        {"column": "a", "role": "input", "name": " x ", "optional": True},
        {"column": "b", "role": "expected", "name": None, "optional": True},
    ]
    assert mapping_of(rows) == {
        "a": {"role": "input", "name": "x", "optional": True},
        "b": {"role": "expected", "name": "b", "optional": False},
    }


def test_an_earlier_versions_roles_win_over_the_guess() -> None:
    guess = {"a": {"role": "input", "name": "a"}, "b": {"role": "input", "name": "b"}}
    before = [{"name": "a", "role": "metadata", "type": "text"}]
    roles = {column: options["role"] for column, options in as_before(guess, before).items()}
    assert roles == {"a": "metadata", "b": "input"}


@given(st.text(max_size=200))
def test_any_filename_gives_a_usable_name(filename: str) -> None:
    name = name_for(filename)
    assert 1 <= len(name) <= 200
    assert "@" not in name


def test_a_filename_reads_as_a_name() -> None:
    assert name_for("data/support_tickets-2.csv") == "Support tickets 2"


def test_a_toast_shows_a_name_as_it_is(pages: Pages, workbench: Workbench) -> None:
    version = workbench.datasets.import_rows(
        OWNER,
        name="[here](x)",
        filename="a.csv",
        data=CSV,
        mapping={"question": "input", "answer": "expected", "topic": "metadata"},
    )
    page = pages.open("datasets", dataset=version["dataset_id"])
    page.button(key="archive").click().run()
    assert page.toast[0].value == r"\[here\]\(x\) is archived"


def test_an_archived_dataset_can_still_be_exported(pages: Pages, workbench: Workbench) -> None:
    version = workbench.datasets.import_rows(
        OWNER,
        name="Old",
        filename="a.csv",
        data=CSV,
        mapping={"question": "input", "answer": "expected", "topic": "metadata"},
    )
    workbench.datasets.archive(OWNER, version["dataset_id"])
    page = pages.open("datasets", dataset=version["dataset_id"])
    labels = [button.label for button in page.button]
    assert "Export rows" in labels
    assert "Import version" not in labels
    next(button for button in page.button if button.label == "Export rows").click().run()
    assert any(button.label == "Write files" for button in page.button)


def test_a_part_of_a_list_is_said_in_words() -> None:
    assert paging.said(0, 50, 152, "row") == "**1 to 50** of 152 rows"
    assert paging.said(150, 2, 152, "row") == "**151 to 152** of 152 rows"
    assert paging.said(0, 1, 1, "group") == "**1 group**"
