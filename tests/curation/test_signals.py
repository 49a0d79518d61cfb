"""Signals of rows: against plain second implementations, and over a whole file."""

from __future__ import annotations

import json
import math
import re
import string
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.curation.perplexity import BATCH_TOKENS, Perplexity, batches
from core.curation.repetition import LIMITS, repetition
from core.curation.signals import JUDGED_CHARACTERS, SIGNALS, lexical, summary, write_signals
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.table import Table
from core.errors import Invalid, ModelUnavailable
from tests.models.tiny import save_tiny_model

TEXTS = st.lists(
    st.one_of(
        st.text(alphabet="ab \n", max_size=60),
        st.text(max_size=40),
        st.lists(st.sampled_from(["spam", "eggs", "ham."]), max_size=25).map(" ".join),
    ),
    min_size=1,
    max_size=8,
)


def table_of(folder: Path, texts: list[str | None]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "version.parquet"
    rows = {
        "row_id": [f"row_{at}" for at in range(len(texts))],
        "row_index": list(range(len(texts))),
        "text": pa.array(texts, pa.string()),
    }
    pq.write_table(pa.table(rows), path)
    return Table(path, (Column("text", "input", "text"),))


def written(table: Table, folder: Path, **options: Any) -> tuple[list[dict[str, Any]], Any]:
    import pyarrow.parquet as pq

    write_signals(table, folder, Tools(cache=folder, options=options), None)
    rows = pq.read_table(folder / "signals.parquet").to_pylist()
    return rows, json.loads((folder / "signals.json").read_text())


def slowly(text: str) -> dict[str, float]:
    """The measures of one text as one would write them down, without arrays."""
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if line]
    seen: set[str] = set()
    again = []
    for line in lines:
        if line in seen:
            again.append(line)
        seen.add(line)
    words = text.split()
    weight = sum(len(word) + 1 for word in words)
    found = {
        "duplicate_line_share": len(again) / len(lines) if lines else 0.0,
        "duplicate_line_character_share": sum(map(len, again)) / max(1, sum(map(len, lines))),
    }
    for n in (2, 3, 4):
        grams = Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))
        most = max(
            (sum(len(w) + 1 for w in gram) * k for gram, k in grams.items() if k > 1), default=0
        )
        found[f"top_{n}gram_share"] = min(1.0, most / weight) if weight else 0.0
    fives = Counter(tuple(words[at : at + 5]) for at in range(len(words) - 4))
    covered = {
        at + offset
        for at in range(len(words) - 4)
        if fives[tuple(words[at : at + 5])] > 1
        for offset in range(5)
    }
    part = sum(len(words[at]) + 1 for at in covered)
    found["repeated_5gram_share"] = part / weight if weight else 0.0
    return found


@settings(deadline=None, max_examples=60)
@given(TEXTS)
def test_repetition_is_what_a_plain_count_gives(texts: list[str]) -> None:
    found = repetition(texts)
    assert set(found) == set(LIMITS)
    for at, text in enumerate(texts):
        if re.search(r"[^\S\n ]|[\x1c-\x1f\x85\u2028\u2029]", text):
            continue  # Python and Arrow part words and lines at different rare characters
        wanted = slowly(text)
        for name, value in wanted.items():
            assert found[name][at] == pytest.approx(value), (name, text)


