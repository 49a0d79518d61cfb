"""Diffs: counts, cells, columns and edited inputs, against a plain comparison in Python."""

from __future__ import annotations

import itertools
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.datasets import pairing
from core.datasets.diff import Diff, diff
from core.datasets.files import Column
from core.datasets.table import Table
from core.errors import Invalid

TYPES = {"text": pa.string(), "json": pa.string(), "integer": pa.int64(), "number": pa.float64(),
         "boolean": pa.bool_()}  # fmt: skip
QA = {"question": "text", "answer": "text"}


def table(path: Path, rows: list[dict[str, Any]], types: dict[str, str] | None = None) -> Table:
    """Rows as an import writes them: ids from the first column, the input."""
    types = QA if types is None else types
    roles = ("input", "expected", *["metadata"] * len(types))
    columns = tuple(
        Column(name, role, kind) for (name, kind), role in zip(types.items(), roles, strict=False)
    )
    seen: dict[str, int] = {}
    records = []
    for index, row in enumerate(rows):
        given_id = row.get("row_id") or f"row_{sha256(row[columns[0].name].encode()).hexdigest()}"
        seen[given_id] = seen.get(given_id, 0) + 1
        row_id = given_id if seen[given_id] == 1 else f"{given_id}-{seen[given_id]}"
        cells = {name: row.get(name) for name in types}
        records.append({"row_id": row_id, "row_index": index, **cells})
    schema = pa.schema(
        [("row_id", pa.string()), ("row_index", pa.int64())]
        + [(name, TYPES[kind]) for name, kind in types.items()]
    )
    pq.write_table(pa.Table.from_pylist(records, schema=schema), path)
    return Table(path, columns)


def qa(*pairs: tuple[str, str | None]) -> list[dict[str, Any]]:
    return [{"question": question, "answer": answer} for question, answer in pairs]


@pytest.fixture
def compare(tmp_path: Path) -> Any:
    def run(old: list[Any], new: list[Any], types: Any = None, more: Any = None, **key: Any) -> Any:
        older = table(tmp_path / "old.parquet", old, types)
        newer = table(tmp_path / "new.parquet", new, more or types)
        return diff(older, newer, **key)

    return run


def test_rows_are_added_removed_changed_or_the_same(compare: Any) -> None:
    found = compare(
        qa(("stays", "1"), ("goes away now", "2"), ("is answered", "3")),
        qa(("stays", "1"), ("is answered", "three"), ("something else entirely", "4")),
    )
    assert found.counts == {"added": 1, "removed": 1, "changed": 1, "same": 1}
    assert (found.rewritten_count, found.reordered, found.note) == (0, False, "")
    changed, added = found.rows("changed")[0], found.rows("added")[0]
    assert (changed["changed"], changed["row_index"], changed["old_row_index"]) == (
        ["answer"],
        1,
        2,
    )
    assert changed["before"] == {"question": "is answered", "answer": "3"}
    assert changed["after"] == {"question": "is answered", "answer": "three"}
    assert (added["before"], added["after"]["answer"], added["old_row_id"]) == (None, "4", None)
    removed = found.rows("removed")[0]
    assert (removed["after"], removed["row_index"]) == (None, 1)
    assert [row["kind"] for row in found.rows()] == ["changed", "removed", "added"]


def test_a_missing_value_differs_from_an_empty_one(compare: Any) -> None:
    found = compare(qa(("a", None), ("b", None), ("c", "")), qa(("a", ""), ("b", None), ("c", "")))
    assert (found.counts["changed"], found.counts["same"]) == (1, 2)


def test_an_order_that_changed_is_said_and_changes_no_row(compare: Any) -> None:
    found = compare(qa(("a", "1"), ("b", "2")), qa(("b", "2"), ("a", "1")))
    assert (found.counts["same"], found.reordered) == (2, True)


