"""Hostile text files: broken UTF-8, quotes, nesting, huge cells, null bytes, a million columns."""

from __future__ import annotations

import csv
import io
import json
import resource
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.datasets.faults import BadRows
from core.datasets.readers import open_source
from core.datasets.service import Datasets
from core.datasets.values import escape_formula, unescape_formula
from core.errors import Invalid
from core.governance.permissions import OWNER
from core.store.database import Store
from tests.datasets.making import faults, gzipped, outcome, values, zstd

MIB = 1024**2
NAMES = ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt", "a.csv.gz", "a.zip", "a", ".", "\0.csv"]

# What tends to break readers, put together at random.
SHARDS = st.sampled_from([
    b'"', b'""', b",", b";", b"\t", b"\n", b"\r\n", b"\r", b"\0", b"a", b"q,a\n", b"\xff", b"\xc3",
    b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"{", b"}", b"[", b"]",
    b'{"q": 1}', b'"q": ', b"null", b"NaN", b"1e999", b"\\", b"\\u0000", b"\\ud800", b"=1+1",
    b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06", b"PAR1", b"\x28\xb5\x2f\xfd", b"ARROW1", b" ",
])  # fmt: skip


@given(st.sampled_from(NAMES), st.lists(SHARDS, max_size=30))
@settings(max_examples=300, deadline=None)
def test_shards_in_any_order_are_read_or_refused_in_words(name: str, shards: list[bytes]) -> None:
    outcome(name, b"".join(shards))


