"""Personal data: who is named, reached or identified in a version's rows.

Knows: the types, how bad each is, which parts look for it. Does not know: decisions, other kinds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from core.curation import personal_patterns, phones, recognizers
from core.curation.cells import Piece, words
from core.curation.figures import doubted, find_figures
from core.curation.findings import Finding
from core.curation.name_models import NameModels
from core.curation.spans import Find, Span, best, look_through, searched
from core.curation.tools import Tools
from core.datasets.table import Table

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
LOOKS: dict[str, Callable[[str, str], Iterable[Span]]] = {
    "forms": recognizers.recognize,
    "phones": phones.phones,
    "names": personal_patterns.persons,
    "births": personal_patterns.birthdays,
    "streets": personal_patterns.addresses,
}
PARTS = {
    # RE2: a text without it has nothing for this look
    "forms": recognizers.ANCHORS,
    "phones": phones.ANCHOR,
    "names": personal_patterns.NAMES,
    "births": personal_patterns.BIRTHS,
    "streets": personal_patterns.STREETS,
}
ANCHORS = "|".join(PARTS.values())
ALL = frozenset({"all"})
IN_ADDRESS = re.compile(r"(?:://|www\.)\S*\Z")
"""Before a hit: the word that it is in is a web address."""
PATTERNS_ONLY = NameModels()


def detect(table: Table, tools: Tools) -> list[Finding]:
    """A finding for every distinct hit of every cell, by row; one row each.

    Options: `threshold` (0.5), `types` (all), `columns` (all that hold text or numbers),
    `spacy_model` and `gliner_model`, which find more names (`name_models`).
    """
    threshold = float(tools.options.get("threshold", THRESHOLD))
    models = NameModels.of(tools.options)
    wanted = frozenset(tools.options.get("types") or TYPES)
    columns = searched(table.columns, numbers=True)
    with table.connect() as connection:
        look = looking(connection, columns, threshold=threshold, models=models)

    def find_here(piece: Piece, parts: frozenset[str]) -> list[Span]:
        return [span for span in look(piece, parts) if span.type in wanted]

    return look_through(
        table,
        tools,
        anchors={"all": ""} if models else PARTS,
        find=find_here,
        describe=_describe,
        kind="personal_data",
        columns=columns,
    )


def looking(
    connection: Any,
    columns: Sequence[tuple[str, str]],
    *,
    threshold: float = THRESHOLD,
    models: NameModels = PATTERNS_ONLY,
) -> Find:
    """What finds the spans in a piece of a cell of the table `rows`, whose columns of numbers are
    looked at as a whole first."""
    against = {
        words(name): types for name, types in doubted(connection, columns, words).items() if types
    }

    def look(piece: Piece, parts: frozenset[str] = ALL) -> list[Span]:
        if not piece.figures:
            return find(piece.text, piece.name, threshold=threshold, models=models, parts=parts)
        chance = against.get(piece.name, ()) if piece.path == () else ()
        return [
            span
            for span in find_figures(piece.text, piece.name)
            if span.score >= threshold and span.type not in chance
        ]

    return look


def find(
    text: str,
    column: str = "",
    *,
    threshold: float = THRESHOLD,
    models: NameModels = PATTERNS_ONLY,
    parts: frozenset[str] = ALL,
) -> list[Span]:
    """The spans of personal data in a text, by position, none overlapping another.

    `parts` are those of PARTS that may find something here, where that is known.

    A number or date that nothing speaks for is left alone: precision is measured in the tests.
    """
    column = words(column)
    found = [
        span
        for part, look in LOOKS.items()
        if part in parts or "all" in parts
        for span in look(text, column)
    ]
    found += models.spans(text)
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
