"""Findings as they are read: worst first, in pages, heads of large groups, without the decided."""

from __future__ import annotations

import pytest

from core.curation.findings import Finding
from core.workbench import OWNER, Workbench
from tests.curation.test_analysis import ROWS, Version, ended, imported, planted


@pytest.fixture
def version(workbench: Workbench) -> Version:
    return imported(workbench, ROWS)


def test_findings_come_worst_first_and_in_pages(workbench: Workbench, version: Version) -> None:
    planted(
        version,
        {
            "quality": [Finding("quality", "low", "Boilerplate.", (4,), "answer")],
            "exact": [
                Finding("exact_duplicate", "medium", "Two alike.", (0, 2)),
                Finding("exact_duplicate", "medium", "Three alike.", (1, 3, 4)),
            ],
            "secrets": [Finding("secret", "high", "A key.", (3,), "question", {"spans": [[0, 4]]})],
            "personal": [Finding("personal_data", "high", "A name.", (1,), "question")],
        },
    )
    curation = workbench.curation
    found = curation.findings(OWNER, version["id"])
    assert [f["message"] for f in found] == [
        "A key.", "A name.", "Three alike.", "Two alike.", "Boilerplate."
    ]  # fmt: skip
    assert found[0]["detail"] == {"spans": [[0, 4]]}
    assert (found[0]["detector"], found[2]["row_count"]) == ("secrets", 3)
    page = curation.findings(OWNER, version["id"], offset=1, limit=2)
    assert [f["message"] for f in page] == ["A name.", "Three alike."]
    assert curation.count(OWNER, version["id"], search="ALIKE two") == 1
    assert curation.count(OWNER, version["id"], severity="high") == 2
    assert curation.count(OWNER, version["id"], detectors=["exact", "quality"]) == 3
    counts = curation.finding_counts(OWNER, version["id"])
    assert list(counts["severities"]) == ["high", "medium", "low"]
    assert counts["kinds"]["exact_duplicate"] == 2
    assert counts["total"] == 5


def test_a_list_carries_the_head_of_a_large_group_and_one_finding_all_of_it(
    workbench: Workbench, version: Version
) -> None:
    planted(version, {"exact": [Finding("exact_duplicate", "low", "Many.", tuple(range(5_000)))]})
    (listed,) = workbench.curation.findings(OWNER, version["id"])
    assert (len(listed["rows"]), listed["row_count"]) == (100, 5_000)
    assert len(workbench.curation.finding(OWNER, version["id"], listed["id"])["rows"]) == 5_000
    (whole,) = workbench.curation.findings(OWNER, version["id"], whole=True, limit=None)
    assert len(whole["rows"]) == 5_000


def test_what_somebody_decided_about_can_be_left_out(
    workbench: Workbench, version: Version
) -> None:
    text = "Write to jane.doe@example.com or to joe.roe@example.com please."
    version = imported(workbench, [{"question": text}], "Mail")
    ended(workbench, workbench.curation.analyse(OWNER, version["id"], detectors=["personal"]))
    curation = workbench.curation
    every = curation.findings(OWNER, version["id"])
    assert len(every) == 2
    workbench.reviews.decide(OWNER, version["id"], every[0]["id"], "reject")
    left = curation.findings(OWNER, version["id"], include_decided=False)
    assert [found["id"] for found in left] == [every[1]["id"]]
    assert curation.count(OWNER, version["id"], include_decided=False) == 1
    assert curation.finding_counts(OWNER, version["id"], include_decided=False)["total"] == 1
    assert len(curation.findings(OWNER, version["id"])) == 2
