"""Personal data is found, and what only looks like it is left alone: measured, with a margin."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.curation import personal, recognizers, secrets
from core.curation.cells import pieces, replaced
from core.curation.personal import ANCHORS, PARTS, TYPES, detect, find
from core.curation.spans import Span, best, mark, possible, preview
from core.curation.tools import Tools
from core.settings import PROJECT_ROOT
from tests.curation.planted import CLEAN, PERSONAL
from tests.curation.versions import table_of, table_with


def found(text: str, column: str = "") -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in find(text, column)]


def test_precision_and_recall_on_planted_texts(capsys: pytest.CaptureFixture[str]) -> None:
    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    for text, expected in PERSONAL + [(text, []) for text in CLEAN]:
        got, wanted = Counter(found(text)), Counter(expected)
        right.update(type_ for type_, _ in (got & wanted).elements())
        for type_, words in (got - wanted).elements():
            wrong[type_] += 1
            print("false hit", type_, repr(words), "in", repr(text))
        for type_, words in (wanted - got).elements():
            missed[type_] += 1
            print("missed", type_, repr(words), "in", repr(text))
    precision = right.total() / (right.total() + wrong.total())
    recall = right.total() / (right.total() + missed.total())
    print(f"planted: {len(PERSONAL)} texts, {len(CLEAN)} clean; precision {precision:.3f}, "
          f"recall {recall:.3f}")  # fmt: skip
    for type_ in TYPES:
        assert right[type_] >= 2, type_
    assert precision >= 0.97
    assert recall >= 0.97


def test_the_samples_are_nearly_clean() -> None:
    hits, cells = [], 0
    for path in sorted((PROJECT_ROOT / "data" / "samples").glob("s*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            for name, value in json.loads(line).items():
                if isinstance(value, str):
                    cells += 1
                    hits += found(value, name)
    print(f"samples: {len(hits)} hits in {cells} cells: {hits}")
    assert [hit for hit in hits if hit[0] != "person"] == []
    assert len(hits) <= cells / 150


@pytest.mark.parametrize("text", [text for text, _ in PERSONAL])
def test_the_quick_look_lets_through_whatever_the_close_look_finds(text: str) -> None:
    assert possible(pa.array([text]), ANCHORS) == [True]


@pytest.mark.parametrize("text", [text for text, _ in PERSONAL])
def test_each_part_is_asked_where_it_finds_something(text: str) -> None:
    parts = frozenset(name for name, form in PARTS.items() if possible(pa.array([text]), form)[0])
    assert find(text, parts=parts) == find(text)


def test_a_column_of_names_or_numbers_says_what_its_cells_are() -> None:
    assert found("Okafor Nneka", "customer_name") == [("person", "Okafor Nneka")]
    assert found("Okafor Nneka", "title") == []
    assert found("4155550132", "phone") == [("phone", "4155550132")]
    assert found("4155550132", "order_number") == []
    assert found("12/04/1979", "date_of_birth") == [("date_of_birth", "12/04/1979")]
    assert found("536904399", "ssn") == [("us_ssn", "536904399")]


def test_figures_in_an_address_of_the_web_are_left_and_those_after_it_are_not() -> None:
    card = "4111 1111 1111 1111"
    assert found("https://shop.example/pay/4111111111111111/done") == []
    assert found(f"https://shop.example/pay\n{card}") == [("credit_card", card)]
    assert found(f"See www.shop.example\t{card}") == [("credit_card", card)]


@pytest.mark.parametrize("text", ["C:\\token=9f8A7b6C5d4E3f2A1b0C9d", "\\name is Anna Smith"])
def test_a_backslash_in_json_hides_nothing_after_it(text: str) -> None:
    cell = json.dumps({"text": text})
    assert possible(pa.array([cell]), f"{ANCHORS}|{secrets.ANCHORS}", "json") == [True]


def test_whoever_asks_while_presidio_is_being_imported_waits_for_all_of_it() -> None:
    code = (
        "import sys, threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from core.curation.recognizers import load\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    whole = [f.result() for f in [pool.submit(lambda: load().UkNinoRecognizer)"
        " for _ in range(8)]]\n"
        "assert len(set(whole)) == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_finding_a_hit_and_none_gives_the_words_away(tmp_path: Path) -> None:
    cell = "Write jane.doe@example.com, I repeat, jane.doe@example.com or ring +44 20 7946 0958"
    table = table_with(tmp_path, {"a": ["nothing", cell, None], "b": ["", cell, "x" * 100]})
    findings = detect(table, Tools(cache=tmp_path))
    assert [(f.rows, f.column, f.detail["type"]) for f in findings] == [
        ((1,), "a", "email"), ((1,), "a", "phone"), ((1,), "b", "email"), ((1,), "b", "phone"),
    ]  # fmt: skip
    email = findings[0].detail
    assert [cell[span["start"] : span["end"]] for span in email["spans"]] == [
        "jane.doe@example.com"
    ] * 2
    assert email["spans"][0]["column"] == "a"
    assert all(f.kind == "personal_data" and f.severity == "medium" for f in findings)
    assert "jane.doe" not in json.dumps([f.to_dict() for f in findings])
    assert len({f.id for f in findings}) == 4


def test_strings_inside_json_are_looked_at_one_by_one(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "hi\njohn.roe@example.com"}, {"role": "x", "content": "y"}]
    table = table_of(tmp_path, [json.dumps(chat), "{broken john.roe@example.com"], kind="json")
    whole, broken = detect(table, Tools(cache=tmp_path))
    assert whole.detail["spans"][0]["path"] == [0, "content"]
    assert whole.detail["spans"][0]["start"] == 3
    assert "path" not in broken.detail["spans"][0]


def test_options_choose_types_columns_and_how_sure(tmp_path: Path) -> None:
    table = table_with(tmp_path, {"a": ["jane@example.com from 192.168.1.24"], "b": ["x@y.com"]})

    def types(**options: object) -> list[str]:
        return [f.detail["type"] for f in detect(table, Tools(cache=tmp_path, options=options))]

    assert types() == ["email", "ip_address", "email"]
    assert types(types=["ip_address"]) == ["ip_address"]
    assert types(columns=["b"]) == ["email"]
    assert types(threshold=0.9) == ["email", "email"]


def test_presidio_comes_without_torch_and_asks_nobody(tmp_path: Path) -> None:
    code = (
        "import sys; from core.curation.personal import find\n"
        "print([s.type for s in find('a.b@example.com 4111 1111 1111 1111 x@nowhere.museum')])\n"
        "print([name for name in ('torch', 'transformers', 'stanza') if name in sys.modules])\n"
        "import torch\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_ROOT,
        env={
            "PYTHONPATH": str(PROJECT_ROOT / "tests" / "no_network"),
            "LATHE_TEST_SOCKET_LOG": str(tmp_path / "refused.log"),
            "HOME": str(tmp_path),
            "PATH": "",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[:2] == ["['email', 'credit_card', 'email']", "[]"], done.stderr
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "refused.log").exists()
    assert not (tmp_path / ".cache" / "python-tldextract").exists()


@pytest.mark.parametrize(
    "piece",
    ["a-", "1-", "@", "x@", "A ", "(1", "Mr. ", "born ", "12 Main ", "1.1.", "ab:", "Best,\n", "1"],
)
def test_a_hostile_cell_costs_time_in_proportion_to_its_length(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.process_time()
        find(text)
        return time.process_time() - began

    find("warm@example.com 1.2.3.4")
    small = max(seconds(20_000), 0.02)
    assert seconds(80_000) < small * 12


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_spans_inside_it_that_do_not_overlap(text: str) -> None:
    at = 0
    for span in find(text):
        assert at <= span.start < span.end <= len(text)
        assert span.type in TYPES
        at = span.end


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20), st.floats(0, 1)), max_size=40))
def test_of_overlapping_spans_the_surer_stays(given_: list[tuple[int, int, float]]) -> None:
    spans = [Span("x", score, start, start + length) for start, length, score in given_]
    kept = best(spans)
    assert kept == sorted(kept, key=lambda s: s.start)
    assert all(a.end <= b.start for a, b in itertools.pairwise(kept))
    for span in spans:
        rivals = [k for k in kept if k.start < span.end and span.start < k.end]
        assert rivals, span
        assert max(rival.score for rival in rivals) >= span.score


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9_000_000) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON_VALUES)
def test_strings_in_json_are_put_back_where_they_were(value: object) -> None:
    cell = json.dumps(value, ensure_ascii=False)
    places = {piece.path: piece.text for piece in pieces(cell, "json", "x")}
    assert replaced(cell, "json", places) == cell
    if places:
        changed = json.loads(replaced(cell, "json", dict.fromkeys(places, "new")))
        assert {p.text for p in pieces(json.dumps(changed), "json", "x")} <= {
            "new", *(f"new {count}" for count in range(2, 9)),
        }  # fmt: skip
        assert json.dumps(changed).count("new") == len(places)


def test_marks_tell_hits_apart_and_give_nothing_away() -> None:
    assert mark("r1", "text", "a@b.com") == mark("r1", "text", "a@b.com")
    assert len({mark("r1", c, t) for c in ("a", "b") for t in ("x", "y")}) == 4
    assert re.fullmatch("[0-9a-f]{6}", mark("r", "c", "\ud800"))
    assert preview("jane.doe@example.com") == "ja…om"
    assert preview("Hunter2") == "H…"


def test_every_type_has_a_severity_and_words() -> None:
    assert {severity for severity, _ in personal.TYPES.values()} <= {"high", "medium", "low"}
    assert all(label for _, label in personal.TYPES.values())
    assert {pattern.type for pattern in recognizers.PATTERNS} <= personal.TYPES.keys()
