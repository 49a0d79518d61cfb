"""The steps `split` and `query` on real rows: nothing straddles, shares hold, queries choose."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from core.curation.recipe import Recipe
from core.curation.replay import replay
from core.curation.rows import Report, Rows
from core.curation.steps.query import query
from core.curation.tools import Tools
from core.errors import Invalid, LatheError
from tests.curation.replaying import cells, do, rows_of

SENTENCE = "The courier left the parcel number {n} at the wrong door on Monday morning, again"


def split(rows: Rows, folder: Path, **arguments: Any) -> Report:
    return replay(rows, [{"step": "split", **arguments}], Tools(cache=folder))[0]


def many(count: int) -> list[dict[str, Any]]:
    words = ["amber", "birch", "cedar", "dune", "elm", "fern", "grove", "heath", "iris", "jade"]
    return [
        {
            "q": " ".join(words[int(digit)] for digit in f"{number * 7919:08d}"),
            "label": "rare" if number % 10 == 0 else "usual",
            "talk": f"talk {number // 4}",
        }
        for number in range(count)
    ]


def test_shares_and_strata_hold(tmp_path: Path) -> None:
    rows = rows_of(many(200))
    report = split(rows, tmp_path, stratify="label", together=[])
    assert report.counts == {
        "train": 160, "validation": 20, "test": 20, "groups kept together": 0,
    }  # fmt: skip
    rare = [s for s, label in zip(cells(rows, "split"), cells(rows, "label"), strict=True)
            if label == "rare"]  # fmt: skip
    assert sorted(rare) == ["test"] * 2 + ["train"] * 16 + ["validation"] * 2


def test_duplicates_and_near_duplicates_do_not_straddle(tmp_path: Path) -> None:
    copies = [{"q": SENTENCE.format(n=4711), "label": "x", "talk": None} for _ in range(6)]
    near = [{"q": SENTENCE.format(n=4711) + mark, "label": "x", "talk": None} for mark in "!?."]
    rows = rows_of([*many(60), *copies, *near])
    for seed in range(3):
        split(rows, tmp_path, seed=seed)
        assert len(set(cells(rows, "split")[60:])) == 1


def test_conversations_do_not_straddle(tmp_path: Path) -> None:
    rows = rows_of(many(200))
    split(rows, tmp_path, group_by=["talk"], together=[])
    where: dict[str, set[str]] = {}
    for talk, name in zip(cells(rows, "talk"), cells(rows, "split"), strict=True):
        where.setdefault(talk, set()).add(name)
    assert all(len(names) == 1 for names in where.values())


def test_slices_are_set_aside_first_and_what_is_split_can_stay(tmp_path: Path) -> None:
    rows = rows_of(many(100))
    hard = {"name": "hard", "where": [{"column": "label", "op": "equals", "value": "rare"}]}
    split(rows, tmp_path, slices=[hard], together=[])
    before = cells(rows, "split")
    assert before.count("hard") == 10
    split(rows, tmp_path, keep=True, together=[], seed=5)
    assert cells(rows, "split") == before


def test_the_same_rows_and_seed_give_the_same_splits(tmp_path: Path) -> None:
    one, other = rows_of(many(80)), rows_of(many(80))
    split(one, tmp_path)
    split(other, tmp_path)
    assert cells(one, "split") == cells(other, "split")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"fractions": {"train": 0.5}}, "fractions"),
        ({"together": ["alike"]}, "together"),
        ({"slices": [{"where": []}]}, "slices.0.name"),
        ({"slices": [{"name": "x", "where": [{"column": "q", "op": "?"}]}]}, "slices.0.where.0.op"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(
    arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        Recipe.parse({"recipe": 1, "steps": [{"step": "split", **arguments}]})
    assert field in str(caught.value.field)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LatheError, match="no column 'colour'"):
        split(rows_of(many(10)), tmp_path, stratify="colour")


def test_a_query_keeps_drops_and_tags() -> None:
    rows = rows_of(many(40))
    rare = "SELECT row_id FROM rows WHERE label = 'rare'"
    assert do(rows, "query", sql=rare, mode="tag", tag="look").changed == 4
    assert cells(rows, "tags").count('["look"]') == 4
    assert do(rows, "query", sql=rare, mode="drop").removed == 4
    assert do(rows, "query", sql="SELECT row_index FROM rows LIMIT 5").removed == 31
    assert rows.count() == 5


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT label FROM rows", "gives no row_id"),
        ("SELECT * FROM read_csv('/etc/passwd')", "not let through"),
        ("DELETE FROM rows", "Only SELECT"),
        ("SELECT row_id FROM named", "no table 'named'"),
        ('FROM \'x.csv\', (WITH "x.csv" AS (SELECT 1) FROM "x.csv")', "no table 'x.csv'"),
        ("SELECT row_idd FROM rows", "row_idd"),
        ("SELECT error('stop') AS row_id", "stop"),
    ],
)
def test_queries_that_choose_no_rows_are_refused(sql: str, said: str) -> None:
    rows = rows_of(many(3))
    with pytest.raises(LatheError, match=said):
        do(rows, "query", sql=sql)
    assert rows.count() == 3


def test_rows_without_text_are_split_too(tmp_path: Path) -> None:
    rows = rows_of([{"n": 1}] * 10, {"n": "integer"})
    assert split(rows, tmp_path).counts["train"] == 8
    assert split(rows_of([], {"q": "text"}), tmp_path).counts["train"] == 0


def test_names_of_no_row_drop_none() -> None:
    rows = rows_of(many(3))
    for sql in ("SELECT NULL AS row_id", "SELECT 'x' AS row_index", "SELECT 1.5 AS row_id"):
        assert do(rows, "query", sql=sql, mode="drop").removed == 0
    assert do(rows, "query", sql="SELECT row_id AS Row_ID FROM rows LIMIT 1 -- one").removed == 2


def test_a_query_without_end_is_stopped_and_leaves_the_rows(tmp_path: Path) -> None:
    rows = rows_of(many(3))
    endless = "SELECT a.range AS row_index FROM range(1000000) a, range(1000000) b"
    tools = Tools(cache=tmp_path, query_timeout_s=0.2)
    with pytest.raises(Invalid, match=r"more than 0\.2 s"):
        query(rows, {"sql": endless}, tools)
    assert rows.count() == 3


def test_cells_that_were_split_count_as_changes(tmp_path: Path) -> None:
    rows = rows_of(many(10))
    report = split(rows, tmp_path, together=[])
    assert dataclasses.asdict(report)["changed"] == 10
    assert split(rows, tmp_path, together=[]).changed == 0
