"""Broken text is named, with what it should read; good text of every kind is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.curation.encoding import broken, detect
from core.curation.tools import Tools
from tests.curation.planting import precision_recall, rows_of, table_of

GOOD = [
    "naïve café, Ærøskøbing, MÜNCHEN – ÖSTERREICH",
    "São Paulo, À bientôt, ¿Qué tal? ¡Hola!",
    "Zażółć gęślą jaźń. Příliš žluťoučký kůň. Đà Nẵng. Žemaitija.",
    "“Quotes”, it’s – fine … 5 € or £5, § 3, 20 °C ± 1, 5 µm, ½",
    "😀 👩‍👩‍👧 ❤️ 🇩🇪 👍🏽",
    "你好,世界。日本語のテキスト 한국어 Привет мир שלום مرحبا สวัสดี",
    "if (a && b) { return x << 2; } // &x and *y",
    '<p class="x">Fish &amp; chips &nbsp;</p>',
    "In HTML write `&nbsp;` for a space that does not break.",
    "https://shop.example/?a=1&copy;=2",
    "AT&T and R&D; Q&A",
    "a\ttab, a\r\nnew line, soft\u00adhyphen",
    "© 2024 Pebblestock® ™",
    "│ table │ drawn ├─┤",
    "∀x ∈ ℝ: x² ≥ 0",
    "",
]
BROKEN = {
    "The cafÃ© is closed": "The café is closed",
    "itâ€™s broken": "it’s broken",
    "Bitte prÃ¼fen Sie die GrÃ¶ÃŸe": "Bitte prüfen Sie die Größe",
    "Price 5 â‚¬": "Price 5 €",
    "Ð¿Ñ€Ð¸Ð²ÐµÑ‚ Ð¼Ð¸Ñ€": "привет мир",
    "Fish &amp; chips": "Fish & chips",
    "It&#39;s late": "It's late",
    "bell \x07 rings": "bell  rings",
    "\x1b[31mred\x1b[0m": "[31mred[0m",
    "Stra�e gesperrt": None,
}


@pytest.mark.parametrize("text", GOOD)
def test_good_text_is_left_alone(text: str) -> None:
    assert broken(text) is None


@pytest.mark.parametrize(("text", "right"), BROKEN.items())
def test_broken_text_is_named_with_what_it_should_read(text: str, right: str | None) -> None:
    found = broken(text)
    assert found is not None
    assert found.repaired == right


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="&")))
@settings(max_examples=100)
def test_plain_ascii_is_never_broken(text: str) -> None:
    assert broken(text) is None


@given(st.text("abcdefgh äöüßéèêàçñ", min_size=3))
@settings(max_examples=100, deadline=None)
def test_what_was_decoded_wrongly_comes_back(text: str) -> None:
    """Where it is seen at all: a single accent before a blank may be anything."""
    found = broken(text.encode().decode("cp1252", errors="replace"))
    if found is not None and found.what == "mojibake" and found.repaired is not None:
        assert "Ã" not in found.repaired or found.repaired == text


def test_planted_faults_are_found_and_nothing_else(tmp_path: Path) -> None:
    texts = [*GOOD, *BROKEN, None, "x" * 1_000_000 + " â€™ " + "é" * 1_000]
    table = table_of(tmp_path, {"text": texts, "note": [None] * len(texts)})
    findings = detect(table, Tools(tmp_path))
    planted = [*range(len(GOOD), len(GOOD) + len(BROKEN)), len(texts) - 1]
    assert precision_recall(rows_of(findings), planted) == (1.0, 1.0)
    assert {found.kind for found in findings} == {"encoding"}
    assert "It should read “The café is closed”" in findings[0].message


def test_nested_values_are_read_as_texts(tmp_path: Path) -> None:
    cells = ['[{"role": "user", "content": "cafÃ© &amp; bar"}]', '{"a": "café"}', "{torn"]
    found = detect(table_of(tmp_path, {"m": cells}, types={"m": "json"}), Tools(tmp_path))
    assert [(hit.rows, hit.detail["repaired"]) for hit in found] == [((0,), None)]
    assert detect(table_of(tmp_path, {"text": []}), Tools(tmp_path)) == []
