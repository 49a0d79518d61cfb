"""Mojibake is put right, and everything else is left exactly as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.datasets.hints import hints
from core.datasets.repair import is_broken, repair

GENUINE = [
    "café", "“curly” ‘quotes’ – naïve…", "Привет, мир", "東京タワー", "ﬁne ﬁligature",
    "ＡＢＣ　ｗｉｄｅ", "&lt;b&gt; &amp; &eacute;", "a\r\nb\x0bc", "emoji 👍🏽 👩\u200d👧",
    "SÃO PAULO", "1 000 € · 5 µm ±2 °C", "L’été à Orléans", "İstanbul çok güzel",
    "Ñandú Æsir Þór", "e\u0301 decomposed", "Ω≈ç√∫", "ελληνικά", "עברית", "العربية", "हिन्दी",
    "한국어", "Zażółć gęślą jaźń", "½ ¾ ² №", "\x1b[31mred",
]  # fmt: skip


@pytest.mark.parametrize("text", GENUINE)
def test_genuine_text_is_left_alone(text: str) -> None:
    assert repair(text) == text
    assert not is_broken(text)


@pytest.mark.parametrize("text", GENUINE)
@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_text_decoded_wrongly_is_itself_again(text: str, wrong: str) -> None:
    try:
        broken = text.encode().decode(wrong)
    except UnicodeDecodeError:
        pytest.skip("cannot be decoded that way at all")
    if broken != text and text not in ("½ ¾ ² №",):  # too short to be sure of
        assert repair(broken) == text
        assert is_broken(broken)


@given(st.text())
def test_any_text_can_be_repaired_once_and_for_all(text: str) -> None:
    once = repair(text)
    assert once.isascii() or isinstance(is_broken(once), bool)
    if text.isascii():
        assert once == text


def test_lost_characters_are_broken_and_megabytes_are_repaired_line_by_line() -> None:
    assert is_broken("caf\ufffd")
    assert repair("caf\ufffd") == "caf\ufffd"
    long = "plain line\n" * 120_000 + "cafÃ©\n"
    assert repair(long) == long.replace("Ã©", "é")


def test_hints_say_what_a_column_seems_to_be() -> None:
    columns = {
        "iso": ["2024-01-31", "2024-02-01T10:00:00Z"],
        "day": ["31/01/2024", "01/02/2024"],
        "either": ["03/04/2024", "05/06/2024"],
        "both": ["31/01/2024", "01/31/2024"],
        "number": ["1", "-2.5e3"],
        "grouped": ["1.234,50", "3"],
        "mostly": ["1", "2", "3", "4", "n/a"],
        "flag": ["true", "False"],
        "nested": ["[1]", '{"a": 2}'],
        "mixed": [1, "x", 2.5, None],
        "broken": ["cafÃ©", "fine"],
        "padded": [" x", "y"],
        "text": ["hello", "world"],
        "whole": [1, 2.5],
        "blank": [None, " "],
    }
    length = max(map(len, columns.values()))
    rows = [{c: v[n] for c, v in columns.items() if n < len(v)} for n in range(length)]
    assert hints(list(columns), rows) == {
        "iso": "Dates, kept as text.",
        "day": "Dates with the day first, kept as text.",
        "either": "Dates, kept as text; in '03/04/2024' either part may be the month.",
        "both": "Dates, kept as text; day and month change places among them.",
        "number": "Numbers, as text.",
        "grouped": "Numbers written like 1.234,50, kept as text.",
        "mostly": "Numbers, as text, but for 1, such as 'n/a'.",
        "flag": "True or false, kept as text.",
        "nested": "JSON, kept as text.",
        "mixed": "Mixed: 2 numbers and 1 text.",
        "broken": "1 of 2 look wrongly decoded; curation can repair them.",
        "padded": "1 of 2 begin or end with white space.",
    }


@given(st.lists(st.none() | st.text() | st.integers() | st.floats() | st.lists(st.text())))
def test_hints_take_any_values(values: list[object]) -> None:
    assert set(hints(["x"], [{"x": value} for value in values])) <= {"x"}
