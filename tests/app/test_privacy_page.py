"""The Privacy page: find a person, see where, erase, read the certificate."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.workbench import OWNER, Workbench
from tests.pages_runner import Pages


@pytest.fixture
def version(workbench: Workbench) -> Any:
    return workbench.datasets.import_rows(
        OWNER,
        name="Mail",
        filename="mail.csv",
        data=b"q,a\nwrite to ann.lee@example.org,1\nother,2\n",
        mapping={"q": "input", "a": "expected"},
    )


def looked(pages: Pages, identifier: str) -> AppTest:
    page = pages.open("privacy")
    assert not page.exception
    page.text_input[0].input(identifier)
    page.button[0].click().run()
    assert not page.exception
    return page


def test_only_an_admin_opens_it(pages: Pages) -> None:
    for role in ("lead", "engineer"):
        assert "does not permit" in pages.open("privacy", role=role).error[0].value
    page = pages.open("privacy")
    assert "Nobody has been erased yet" in page.caption[-1].value


def test_a_person_is_found_erased_and_certified(
    pages: Pages, workbench: Workbench, version: Any
) -> None:
    page = looked(pages, "Ann.Lee@example.org")
    shown = page.dataframe[0].value
    assert list(shown["place"]) == ["Dataset rows"]
    assert shown["examples"][0] == "Mail v1: write to a•••"
    assert "1 row" in " ".join(m.value for m in page.markdown)
    next(f for f in page.text_input if f.label == "Reason").input("a letter")
    page.button(key="erase").click().run()
    assert not page.exception
    assert workbench.datasets.version(OWNER, version["id"])["row_count"] == 1
    (made,) = workbench.erasure.certificates(OWNER)
    assert (made["reason"], made["actor"]["name"]) == ("a letter", "test-admin")
    listed = page.dataframe[0].value
    assert list(listed["state"]) == ["nothing found"]
    page.session_state["certificates"] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    page.run()
    assert not page.exception
    assert any("# Certificate of erasure" in m.value for m in page.markdown)


def test_nothing_found_and_too_short_say_so(pages: Pages, version: Any) -> None:
    assert "Nothing in this workspace" in looked(pages, "Zelda Quince").success[0].value
    assert "at least 3" in looked(pages, "al").error[0].value


def test_a_job_in_the_way_is_named(pages: Pages, workbench: Workbench, version: Any) -> None:
    workbench.supervisor.stop()
    workbench.jobs.start(OWNER, "selftest", "Holds it", {"text": "ann.lee@example.org"})
    page = looked(pages, "ann.lee@example.org")
    assert "Holds it" in page.warning[0].value
    assert "erase" not in [button.key for button in page.button]