def test_pages_follow_each_other_and_filter_by_column(compare: Any) -> None:
    old = qa(*((f"question {n}", "old") for n in range(30)))
    new = qa(*((f"question {n}", "new" if n % 2 else "old") for n in range(30)))
    found = compare(old, new)
    indices = [row["row_index"] for at in (0, 7, 14) for row in found.rows(offset=at, limit=7)]
    assert indices == list(range(1, 30, 2))
    assert found.count("changed", column="answer") == 15
    assert found.rows("changed", column="question") == []
    assert found.rows(offset=99) == found.rows(limit=0) == found.rows("added") == []
    with pytest.raises(Invalid, match="none of"):
        found.rows("moved")
    with pytest.raises(Invalid, match="not a column"):
        found.rows(column="nope")


def test_columns_come_go_and_change_type_or_role(compare: Any, tmp_path: Path) -> None:
    old = [{"q": "a", "n": 1, "gone": "x"}, {"q": "b", "n": 2, "gone": None}]
    new = [{"q": "a", "n": 1.0, "come": True}, {"q": "b", "n": 2.5, "come": None}]
    found = compare(
        old, new, {"q": "text", "n": "integer", "gone": "text"},
        {"q": "text", "n": "number", "come": "boolean"},
    )  # fmt: skip
    told = {column.name: (column.state, column.changed_count) for column in found.columns}
    assert told == {
        "q": ("same", 0), "n": ("retyped", 1), "come": ("added", 1), "gone": ("removed", 1),
    }  # fmt: skip
    assert found.counts == {"added": 0, "removed": 0, "changed": 1, "same": 1}  # 1 reads as 1.0
    older, newer = found.old, found.new
    swapped = tuple(Column(c.name, "input", c.type) for c in newer.columns)
    roles = diff(older, Table(newer.path, swapped)).to_dict()["columns"]
    assert [c["state"] for c in roles] == ["same", "retyped", "added", "removed"]
    assert diff(newer, Table(newer.path, swapped)).columns[1].state == "role"


def test_numbers_truths_and_text_read_alike_across_types(compare: Any) -> None:
    old = [{"q": "a", "x": 3.0}, {"q": "b", "x": 0.25}]
    new = [{"q": "a", "x": "3"}, {"q": "b", "x": "0.25"}]
    assert (
        compare(old, new, {"q": "text", "x": "number"}, {"q": "text", "x": "text"}).counts["same"]
        == 2
    )
    yes = compare([{"q": "a", "x": True}], [{"q": "a", "x": "true"}],
                  {"q": "text", "x": "boolean"}, {"q": "text", "x": "text"})  # fmt: skip
    assert yes.counts["same"] == 1


def test_texts_are_the_same_when_one_nested_value_makes_their_column_json(compare: Any) -> None:
    said = ['say "hi"\n', "caf\u00e9", "7", ""]
    old = [{"q": f"{at}", "x": text} for at, text in enumerate(said)]
    new = [{"q": f"{at}", "x": json.dumps(text)} for at, text in enumerate(said)]
    old, new = [*old, {"q": "n", "x": None}], [*new, {"q": "n", "x": None}, {"q": "o", "x": "[1]"}]
    found = compare(old, new, {"q": "text", "x": "text"}, {"q": "text", "x": "json"})
    assert found.counts == {"added": 1, "removed": 0, "changed": 0, "same": 5}
    assert [column.state for column in found.columns] == ["same", "retyped"]


def test_an_edited_input_is_a_changed_row_and_says_how_alike(compare: Any) -> None:
    old = qa(("first", "1"), ("How do I reset my pasword?", "2"), ("last", "3"))
    new = qa(("first", "1"), ("How do I reset my password?", "2"), ("last", "3"))
    found = compare(old, new)
    assert found.counts == {"added": 0, "removed": 0, "changed": 1, "same": 2}
    row = found.rows()[0]
    assert (found.rewritten_count, row["changed"]) == (1, ["question"])
    assert row["row_id"] != row["old_row_id"]
    assert row["similarity"] == pytest.approx(5 / 7)