@settings(deadline=None, max_examples=60)
@given(TEXTS)
def test_no_text_is_too_odd_for_a_signal(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    found = {**lexical(texts), **repetition(texts)}
    for name, values in found.items():
        assert len(values) == len(texts)
        if name in SIGNALS and SIGNALS[name].unit == "share":
            assert all(math.isnan(value) or 0 <= value <= 1 for value in values), name


def test_reading_ease_is_flesch_s_formula() -> None:
    easy, hard, empty, foreign = lexical(
        [
            "The cat sat on the mat. The dog ran to the man.",
            "Institutional heterogeneity necessitates organizational considerations.",
            " \n",
            "Как мне вернуть товар обратно в магазин?",
        ]
    )["reading_ease"]
    # 12 words, 2 sentences, 12 syllables
    assert easy == pytest.approx(206.835 - 1.015 * 6 - 84.6 * 1)
    assert hard < 0 < easy
    assert math.isnan(empty)
    assert math.isnan(foreign)


def test_type_token_ratio_ignores_case_and_punctuation() -> None:
    found = lexical(["No, no, no!", "one two three", ""])
    assert list(found["words"]) == [3, 3, 0]
    assert found["type_token_ratio"][0] == pytest.approx(1 / 3)
    assert found["type_token_ratio"][1] == 1
    assert math.isnan(found["type_token_ratio"][2])


def test_non_ascii_is_counted_in_characters() -> None:
    assert list(lexical(["abc", "aé", "日本", "a😀"])["non_ascii_share"]) == [0, 0.5, 1, 0.5]


def test_a_row_each_with_its_id_and_what_could_not_be_told_is_empty(tmp_path: Path) -> None:
    texts = ["The cat sat on the mat and the dog was in the garden.", None, "", "spam " * 200]
    rows, spread = written(table_of(tmp_path, texts), tmp_path / "out")
    assert [row["row_id"] for row in rows] == ["row_0", "row_1", "row_2", "row_3"]
    assert [row["characters"] for row in rows] == [len(text or "") for text in texts]
    assert rows[0]["language"] == "en"
    assert rows[1]["reading_ease"] is rows[1]["type_token_ratio"] is rows[1]["language"] is None
    assert rows[0]["tokens"] is rows[0]["perplexity"] is None
    assert rows[3]["top_2gram_share"] == 1
    assert spread["signals"]["top_2gram_share"]["over"] == 1
    assert spread["signals"]["tokens"]["rows"] == 0
    assert spread["row_count"] == 4
    assert not list((tmp_path / "out").glob("*.unfinished"))


def test_long_rows_are_judged_by_their_beginning_and_measured_whole(tmp_path: Path) -> None:
    long = "word " * 1_000_000
    rows, _ = written(table_of(tmp_path, [long, "short", long]), tmp_path / "out", language=False)
    assert [row["characters"] for row in rows] == [len(long), 5, len(long)]
    assert rows[0]["words"] == JUDGED_CHARACTERS // 5


def test_an_empty_version_and_one_without_text_have_signals_too(tmp_path: Path) -> None:
    rows, spread = written(table_of(tmp_path, []), tmp_path / "out")
    assert rows == []
    assert spread["signals"]["words"]["histogram"] is None
    numbers = Table(table_of(tmp_path, ["1", "2"]).path, (Column("n", "metadata", "integer"),))
    rows, _ = written(numbers, tmp_path / "out")
    assert [row["words"] for row in rows] == [0, 0]


def test_language_of_large_data_is_told_of_some_rows_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.curation.signals.LANGUAGE_ROWS", 5)
    text = "The cat sat on the mat and the dog was in the garden."
    rows, spread = written(table_of(tmp_path, [text] * 20), tmp_path / "out")
    assert [at for at, row in enumerate(rows) if row["language"]] == [0, 4, 8, 12, 16]
    assert spread["language_rows"] == 5
    assert spread["languages"] == [{"value": "en", "count": 5}]


def test_a_stop_leaves_no_half_file(tmp_path: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    tools = Tools(tmp_path, check=stop)
    with pytest.raises(InterruptedError):
        write_signals(table_of(tmp_path, ["a"]), tmp_path / "out", tools, None)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "options", [{"perplexity": "yes"}, {"language": 1}, {"perplexity_rows": 0}]
)
def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=next(iter(options))):
        written(table_of(tmp_path, ["a"]), tmp_path / "out", **options)


def test_perplexity_needs_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="no language model"):
        written(table_of(tmp_path, ["a"]), tmp_path / "out", perplexity=True)


def test_one_long_text_among_short_ones_makes_no_batch_of_all() -> None:
    lengths = [2] * 40 + [256] * 20 + [0, 1]
    found = list(batches(lengths))
    assert sorted(at for batch in found for at in batch) == list(range(60))
    assert all(len(b) * max(lengths[at] for at in b) <= BATCH_TOKENS for b in found)


def test_perplexity_is_what_transformers_own_loss_says(tmp_path: Path) -> None:
    """The model's loss of one text at a time, without padding, is the second implementation."""
    import torch

    folder = save_tiny_model(tmp_path / "tiny")
    texts = ["the capital of france is paris", "x", "paris paris the of is capital", "the the"]
    model = Perplexity(folder / "tokenizer.json")
    found = model.of(texts, Tools(tmp_path))
    assert found[1] is None
    for text, value in zip(texts, found, strict=True):
        if value is not None:
            ids = torch.tensor([model._encoder.encode(text, add_special_tokens=False).ids])
            with torch.inference_mode():
                loss = model._model(input_ids=ids, labels=ids).loss
            assert value == pytest.approx(math.exp(float(loss)), rel=1e-4)


def test_the_summary_counts_every_row_once(tmp_path: Path) -> None:
    texts: list[str | None] = [string.ascii_letters[:n] or None for n in range(50)]
    written(table_of(tmp_path, texts), tmp_path / "out", language=False)
    spread = summary(tmp_path / "out" / "signals.parquet")["signals"]["characters"]
    assert sum(spread["histogram"]["counts"]) == 50
    assert (spread["min"], spread["max"]) == (0, 49)
