"""The language of texts, and rows in another language than the rest of their column.

Knows: which languages are told apart, when a text is too short to tell. Does not know: what is done
about it. Scripts that one language writes are told by their letters; the rest by lingua's trigram
model (its low accuracy mode: 60 MB instead of 700), over the first 400 characters. What is short
needs a second witness: small words that sentences of that language have.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.curation.findings import Finding
from core.curation.function_words import FUNCTION_WORDS
from core.curation.sampling import cells, prose
from core.curation.tools import Tools
from core.datasets.table import Table
from core.datasets.values import JSON, TEXT

NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech",
    "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish",
    "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew",
    "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nb": "Norwegian",
    "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sk": "Slovak", "sl": "Slovene", "sv": "Swedish", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
"""The languages told apart."""

WINDOW = 400
"""Characters of a text that are looked at."""
LEAST_LETTERS = 20
LEAST_WORDS = 4
LONG_LETTERS = 120
"""From here on the model alone is believed."""
SURE = 0.9
"""Confidence below which a row is never a finding."""
MAJORITY = 0.6
"""Share of the told rows that a column's language must have for others to stand out."""
LISTED = 50
"""Rows of a language whose confidence a finding carries."""

_NOISE = re.compile(
    r"```.*?(?:```|\Z)|`[^`]*`|https?://\S+|www\.\S+|\S+@\S+|<[^>]{1,200}>|\S*[\d_/\\{}\[\]=]\S*",
    re.DOTALL,
)
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile("[\u4e00-\u9fff\u3400-\u4dbf]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("bn", re.compile("[\u0980-\u09ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
)
_OWN_SCRIPT = re.compile(
    "[\u0370-\u03ff\u0590-\u05ff\u0900-\u09ff\u0e00-\u0e7f\u1100-\u11ff\u3040-\u9fff\uac00-\ud7af]"
)
_DENSE = {"ja", "zh", "ko", "th"}
"""A letter of these says as much as several of an alphabet."""

_OTHER_LETTERS = {"ru", "uk", "bg", "ar", "fa"}
"""No witness needed: no name or product of a Latin text looks like these."""

Told = tuple[str | None, float]


def languages(texts: Sequence[str]) -> list[Told]:
    """(ISO 639-1 code, confidence 0 to 1) of each text; (None, 0.0) where it cannot be told.

    Too short, no sentence, or the witnesses disagree: None. Code, addresses and numbers are not
    looked at. About 1,800 texts of 300 characters a second on two busy cores.
    """
    found: list[Told] = [(None, 0.0)] * len(texts)
    asked: list[tuple[int, str, list[str]]] = []
    for at, text in enumerate(texts):
        plain = _plain(text)
        letters = sum(map(len, words := _WORD.findall(plain)))
        if letters < LEAST_LETTERS // 3:
            continue
        script = _by_script(plain, letters)
        if script is not None:
            found[at] = script
        elif letters >= LEAST_LETTERS and len(words) >= LEAST_WORDS:
            asked.append((at, plain, [word.lower() for word in words]))
    if asked:
        values = _detector().compute_language_confidence_values_in_parallel(
            [t for _, t, _ in asked]
        )
        for (at, _, words), confidences in zip(asked, values, strict=True):
            best = confidences[0]
            code = best.language.iso_code_639_1.name.lower()
            found[at] = _witnessed(code, float(best.value), words)
    return found


def detect(table: Table, tools: Tools) -> list[Finding]:
    """For each text column one finding a language that is not the column's own.

    `detail` is {language, majority, share, confidences: {row: confidence} of the first LISTED}.
    """
    findings: list[Finding] = []
    columns = [column for column in table.columns if column.type in (TEXT, JSON)]
    for number, column in enumerate(columns):
        tools.tell(number / len(columns), f"Telling the languages of {column.name}")
        counts: Counter[str] = Counter()
        sure: dict[str, list[tuple[int, float]]] = {}
        for rows, values in cells(table, column.name):
            tools.check()
            texts = [prose(_head(value, column.type), column.type) for value in values]
            for row, (code, confidence) in zip(rows, languages(texts), strict=True):
                if code is not None:
                    counts[code] += 1
                    if confidence >= SURE:
                        sure.setdefault(code, []).append((row, confidence))
        findings += _strangers(column.name, counts, sure)
    return findings


def _strangers(
    name: str, counts: Counter[str], sure: dict[str, list[tuple[int, float]]]
) -> list[Finding]:
    if not counts:
        return []
    majority, count = counts.most_common(1)[0]
    share = count / counts.total()
    if share < MAJORITY:
        return []
    found = []
    for code, hits in sorted(sure.items(), key=lambda item: (-len(item[1]), item[0])):
        if code == majority or {code, majority} in _ALIKE:
            continue
        rows = "1 row is" if len(hits) == 1 else f"{len(hits):,} rows are"
        found.append(
            Finding(
                "language",
                "low",
                f"{rows} in {NAMES[code]}; {share:.0%} of {name} is in {NAMES[majority]}.",
                tuple(row for row, _ in hits),
                name,
                {
                    "language": code,
                    "majority": majority,
                    "share": round(share, 4),
                    "confidences": {str(row): round(value, 3) for row, value in hits[:LISTED]},
                },
            )
        )
    return found


_ALIKE = ({"da", "nb"}, {"cs", "sk"}, {"hr", "sl"})
"""Too near each other for a row to be called foreign."""


def _head(value: Any, kind: str) -> Any:
    return value[: WINDOW * 8] if isinstance(value, str) and kind != JSON else value


def _plain(text: str) -> str:
    """The beginning of a text, without code, addresses, markup and numbers."""
    return " ".join(_NOISE.sub(" ", text[: WINDOW * 4]).split())[:WINDOW]


def _by_script(text: str, letters: int) -> Told | None:
    """The language of a script that one language writes; None for the others."""
    if text.isascii() or _OWN_SCRIPT.search(text) is None:
        return None
    for code, pattern in _SCRIPTS:
        count = len(pattern.findall(text))
        if code == "ja" and count:  # kana beside Chinese characters
            count += len(_SCRIPTS[2][1].findall(text))
        weight = 3 if code in _DENSE else 1
        if count * weight >= LEAST_LETTERS and count > letters / 2:
            return code, round(count / letters, 3) if count < letters else 1.0
    return None


def _witnessed(code: str, confidence: float, words: list[str]) -> Told:
    """What the model says of a short text counts when small words of that language say so too."""
    if sum(map(len, words)) >= LONG_LETTERS:
        return code, confidence
    if code in _OTHER_LETTERS:
        return code, confidence
    if code not in FUNCTION_WORDS:
        long_enough = sum(map(len, words)) >= LONG_LETTERS // 2
        return (code, confidence) if long_enough else (None, 0.0)
    said = {
        language: sum(word in known for word in words) for language, known in FUNCTION_WORDS.items()
    }
    own = said.pop(code)
    if own == 0 or said.get("en", -1) >= own:
        return None, 0.0
    return code, confidence if own >= max(said.values()) else min(confidence, SURE - 0.05)


@functools.cache
def _detector() -> Any:
    from lingua import IsoCode639_1, Language, LanguageDetectorBuilder

    chosen = [Language.from_iso_code_639_1(getattr(IsoCode639_1, code.upper())) for code in NAMES]
    return LanguageDetectorBuilder.from_languages(*chosen).with_low_accuracy_mode().build()
