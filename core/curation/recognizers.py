"""Recognizers: presidio's patterns and checksums, given small windows of text, beside our own.

Knows: presidio, loaded once and without its networks and language models. Does not know: tables.

presidio is called recognizer by recognizer: its engine wants a spaCy model, and its patterns, given
a whole document, cost more than linear time. So an anchor is looked for first (an @, a run of
figures) and presidio sees only what stands around it.
"""

from __future__ import annotations

import functools
import importlib
import ipaddress
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from core.curation.spans import Span

RESERVED = ("example", "test", "invalid", "localhost", "local", "internal", "lan", "corp", "home")
"""Ends of addresses that no register has (RFC 2606, RFC 6762, and what firms use inside)."""
PSEUDONYM_DOMAIN = "pseudonym.example"
UNWANTED = ("transformers", "torch", "stanza", "gliner")
"""What presidio imports when it is there, seconds and 500 MB, and what no pattern needs."""
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Pattern:
    """One of presidio's recognizers and where it is asked."""

    type: str
    anchor: re.Pattern[str]
    recognizer: str
    """The class in presidio_analyzer.predefined_recognizers."""
    before: int
    after: int
    """How many characters around an anchor it sees."""
    judge: Callable[[str, int, int, float, str], float]
    """`(text, start, end, score, column)` gives our score of a hit; 0 drops it."""


def _near(text: str, start: int, words: str, column: str = "", reach: int = 50) -> bool:
    """Whether one of the words stands shortly before, or in the column's name."""
    before = f"{column.replace('_', ' ')}\n{text[max(0, start - reach) : start]}"
    return re.search(rf"(?i)(?<![a-z])(?:{words})", before) is not None


NOT_A_PERSONS = (
    "order|invoice|tracking|ticket|serial|sku|article|part no|batch|parcel|shipment|refer|ref\\b"
)
HEALTH = "nhs|health|patient|hospital|medical"
SOCIAL = "ssn|social security|social sec|ss#|tax ?payer"


def _email(text: str, start: int, end: int, score: float, column: str) -> float:
    return 0.0 if text[start:end].endswith("@" + PSEUDONYM_DOMAIN) else 0.95


CARDS = re.compile(
    r"4\d{12}(?:\d{3})?|(?:5[1-5]|2[2-7])\d{14}|3[47]\d{13}|(?:6011|65\d\d|64[4-9]\d|622\d)\d{12}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}"
)
"""Issuer ranges and lengths (ISO/IEC 7812): a number of figures alone passes Luhn once in ten."""


def _card(text: str, start: int, end: int, score: float, column: str) -> float:
    digits = re.sub(r"\D", "", text[start:end])
    if not CARDS.fullmatch(digits) or text[end : end + 1] == "-" or len(set(digits)) < 2:
        return 0.0
    grouped = len(digits) < end - start
    if not grouped and _near(text, start, NOT_A_PERSONS, column, 25):
        return 0.0
    return 0.95 if grouped or _near(text, start, "card|visa|master|amex|cc\\b", column) else 0.8


def _iban(text: str, start: int, end: int, score: float, column: str) -> float:
    return 0.95 if score >= 0.5 else 0.0


INSIDE = tuple(
    ipaddress.ip_network(name) for name in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
)
VERSIONED = re.compile(
    r"(?i)\b(?:v|ver|release|build|driver|section|chapter)[ .:]{0,2}$|\b(?:version|firmware)\b"
)


def _ip(text: str, start: int, end: int, score: float, column: str) -> float:
    """Version numbers, network masks and the machine itself are nobody's address."""
    shown = text[start:end]
    try:
        address = ipaddress.ip_address(shown.split("/")[0].split("%")[0])
    except ValueError:
        return 0.0
    if address.is_loopback or address.is_unspecified or shown.startswith("255."):
        return 0.0
    if address.version == 6:
        return 0.8 if re.search(r"\d", shown) and shown.count(":") >= 3 else 0.0
    if VERSIONED.search(text[max(0, start - 40) : start]):
        return 0.0
    if text[start - 1 : start] in (".", "-") or re.match(r"\.\d|-\w", text[end : end + 2]):
        return 0.0
    inside = any(address in network for network in INSIDE)
    return 0.5 if inside else 0.8


def _ssn(text: str, start: int, end: int, score: float, column: str) -> float:
    said = _near(text, start, SOCIAL, column)
    if said:
        return 0.9
    written = re.fullmatch(r"\d{3}-\d{2}-\d{4}", text[start:end])
    return 0.6 if written and not _near(text, start, NOT_A_PERSONS, column, 25) else 0.0


def _nhs(text: str, start: int, end: int, score: float, column: str) -> float:
    return 0.85 if _near(text, start, HEALTH, column) else 0.0


def _nino(text: str, start: int, end: int, score: float, column: str) -> float:
    shown = text[start:end]
    if not shown.isupper() or _near(text, start, NOT_A_PERSONS, column, 25):
        return 0.9 if _near(text, start, "national insurance|nino|ni n", column) else 0.0
    return 0.8 if " " in shown or _near(text, start, "insurance|nino|ni n", column) else 0.6


