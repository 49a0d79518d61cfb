"""Personal data: who is named, reached or identified in a version's rows.

Knows: the types, how bad each is, which parts look for it. Does not know: decisions, other kinds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from core.curation import personal_patterns, phones, recognizers
from core.curation.findings import Finding
from core.curation.spans import Span, best, look_through
from core.curation.tools import Tools
from core.datasets.table import Table
from core.errors import Invalid

TYPES: dict[str, tuple[str, str]] = {
    # type: severity, what a person reads
    "credit_card": ("high", "Credit card"),
    "iban": ("high", "Bank account (IBAN)"),
    "us_ssn": ("high", "US social security number"),
    "uk_nhs": ("high", "UK health number (NHS)"),
    "uk_nino": ("high", "UK national insurance number"),
    "email": ("medium", "E-mail address"),
    "phone": ("medium", "Telephone number"),
    "person": ("medium", "Person"),
    "postal_address": ("medium", "Postal address"),
    "date_of_birth": ("medium", "Date of birth"),
    "ip_address": ("medium", "IP address"),
    "crypto": ("medium", "Wallet address"),
}
THRESHOLD = 0.5
ANCHORS = "|".join((recognizers.ANCHORS, phones.ANCHOR, personal_patterns.ANCHORS))
IN_ADDRESS = re.compile(r"(?:://|www\.)\S*\Z")
"""Before a hit: the word that it is in is a web address."""
NER_LABELS = {"PERSON": "person", "PER": "person"}


def detect(table: Table, tools: Tools) -> list[Finding]:
    """A finding for every distinct hit of every cell, by row; one row each.

    Options: `threshold` (0.5), `types` (all), `columns` (all that hold text), `spacy_model`, the
    name or folder of an installed spaCy model that finds more names.
    """
    threshold = float(tools.options.get("threshold", THRESHOLD))
    model = tools.options.get("spacy_model")
    wanted = frozenset(tools.options.get("types") or TYPES)

    def find_here(text: str, column: str) -> list[Span]:
        spans = find(text, column, threshold=threshold, spacy_model=model)
        return [span for span in spans if span.type in wanted]

    return look_through(
        table,
        tools,
        anchors="" if model else ANCHORS,
        find=find_here,
        describe=_describe,
        kind="personal_data",
    )


def find(
    text: str, column: str = "", *, threshold: float = THRESHOLD, spacy_model: str | None = None
) -> list[Span]:
    """The spans of personal data in a text, by position, none overlapping another.

    A number or date that nothing speaks for is left alone: precision is measured in the tests.
    """
    found: list[Span] = [
        *recognizers.recognize(text, column),
        *phones.phones(text, column),
        *personal_patterns.persons(text, column),
        *personal_patterns.birthdays(text, column),
        *personal_patterns.addresses(text, column),
    ]
    if spacy_model:
        found += _entities(text, spacy_model)
    return best(_outside_words(text, (span for span in found if span.score >= threshold)))


def _outside_words(text: str, spans: Iterable[Span]) -> Iterator[Span]:
    """Hits inside of a web address or a path belong to the address, not to a person."""
    for span in spans:
        figures = span.type in ("phone", "credit_card", "us_ssn", "uk_nhs")
        if figures and IN_ADDRESS.search(text, max(0, span.start - 200), span.start):
            continue
        yield span


def _describe(type_: str, column: str, score: float, shown: str) -> tuple[str, str]:
    severity, label = TYPES[type_]
    sure = "" if score >= 0.7 else ", less sure"
    return (
        severity if score >= 0.6 else "low",
        f"{label} in {column}: {shown}{sure}",
    )


@functools.lru_cache(maxsize=1)
def _model(name: str) -> Any:
    """A spaCy model that the user has installed."""
    import spacy

    try:
        return spacy.load(name)
    except OSError as error:
        raise Invalid(
            f"There is no spaCy model {name!r} on this machine.",
            field="spacy_model",
            hint="Install it, or give the folder that holds it; Lathe downloads none.",
        ) from error


def _entities(text: str, model: str) -> Iterator[Span]:
    """People that a spaCy model names."""
    loaded = _model(model)
    for entity in loaded(text[: loaded.max_length]).ents:
        if entity.label_ in NER_LABELS:
            yield Span(NER_LABELS[entity.label_], 0.7, entity.start_char, entity.end_char)
