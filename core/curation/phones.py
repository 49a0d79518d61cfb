"""Telephone numbers: international, national and local forms, told apart from all other figures.

Knows: how numbers are written, which words stand before them, the numbering plans (phonenumbers).
Does not know: who they belong to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from core.curation.spans import Span

REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "PL", "CH", "AT", "IN", "AU", "BR")
CANDIDATE = re.compile(r"(?<![\w#@/=&+:$€£.,-])(?:\+|\()?\d[\d ().\u00a0/-]{4,22}\d(?![\w@%])")
ANCHOR = r"\d[\d ().\x{00a0}/-]{4,22}\d"
"""RE2."""
NORTH_AMERICAN = re.compile(r"(?:\+?1[ .-]?)?(?:\(\d{3}\) ?|\d{3}([ .-]))\d{3}[ .-]\d{4}")
SAYS_PHONE = re.compile(
    r"(?i)\b(?:phone|tel|telephone|mobile|cell|call|calls|called|ring|fax|whatsapp|sms|reach|dial"
    r"|hotline|telefon|handy|tél|texted|text me|contact|voicemail|callback|my number"
    r"|me (?:at|on))\b"
)
COLUMN_SAYS = re.compile(
    r"(?i)\b(?:phone|tel|telephone|mobile|cell|fax|whatsapp|msisdn|sms|hotline|telefon|handy|tél"
    r"|contact|voicemail|callback)\b"
)
SAYS_OTHER = re.compile(
    r"(?i)(?:\b(?:order|invoice|ticket|ref|reference|case|tracking|serial|sku|isbn|ean|booking"
    r"|article|part|batch|policy|version|build|model|card|iban|ssn|social security|account|acct"
    r"|transaction|parcel|shipment|confirmation|id|nhs|patient|routing|sort code|vat|date|dated"
    r"|between|from|born|range|pages?|coordinates)\b|#|№)"
)
DATE_OR_TIME = re.compile(
    r"(?:19|20)\d\d[-/. ](?:0?[1-9]|1[0-2])[-/. ]\d{1,2}(?:\D.*)?"
    r"|\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d\d(?:\D.*)?|(?:19|20)\d\d ?[-/] ?(?:19|20)\d\d"
)
BEFORE = 40
"""Characters in which a word says what the figures are."""


def phones(text: str, column: str = "") -> Iterator[Span]:
    """Telephone numbers. Bare figures need a word before them that says so, or such a column."""
    column_says = COLUMN_SAYS.search(column.replace("_", " ")) is not None
    for found in CANDIDATE.finditer(text):
        before = text[max(0, found.start() - BEFORE) : found.start()]
        says_phone = _closer(before) or (column_says and not SAYS_OTHER.search(before))
        says_other = not says_phone and SAYS_OTHER.search(before) is not None
        for start, end in _pieces(found[0]):
            score = _score(found[0][start:end], says_phone, says_other)
            if score:
                yield Span("phone", score, found.start() + start, found.start() + end)
                break


def _closer(before: str) -> bool:
    """Whether the last telling word before the figures is about telephones."""
    phone = max((m.end() for m in SAYS_PHONE.finditer(before)), default=-1)
    other = max((m.end() for m in SAYS_OTHER.finditer(before)), default=-1)
    return phone > other


def _pieces(text: str) -> list[tuple[int, int]]:
    """The whole candidate, then what is left without words of figures at its ends."""
    words = [word.span() for word in re.finditer(r"[^ \u00a0]+", text)][:8]
    spans = [
        (words[first][0], words[last][1])
        for first in range(len(words))
        for last in range(first, len(words))
    ]
    return sorted(spans, key=lambda span: span[0] - span[1])


def _score(text: str, says_phone: bool, says_other: bool) -> float:
    digits = [c for c in text if c.isdigit()]
    if not 7 <= len(digits) <= 15 or DATE_OR_TIME.fullmatch(text) or text.count("(") > 1:
        return 0.0
    if text.count("(") != text.count(")") or text[-1] == "(":
        return 0.0
    if text.startswith("+") or (text.startswith("00") and len(digits) >= 11):
        return _international("+" + "".join(digits).lstrip("0"))
    grouped = len(digits) < len(text)
    if says_other and not text.startswith("("):
        return 0.0
    if found := NORTH_AMERICAN.fullmatch(text):
        return 0.75 if says_phone or not found[1] or found[1] != "." else 0.6
    if len(set(digits)) < 3:
        return 0.0
    if says_phone:
        return 0.75 if valid_anywhere(text) else (0.5 if len(digits) <= 12 else 0.0)
    national = text.lstrip("(").startswith("0") and grouped and len(digits) >= 9
    return 0.55 if national and valid_anywhere(text) else 0.0


def _international(text: str) -> float:
    import phonenumbers

    try:
        number = phonenumbers.parse(text)
    except phonenumbers.NumberParseException:
        return 0.0
    if phonenumbers.is_valid_number(number):
        return 0.9
    return 0.7 if phonenumbers.is_possible_number(number) else 0.0


def valid_anywhere(text: str) -> bool:
    """Whether some numbering plan that we ask has this number; with a + that of its country."""
    import phonenumbers

    for region in REGIONS:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(text, region)):
                return True
        except phonenumbers.NumberParseException:
            continue
    return False
