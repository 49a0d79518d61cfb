"""Search: BM25 against a second implementation, ranks joined, neighbours by cosine."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.curation.search import K1, B, by_meaning, by_words, fused, nearest, words_of
from tests.curation.test_checks import table_of

TEXTS = [
    "The invoice was charged twice",
    "Charged twice for one invoice, please refund the invoice",
    "The app crashes on start",
    None,
    "Refund",
    "La cuenta no está, die Gebühr ist zu groß",
]


def bm25(texts: list[str | None], query: str) -> dict[int, float]:
    """The formula, written down a second time, in plain Python."""
    documents = [re.findall(r"\w+", (text or "").lower()) for text in texts]
    lengths = [len(text or "") for text in texts]
    usual = sum(lengths) / len(lengths)
    scores: dict[int, float] = {}
    for word in words_of(query):
        holding = sum(word in document for document in documents)
        weight = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for row, document in enumerate(documents):
            if count := document.count(word):
                norm = K1 * (1 - B + B * lengths[row] / usual)
                scores[row] = scores.get(row, 0) + weight * count * (K1 + 1) / (count + norm)
    return scores


@pytest.mark.parametrize(
    "query", ["invoice", "refund invoice", "THE app", "nothing here", "  ", "Gebühr está", "groß"]
)
def test_words_rank_as_the_formula_says(tmp_path: Path, query: str) -> None:
    found = by_words(table_of(tmp_path, q=TEXTS), query)
    expected = bm25(TEXTS, query)
    assert dict(found) == pytest.approx(expected)
    assert [score for _, score in found] == sorted(expected.values(), reverse=True)


words = st.lists(
    st.sampled_from(["red", "green", "blue", "redgreen", "grün", "синий", "2024", "赤"]), max_size=6
).map(" ".join)


@settings(max_examples=25, deadline=None)
@given(st.lists(words, min_size=1, max_size=8), words)
def test_any_texts_rank_as_the_formula_says(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], query: str
) -> None:
    table = table_of(tmp_path_factory.mktemp("search"), q=texts)
    assert dict(by_words(table, query)) == pytest.approx(bm25(list(texts), query))


def test_marks_in_a_query_are_only_marks(tmp_path: Path) -> None:
    table = table_of(tmp_path, q=['it\'s 100% "done"; DROP TABLE rows'])
    assert [row for row, _ in by_words(table, "it's 100% \"'; DROP --")] == [0]


def test_meaning_ranks_by_cosine_and_leaves_out_what_is_unlike(tmp_path: Path) -> None:
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float32)
    np.save(tmp_path / "v.npy", vectors)
    found = by_meaning(tmp_path / "v.npy", [2.0, 0.0])
    assert [row for row, _ in found] == [0, 1]
    assert [score for _, score in found] == pytest.approx([1.0, 0.8])


def test_a_row_is_not_its_own_neighbour(tmp_path: Path) -> None:
    vectors = np.array([[1, 0], [1, 0], [0.8, 0.6]], dtype=np.float32)
    np.save(tmp_path / "v.npy", vectors)
    assert [row for row, _ in nearest(tmp_path / "v.npy", 0)] == [1, 2]


def test_a_row_that_both_rankings_have_comes_first() -> None:
    joined = fused([(7, 3.0), (1, 2.0)], [(2, 0.9), (1, 0.8)])
    assert [row for row, _ in joined] == [1, 2, 7]
    assert joined[0][1] == pytest.approx(2 / 62)