def test_an_edit_is_found_where_rows_before_it_came_or_went(compare: Any) -> None:
    old = qa(("a b c d", "1"), ("e f g h", "2"), ("anchor", "3"), ("i j k l", "4"))
    new = qa(("brand new row here", "0"), ("a b c x", "1"), ("e f g y", "2"), ("anchor", "3"),
             ("i j k z", "4"))  # fmt: skip
    found = compare(old, new)
    assert found.counts == {"added": 1, "removed": 0, "changed": 3, "same": 1}
    assert [row["after"]["answer"] for row in found.rows("changed")] == ["1", "2", "4"]


def test_rows_of_other_words_or_other_places_are_not_one_row(compare: Any) -> None:
    other = compare(qa(("completely different words", "1")), qa(("nothing of the kind", "1")))
    assert (other.counts["added"], other.counts["removed"]) == (1, 1)
    moved = compare(
        qa(("a b c d", "1"), ("one", ""), ("two", "")),
        qa(("one", ""), ("two", ""), ("a b c x", "1")),
    )
    assert (moved.counts["added"], moved.counts["removed"]) == (1, 1)


def test_the_same_words_are_one_row_wherever_it_stands(compare: Any) -> None:
    found = compare(
        qa(("Hello, World!", "1"), ("x", ""), ("y", "")),
        qa(("x", ""), ("y", ""), ("hello world", "1")),
    )
    assert (found.counts["changed"], found.counts["same"]) == (1, 2)
    assert found.rows()[0]["similarity"] == 1.0


def test_text_without_spaces_is_alike_by_its_signs(compare: Any) -> None:
    found = compare(qa(("東京の天気はどうですか", "1")), qa(("東京の天気はどうでしたか", "1")))
    assert found.counts["changed"] == 1


def test_a_row_whose_number_among_equals_changed_is_the_same(compare: Any, tmp_path: Path) -> None:
    old = [{"row_id": "row_1-2", "question": "twice", "answer": "a"}]
    found = compare(old, [{"row_id": "row_1", "question": "twice", "answer": "a"}])
    assert found.counts == {"added": 0, "removed": 0, "changed": 0, "same": 1}


def test_rows_may_match_by_a_column_of_the_data(compare: Any) -> None:
    types = {"question": "text", "answer": "text", "id": "integer"}
    old = [{"question": "all", "id": 1}, {"question": "these words", "id": 2}]
    new = [{"question": "nothing common", "id": 1}, {"question": "these words", "id": 3}]
    found = compare(old, new, types, key="id")
    assert found.counts == {"added": 1, "removed": 1, "changed": 1, "same": 0}
    with pytest.raises(Invalid, match="not unique"):
        compare([*old, old[0]], new, types, key="id")
    with pytest.raises(Invalid, match="no column 'nope'"):
        compare(old, new, types, key="nope")


def test_ids_that_stand_twice_are_refused(tmp_path: Path) -> None:
    whole = table(tmp_path / "a.parquet", qa(("a", "1")))
    rows = pq.read_table(whole.path)
    pq.write_table(pa.concat_tables([rows, rows]), tmp_path / "b.parquet")
    with pytest.raises(Invalid, match="not unique"):
        diff(whole, Table(tmp_path / "b.parquet", whole.columns))


def test_empty_tables_and_hostile_names_do_no_harm(compare: Any, tmp_path: Path) -> None:
    assert compare([], []).counts == {"added": 0, "removed": 0, "changed": 0, "same": 0}
    assert compare([], qa(("a", "1"))).counts["added"] == 1
    name = 'it\'s "odd"; DROP TABLE joined --'
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    types = {name: "text", "answer": "text"}
    old = table(folder / "old.parquet", [{name: "a b c", "answer": "1"}], types)
    new = table(folder / "new.parquet", [{name: "a b d", "answer": "1"}], types)
    assert diff(old, new).rows()[0]["changed"] == [name]