def _coin(text: str, start: int, end: int, score: float, column: str) -> float:
    return 0.9


PATTERNS = (
    Pattern("email", re.compile("@"), "EmailRecognizer", 90, 260, _email),
    Pattern(
        "credit_card",
        re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?!\d)"),
        "CreditCardRecognizer",
        1,
        25,
        _card,
    ),
    Pattern("iban", re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}"), "IbanRecognizer", 1, 50, _iban),
    Pattern(
        "ip_address",
        re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{2,}"),
        "IpRecognizer",
        48,
        60,
        _ip,
    ),
    Pattern(
        "us_ssn",
        re.compile(r"(?<![\d.-])\d{3}[- .]?\d{2}[- .]?\d{4}(?![\d-])"),
        "UsSsnRecognizer",
        1,
        14,
        _ssn,
    ),
    Pattern("uk_nhs", re.compile(r"\d{3}[- ]?\d{3}[- ]?\d{4}"), "NhsRecognizer", 1, 16, _nhs),
    Pattern(
        "uk_nino",
        re.compile(r"[A-Za-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]"),
        "UkNinoRecognizer",
        1,
        20,
        _nino,
    ),
    Pattern(
        "crypto",
        re.compile(r"(?<![A-Za-z0-9])(?:bc1|[13])[a-zA-HJ-NP-Z0-9]{25,59}(?![A-Za-z0-9])"),
        "CryptoRecognizer",
        0,
        62,
        _coin,
    ),
)
ETHEREUM = re.compile(r"(?<![A-Za-z0-9])0x[0-9a-fA-F]{40}(?![A-Za-z0-9])")
SAMPLE_SSN = re.compile(r"(?<![\d-])(?:123-45-6789|078-05-1120|987-65-432\d)(?![\d-])")
"""Numbers made up for forms, which presidio leaves out: people paste them all the same."""

ANCHORS = (
    r"@|\d[ .-]?\d[ .-]?\d[ .-]?\d[ .-]?\d[ .-]?\d[ .-]?\d|[A-Z]{2}\d{2}|\d\.\d{1,3}\.\d{1,3}\.\d"
    r"|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]{2,}|[A-Za-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]"
    r"|(?:bc1|0x|\b[13])[a-zA-Z0-9]{25}"
)
"""RE2: without any of this, none of these recognizers finds a thing."""


def recognize(text: str, column: str = "") -> Iterator[Span]:
    """What presidio's recognizers find around their anchors, and what they leave out."""
    for pattern in PATTERNS:
        for start, end in _windows(pattern, text):
            for hit in _presidio(pattern.recognizer).analyze(text[start:end], []):
                at, to = start + hit.start, start + hit.end
                score = pattern.judge(text, at, to, hit.score, column)
                if score:
                    yield Span(pattern.type, score, at, to)
    for found in ETHEREUM.finditer(text):
        yield Span("crypto", 0.8, *found.span())
    for found in SAMPLE_SSN.finditer(text):
        yield Span("us_ssn", 0.6, *found.span())


def _windows(pattern: Pattern, text: str) -> Iterator[tuple[int, int]]:
    """Where the recognizer has to look: around each anchor, joined where they touch."""
    start = end = -1
    for found in pattern.anchor.finditer(text):
        left = max(found.start() - pattern.before, 0)
        right = found.start() + max(pattern.after, found.end() - found.start())
        if end >= 0 and left <= end and right - start < 4_000:
            end = right
            continue
        if end >= 0:
            yield start, min(end, len(text))
        start, end = left, right
    if end >= 0:
        yield start, min(end, len(text))


@functools.cache
def _presidio(name: str) -> Any:
    """One of presidio's recognizers; e-mail addresses are checked against a list on this disk."""
    module = load()
    if name != "EmailRecognizer":
        return getattr(module, name)()
    import tldextract

    suffixes = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())

    class Email(module.EmailRecognizer):  # type: ignore[name-defined,misc]
        def validate_result(self, pattern_text: str) -> bool:
            known = suffixes(pattern_text).fqdn != ""
            return known or pattern_text.rpartition(".")[2].lower() in RESERVED

    return Email()


def load() -> Any:
    """presidio's recognizers, imported without torch and without a way to the network.

    It takes 0.8 s and 100 MB; with torch and transformers, which it imports where it finds them,
    6 s and 600 MB. tldextract would fetch a list of domain endings unless told not to.
    """
    name = "presidio_analyzer.predefined_recognizers"
    with _loading:  # also for looking: a module is listed before it is whole
        if name in sys.modules:
            return sys.modules[name]
        os.environ.setdefault("TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS", "")
        hidden = [name for name in UNWANTED if name not in sys.modules]
        sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
        try:
            return importlib.import_module(name)
        finally:
            for unwanted in hidden:
                sys.modules.pop(unwanted, None)
