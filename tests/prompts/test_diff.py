"""The word diff: complete in both directions, and readable."""

from __future__ import annotations

import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.prompts.diff import word_diff

TEXTS = st.lists(st.sampled_from(["red", "blue", " ", "\n", ",", "x1"]), max_size=25).map("".join)


def test_a_changed_word_is_one_delete_and_one_insert() -> None:
    assert word_diff("Reply with the label.", "Reply with one label.") == [
        ("equal", "Reply with "),
        ("delete", "the"),
        ("insert", "one"),
        ("equal", " label."),
    ]


def test_neighbouring_changes_read_as_one() -> None:
    assert word_diff("say old words here", "say new terms here") == [
        ("equal", "say "),
        ("delete", "old words"),
        ("insert", "new terms"),
        ("equal", " here"),
    ]


def test_equal_and_empty_texts() -> None:
    assert word_diff("", "") == []
    assert word_diff("same", "same") == [("equal", "same")]
    assert word_diff("", "new") == [("insert", "new")]


def test_long_texts_are_compared_in_seconds() -> None:
    old = "\n".join(f"line {n} of the text" for n in range(3_000))
    started = time.monotonic()
    pieces = word_diff(old, old.replace("line 1500 ", "row 1500 "))
    assert time.monotonic() - started < 10
    assert [op for op, _ in pieces] == ["equal", "delete", "insert", "equal"]


@given(TEXTS, TEXTS)
def test_both_texts_can_be_read_back(old: str, new: str) -> None:
    pieces = word_diff(old, new)
    assert "".join(text for op, text in pieces if op != "insert") == old
    assert "".join(text for op, text in pieces if op != "delete") == new
    assert all(text for _, text in pieces)
    assert all(a[0] != b[0] for a, b in pairwise(pieces))