def test_what_is_saved_reads_the_same(compare: Any, tmp_path: Path) -> None:
    found = compare(qa(("a b c", "1"), ("x", "1")), qa(("a b d", "2"), ("y", "1")))
    stem = tmp_path / "kept" / "one.json"
    assert Diff.load(stem, found.old, found.new) is None
    found.save(stem)
    again = Diff.load(stem, found.old, found.new)
    assert again is not None
    assert again.to_dict() == found.to_dict()
    assert again.rows() == found.rows()
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    stem.write_text(json.dumps({**found.to_dict(), "format": 0}))
    assert Diff.load(stem, found.old, found.new) is None


def test_beyond_the_limit_edits_are_not_looked_for(
    compare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairing, "MOST_ROWS", 3)
    old = qa(*((f"alpha beta gamma {n}", "1") for n in range(5)))
    found = compare(old, qa(*((f"alpha beta gamma {n}", "1") for n in range(10, 15))))
    assert found.counts == {"added": 2, "removed": 2, "changed": 3, "same": 0}
    assert "first 3" in found.note


def test_a_large_gap_pairs_the_nth_with_the_nth(compare: Any) -> None:
    old = qa(*((f"alpha beta gamma old{n}", "1") for n in range(30)))
    found = compare(old, qa(*((f"alpha beta gamma new{n}", "1") for n in range(30))))
    assert found.counts["changed"] == 30
    assert all(row["row_index"] == row["old_row_index"] for row in found.rows())


scores = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 4)), st.sampled_from([0.5, 0.7, 1.0]), max_size=12
)


@settings(deadline=None)
@given(scores, st.integers(0, 5), st.integers(0, 5))
def test_a_gap_is_paired_without_crossing_and_as_alike_as_can_be(
    likeness: dict[tuple[int, int], float], rows: int, columns: int
) -> None:
    old, new = list(range(rows)), list(range(columns))
    found = pairing._best(old, new, likeness)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(found))

    def most(i: int, j: int) -> float:
        """The plain recursion."""
        if i == rows or j == columns:
            return 0.0
        paired = likeness.get((i, j), 0.0) + most(i + 1, j + 1)
        return max(paired, most(i + 1, j), most(i, j + 1))

    assert sum(score for *_, score in found) == pytest.approx(most(0, 0))


words = st.text("ab \n\u00e9東", max_size=6)
versions = st.lists(st.tuples(words, st.none() | words), max_size=12)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(versions, versions)
def test_every_row_is_told_once_and_ids_decide(
    tmp_path: Path, old: list[Any], new: list[Any]
) -> None:
    before, after = (
        table(tmp_path / f"{name}.parquet", qa(*rows)) for name, rows in (("a", old), ("b", new))
    )
    found = diff(before, after)
    counts = found.counts
    assert counts["removed"] + counts["changed"] + counts["same"] == len(old)
    assert counts["added"] + counts["changed"] + counts["same"] == len(new)
    listed = found.rows(limit=100)
    assert len(listed) == counts["added"] + counts["removed"] + counts["changed"]
    both = [pq.read_table(side.path).to_pylist() for side in (before, after)]
    earlier, later = ({row["row_id"]: row for row in rows} for rows in both)
    plain = {
        row_id for row_id in earlier.keys() & later.keys()
        if earlier[row_id]["answer"] != later[row_id]["answer"]
    }  # fmt: skip
    assert {row["row_id"] for row in listed if row["similarity"] is None and row["before"]
            and row["after"]} == plain  # fmt: skip
    unpaired = {row["row_id"] for row in listed if row["kind"] == "added"}
    assert unpaired <= later.keys() - earlier.keys()
    for row in listed:
        if row["kind"] == "changed":
            assert row["changed"] == [
                name for name in QA if row["before"][name] != row["after"][name]
            ]
