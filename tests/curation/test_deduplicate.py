"""The step that leaves one row of each group of duplicates."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from core.curation.replay import replay
from core.curation.rows import Report, Rows
from core.curation.tools import Tools
from core.errors import Invalid
from tests.curation.replaying import cells, rows_of

TICKETS = [
    {"text": "Where is my order 17?", "label": None, "seen": 1, "note": "x"},
    {"text": "where is my order 17", "label": "delivery", "seen": 3, "note": None},
    {"text": "Where is my order 17", "label": "delivery", "seen": 2, "note": "y"},
    {"text": "Pay my bill", "label": "billing", "seen": 1, "note": None},
    {"text": "Pay my bill", "label": "billing", "seen": 2, "note": None},
    {"text": None, "label": "none", "seen": 1, "note": None},
    {"text": None, "label": "none", "seen": 1, "note": None},
    {"text": "Something else", "label": "other", "seen": 1, "note": None},
]
COLUMNS = {"text": "text", "label": "text expected", "seen": "integer metadata", "note": "text"}


@pytest.fixture
def tickets() -> Rows:
    return rows_of(TICKETS, COLUMNS)


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(cache=tmp_path / "cache")


def deduplicate(rows: Rows, tools: Tools, **arguments: Any) -> Report:
    return replay(rows, [{"step": "deduplicate", **arguments}], tools)[0]


def ids(rows: Rows) -> list[str]:
    found = rows.connection.execute("SELECT row_id FROM rows ORDER BY row_index").fetchall()
    return [row[0] for row in found]


@pytest.mark.parametrize(
    ("rule", "stays"),
    [
        ("first", ["r0", "r3"]),
        ("longest", ["r0", "r3"]),
        ("complete", ["r2", "r3"]),
        ("label", ["r1", "r3"]),
    ],
)
def test_one_row_of_each_group_stays_by_the_rule(
    tickets: Rows, tools: Tools, rule: str, stays: list[str]
) -> None:
    # exact first: near duplicates are no group where all texts are the same
    deduplicate(tickets, tools, kind="exact", keep=rule)
    report = deduplicate(tickets, tools, kind="near", keep=rule)
    assert ids(tickets) == [*stays, "r5", "r6", "r7"]
    assert report.removed == 2
    assert report.counts["groups"] == 1


def test_the_newest_row_by_a_column_stays(tickets: Rows, tools: Tools) -> None:
    report = deduplicate(tickets, tools, kind="exact", keep="newest", column="seen")
    assert ids(tickets) == ["r0", "r1", "r2", "r4", "r5", "r6", "r7"]
    reason = "exact duplicate; the row with the largest value in a column stays"
    assert report.counts == {"groups": 1, reason: 1}
    (example,) = report.examples
    assert (example["row_id"], example["before"], example["kept"]) == ("r3", "Pay my bill", "r4")
    assert example["reason"] == reason


def test_the_same_rows_lose_the_same_rows(tools: Tools) -> None:
    kept = []
    for _ in range(2):
        rows = rows_of(TICKETS, COLUMNS)
        deduplicate(rows, tools, kind="near", keep="complete")
        kept.append(ids(rows))
    assert kept[0] == kept[1]


def test_numbers_with_gaps_after_another_step_do_not_matter(tickets: Rows, tools: Tools) -> None:
    tickets.keep("row_id <> 'r0'")
    deduplicate(tickets, tools, kind="near", keep="label")
    assert ids(tickets) == ["r1", "r3", "r4", "r5", "r6", "r7"]


def test_decisions_are_replayed_with_their_reasons(tickets: Rows, tools: Tools) -> None:
    report = deduplicate(
        tickets,
        tools,
        groups=[
            {"keep": "r2", "drop": ["r0", "r1"], "reason": "the best written"},
            {"keep": "r4", "drop": ["r3", "gone"]},
        ],
    )
    assert ids(tickets) == ["r2", "r4", "r5", "r6", "r7"]
    assert report.removed == 3
    assert report.counts == {
        "groups": 2,
        "the best written": 2,
        "no reason given": 1,
        "not there": 1,
    }
    assert {example["reason"] for example in report.examples} == {"the best written", ""}


def test_decisions_that_together_would_empty_a_group_leave_a_row(
    tickets: Rows, tools: Tools
) -> None:
    report = deduplicate(
        tickets,
        tools,
        groups=[{"keep": "r0", "drop": ["r1"]}, {"keep": "r1", "drop": ["r0"]}],
    )
    assert ids(tickets)[0] == "r0"
    assert report.removed == 1
    assert report.counts["kept as the last of a group"] == 1


def test_decisions_about_rows_that_are_gone_do_nothing(tickets: Rows, tools: Tools) -> None:
    report = deduplicate(tickets, tools, groups=[{"keep": "x", "drop": ["y"]}])
    assert report.removed == 0
    assert report.counts == {"groups": 0, "not there": 2}
    assert len(cells(tickets, "text")) == len(TICKETS)


def test_what_cannot_be_asked_is_refused_before_anything_happens(
    tickets: Rows, tools: Tools
) -> None:
    for arguments, field in (
        ({"kind": "sounds"}, "kind"),
        ({"kind": "near", "threshold": 0.2}, "threshold"),
        ({"keep": "newest"}, "column"),
        ({"keep": "newest", "column": "nope"}, "column"),
        ({"keep": "best"}, "keep"),
        ({"groups": [{"keep": "r0"}]}, "groups"),
    ):
        with pytest.raises(Invalid) as caught:
            deduplicate(tickets, tools, **arguments)
        assert caught.value.field == f"steps.0.{field}"
    assert len(ids(tickets)) == len(TICKETS)


@pytest.mark.starter
def test_rows_of_the_same_meaning_are_found_again_and_one_stays(
    tmp_path: Path, tools: Tools, starter_home: Path
) -> None:
    from core.curation.embeddings import embedding_model_path

    rows = rows_of(
        [
            {"text": "What is the capital of France?"},
            {"text": "Where is my order?"},
            {"text": "Which city is France's capital?"},
        ]
    )
    model = dataclasses.replace(tools, embedding_model=embedding_model_path(starter_home))
    report = deduplicate(rows, model, kind="semantic", keep="longest", reason="asked twice")
    assert ids(rows) == ["r1", "r2"]
    assert report.counts == {"groups": 1, "asked twice": 1}
