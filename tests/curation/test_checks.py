"""Checks: which rows fail, that each mistake is told once, and wrong declarations by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.curation.chats import turns_of
from core.curation.checks import Check, parse_checks, run_checks
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.snapshots import write_snapshot
from core.datasets.table import Table, connect
from core.errors import Invalid

TYPES = {str: ("VARCHAR", "text"), int: ("BIGINT", "integer"), float: ("DOUBLE", "number")}


def table_of(folder: Path, **cells: Sequence[Any]) -> Table:
    """A version with these columns, all of them inputs."""
    kinds = {
        name: TYPES[next((type(cell) for cell in values if cell is not None), str)]
        for name, values in cells.items()
    }
    names = ", ".join(f'"{name}" {kind[0]}' for name, kind in kinds.items())
    with connect() as connection:
        connection.execute(f"CREATE TABLE t (row_id VARCHAR, row_index BIGINT, {names})")
        for index, row in enumerate(zip(*cells.values(), strict=True)):
            slots = ", ".join("?" * (len(row) + 2))
            connection.execute(f"INSERT INTO t VALUES ({slots})", [f"row_{index}", index, *row])
        columns = [Column(name, "input", kind[1]) for name, kind in kinds.items()]
        written = write_snapshot(connection, "t", columns, folder / "version")
    return Table(written.path, tuple(columns))


def failing(folder: Path, check: dict[str, Any], **cells: Sequence[Any]) -> list[int]:
    found = run_checks(table_of(folder, **cells), parse_checks([check]), Tools(cache=folder))
    return [row for finding in found for row in finding.rows]


CHATS = [
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
    [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Anyone?"}],
    [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}],
    [{"role": "assistant", "content": "Hello"}],
    [{"role": "user", "content": " "}, {"role": "assistant", "content": "Hello"}],
    [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "Rain"},
        {"role": "assistant", "content": "It rains"},
    ],
]


@pytest.mark.parametrize(
    ("check", "rows"),
    [
        ({"check": "not_blank", "column": "q"}, [1, 2]),
        ({"check": "unique", "column": "q"}, [0, 3]),
        ({"check": "one_of", "column": "q", "values": ["a", "b"]}, [4]),
        ({"check": "matches", "column": "q", "pattern": "^[a-z]$"}, [4]),
        ({"check": "length", "column": "q", "min": 2}, [0, 3, 5]),
        ({"check": "length", "column": "q", "max": 2}, [4]),
        ({"check": "json", "column": "q"}, [0, 3, 4, 5]),
    ],
)
def test_text_rows_that_fail_are_listed(
    tmp_path: Path, check: dict[str, Any], rows: list[int]
) -> None:
    cells = ["a", None, "  ", "a", "a long one", "b"]
    assert failing(tmp_path, check, q=cells) == rows


def test_numbers_outside_the_range_are_listed(tmp_path: Path) -> None:
    check = {"check": "range", "column": "n", "min": 0, "max": 10}
    assert failing(tmp_path, check, n=[0, 10, 11, -1, None]) == [2, 3]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("roles_alternate", [1, 3]),
        ("no_empty_turns", [4]),
        ("ends_with_assistant", [1, 2]),
    ],
)
def test_chats_that_fail_are_listed(tmp_path: Path, kind: str, rows: list[int]) -> None:
    cells = [json.dumps(chat) for chat in CHATS]
    assert failing(tmp_path, {"check": kind, "column": "messages"}, messages=cells) == rows


def test_text_that_is_no_chat_fails_the_chat_checks(tmp_path: Path) -> None:
    cells = ["plain words", "[1, 2]", '{"messages": 3}']
    check = {"check": "roles_alternate", "column": "m"}
    assert failing(tmp_path, check, m=cells) == [0, 1, 2]


def test_a_number_is_one_of_the_values_beside_a_row_without_one(tmp_path: Path) -> None:
    check = {"check": "one_of", "column": "n", "values": [1, 2]}
    assert failing(tmp_path / "a", check, n=[1, None, 2, 3]) == [3]
    assert failing(tmp_path / "b", check, n=[1.0, None, 2.0, 2.5]) == [3]
    whole = {"check": "matches", "column": "n", "pattern": "^[0-9]+$"}
    assert failing(tmp_path / "c", whole, n=[1, None, 2]) == []


def test_a_pattern_without_end_is_an_error_and_no_failing_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.curation.checks.PATTERN_TIMEOUT_S", 0.01)
    check = {"check": "matches", "column": "q", "pattern": "^(a|aa)+$"}
    with pytest.raises(Invalid, match="takes too long"):
        failing(tmp_path, check, q=["a" * 60 + "!"])


def test_text_nested_too_deep_is_no_json_and_no_chat(tmp_path: Path) -> None:
    deep = "[" * 200_000
    assert failing(tmp_path / "a", {"check": "json", "column": "q"}, q=["1", deep]) == [1]
    assert failing(tmp_path / "b", {"check": "no_empty_turns", "column": "q"}, q=[deep]) == [0]


def test_one_batch_after_another_is_checked(tmp_path: Path) -> None:
    cells = ["good"] * 9_000 + ["bad"]
    check = {"check": "one_of", "column": "q", "values": ["good"]}
    assert failing(tmp_path, check, q=cells) == [9_000]


def test_two_checks_of_one_column_tell_their_own_rows(tmp_path: Path) -> None:
    table = table_of(tmp_path, q=["a", "bbb", "cc"])
    checks = parse_checks(
        [
            {"check": "length", "column": "q", "max": 2},
            {"check": "one_of", "column": "q", "values": ["bbb", "cc"]},
        ]
    )
    found = run_checks(table, checks, Tools(cache=tmp_path))
    assert {finding.message: finding.rows for finding in found} == {
        "1 row fails: q has at most 2 characters.": (1,),
        "1 row fails: q is one of bbb, cc.": (0,),
    }


def test_a_column_that_is_gone_fails_as_a_whole(tmp_path: Path) -> None:
    table = table_of(tmp_path, q=["a"])
    checks = parse_checks([{"check": "not_blank", "column": "label"}])
    (finding,) = run_checks(table, checks, Tools(cache=tmp_path))
    assert finding.rows == ()
    assert "no column 'label'" in finding.message


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"check": "nonsense", "column": "q"}, "check"),
        ({"check": "not_blank"}, "column"),
        ({"check": "one_of", "column": "q"}, "values"),
        ({"check": "one_of", "column": "q", "values": []}, "values"),
        ({"check": "length", "column": "q"}, "min"),
        ({"check": "length", "column": "q", "max": "many"}, "max"),
        ({"check": "matches", "column": "q", "pattern": "("}, "pattern"),
        ({"check": "not_blank", "column": "q", "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_declaration_names_its_number_and_field(asked: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid, match="Check 2") as caught:
        parse_checks([{"check": "not_blank", "column": "q"}, asked])
    assert caught.value.field == field


@given(
    st.lists(
        st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
        min_size=1,
        max_size=5,
    )
)
def test_what_was_declared_reads_back_the_same(values: list[str]) -> None:
    check = Check.parse({"check": "one_of", "column": "q", "values": values})
    assert Check.parse(json.loads(json.dumps(check.to_dict()))) == check
    assert check.sentence


@given(st.text(max_size=30))
def test_any_text_has_turns_or_none(text: str) -> None:
    assert isinstance(turns_of(text), list)