@given(st.sampled_from(NAMES), st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_bytes_packed_or_not_are_read_or_refused_in_words(name: str, data: bytes) -> None:
    for packed in (data, gzipped(data), zstd(data)):
        outcome(name, packed)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_good_file_with_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    rows = [{"q": "é {[", "n": 1}, {"q": '"', "n": [2]}]
    name, good = data.draw(st.sampled_from([
        ("a.json", json.dumps(rows, ensure_ascii=False, indent=1).encode()),
        ("a.json", json.dumps({"d": rows}).encode()),
        ("a.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows)),
        ("a.csv", 'q,n\n"é ""x""",1\n"a\nb",2\n'.encode()),
        ("a.csv", "q,n\né,1\n".encode("utf-16")),
    ]))  # fmt: skip
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(SHARDS)
    outcome(name, bytes(damaged))


@given(st.lists(st.text(), min_size=1, max_size=4), st.sampled_from(["utf-16", "utf-32", "utf-8"]))
def test_any_text_survives_any_unicode_encoding(cells: list[str], encoding: str) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL)
    writer.writerows([[f"c{n}" for n in range(len(cells))], cells])
    data = buffer.getvalue().encode(encoding, "surrogatepass")
    source = open_source("a.csv", data)
    if any("\ud800" <= char <= "\udfff" for cell in cells for char in cell):
        assert faults(source)
        return
    (record,) = source.records()
    assert not record.faults
    assert list(record.values.values()) == cells


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b'q,a\n"never closed,1\nb,2\n', "a quote opened in line 2 is never closed"),
        ("a.csv", b'"never closed\nb\n', "header cannot be read"),
        ("a.csv", b'q,a\n"a\r\nb\nc",2\n', None),
        ("a.csv", b"q,a\r1,2\r", "line 1 has a lone|lone carriage|header cannot be read"),
        ("a.csv", b"q,a\nb\rc,2\n", "lone carriage return"),
        ("a.csv", b"q\n\0\n", None),  # a fault once the column is imported
        ("a.csv", b"q\0,a\n1,2\n", "column 1 is not clean text"),
        ("a.csv", b"q,q\n1,2\n", "More than one column is named 'q'"),
        ("a.csv", b"q,a\n", None),
        ("a.csv", b"\n\n\n", "is empty"),
        ("a.csv", b"\xef\xbb\xbf", "is empty"),
        ("a.csv", b"\xff\xfe", "no header"),
        ("a.jsonl", b"[" * 1_000 + b"]" * 1_000, "nested too deep|an array"),
        ("a.jsonl", b'{"q":' * 1_000 + b"1" + b"}" * 1_000, "nested too deep"),
        ("a.jsonl", b'{"q":' * 100 + b"1" + b"}" * 100, "nested too deep"),
        ("a.json", b"[" * 100_000, "nested too deep|ends within"),
        ("a.json", b'[{"q":' + b"[" * 1_000 + b"]" * 1_000 + b"}]", "nested too deep"),
        ("a.json", b'{"q":' * 1_000 + b"1" + b"}" * 1_000, "nested too deep"),
        ("a.jsonl", b'{"q": "\xed\xa0\x80"}', "not UTF-8"),
    ],
)
def test_a_hostile_text_is_named(name: str, data: bytes, words: str | None) -> None:
    try:
        found = [message for _, message in faults(open_source(name, data))]
    except Invalid as error:
        found = [error.message]
    if words is None:
        assert found == []
    else:
        assert any(word in message for word in words.split("|") for message in found), found


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n"),
        ("a.csv", b"q" + b",q" * 1_000_000 + b"\n"),
        ("a.csv", b"q\n" + b"," * 1_000_000 + b"\n"),
        ("a.jsonl", b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}\n"),
        ("a.jsonl", b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b',"k99999":2}\n'),
        ("a.json", b"[{" + b",".join(b'"k%d":1' % n for n in range(300_000)) + b"}]"),
    ],
    ids=["names", "twins", "cells", "keys", "twin keys", "document"],
)
def test_a_million_columns_are_refused(datasets: Datasets, name: str, data: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        datasets.import_rows(OWNER, name="M", filename=name, data=data, mapping={"q": "input"})
    assert len(caught.value.message) < 500
    assert datasets.list(OWNER) == []


@pytest.fixture
def datasets(store: Store) -> Datasets:
    return Datasets(store)


def test_cells_of_ten_megabytes_come_through_whole(datasets: Datasets) -> None:
    cell = 'é"x",{[\n' * (10 * MIB // 9)
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([["q"], [cell], ["short"]])
    files = {
        "a.csv": buffer.getvalue().encode(),
        "a.json": json.dumps([{"q": cell}, {"q": "short"}], ensure_ascii=False).encode(),
    }
    versions = {
        datasets.import_rows(OWNER, name="Long", filename=name, data=data, mapping={"q": "input"})[
            "id"
        ]
        for name, data in files.items()
    }
    (version,) = versions
    long, short = datasets.examples(OWNER, version)
    assert (long.inputs["q"] == cell, short.inputs["q"]) == (True, "short")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json"])
def test_a_line_or_value_without_end_is_refused_within_bounds(name: str) -> None:
    start = {"a.csv": b'q\n"', "a.jsonl": b'{"q": "', "a.json": b'[{"q": "'}[name]
    data = start + b"x" * (70 * MIB)
    tracemalloc.start()
    try:
        said = outcome(name, data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "64 MiB" in said or name == "a.csv"
    assert peak < 6 * 70 * MIB


def test_a_bad_row_anywhere_leaves_nothing_behind(datasets: Datasets, home: Path) -> None:
    for name, data in {
        "a.csv": b'q\nfine\n"never closed\n',
        "a.json": b'[{"q": "fine"}, {"q": "\\u0000"}]',
        "a.jsonl": b'{"q": "fine"}\n{"q": "\xff"}\n',
        "a.csv.gz": gzipped(b"q\nfine\nb\0\n"),
    }.items():
        with pytest.raises(BadRows) as caught:
            datasets.import_rows(OWNER, name="B", filename=name, data=data, mapping={"q": "input"})
        assert caught.value.row == 1
    assert datasets.list(OWNER) == []
    assert not [*(home / "datasets").rglob("*.parquet")]


@given(st.one_of(st.text(), st.integers(), st.none(), st.floats()))
def test_a_formula_is_escaped_and_comes_back(cell: object) -> None:
    escaped = escape_formula(cell)
    assert not (isinstance(escaped, str) and escaped[:1] in tuple("=+-@\t\r\n＝＋－＠"))
    if isinstance(cell, str):
        assert unescape_formula(escaped) == cell
    else:
        assert escaped is cell


def test_formulas_are_rows_like_any_other() -> None:
    source = open_source("a.csv", b"q\n=cmd|' /C calc'!A0\n@SUM(A1)\n")
    assert [row["q"] for row in values(source)] == ["=cmd|' /C calc'!A0", "@SUM(A1)"]


def test_reading_many_rows_takes_the_memory_of_few(tmp_path: Path) -> None:
    """A process of its own would be cleaner; the peak of this one must simply not move."""
    path = tmp_path / "a.json"
    row = json.dumps({"q": "x" * 1_000}).encode()
    path.write_bytes(b"[" + b",".join([row] * 60_000) + b"]")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert sum(1 for _ in open_source("a.json", path).records()) == 60_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # kB; 60 MB file
