"""Personal data in numbers: cards, telephone, insurance and health numbers, birthdays.

A number has no words around it. So it is judged by its own form (a card: issuer, length, Luhn) and
by what its column or key is called (`phone_number`, `ssn`); a name that speaks of ids, times or
amounts speaks against it. In a column of numbers one more thing is asked: that most of it is so.
One in forty 16-figure ids looks like a card, one in two of a column of them never does.

Knows: what is said of a number. Does not know: text around it (`personal`), tables' files.
An IBAN has letters and is never a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Any

from core.curation.phones import valid_anywhere
from core.curation.recognizers import CARDS
from core.curation.spans import Span
from core.datasets.table import quoted
from core.datasets.values import INTEGER, NUMBER, text_of

LEAST_FIGURES = 7
CARD_FIGURES = 13
MOST_JUDGED = 10_000
"""Values by which a column is judged."""
CARD_NAME = re.compile(r"(?i)\b(?:card|cards|visa|amex|master ?card|pan|cc|credit|debit)\b")
PHONE_NAME = re.compile(
    r"(?i)\b(?:phone|phones|telephone|tel|mobile|cell ?phone|cell (?:no|number)|fax|whatsapp"
    r"|msisdn|telefon\w*|handy|(?:contact|call ?back) (?:no|num|number))\b"
)
SOCIAL_NAME = re.compile(r"(?i)\b(?:ssn|social security|socialsecurity)\b")
HEALTH_NAME = re.compile(r"(?i)\bnhs\b")
BIRTH_NAME = re.compile(r"(?i)\b(?:dob|birth ?(?:day|date)|date of birth|geburts(?:tag|datum))\b")
OTHER_NAME = re.compile(
    r"(?i)\b(?:id|ids|uid|uuid|guid|key|index|time|timestamp|ts|epoch|at|on|created|updated|date"
    r"|order|orders|invoice|tracking|ticket|serial|sku|ean|gtin|isbn|upc|article|batch|parcel"
    r"|shipment|ref|reference|count|counts|total|sum|amount|bytes|size|hash|seed|nonce|version"
    r"|duration|seconds|minutes|ms|ns|us|views|sessions|users|calls|price|cost|usage|offset)\b"
)
"""What a number is called that is nobody's, whatever it looks like."""


def find_figures(text: str, name: str) -> list[Span]:
    """What a number is, given what it is called: one span over all of it, or none.

    `name` is the column, or the column and key of a number in JSON, in words (`spans.words`).
    """
    if not text.isdecimal() or not text.isascii():
        return []
    for type_, score in _kinds(text, name):
        if score:
            return [Span(type_, score, 0, len(text))]
    return []


def _kinds(text: str, name: str) -> Iterable[tuple[str, float]]:
    other = OTHER_NAME.search(name) is not None
    yield "us_ssn", 0.9 if SOCIAL_NAME.search(name) and is_social(text) else 0.0
    yield "uk_nhs", 0.9 if HEALTH_NAME.search(name) and is_health(text) else 0.0
    yield "date_of_birth", 0.8 if BIRTH_NAME.search(name) and _is_day(text) else 0.0
    called = CARD_NAME.search(name) is not None
    if is_card(text) and (called or not other):
        yield "credit_card", 0.95 if called else 0.8
    if PHONE_NAME.search(name) and not other and 8 <= len(text) <= 15 and len(set(text)) > 2:
        valid = valid_anywhere(text) or valid_anywhere("+" + text)
        yield "phone", 0.75 if valid else (0.5 if len(text) <= 12 else 0.0)


def least(name: str) -> int | None:
    """How many figures a number of this name has that is looked at; None: none is."""
    named = (SOCIAL_NAME, HEALTH_NAME, BIRTH_NAME, PHONE_NAME)
    if any(form.search(name) for form in named):
        return LEAST_FIGURES
    return None if OTHER_NAME.search(name) and not CARD_NAME.search(name) else CARD_FIGURES


def doubted(connection: Any, columns: Iterable[tuple[str, str]], words: Any) -> dict[str, set[str]]:
    """By column of numbers in the table `rows`: the types that its other values speak against.

    `columns` are names and kinds, `words` turns a name into words. Fewer than half of the values
    that have enough figures are of the type: then those that are, are so by chance.
    """
    found: dict[str, set[str]] = {}
    for name, kind in columns:
        said = words(name)
        figures = least(said) if kind in (INTEGER, NUMBER) else None
        if figures is None:
            continue
        cell = quoted(name)
        values = connection.execute(
            f"SELECT {cell} FROM rows WHERE {cell} >= $least LIMIT {MOST_JUDGED}",
            {"least": 10 ** (figures - 1)},
        ).fetchall()
        found[name] = _against([text_of(value) or "" for (value,) in values], said)
    return found


def _against(texts: list[str], name: str) -> set[str]:
    counts: dict[str, int] = {}
    for text in texts:
        for span in find_figures(text, name):
            counts[span.type] = counts.get(span.type, 0) + 1
    return {type_ for type_, count in counts.items() if 2 * count < len(texts)}


def is_card(text: str) -> bool:
    """Whether figures are a payment card's: issuer, length, Luhn's check (ISO/IEC 7812-1)."""
    return CARDS.fullmatch(text) is not None and len(set(text)) > 1 and _luhn(text)


def _luhn(text: str) -> bool:
    figures = [int(figure) for figure in reversed(text)]
    doubled = (sum(divmod(2 * figure, 10)) for figure in figures[1::2])
    return (sum(figures[::2]) + sum(doubled)) % 10 == 0


def is_social(text: str) -> bool:
    """A US social security number whose zeros in front a spreadsheet may have taken (SSA)."""
    if not LEAST_FIGURES <= len(text) <= 9:
        return False
    area, group, serial = (full := text.zfill(9))[:3], full[3:5], full[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def is_health(text: str) -> bool:
    """An NHS number: ten figures, the last a check modulo 11."""
    if len(text) != 10:
        return False
    total = sum(int(figure) * (10 - at) for at, figure in enumerate(text[:9]))
    return (11 - total % 11) % 11 == int(text[9])


def _is_day(text: str) -> bool:
    """YYYYMMDD, of somebody who may be alive."""
    if len(text) != 8:
        return False
    try:
        return 1900 <= date(int(text[:4]), int(text[4:6]), int(text[6:])).year <= 2100
    except ValueError:
        return False
