"""Rows unlike all others stand out; clean data has next to none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from core.curation.outliers import detect, far, odd
from core.curation.tools import Tools
from core.datasets.samples import FOLDER
from core.models.starter import by_slug, home_folder
from tests.curation.planting import precision_recall, rows_of, table_of

PLANTED = [
    "Preheat the oven to 180 degrees, cream the butter with the sugar and fold in two eggs.",
    "The mitochondria is the powerhouse of the cell and produces ATP in oxidative phosphorylation.",
    "In the beginning the dragon slept under the mountain while the elves sang of the old wars.",
    "The home team won 3-1 after extra time thanks to a late header by the striker.",
    "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23",
    "word " * 3_000,
]


def tickets() -> list[str]:
    lines = (FOLDER / "support-tickets.jsonl").read_text(encoding="utf-8").splitlines()
    return [f"{row['subject']}\n{row['body']}" for row in map(json.loads, lines)]


@pytest.mark.starter
def test_planted_rows_stand_out_and_clean_data_has_next_to_none(
    tmp_path: Path, starter_home: Path
) -> None:
    model = home_folder(starter_home, by_slug("all-minilm-l6-v2"))
    tools = Tools(tmp_path / "cache", embedding_model=model)
    clean = tickets()
    false = rows_of(detect(table_of(tmp_path, {"text": clean}), tools))
    table = table_of(tmp_path, {"text": clean + PLANTED})
    findings = detect(table, tools)
    planted = range(len(clean), len(clean) + len(PLANTED))
    precision, recall = precision_recall(rows_of(findings), planted)
    print(f"outliers: {len(false)} on clean data, precision {precision:.2f}, recall {recall:.2f}")
    assert len(false) <= 0.04 * len(clean)
    assert precision >= 0.6
    assert recall >= 0.8
    assert "nearest rows are" in findings[0].message
    assert findings == detect(table, tools)


def test_length_and_characters_need_no_model(tmp_path: Path) -> None:
    texts = [
        f"An ordinary sentence about the matter of item {'abcde' * (i % 4)}" for i in range(60)
    ]
    strange = ["long " * 500, "%$#@!^&*()_+{}|:<>?~[]\\;/.,=-0123456789 %$#@!^&*()"]
    findings = detect(table_of(tmp_path, {"text": texts + strange}), Tools(tmp_path))
    assert [(f.rows, f.detail["by"]) for f in findings] == [
        ((60,), "length"),
        ((61,), "characters"),
    ]
    assert findings[0].message.startswith("Far longer than the others: 2,499 characters")


def test_far_vectors_are_beyond_the_tail() -> None:
    random = np.random.default_rng(0)
    bulk = random.normal(0, 0.1, (200, 32)) + np.eye(32)[0]
    alone = np.stack([-np.eye(32)[0], np.eye(32)[5], np.eye(32)[9]])
    vectors = np.concatenate([bulk, alone])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    beyond, distances, usual = far(vectors)
    assert np.flatnonzero(beyond).tolist() == [200, 201, 202]
    assert usual < 0.4 < distances[200]
    near = 1 - np.sort(vectors @ vectors[0])[::-1][1:11].mean()
    assert distances[0] == pytest.approx(near)


def test_modified_z_scores_as_published() -> None:
    """Iglewicz and Hoaglin 1993, in NIST's handbook, 1.3.5.17: 2.1, 2.6, 2.4, ... 6.0."""
    values = np.array([2.1, 2.6, 2.4, 2.5, 2.3, 2.1, 2.3, 2.6, 8.2, 8.3])
    scores = odd(values, values, least=0.0)
    assert np.flatnonzero(np.abs(scores) > 3.5).tolist() == [8, 9]


def test_few_rows_and_odd_cells(tmp_path: Path) -> None:
    assert detect(table_of(tmp_path, {"text": ["a", "b"]}), Tools(tmp_path)) == []
    assert detect(table_of(tmp_path, {"text": []}), Tools(tmp_path)) == []
    assert detect(table_of(tmp_path, {"text": [None] * 40}), Tools(tmp_path)) == []
    cells = [None, "", *["some words in a row"] * 40, "x" * 1_000_000]
    assert rows_of(detect(table_of(tmp_path, {"text": cells}), Tools(tmp_path))) == {42}
