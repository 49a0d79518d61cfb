"""Reviews: decisions hold where the same words stand, and nothing leaves that should be decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.curation.findings import findings_folder, write_findings
from core.curation.personal import detect
from core.curation.replay import replay
from core.curation.rows import Rows
from core.curation.tools import Tools
from core.datasets.snapshots import write_snapshot
from core.datasets.table import Table, connect
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.governance.permissions import OWNER, Actor
from core.workbench import Workbench
from tests.curation.versions import analysed

ROWS = [
    {"text": "Nothing in here."},
    {"text": "Write to jane@example.com, or jane@example.com."},
    {"text": "Ring +44 20 7946 0958 or mail bo@example.com"},
    {"text": "password: hunter2 of Mr. Okafor"},
]
LEAD = Actor("lead", "lead", "lead")


@pytest.fixture
def version(workbench: Workbench) -> Any:
    return analysed(workbench, OWNER, ROWS)


def shown(entries: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(entry["row_index"], entry["type"]) for entry in entries]


def by_type(workbench: Workbench, version_id: str) -> dict[str, tuple[int, int, int]]:
    """Open, accepted and rejected of each type."""
    rows = workbench.reviews.counts(OWNER, version_id)
    return {row["type"]: (row["open"], row["accept"], row["reject"]) for row in rows}


def test_the_queue_goes_by_row_and_shows_each_hit_in_its_text(
    workbench: Workbench, version: Any
) -> None:
    queue = workbench.reviews.queue(OWNER, version["id"])
    assert shown(queue) == [
        (1, "email"), (2, "phone"), (2, "email"), (3, "password"), (3, "person"),
    ]  # fmt: skip
    first = queue[0]
    assert first["text"] == ROWS[1]["text"]
    assert [first["text"][s["start"] : s["end"]] for s in first["spans"]] == [
        "jane@example.com"
    ] * 2
    assert (first["decision"], first["column"], first["cut"]) == ("open", "text", (False, False))
    assert shown(workbench.reviews.queue(OWNER, version["id"], types=["email"])) == [
        (1, "email"), (2, "email"),
    ]  # fmt: skip
    assert shown(workbench.reviews.queue(OWNER, version["id"], offset=1, limit=1)) == [(2, "phone")]


def test_a_long_cell_is_shown_around_its_hit(workbench: Workbench) -> None:
    long = "x " * 5_000 + "jane@example.com" + " y" * 5_000
    chat = [{"role": "user", "content": long}]
    version = analysed(workbench, OWNER, [{"text": long, "chat": chat}])
    for entry in workbench.reviews.queue(OWNER, version["id"]):
        [span] = entry["spans"]
        assert entry["text"][span["start"] : span["end"]] == "jane@example.com"
        assert len(entry["text"]) < 900
        assert entry["cut"] == (True, True)
    assert [e["path"] for e in workbench.reviews.queue(OWNER, version["id"])] == [
        [0, "content"],
        [],
    ]


def test_decisions_leave_the_queue_and_undo_brings_them_back(
    workbench: Workbench, version: Any
) -> None:
    reviews, vid = workbench.reviews, version["id"]
    first, phone, *_ = reviews.queue(OWNER, vid)
    reviews.decide(OWNER, vid, first["id"], "accept", note="a customer")
    reviews.decide(OWNER, vid, phone["id"], "edit", replacement="a number")
    assert reviews.state(OWNER, vid) == {
        "looked": True, "required": False, "total": 5, "open": 3, "accept": 1, "reject": 0,
        "edit": 1,
    }  # fmt: skip
    [edited] = reviews.queue(OWNER, vid, decision="edit")
    assert (edited["replacement"], edited["type"]) == ("a number", "phone")
    reviews.decide(OWNER, vid, first["id"], "reject")
    assert reviews.state(OWNER, vid)["reject"] == 1
    assert [row["decision"] for row in reviews.undo(OWNER, vid)] == ["reject"]
    [again] = reviews.queue(OWNER, vid, decision="accept")
    assert again["note"] == "a customer"
    reviews.undo(OWNER, vid)
    reviews.undo(OWNER, vid)
    assert reviews.undo(OWNER, vid) == []
    assert reviews.state(OWNER, vid)["open"] == 5
    told = [row["action"] for row in workbench.audit.list(OWNER, action_prefix="reviews.")]
    assert told == ["reviews.undo"] * 3 + ["reviews.decide"] * 3


def test_a_type_is_decided_at_once_and_undone_at_once(workbench: Workbench, version: Any) -> None:
    reviews, vid = workbench.reviews, version["id"]
    reviews.decide(OWNER, vid, reviews.queue(OWNER, vid)[0]["id"], "reject")
    assert reviews.decide_type(OWNER, vid, "email", "accept") == 1
    assert reviews.decide_type(OWNER, vid, "email", "accept") == 0
    assert reviews.decide_type(OWNER, vid, "person", "accept", least_score=0.99) == 0
    assert by_type(workbench, vid) == {
        "email": (0, 1, 1), "phone": (1, 0, 0), "password": (1, 0, 0), "person": (1, 0, 0),
    }  # fmt: skip
    assert len(reviews.undo(OWNER, vid)) == 1
    assert reviews.state(OWNER, vid)["open"] == 4


def test_the_report_says_who_decided_what(workbench: Workbench, version: Any) -> None:
    made = workbench.users.create(OWNER, "mira", "engineer")
    mira = Actor(made["id"], "mira", "engineer")
    workbench.reviews.decide_type(mira, version["id"], "email", "accept")
    report = workbench.reviews.report(OWNER, version["id"])
    assert [(r["type"], r["decision"], r["reviewer"], r["count"]) for r in report] == [
        ("email", "accept", "mira", 2), ("person", "open", "", 1), ("phone", "open", "", 1),
        ("password", "open", "", 1),
    ]  # fmt: skip
    assert report[0]["last_at"] is not None
    assert workbench.reviews.undo(OWNER, version["id"]) == []  # another's decisions are another's


def test_what_cannot_be_decided_is_refused(workbench: Workbench, version: Any) -> None:
    reviews, vid = workbench.reviews, version["id"]
    hit = reviews.queue(OWNER, vid)[0]["id"]
    with pytest.raises(Invalid, match="cannot be 'maybe'"):
        reviews.decide(OWNER, vid, hit, "maybe")
    with pytest.raises(Invalid, match="replacement"):
        reviews.decide(OWNER, vid, hit, "edit")
    with pytest.raises(Invalid, match="replacement"):
        reviews.decide(OWNER, vid, hit, "accept", replacement="x")
    with pytest.raises(Invalid, match="one by one"):
        reviews.decide_type(OWNER, vid, "email", "edit")
    with pytest.raises(NotFound, match="no hit 'find_x'"):
        reviews.decide(OWNER, vid, "find_x", "accept")
    with pytest.raises(Forbidden):
        reviews.decide(LEAD, vid, hit, "accept")
    assert reviews.state(LEAD, vid)["open"] == 5


def curated(workbench: Workbench, version: Any, steps: list[dict[str, Any]]) -> Any:
    """The version after these steps, looked through again."""
    tools = Tools(cache=workbench.settings.home / "cache")
    rows = Rows.load(connect(), Table.of(version))
    replay(rows, steps, tools)
    folder = Path(version["path"]).parent
    written = write_snapshot(rows.connection, "rows", rows.columns, folder)
    made = workbench.datasets.commit_written(
        OWNER.id, version["dataset_id"], written, rows.columns,
        parent_id=version["id"], source="curated", message="", recipe=None, report=None,
    )  # fmt: skip
    from core.curation import secrets

    for name, look in (("personal", detect), ("secrets", secrets.detect)):
        found = look(Table.of(made), tools)
        write_findings(findings_folder(Path(made["path"])) / f"{name}.parquet", found)
    return made


def test_decisions_follow_the_words_into_later_versions(workbench: Workbench, version: Any) -> None:
    reviews = workbench.reviews
    reviews.decide_type(OWNER, version["id"], "email", "accept")
    reviews.decide_type(OWNER, version["id"], "phone", "reject")
    later = curated(
        workbench,
        version,
        [{"step": "replace", "columns": ["text"], "rules": [{"pattern": "bo@", "with": "bob@"}]}],
    )
    assert by_type(workbench, later["id"]) == {
        "email": (1, 1, 0), "phone": (0, 0, 1), "password": (1, 0, 0), "person": (1, 0, 0),
    }  # fmt: skip


def test_what_was_accepted_is_what_a_step_takes_out(workbench: Workbench, version: Any) -> None:
    reviews, vid = workbench.reviews, version["id"]
    hits = {(h["row_index"], h["type"]): h["id"] for h in reviews.queue(OWNER, vid)}
    reviews.decide(OWNER, vid, hits[1, "email"], "accept")
    reviews.decide(OWNER, vid, hits[3, "password"], "edit", replacement="(gone)")
    chosen = reviews.chosen(OWNER, vid)
    assert chosen["types"] == ["email", "password"]
    assert [hit["column"] for hit in chosen["only"]] == ["text"]
    assert "hunter2" not in json.dumps(chosen)
    assert "jane" not in json.dumps(chosen)
    later = curated(workbench, version, [{"step": "redact", **chosen}])
    texts = [row["text"] for row in workbench.datasets.page(OWNER, later["id"])]
    assert texts == [
        "Nothing in here.",
        "Write to [EMAIL], or [EMAIL].",
        "Ring +44 20 7946 0958 or mail bo@example.com",
        "password: (gone) of Mr. Okafor",
    ]
    reviews.decide(OWNER, vid, hits[2, "email"], "reject")
    chosen = reviews.chosen(OWNER, vid)
    assert "only" not in chosen
    assert len(chosen["leave"]) == 1


def test_a_dataset_may_require_a_review_before_rows_leave(
    workbench: Workbench, version: Any
) -> None:
    reviews, vid = workbench.reviews, version["id"]
    reviews.refuse_unreviewed(OWNER, vid)  # nothing is required
    reviews.require(OWNER, version["dataset_id"], True)
    assert workbench.datasets.get(OWNER, version["dataset_id"])["requires_review"] is True
    assert not reviews.is_reviewed(OWNER, vid)
    with pytest.raises(Conflict, match=r"5 hits .* are undecided"):
        reviews.refuse_unreviewed(OWNER, vid)
    for type_ in ("email", "phone", "password"):
        reviews.decide_type(OWNER, vid, type_, "accept")
    with pytest.raises(Conflict, match=r"1 hit .* is undecided"):
        reviews.refuse_unreviewed(OWNER, vid)
    reviews.decide_type(OWNER, vid, "person", "reject")
    assert reviews.is_reviewed(OWNER, vid)
    with pytest.raises(Conflict, match=r"4 hits .* were accepted .* still stand in the text"):
        reviews.refuse_unreviewed(OWNER, vid)
    later = curated(workbench, version, [{"step": "mask", **reviews.chosen(OWNER, vid)}])
    assert reviews.state(OWNER, later["id"])["total"] == 1
    reviews.refuse_unreviewed(OWNER, later["id"])
    with pytest.raises(Forbidden):
        reviews.require(LEAD, version["dataset_id"], False)


def test_a_version_nobody_looked_at_is_not_reviewed(workbench: Workbench, version: Any) -> None:
    workbench.reviews.require(OWNER, version["dataset_id"], True)
    folder = findings_folder(Path(version["path"]))
    (folder / "secrets.parquet").unlink()
    assert not workbench.reviews.is_reviewed(OWNER, version["id"])
    with pytest.raises(Conflict, match="Nobody has looked"):
        workbench.reviews.refuse_unreviewed(OWNER, version["id"])
    (folder / "personal.parquet").unlink()
    assert workbench.reviews.queue(OWNER, version["id"]) == []
    assert workbench.reviews.state(OWNER, version["id"])["looked"] is False


def test_many_hits_are_decided_in_one_go(workbench: Workbench) -> None:
    rows = [{"text": f"user{n}@example.com wrote"} for n in range(3_000)]
    version = analysed(workbench, OWNER, rows)
    assert workbench.reviews.decide_type(OWNER, version["id"], "email", "accept") == 3_000
    assert workbench.reviews.state(OWNER, version["id"])["open"] == 0
    assert workbench.reviews.chosen(OWNER, version["id"]) == {"types": ["email"]}
    assert len(workbench.reviews.undo(OWNER, version["id"])) == 3_000
