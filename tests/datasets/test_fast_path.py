"""The fast reader of JSON lines accepts, stores and names exactly what the reader of rows does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.datasets import json_chunks
from core.datasets.faults import BadRows
from core.datasets.importing import Imported, import_source
from core.datasets.readers import open_source
from core.errors import Invalid

MAPPING = {"q": "input", "x": {"role": "metadata"}}
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
NUMBER = st.one_of(
    st.integers(), st.integers(-5, 5), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e16, 1e-7, 2**53, 2**53 + 1, 1e300]),
)  # fmt: skip
SCALAR = st.one_of(st.none(), TEXT, st.booleans(), NUMBER, st.just("2024-01-02"))
NESTED = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
KINDS: list[st.SearchStrategy[Any]] = [
    TEXT, st.integers(-9, 9), NUMBER, st.booleans(), SCALAR, NESTED,
    st.lists(st.fixed_dictionaries({"role": TEXT, "content": TEXT}), max_size=3),
]  # fmt: skip
ODD = [
    '{"q": "a", "x": NaN}', '{"q": "a", "x": [1, Infinity]}', '{"q": "a",}', '{"q": 1}{"q": 2}',
    '{"q": "a", "q": "b"}', '{"q": "a", "x": {"k": 1, "k": 2}}', '{"q": "\\u0000"}',
    '{"q": "a", "x": {"k": ["\\u0000"]}}',
    '{"q": "a", "x": {"\\u0000": 1}}', '{"q": "a", "z": "\\u0000", "\\u0000": 1}', "[1]", "",
    '{"q": "\\ud800"}', '{"q": " "}', '{"x": 1}', '{"q": "a", " x": 1}', '{"q": "a", "": 1}',
    '{"q": "a", "x": -0}', '{"q": "a", "x": 1e999}', '{"q": "a", "x": 12345678901234567890123}',
    '{"q": "a", "x": 1.10}', '{"q": "a", "x": {"\\u00e9\\/": "\\u001f\\t\\u2028"}}', ' {"q": 5} ',
    '{"q": "a", "x": [0.1e-7, 1E5, -0.0]}', '{"q": "a", "x": "\ufeff"}', "\u00a0",
    '{"q": "a", "x": ' + "[" * 40 + "]" * 40 + "}", '{"q": "a", "x": ' + "[" * 50_000,
    '{"q": "a", "x": ' + '{"a":' * 70 + "1" + "}" * 71, '{"q": "' + "[{" * 4_600 + '"}',
    '{"q": "\u2003"}', '{"q": null}', '{"q": "a", "x": "2024-01-01T00:00:00Z"}', '{"q": ["a"]}',
    "{}", '{"q": "a"',
    '\n1}', '{"q": "a", "x":\n"b"}', '{"q": "a"}\r',
]  # fmt: skip
quick = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def outcome(data: bytes, folder: Path, mapping: dict[str, Any]) -> Any:
    """What was made of the data: the version, or every fault."""
    try:
        found = import_source(open_source("rows.jsonl", data), mapping, folder)
    except BadRows as error:
        return [fault.to_dict() for fault in error.errors]
    except Invalid as error:
        return error.message
    found.written.drop()
    return found.written.content_hash, found.columns, found.written.row_count


def both(data: bytes, folder: Path, mapping: dict[str, Any] = MAPPING) -> tuple[Any, Any]:
    fast = outcome(data, folder, mapping)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_chunks, "_fast", lambda *_: None)
        return fast, outcome(data, folder, mapping)


@quick
@given(st.data(), st.sampled_from(KINDS), st.sampled_from(KINDS))
def test_rows_of_any_kinds_are_stored_alike(
    tmp_path: Path, data: st.DataObject, one: Any, other: Any
) -> None:
    """The second half of the file may hold other kinds than the first."""
    row = st.fixed_dictionaries({"q": TEXT.filter(str.strip)}, optional={"x": one})
    late = st.fixed_dictionaries({"q": TEXT.filter(str.strip)}, optional={"x": other})
    rows = data.draw(st.lists(row, min_size=1, max_size=6)) + data.draw(st.lists(late, max_size=4))
    ascii_only = data.draw(st.booleans())
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_chunks, "SMALLEST_CHUNK", data.draw(st.sampled_from([40, 2**20])))
        fast, slow = both("\n".join(lines).encode(), tmp_path)
    assert fast == slow


@pytest.mark.parametrize("line", ODD)
def test_odd_lines_are_taken_or_refused_alike(tmp_path: Path, line: str) -> None:
    good = '{"q": "fine", "x": null}\n'
    for data in (line, good + line + "\n" + good, line + "\n" + line):
        fast, slow = both(data.encode(), tmp_path)
        assert fast == slow, data[:80]
    fast, slow = both((good + line).encode(), tmp_path, {"q": {"role": "input", "optional": True}})
    assert fast == slow


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-0", "1.5"), ("-0", "-0"), ("-0.0", "0"), ("[-0]", "[1.5]"), ("0.1e1", "1"),
        ("9007199254740993", "1.5"), ("-9007199254740993", "1e0"), ("9007199254740992", "0.5"),
        ("[9007199254740993]", "[1.5]"), ("12345678901234567890", "1"), ("5e-324", "1"),
    ],
)  # fmt: skip
def test_whole_numbers_among_others_are_stored_alike(tmp_path: Path, one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        lines = f'{{"q": "a", "x": {first}}}\n{{"q": "b", "x": {second}}}\n'
        for data in (lines, lines.replace('"x"', '"y"').replace('"q"', '"x"')):
            mapping = MAPPING if '"q"' in data else {"x": "metadata", "y": "input"}
            fast, slow = both(data.encode(), tmp_path, mapping)
            assert fast == slow, data


@quick
@given(st.lists(st.sampled_from(ODD) | st.just('{"q": "a", "x": "b"}'), min_size=1, max_size=6))
def test_any_mixture_of_lines_is_taken_or_refused_alike(tmp_path: Path, lines: list[str]) -> None:
    fast, slow = both("\n".join(lines).encode(), tmp_path)
    assert fast == slow


@quick
@given(st.binary(max_size=60))
def test_any_bytes_in_a_line_are_taken_or_refused_alike(tmp_path: Path, noise: bytes) -> None:
    data = b'{"q": "a"}\n{"q": "' + noise + b'"}\n'
    fast, slow = both(data, tmp_path)
    assert fast == slow


def counted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Which chunks were read fast, in order."""
    taken: list[bool] = []
    ask: Callable[..., Any] = json_chunks._fast

    def fast(*given: Any) -> Any:
        found = ask(*given)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(json_chunks, "_fast", fast)
    return taken


