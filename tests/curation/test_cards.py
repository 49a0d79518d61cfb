"""Cards: what people wrote, what Lathe knows, and the metadata that the hub reads."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.clock import utc_now
from core.curation import profile, signals
from core.curation.findings import findings_folder
from core.curation.tools import Tools
from core.datasets.table import Table
from core.errors import Forbidden, Invalid
from core.governance.permissions import Actor
from core.store.database import Row
from core.workbench import OWNER, Workbench
from tests.curation.versions import analysed

LEAD = Actor("u", "Lea", "lead")
ROWS: list[dict[str, Any]] = [
    {
        "text": f"My bill number {at} is far too high, call me",
        "label": ("billing", "bug")[at % 3 > 0],
        "split": "train" if at else "test",
    }
    for at in range(9)
]


@pytest.fixture
def version(workbench: Workbench) -> Row:
    return workbench.datasets.import_rows(
        OWNER,
        name="Bills | odd",
        filename="rows.jsonl",
        data="\n".join(map(json.dumps, ROWS)).encode(),
        mapping={"text": "input", "label": "expected", "split": "metadata"},
        license="CC-BY-4.0",
        description="Bills that people wrote about.",
    )


def front_matter(text: str) -> dict[str, Any]:
    _, head, _ = text.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(head)
    return found


def test_a_card_begins_with_what_the_import_named(workbench: Workbench, version: Row) -> None:
    card = workbench.cards.get(LEAD, version["dataset_id"])
    assert card["sources"] == [
        {"name": "Bills | odd", "url": "", "license": "CC-BY-4.0", "note": ""}
    ]
    assert card["licenses"] == ["CC-BY-4.0"]
    assert card["retention_until"] is None
    text = workbench.cards.render(LEAD, version["id"])
    assert "Nobody has looked for faults" in text
    assert "| text | input | text |" in text
    assert "Version 1: 9 rows, 3 columns." in text
    assert "Name the sources under CC-BY-4.0." in text


def test_what_is_known_stands_below_what_was_written(workbench: Workbench, version: Row) -> None:
    folder = findings_folder(Path(version["path"]))
    tools, table = Tools(cache=workbench.settings.home / "cache"), Table.of(version)
    profile.write_profile(table, folder, tools, None)
    signals.write_signals(table, folder, tools, None)
    workbench.checks.save(OWNER, version["dataset_id"], [{"check": "not_blank", "column": "text"}])
    workbench.checks.run(OWNER, version["id"])
    workbench.versions.tag(OWNER, version["id"], "approved")
    workbench.cards.save(
        OWNER,
        version["dataset_id"],
        purpose="Sort bills",
        contact="data@example.org",
        retention_until="2031-01-31",
        sections={"limits": "Only English."},
    )
    text = workbench.cards.render(OWNER, version["id"])
    head = front_matter(text)
    assert head["license"] == "cc-by-4.0"
    assert head["language"] == ["en"]
    assert head["size_categories"] == ["n<1K"]
    assert head["tags"] == ["approved"]
    assert head["pretty_name"] == "Bills | odd"
    assert head["configs"][0]["data_files"] == [
        {"split": "train", "path": "bills-odd-v1-train.*"},
        {"split": "test", "path": "bills-odd-v1-test.*"},
    ]
    order = [text.index(part) for part in (
        "**Purpose**: Sort bills", "**Kept until**: 2031-01-31", "## Limits\n\nOnly English.",
        "## Sources", "## Rows", "| test | 1 | 11.1% |", "| bug | 6 | 66.7% |", "### Languages",
        "### Checks: passed", "text is filled in", "## Versions", "1. Import of rows.jsonl",
    )]  # fmt: skip
    assert order == sorted(order)
    assert "\n| en |" in text


def test_files_of_an_export_by_split_are_those_the_card_names(
    workbench: Workbench, version: Row
) -> None:
    from fnmatch import fnmatch

    folder = findings_folder(Path(version["path"]))
    profile.write_profile(Table.of(version), folder, Tools(cache=folder), None)
    made = workbench.exports.write(OWNER, version["id"], by_split=True)
    head = front_matter(workbench.cards.render(OWNER, version["id"]))
    for part in head["configs"][0]["data_files"]:
        (file,) = [f["name"] for f in made["files"] if fnmatch(f["name"], part["path"])]
        assert part["split"] in file
    assert made["licenses"] == ["CC-BY-4.0"]
    assert [w["severity"] for w in made["license_warnings"]] == ["duty"]


def test_findings_reviews_recipes_and_erasures_are_told(workbench: Workbench) -> None:
    found = analysed(workbench, OWNER, [{"body": "mail ann.lee@example.org"}, {"body": "two"}])
    text = workbench.cards.render(OWNER, found["id"])
    assert "| Something that names or reaches a person | 1 |" in text
    assert "| email | open |  | 1 |" in text
    workbench.erasure.erase(OWNER, "ann.lee@example.org")
    assert "- 1 row erased on" in workbench.cards.render(OWNER, found["id"])


def test_saving_changes_what_is_given_and_is_audited(workbench: Workbench, version: Row) -> None:
    dataset_id = version["dataset_id"]
    sources = [{"name": "A", "license": "ODbL", "url": "https://a.example"},
               {"name": "B", "license": "CC BY-SA"}]  # fmt: skip
    workbench.cards.save(
        OWNER, dataset_id, purpose="p", sources=sources, retention_until="2030-01-01"
    )
    workbench.cards.save(OWNER, dataset_id, contact="c")
    card = workbench.cards.get(OWNER, dataset_id)
    assert (card["purpose"], card["contact"]) == ("p", "c")
    assert card["retention_until"] == date(2030, 1, 1)
    assert card["licenses"] == ["ODbL-1.0", "CC-BY-SA-4.0"]
    text = workbench.cards.render(OWNER, version["id"])
    assert "**ODbL-1.0 and CC-BY-SA-4.0 cannot be combined and passed on.**" in text
    assert front_matter(text)["license"] == ["odbl", "cc-by-sa-4.0"]
    workbench.cards.save(OWNER, dataset_id, retention_until="")
    assert workbench.cards.get(OWNER, dataset_id)["retention_until"] is None
    assert workbench.audit.list(OWNER, action_prefix="cards.")[0]["action"] == "cards.save"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"retention_until": "tomorrow"}, "retention_until"),
        ({"sections": {"poem": "x"}}, "sections"),
        ({"sources": [{"license": "MIT"}]}, "sources"),
        ({"sources": [{"name": "a", "colour": "red"}]}, "sources"),
        ({"sources": [{"name": "a", "url": "javascript:alert(1)"}]}, "sources"),
        ({"purpose": "x" * 20_001}, "purpose"),
    ],
)
def test_what_cannot_be_is_refused(
    workbench: Workbench, version: Row, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        workbench.cards.save(OWNER, version["dataset_id"], **given)
    assert caught.value.field == field
    with pytest.raises(Forbidden):
        workbench.cards.save(LEAD, version["dataset_id"], purpose="p")


def test_overdue_datasets_are_listed_until_they_are_deleted(
    workbench: Workbench, version: Row
) -> None:
    dataset_id, today = version["dataset_id"], utc_now().date()
    workbench.cards.save(OWNER, dataset_id, retention_until=today)
    assert workbench.cards.overdue(LEAD) == []
    workbench.cards.save(OWNER, dataset_id, retention_until=today - timedelta(days=1))
    (found,) = workbench.cards.overdue(LEAD)
    assert (found["id"], found["version_count"]) == (dataset_id, 1)
    assert workbench.cards.get(LEAD, dataset_id)["is_overdue"] is True
    workbench.erasure.delete_dataset(OWNER, dataset_id, "its time is over")
    assert workbench.cards.overdue(LEAD) == []
    assert "were deleted on" in workbench.cards.render(LEAD, version["id"])
