"""Rows in another language are found; names, codes and short texts are no language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.curation.language import detect, languages
from core.curation.tools import Tools
from core.datasets.samples import FOLDER
from tests.curation.planting import precision_recall, rows_of, table_of

KNOWN = {
    "Wie kann ich mein Passwort zurücksetzen?": "de",
    "Mein Paket ist seit drei Wochen unterwegs und niemand antwortet mir.": "de",
    "Bonjour, je n'arrive pas à me connecter.": "fr",
    "Je voudrais annuler mon abonnement s'il vous plaît.": "fr",
    "No puedo entrar en mi cuenta desde ayer.": "es",
    "¿Dónde está mi pedido? Llevo dos semanas esperando.": "es",
    "Onde está o meu pedido? Estou esperando há duas semanas": "pt",
    "Waar is mijn bestelling gebleven?": "nl",
    "Ho bisogno di aiuto con la fattura": "it",
    "Где мой заказ? Я жду уже две недели": "ru",
    "你好,我的订单在哪里?已经两个星期了": "zh",
    "注文した商品がまだ届きません。確認してください": "ja",
    "안녕하세요 주문한 상품이 아직 도착하지 않았습니다": "ko",
    "Πού είναι η παραγγελία μου;": "el",
    "ทำไมสินค้าของฉันยังไม่มาถึง": "th",
}
UNTOLD_OR_ENGLISH = [
    "ok thanks", "", "12345 67890", "😀😀😀😀😀😀😀😀😀😀😀😀",
    "Résumé upload fails for José García Fernández",
    "Visited the Café Müller in Düsseldorf, table for two",
    "Mr. Giovanni Rossi, Via Roma 12, Milano",
    "can u pls chk my acct thx",
    "Delete my data per GDPR article 17",
    "Proof of carbon footprint",
    "Hi Anna, merci for the quick help, ciao",
    '{"error": "timeout", "code": 504, "path": "/api/v1/items"}',
    "SELECT id, name FROM users WHERE active = 1 ORDER BY name LIMIT 10;",
    "def add(a, b): return a + b  # sum of two numbers",
    "https://example.org/wie-kann-ich-mein-passwort-zuruecksetzen",
]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), KNOWN.items())
def test_a_sentence_is_told(text: str, code: str) -> None:
    found, confidence = languages([text])[0]
    assert found == code
    assert confidence > 0.8


@pytest.mark.parametrize("text", UNTOLD_OR_ENGLISH)
def test_what_is_no_sentence_of_another_language_is_not_told(text: str) -> None:
    assert languages([text])[0][0] in (None, "en")


def tickets() -> list[str]:
    lines = (FOLDER / "support-tickets.jsonl").read_text(encoding="utf-8").splitlines()
    return [f"{row['subject']}. {row['body']}" for row in map(json.loads, lines)]


def test_planted_rows_are_found_and_clean_data_gives_nothing(tmp_path: Path) -> None:
    clean = tickets()
    assert detect(table_of(tmp_path, {"text": clean}), Tools(tmp_path)) == []
    texts = clean + list(KNOWN) + UNTOLD_OR_ENGLISH
    planted = range(len(clean), len(clean) + len(KNOWN))
    findings = detect(table_of(tmp_path, {"text": texts}), Tools(tmp_path))
    precision, recall = precision_recall(rows_of(findings), planted)
    print(f"language: precision {precision:.2f}, recall {recall:.2f}")
    assert precision == 1.0
    assert recall >= 0.9
    german = next(found for found in findings if found.detail["language"] == "de")
    assert german.message.startswith("2 rows are in German; ")


def test_each_column_has_its_own_language(tmp_path: Path) -> None:
    german = ["Wie kann ich mein Passwort zurücksetzen?"] * 10
    english = ["How can I set my password to something new?"] * 10
    assert detect(table_of(tmp_path, {"en": english, "de": german}), Tools(tmp_path)) == []
    mixed = [*english[:5], *german[:5]]  # half and half: nothing is foreign
    assert detect(table_of(tmp_path, {"text": mixed}), Tools(tmp_path)) == []


def test_odd_cells(tmp_path: Path) -> None:
    cells = [None, "", "a" * 1_000_000, "hello " * 200_000, "\x00"]
    assert detect(table_of(tmp_path, {"a": cells, "b": [None] * 5}), Tools(tmp_path)) == []
    assert detect(table_of(tmp_path, {"a": []}), Tools(tmp_path)) == []
    assert languages([]) == []