def imported(path: Path, mapping: dict[str, Any], folder: Path) -> Imported:
    return import_source(open_source(path.name, path), mapping, folder)


def test_clean_files_are_read_fast_and_an_odd_chunk_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_chunks, "SMALLEST_CHUNK", 2_000)
    chats = [{"role": "user", "content": "caf\u00e9 [x]"}, {"role": "assistant", "content": "{}"}]
    rows = [{"q": f"{n}", "x": 1.5, "at": "2024-01-01", "m": chats} for n in range(100)]
    rows[50]["at"] = 7  # makes the chunk mixed, and the column stays a text
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    taken = counted(monkeypatch)
    mapping = {"q": "input", "x": "metadata", "at": "metadata", "m": "metadata"}
    found = imported(path, mapping, tmp_path / "out")
    assert [column.type for column in found.columns] == ["text", "number", "text", "json"]
    assert taken.count(False) == 1
    assert len(taken) > 5


def test_a_fault_far_in_is_named_by_its_row_and_line_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_chunks, "SMALLEST_CHUNK", 300)
    lines = ['{"q": "x"}'] * 99 + ["", '{"q": }', '{"q": "y"}', '{"q": "\xff"}']
    path = tmp_path / "rows.jsonl"
    path.write_bytes("\n".join(lines).encode("latin-1"))
    with pytest.raises(BadRows) as caught:
        imported(path, {"q": "input"}, tmp_path / "out")
    assert [(fault.row, fault.line) for fault in caught.value.errors] == [(99, 101), (101, 103)]
    assert "line 103 is not UTF-8" in caught.value.errors[1].message
    assert not (tmp_path / "out").exists()
