"""Who meets what in Data: a lead reads every page and area and changes nothing, a reviewer none."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app.curate_versions import AREAS
from core.curation.findings import Finding, write_findings
from core.errors import Forbidden
from core.governance.permissions import ACTIONS, JOB_KINDS, PERMISSIONS, Actor, permits
from core.workbench import OWNER, Workbench
from tests.curation.test_analysis import ROWS, ended, folder, imported
from tests.pages_runner import Pages

NOUNS = (
    "datasets", "versions", "recipes", "curation", "explore", "exports", "checks", "reviews",
    "cards", "pseudonyms", "erasure",
)  # fmt: skip
WRITES = ("datasets.write", "data.erase", "pseudonyms.reveal")
READING = {"Datasets", "Open dataset", "Search", "Add condition"}
"""Buttons that a lead may see: they go somewhere or look something up."""


@pytest.fixture
def version(workbench: Workbench) -> dict[str, Any]:
    """Two versions, the older one looked at, with something found by every family of areas."""
    found = imported(workbench, ROWS)
    names = ["exact", "near", "profile", "signals"]
    options = {"signals": {"language": False}}
    ended(workbench, workbench.curation.analyse(OWNER, found["id"], detectors=names,
                                                options=options))  # fmt: skip
    detail = {"type": "EMAIL", "start": 0, "end": 5, "text": "Where", "score": 1.0}
    personal = Finding("personal_data", "high", "An address.", (1,), "question", detail)
    write_findings(folder(found) / "personal.parquet", [personal])
    imported(workbench, ROWS[:-1])
    return found


def seen(page: AppTest) -> set[str]:
    return {found.label for found in page.button if not found.disabled}


def test_a_lead_opens_every_area_and_changes_nothing(
    pages: Pages, workbench: Workbench, version: dict[str, Any]
) -> None:
    pages.session("lead")
    before = workbench.store.rows("SELECT count(*) AS n FROM audit_log")
    for area in (area.title for area in AREAS):
        page = pages.open("curate", role="lead", version=version["id"], area=area)
        assert not page.exception, area
        assert not page.error, area
        assert page.title[0].value == "Curate"
        writing = seen(page) - READING
        assert not writing, f"{area} offers a lead {writing}"
        assert not page.text_area or area == "Explore"
    assert workbench.store.rows("SELECT count(*) AS n FROM audit_log") == before


def test_a_lead_opens_every_view_of_a_dataset_and_changes_nothing(
    pages: Pages, version: dict[str, Any]
) -> None:
    views: list[dict[str, str]] = [{"view": "Rows"}, {"view": "Card"}]
    views += [{"view": "Versions", "part": part} for part in ("Changes", "Drift", "Lineage")]
    for query in views:
        page = pages.open("datasets", role="lead", dataset=version["dataset_id"], **query)
        assert not page.exception, query
        assert not page.error, query
        assert seen(page) <= READING, query
    assert "Import dataset" not in seen(pages.open("datasets", role="lead"))


def test_a_reviewer_is_told_and_sees_nothing(pages: Pages, version: dict[str, Any]) -> None:
    for name in ("datasets", "curate", "privacy"):
        opened = pages.open(name, role="reviewer", version=version["id"])
        assert not opened.exception
        assert "does not permit" in opened.error[0].value
        assert not opened.button
        assert not opened.dataframe
        assert "Faulty" not in "".join(m.value for m in [*opened.markdown, *opened.caption])
    assert not pages.open("privacy", role="lead").button


@pytest.mark.parametrize("noun", NOUNS)
def test_of_every_action_a_lead_has_those_that_read_and_a_reviewer_none(noun: str) -> None:
    own = {name: needs for name, needs in ACTIONS.items() if name.startswith(f"{noun}.")}
    assert own
    for name, needs in own.items():
        assert needs in ("workspace.read", *WRITES), name
        assert permits("lead", needs) is (needs == "workspace.read"), name
        assert not permits("reviewer", needs), name
    for needs in WRITES:
        assert not PERMISSIONS[needs] & {"lead", "reviewer"}


@pytest.mark.parametrize("role", ["lead", "reviewer"])
@pytest.mark.parametrize("kind", [kind for kind in JOB_KINDS if kind.startswith("dataset.")])
def test_neither_starts_a_job_of_datasets(workbench: Workbench, kind: str, role: str) -> None:
    with pytest.raises(Forbidden):
        workbench.jobs.start(Actor("x", "X", role), kind, "t", {})
    assert workbench.jobs.list(OWNER) == []
