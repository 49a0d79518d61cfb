"""Steps that choose, order and mark rows, change columns, and set cells by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.curation.conditions import OPERATORS, where_sql
from core.curation.steps import STEPS
from core.datasets.files import Column
from core.datasets.table import connect
from core.errors import Invalid
from tests.curation.replaying import cells, do, rows_of

PEOPLE = [
    {"name": "Ada", "age": 36, "score": 2.0, "ok": True, "note": None},
    {"name": "bob", "age": 7, "score": 0.5, "ok": False, "note": ""},
    {"name": "Çelik", "age": None, "score": None, "ok": None, "note": "tall"},
]
KINDS = {"name": "text", "age": "integer", "score": "number", "ok": "boolean", "note": "text"}


def people() -> Any:
    return rows_of(PEOPLE, KINDS)


def left(step: str, column: str, op: str, value: Any = None, **more: Any) -> list[str]:
    rows = people()
    do(rows, step, where=[{"column": column, "op": op, "value": value}], **more)
    return cells(rows, "name")


@pytest.mark.parametrize(
    ("column", "op", "value", "names"),
    [
        ("name", "contains", "B", ["bob"]),
        ("name", "not_contains", "b", ["Ada", "Çelik"]),
        ("name", "equals", "Ada", ["Ada"]),
        ("name", "not_equals", "Ada", ["bob", "Çelik"]),
        ("name", "one_of", ["bob", "Ada", "x"], ["Ada", "bob"]),
        ("name", "starts_with", "Ç", ["Çelik"]),
        ("name", "ends_with", "b", ["bob"]),
        ("name", "matches", "^[a-z]+$", ["bob"]),
        ("note", "empty", None, ["Ada", "bob"]),
        ("note", "not_empty", None, ["Çelik"]),
        ("age", "greater", 7, ["Ada"]),
        ("age", "less", 36, ["bob"]),
        ("age", "at_least", 7, ["Ada", "bob"]),
        ("age", "at_most", 7, ["bob"]),
        ("name", "longer", 3, ["Çelik"]),
        ("note", "shorter", 1, ["Ada", "bob"]),
        ("age", "equals", 36, ["Ada"]),
        ("score", "equals", 2, ["Ada"]),
        ("ok", "equals", True, ["Ada"]),
        ("row_id", "equals", "r1", ["bob"]),
        ("row_index", "at_least", 2, ["Çelik"]),
    ],
)
def test_a_condition_keeps_the_rows_that_meet_it(
    column: str, op: str, value: Any, names: list[str]
) -> None:
    assert left("filter", column, op, value) == names
    assert left("drop_where", column, op, value) == [
        row["name"] for row in PEOPLE if row["name"] not in names
    ]


def test_any_and_all() -> None:
    where = [
        {"column": "name", "op": "equals", "value": "Ada"},
        {"column": "age", "op": "less", "value": 10},
    ]
    for match, names in (("any", ["Ada", "bob"]), ("all", [])):
        rows = people()
        do(rows, "filter", where=where, match=match)
        assert cells(rows, "name") == names


@given(st.sampled_from([op for op, o in OPERATORS.items() if o.takes == "text"]), st.text())
def test_a_value_is_never_sql(op: str, value: str) -> None:
    columns = [Column('a"b', "input", "text")]
    sql, parameters = where_sql([{"column": 'a"b', "op": op, "value": value}], columns)
    with connect() as connection:
        connection.execute('CREATE TABLE rows ("a""b" VARCHAR)')
        if "\0" not in value:
            connection.execute(f"SELECT * FROM rows WHERE {sql}", parameters)


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        ({"column": "x", "op": "empty"}, "where.0.column"),
        ({"column": "age", "op": "greater", "value": "old"}, "where.0.value"),
        ({"column": "name", "op": "matches", "value": "("}, "where.0.value"),
        ({"column": "name", "op": "like", "value": "x"}, "where.0.op"),
        ({"column": "name", "op": "one_of", "value": []}, "where.0.value"),
        ({"op": "empty"}, "where.0.column"),
        ({"column": "name", "op": "contains"}, "where.0.value"),
        ({"column": "name", "op": "empty", "values": 1}, "where.0"),
    ],
)
def test_a_condition_that_cannot_be_asked_is_named(condition: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        do(people(), "filter", where=[condition])
    assert caught.value.field == f"steps.0.{field}"


def test_rows_are_dropped_by_id_and_missing_ones_counted() -> None:
    rows = people()
    report = do(rows, "drop_rows", row_ids=["r0", "gone", "r0"], reason="a duplicate")
    assert (report.removed, report.counts) == (1, {"not there": 1})
    assert cells(rows, "name") == ["bob", "Çelik"]


def test_rows_come_back_where_they_were() -> None:
    rows = people()
    do(rows, "drop_rows", row_ids=["r1"])
    back = {"row_id": "r1", "row_index": 1, "values": {"name": "bob", "age": 7, "gone": 1}}
    report = do(rows, "restore_rows", rows=[back, {"row_id": "r0", "values": {}}])
    assert report.counts == {"restored": 1, "there already": 1}
    assert cells(rows, "name") == ["Ada", "bob", "Çelik"]
    assert cells(rows, "row_index") == [0, 1, 2]
    assert cells(rows, "age") == [36, 7, None]


def test_tags_are_added_and_taken_off() -> None:
    rows = people()
    do(rows, "tag", tags=["odd", "short"], where=[{"column": "age", "op": "less", "value": 10}])
    do(rows, "tag", tags=["short"], row_ids=["r0", "r1"])
    assert [cell and json.loads(cell) for cell in cells(rows, "tags")] == [
        ["short"], ["odd", "short"], None,
    ]  # fmt: skip
    kept = rows.connection.execute(
        f"SELECT name FROM rows WHERE {OPERATORS['has_tag'].sql.format(text='tags', value='$t')}",
        {"t": "odd"},
    ).fetchall()
    assert kept == [("bob",)]
    assert do(rows, "untag", tags=["short"], row_ids=["r0", "r1", "r2"]).changed == 2
    assert cells(rows, "tags") == [None, '["odd"]', None]


def test_a_split_is_set_by_ids_or_conditions_but_not_by_both() -> None:
    rows = people()
    do(rows, "set_split", split="test", row_ids=["r2"])
    assert cells(rows, "split") == [None, None, "test"]
    for arguments in ({}, {"row_ids": [], "where": []}):
        with pytest.raises(Invalid, match="row_ids"):
            do(rows, "set_split", split="x", **arguments)


@pytest.mark.parametrize("step", ["set_split", "tag", "split"])
def test_a_column_in_the_way_is_named(step: str) -> None:
    arguments: dict[str, Any] = {
        "set_split": {"split": "test", "row_ids": ["r0"]},
        "tag": {"tags": ["odd"], "row_ids": ["r0"]},
        "split": {"together": []},
    }[step]
    for columns in (
        {"name": "text", "Split": "text", "Tags": "text"},
        {"name": "text", "split": "integer", "tags": "integer"},
    ):
        rows = rows_of([dict.fromkeys(columns)], columns)
        with pytest.raises(Invalid, match=r"already|holds"):
            do(rows, step, **arguments)


def test_sort_keeps_equal_rows_in_order_and_empty_ones_last() -> None:
    rows = rows_of([{"a": "b"}, {"a": None}, {"a": "a"}, {"a": "b"}])
    assert do(rows, "sort", by=["a"]).counts == {"moved": 4}
    assert cells(rows, "row_id") == ["r2", "r0", "r3", "r1"]
    assert cells(rows, "row_index") == [0, 1, 2, 3]
    do(rows, "sort", by=["a"], descending=True)
    assert cells(rows, "row_id") == ["r0", "r3", "r2", "r1"]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 30))
def test_a_sample_depends_on_the_seed_alone(seed: int, few: int, more: int) -> None:
    values = [{"a": str(n)} for n in range(30)]
    few, more = sorted((few, more))
    one, other, backwards = rows_of(values), rows_of(values), rows_of(values)
    do(one, "sample", rows=few, seed=seed)
    do(other, "sample", share=more / 30, seed=seed)
    do(backwards, "sort", by=["a"], descending=True)
    do(backwards, "sample", rows=few, seed=seed)
    assert one.count() == few
    assert set(cells(one, "row_id")) <= set(cells(other, "row_id"))
    assert set(cells(one, "row_id")) == set(cells(backwards, "row_id"))


def test_cells_are_edited_and_what_differs_from_before_is_told() -> None:
    rows = people()
    report = do(rows, "edit_cells", cells=[
        {"row_id": "r0", "column": "name", "value": "Ada L.", "before": "Ada"},
        {"row_id": "r1", "column": "age", "value": 8, "before": 6},
        {"row_id": "r2", "column": "note", "value": None, "before": "tall"},
        {"row_id": "r9", "column": "name", "value": "x"},
    ])  # fmt: skip
    assert report.changed == 3
    assert report.counts == {"edited": 3, "was something else": 1, "row not there": 1}
    assert cells(rows, "name")[0] == "Ada L."
    assert cells(rows, "age")[1] == 8
    assert cells(rows, "note")[2] is None
    with pytest.raises(Invalid, match="'old' is no integer"):
        do(rows, "edit_cells", cells=[{"row_id": "r0", "column": "age", "value": "old"}])


def test_columns_are_renamed_retyped_added_and_dropped() -> None:
    rows = rows_of([{"q": "x", "n": "1"}, {"q": "y", "n": "2.5"}, {"q": "z", "n": None}])
    with pytest.raises(Invalid, match=r"'n' are no integer, the first in row 2: '2\.5'"):
        do(rows, "retype", column="n", type="integer")
    do(rows, "retype", column="n", type="integer", unreadable="empty")
    assert cells(rows, "n") == [1, None, None]
    do(rows, "retype", column="n", type="number")
    do(rows, "rename_column", column="q", to="Q")
    do(rows, "rename_column", column="Q", to="question")
    do(rows, "set_role", column="n", role="expected")
    do(rows, "add_column", column="source", value="web")
    do(rows, "add_column", column="extra", type="json", value={"a": [1]})
    assert [(c.name, c.role, c.type) for c in rows.columns] == [
        ("question", "input", "text"), ("n", "expected", "number"),
        ("source", "metadata", "text"), ("extra", "metadata", "json"),
    ]  # fmt: skip
    assert cells(rows, "extra") == ['{"a": [1]}'] * 3
    do(rows, "drop_columns", columns=["extra", "source"])
    with pytest.raises(Invalid, match="already"):
        do(rows, "add_column", column="QUESTION")
    with pytest.raises(Invalid, match="'web' is no integer"):
        do(rows, "add_column", column="s", type="integer", value="web")
    assert len(rows.columns) == 2


@pytest.mark.parametrize(
    ("value", "kind", "to", "after"),
    [
        ("true", "text", "boolean", True), ("7", "text", "number", 7.0),
        ("nan", "text", "number", None), (3.0, "number", "integer", 3), (2, "integer", "text", "2"),
        ("a", "text", "json", '"a"'), ("a", "json", "text", "a"), ([1], "json", "text", "[1]"),
        (True, "boolean", "json", "true"), (None, "json", "text", None),
    ],
)  # fmt: skip
def test_a_value_in_another_type(value: Any, kind: str, to: str, after: Any) -> None:
    rows = rows_of([{"a": value}], {"a": kind})
    do(rows, "retype", column="a", type=to, unreadable="empty")
    assert cells(rows, "a") == [after]


def test_every_step_of_ours_says_what_it_takes() -> None:
    from core.curation.arguments import KINDS as ARGUMENT_KINDS
    from core.curation.arguments import arguments_of

    for name in STEPS:
        for argument in arguments_of(name) or ():
            assert argument.kind in ARGUMENT_KINDS, name
            assert argument.label
