"""Identifiers: what is found as whole words, addresses and numbers, and what is left alone."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.datasets.table import connect
from core.erasure.identifier import MASK, Identifier

WORDS = st.text(string.ascii_letters + "äöüßéñ李", min_size=3, max_size=12)
AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize(
    ("identifier", "kind", "texts"),
    [
        ("Ann Lee", "text", ["ANN LEE.", "(ann  lee)", "Ann\nLee's", '{"a": "x\\nAnn Lee"}']),
        ("José Núñez", "text", ["JOSÉ NÚÑEZ", "Jose\u0301 Nu\u0301n\u0303ez",
                                json.dumps("José Núñez"), json.dumps(json.dumps("José Núñez"))]),
        ("ann@x.org", "email", ["mailto:ann@x.org.", "<Ann@X.org>", "ann@x.org,bob@x.org"]),
        ("+49 (30) 123-456", "phone", ["4930123456", "+49 30 12 34 56", "49-30/123.456"]),
        ("李小龍", "text", ["見 李小龍 了", json.dumps("李小龍")]),
    ],
)  # fmt: skip
def test_it_is_found_as_people_and_files_write_it(
    identifier: str, kind: str, texts: list[str]
) -> None:
    found = Identifier.parse(identifier)
    assert found.kind == kind
    for text in texts:
        assert found.found(text), text
        assert not found.found(found.mask(text))


@pytest.mark.parametrize(
    ("identifier", "texts"),
    [
        ("Ann Lee", ["Joann Lee", "Ann Leech", "Ann. Lee", "AnnLee", "Ann_Lee_2"]),
        ("ann@x.org", ["joann@x.org", "ann@x.org.uk", "ann@x.organic", "j.ann@x.org"]),
        ("030123456", ["0301234567", "1030123456", "0.030123456", "a030123456f"]),
    ],
)
def test_longer_words_addresses_and_numbers_are_others(identifier: str, texts: list[str]) -> None:
    found = Identifier.parse(identifier)
    for text in texts:
        assert not found.found(text), text
        assert found.mask(text) == text


def test_json_keeps_its_shape_and_an_example_shows_no_name() -> None:
    found = Identifier.parse("Ann Lee")
    masked = found.mask('{"user": "Ann Lee", "n": 1, "more": ["ann lee!", null]}')
    assert json.loads(masked) == {"user": MASK, "n": 1, "more": [f"{MASK}!", None]}
    whole = found.mask_value({"cell": "Ann Lee of Bath", "step": "trim"}, whole=True)
    assert whole == {"cell": MASK, "step": "trim"}
    assert Identifier.parse("4930123456").mask('{"tel": 4930123456}') == f'{{"tel": "{MASK}"}}'
    assert found.example("Yesterday Ann Lee and ann lee came") == "Yesterday A••• and ••• came"


@given(WORDS, AROUND, AROUND)
def test_what_is_masked_is_not_found_and_sql_never_misses_it(
    word: str, before: str, after: str
) -> None:
    found = Identifier.parse(word)
    texts = [f"{before} {word} {after}", json.dumps(f"{before} {word} {after}")]
    with connect() as connection:
        for text in texts:
            assert found.found(text)
            assert not found.found(found.mask(text))
            row = connection.execute(
                f"SELECT {found.likely('$text')}", {"text": text, "needle": found.needle}
            ).fetchone()
            assert row == (True,)


@given(AROUND, WORDS)
def test_other_text_stays_as_it_is(text: str, word: str) -> None:
    found = Identifier.parse(word)
    if not found.found(text):
        assert found.mask(text) == text
