"""The same text on two sides is found by the surest method; what cannot be checked is counted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.curation import contamination
from core.curation.contamination import distinct_runs, shared_runs
from core.curation.leakage import detect, leakage_report, overlaps, split_column
from core.curation.tools import Tools
from core.datasets.samples import FOLDER
from tests.curation.planting import precision_recall, rows_of, table_of

LONG = (
    "When the scanner in warehouse four loses its connection to the base station the whole list of"
    " counted pallets is gone and my people have to begin again from the first shelf of the hall"
)


def tickets() -> list[str]:
    lines = (FOLDER / "support-tickets.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["body"] for row in map(json.loads, lines)]


def test_planted_leaks_are_found_and_nothing_else(tmp_path: Path) -> None:
    clean = tickets()
    long_ones = [i for i, text in enumerate(clean) if len(text) > 80]
    planted = long_ones[:12]
    copies = [
        clean[i] if n % 3 == 0 else clean[i].replace(".", "!").upper() if n % 3 == 1
        else clean[i].replace(" the ", " this ", 1)
        for n, i in enumerate(planted)
    ]  # fmt: skip
    values = {
        "text": clean + copies,
        "split": ["train"] * len(clean) + ["test"] * len(copies),
    }
    table = table_of(tmp_path, values, {"split": "metadata"})
    findings = detect(table, Tools(tmp_path / "cache"))
    truth = {*planted, *range(len(clean), len(clean) + len(copies))}
    precision, recall = precision_recall(rows_of(findings), truth)
    print(f"leakage: precision {precision:.2f}, recall {recall:.2f}")
    assert precision == 1.0
    assert recall >= 0.95
    assert {found.detail["method"] for found in findings} == {"exact", "near"}
    assert findings[0].message == "The same text is in test (1 row) and train (1 row)."
    assert findings == detect(table, Tools(tmp_path / "cache"))


def test_a_part_of_a_long_text_is_found_by_its_runs_of_words(tmp_path: Path) -> None:
    embedded = f"{'Some other story is told here, word by word by word. ' * 8} {LONG}. The end."
    report = overlaps([embedded, "short text"], [LONG, "another"], Tools(tmp_path))
    assert [(leak.method, leak.rows, leak.overlap) for leak in report.leaks] == [
        ("13 words", {"a": (0,), "b": (0,)}, 1.0)
    ]
    assert report.not_checkable == {"a": 1, "b": 1}
    assert report.counts == {"a": 2, "b": 2}
    assert "semantic" in report.skipped  # no embedding model here
    assert report.between() == {("a", "b"): 1}
    json.dumps(report.to_dict())


def test_a_phrase_of_many_rows_is_no_leak(tmp_path: Path) -> None:
    phrase = "Dear team I hope this message finds you well and that you had a good week so far and"
    a = [f"{phrase} number {i} {chr(97 + i) * 9} thing" for i in range(15)]
    b = [f"{phrase} case {i} {chr(107 + i) * 9} matter" for i in range(14)]
    report = overlaps(a, b, Tools(tmp_path), methods=["13 words"])
    assert report.leaks == ()


def test_runs_of_words_against_a_plain_computation() -> None:
    random = np.random.default_rng(5)
    words = random.integers(0, 3, 300).astype(np.uint64)
    owner = np.sort(random.integers(0, 12, 300))
    _, of = distinct_runs(words, owner, 4)
    for row in range(12):
        mine = words[owner == row].tolist()
        expected = {tuple(mine[i : i + 4]) for i in range(len(mine) - 3)}
        assert (of == row).sum() == len(expected)


def test_two_held_sides_meet_once(tmp_path: Path) -> None:
    texts = [LONG, LONG, "x", "x", "x"]
    sides = np.array([0, 1, 2, 2, 2])
    pairs, short = shared_runs(lambda: [texts], sides, Tools(tmp_path))
    assert [(pair.rows, pair.overlap) for pair in pairs] == [((0, 1), 1.0)]
    assert short.tolist() == [False, False, True, True, True]


def test_where_only_some_runs_are_held_an_overlap_is_of_the_same_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contamination, "MOST_RUNS", 100)
    text = " ".join(f"word{number}" for number in range(400))
    texts = [text, text, *(f"other {number}" for number in range(3))]
    pairs, _ = shared_runs(lambda: [texts], np.array([0, 1, 1, 1, 1]), Tools(tmp_path))
    assert [pair.rows for pair in pairs] == [(0, 1)]
    assert pairs[0].overlap > 0.7


def test_contamination_with_another_dataset_is_named(tmp_path: Path) -> None:
    other = table_of(tmp_path, {"q": ["something else", LONG]}, name="other")
    table = table_of(tmp_path, {"text": ["unique words here", LONG]})
    tools = Tools(tmp_path / "cache", others={"benchmark v2": other.to_dict()})
    findings = detect(table, tools)
    assert [(f.rows, f.detail["between"], f.severity) for f in findings] == [
        ((1,), ["benchmark v2", "this dataset"], "high")
    ]
    assert findings[0].detail["by_side"]["benchmark v2"] == [1]


def test_rows_of_one_split_and_rows_without_one_are_no_leak(tmp_path: Path) -> None:
    splits = ["train", "train", None, "test"]
    table = table_of(tmp_path, {"text": [LONG, LONG, LONG, "x"], "split": splits})
    assert split_column(table) == "split"
    assert detect(table, Tools(tmp_path / "cache")) == []
    report = leakage_report(table, ["a", "b", None, "b"], Tools(tmp_path / "cache"))
    assert [leak.rows for leak in report.leaks] == [{"a": (0,), "b": (1,)}]


def test_without_splits_there_is_nothing_to_find(tmp_path: Path) -> None:
    tools = Tools(tmp_path / "cache")
    assert detect(table_of(tmp_path, {"text": [LONG, LONG]}), tools) == []
    assert detect(table_of(tmp_path, {"text": [], "split": []}), tools) == []
    odd = table_of(tmp_path, {"fold": ["left", "right"], "text": [LONG, LONG]})
    assert split_column(odd) is None
    cells = [None, "", "x" * 1_000_000, "x" * 1_000_000]
    odd = table_of(tmp_path, {"text": cells, "subset": ["train", "test", "Train", "Test"]},
                   {"subset": "metadata"})  # fmt: skip
    assert rows_of(detect(odd, tools)) == {2, 3}
