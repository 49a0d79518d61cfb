"""Secrets: keys, tokens and passwords that a text gives away.

Knows: how each issuer writes its keys, what an assignment looks like, how random a word is.
Does not know: whether a key still works; nothing is ever tried.

The forms are public: docs.aws.amazon.com (IAM identifiers), github.blog (2021, token formats),
docs.gitlab.com (token overview), api.slack.com (token types), docs.stripe.com (keys), RFC 7519
(JWT), RFC 7468 (key blocks), RFC 3986 (user information). Every repetition is bounded or a single
class, so a text costs time in proportion to its length.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from core.curation.findings import Finding
from core.curation.spans import Span, best, look_through, preview, searched
from core.curation.tools import Tools
from core.datasets.table import Table

TYPES: dict[str, tuple[str, str]] = {
    # type: severity, what a person reads
    "aws_access_key": ("high", "AWS access key"),
    "aws_secret_key": ("high", "AWS secret key"),
    "github_token": ("high", "GitHub token"),
    "gitlab_token": ("high", "GitLab token"),
    "slack_token": ("high", "Slack token"),
    "stripe_key": ("high", "Stripe key"),
    "openai_key": ("high", "OpenAI key"),
    "anthropic_key": ("high", "Anthropic key"),
    "google_key": ("high", "Google key"),
    "huggingface_token": ("high", "Hugging Face token"),
    "azure_key": ("high", "Azure storage key"),
    "npm_token": ("high", "npm token"),
    "pypi_token": ("high", "PyPI token"),
    "sendgrid_key": ("high", "SendGrid key"),
    "jwt": ("high", "JSON web token"),
    "private_key": ("high", "Private key"),
    "url_credentials": ("high", "Password in an address"),
    "password": ("high", "Password"),
    "generic_secret": ("medium", "Key or token"),
}
B64 = "[A-Za-z0-9+/]"
WORD = "[A-Za-z0-9_-]"
NOT_BEFORE = r"(?<![A-Za-z0-9_-])"
NOT_AFTER = r"(?![A-Za-z0-9_-])"
FORMS: tuple[tuple[str, float, str], ...] = (
    # type, how sure, pattern without what stands around it
    ("aws_access_key", 0.9, r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    ("github_token", 0.95, r"gh[pousr]_[A-Za-z0-9]{36,255}"),
    ("github_token", 0.95, r"github_pat_[A-Za-z0-9_]{36,255}"),
    ("gitlab_token", 0.95, rf"gl(?:pat|dt|ptt|rt|cbt|ft|soat)-{WORD}{{20,64}}"),
    ("slack_token", 0.95, r"xox[abeoprs]-[A-Za-z0-9-]{10,200}"),
    ("slack_token", 0.95, r"xapp-\d-[A-Za-z0-9-]{10,200}"),
    (
        "slack_token",
        0.95,
        r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{20,120}",
    ),
    ("stripe_key", 0.95, r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,120}"),
    ("stripe_key", 0.95, r"whsec_[A-Za-z0-9]{24,64}"),
    ("anthropic_key", 0.95, rf"sk-ant-{WORD}{{20,160}}"),
    ("openai_key", 0.95, rf"sk-(?:proj|svcacct|admin)-{WORD}{{20,200}}"),
    ("openai_key", 0.9, r"sk-[A-Za-z0-9]{32,64}"),
    ("google_key", 0.95, rf"AIza{WORD}{{35}}"),
    ("google_key", 0.9, rf"GOCSPX-{WORD}{{28}}"),
    ("google_key", 0.9, rf"ya29\.{WORD}{{30,300}}"),
    ("huggingface_token", 0.95, r"(?:hf|api_org)_[A-Za-z0-9]{30,40}"),
    ("npm_token", 0.95, r"npm_[A-Za-z0-9]{36}"),
    ("pypi_token", 0.95, rf"pypi-AgE{WORD}{{50,250}}"),
    ("sendgrid_key", 0.95, rf"SG\.{WORD}{{16,32}}\.{WORD}{{32,64}}"),
    ("jwt", 0.9, rf"eyJ{WORD}{{10,4000}}\.eyJ{WORD}{{10,8000}}(?:\.{WORD}{{0,2000}})?"),
)
KEY_BLOCK = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[A-Za-z0-9+/=\s:,.()\\-]{0,8000}?"
    r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
)
URL = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s:/?#@'\"<>]{0,100}:([^\s/?#@'\"<>]{1,200}))@"
    r"[A-Za-z0-9.\[\]_-]{1,255}"
)
AZURE = re.compile(rf"(?i:AccountKey|SharedAccessKey)=({B64}{{43,88}}={{0,2}})")
AWS_SECRET = re.compile(
    rf"(?i:aws.{{0,20}}secret.{{0,20}}|secret.{{0,4}}access.{{0,4}}key.{{0,20}}?)['\"\s:=]{{1,4}}({B64}{{40}})"
    rf"(?![A-Za-z0-9+/=])"
)
AWS_PAIR = re.compile(rf"(?<![A-Za-z0-9+/=_-])({B64}{{40}})(?![A-Za-z0-9+/=_-])")
PASSWORD = re.compile(
    r"(?i:(?<![A-Za-z])(?:password|passwd|passwort|passphrase|pwd|pass|pin code)"
    r"(?:[_-][A-Za-z0-9]{1,20}){0,2})"
    r"(?:['\"]?[ \t]{0,3}(?::=|=>|=|:)[ \t]{0,3}|[ \t]{1,2}(?:is|was)[ \t]{1,2}(?::[ \t]{0,2})?)"
    r"(?:\"([^\"\n]{1,200})\"|'([^'\n]{1,200})'|([^\s'\",;<>]{1,200}))"
)
ASSIGNED = re.compile(
    r"(?i:(?:secret|token|api[ _-]?key|apikey|access[ _-]?key|auth|credential"
    r"|private[ _-]?key|client[ _-]?key|bearer|signing[ _-]?key|encryption[ _-]?key)"
    r"s?[A-Za-z0-9_.-]{0,20})"
    r"['\"]?[ \t]{0,3}(?::=|=>|=|:|[ \t]is[ \t]|[ \t])[ \t]{0,3}['\"]?"
    r"([A-Za-z0-9+/_.=~!@#$%^&*-]{16,300})"
)
HOLLOW = re.compile(
    r"(?i)(?:[*•xX.…_-]{3,}|\[.{0,60}\]|<.{0,60}>|\{.{0,80}\}|\$.{0,80}|%.{0,60}%|.{0,12}\*{3,}.{0,12}"
    r"|your.{0,60}|my[_-]?password|password|passwd|secret|token|none|null|true|false|changeme|example"
    r"|redacted|hidden|required|optional|string|str|text|undefined|n/?a|todo|os\.environ.{0,80}"
    r"|process\.env.{0,80}|env\(.{0,80}|getenv.{0,80}|.{0,60}\(.{0,80})"
)
"""Values that say nothing: placeholders, names of variables, calls, what masking leaves."""
_PROSE = """
    a about accepted again already also always an and because being blank but case changed
    compromised correct different empty expired field fine for forgotten going good here
    incorrect invalid is it long lost managed missing my needed never new no not now ok okay old
    only or our page policy protected rejected required reset same saved sent set shared short
    still stored strong that the their there this too unknown very visible was weak working
    written wrong your
"""
PROSE = frozenset(_PROSE.split())
"""Words that follow "password is" in a sentence about passwords."""
ENTROPY_BITS = 3.0
"""Bits a character of a random hex string of 16 to 32 figures lie above, words well below."""

KEY_COLUMN = re.compile(r"(?i)passw|secret|token|api.?key")
COUNT_COLUMN = re.compile(r"(?i)count|used|usage|total|limit|tokens|max|tokeni[sz]er")

_FORMS = tuple(
    (name, score, re.compile(NOT_BEFORE + form + NOT_AFTER)) for name, score, form in FORMS
)
ANCHORS = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}|gh[pousr]_|github_pat_|gl(?:pat|dt|ptt|rt|cbt|ft|soat)-"
    r"|xox[abeoprs]-|xapp-|hooks\.slack\.com|[srp]k_(?:live|test)_|whsec_|sk-|AIza|GOCSPX-|ya29\."
    r"|(?:hf|npm|api_org)_[A-Za-z0-9]{20}|pypi-AgE|SG\.|eyJ|-----BEGIN |://[^\s/]{1,300}@"
    r"|(?i:accountkey|sharedaccesskey|passw|passphrase|pwd|\bpass\b|pass[_-]|pin code|secret|token"
    r"|api[ _-]?key|access[ _-]?key|auth|credential|private[ _-]?key|client[ _-]?key|bearer"
    r"|signing[ _-]?key|encryption[ _-]?key)"
)
"""RE2: a text without any of this holds none of these."""


def detect(table: Table, tools: Tools) -> list[Finding]:
    """A finding for every distinct hit of every cell, by row; one row each.

    Never the secret itself: `detail.preview` shows its ends, `detail.hash` six figures that find it
    again. Options: `columns` (all that hold text).
    """
    return look_through(
        table,
        tools,
        anchors={"secrets": ANCHORS},
        find=lambda piece, parts: [] if piece.figures else find(piece.text, piece.name),
        describe=_describe,
        kind="secret",
        columns=searched(table.columns, numbers=False),
    )


def find(text: str, column: str = "") -> list[Span]:
    """The spans of secrets in a text, by position, none overlapping another."""
    found = [*_known(text), *_urls(text), *_assigned(text)]
    if column and KEY_COLUMN.search(column) and not COUNT_COLUMN.search(column):
        found += _whole_cell(text)
    return best(found)


def covered(text: str) -> str:
    """The text with only the ends of each secret in it."""
    for span in reversed(find(text)):
        text = text[: span.start] + preview(text[span.start : span.end]) + text[span.end :]
    return text


def entropy(text: str) -> float:
    """Bits a character, as the characters of this text are spread (Shannon 1948); 0 for none."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts) if text else 0.0


def looks_random(text: str) -> bool:
    """Whether a word was drawn rather than written: mixed characters, evenly spread."""
    if len(text) < 16 or HOLLOW.fullmatch(text) or entropy(text) < ENTROPY_BITS:
        return False
    kinds = sum(any(c in group for c in text) for group in (UPPER, LOWER, DIGITS))
    if re.fullmatch(r"[0-9a-fA-F-]+", text):
        return bool(re.search(r"\d", text) and re.search(r"[a-fA-F]", text))
    figures = sum(c.isdigit() for c in text)
    return kinds >= 2 and figures >= 2 and entropy(text) >= ENTROPY_BITS + 0.2


UPPER, LOWER, DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"


def _known(text: str) -> Iterator[Span]:
    for name, score, form in _FORMS:
        for found in form.finditer(text):
            yield Span(name, score, *found.span())
    for found in KEY_BLOCK.finditer(text):
        yield Span("private_key", 0.98, *found.span())
    for found in AZURE.finditer(text):
        yield Span("azure_key", 0.95, *found.span(1))
    for found in AWS_SECRET.finditer(text):
        if _mixed(found[1]):
            yield Span("aws_secret_key", 0.95, *found.span(1))
    if re.search(FORMS[0][2], text):  # an access key: its secret stands nearby
        for found in AWS_PAIR.finditer(text):
            if _mixed(found[1]):
                yield Span("aws_secret_key", 0.85, *found.span(1))


def _mixed(text: str) -> bool:
    """Forty characters as AWS draws them: no hash, no path, no word."""
    return bool(entropy(text) > 3.8 and re.search("[A-Z]", text) and re.search("[a-z]", text))


def _urls(text: str) -> Iterator[Span]:
    """User and password in an address, of a database or a site."""
    for found in URL.finditer(text):
        if not HOLLOW.fullmatch(found[2]):
            yield Span("url_credentials", 0.95, *found.span(1))


def _assigned(text: str) -> Iterator[Span]:
    """What is called a password, and random words that are called a key or a token."""
    for found in PASSWORD.finditer(text):
        group = found.lastindex or 3
        value = found[group].rstrip(".?)" if group == 3 else "")
        spoken = re.search(r"(?i)\s(?:is|was)\s", found[0][: found.start(group) - found.start()])
        if _is_password(value, spoken=spoken is not None, quoted=group != 3):
            start = found.start(group)
            yield Span("password", 0.8, start, start + len(value))
    for found in ASSIGNED.finditer(text):
        value = found[1].rstrip(".!?=" if not found[1].endswith("==") else ".!?")
        if looks_random(value):
            yield Span("generic_secret", 0.7, found.start(1), found.start(1) + len(value))


def _is_password(value: str, *, spoken: bool, quoted: bool) -> bool:
    if len(value) < 4 or HOLLOW.fullmatch(value) or value.lower() in PROSE:
        return False
    plain = value.isalpha() and (value.islower() or value.istitle())
    if spoken and not quoted:  # a sentence: only what no sentence has there
        return not plain and bool(re.search(r"[\d!@#$%^&*_+]", value)) and len(value) >= 6
    return quoted or not plain or len(value) >= 6


def _whole_cell(text: str) -> Iterator[Span]:
    """In a column of keys or passwords: one word and nothing else."""
    word = text.strip()
    if not 6 <= len(word) <= 300 or re.search(r"\s", word) or HOLLOW.fullmatch(word):
        return
    if re.search(r"\d", word) or looks_random(word):
        start = text.index(word)
        yield Span("generic_secret", 0.6, start, start + len(word))


def _describe(type_: str, column: str, score: float, shown: str) -> tuple[str, str]:
    severity, label = TYPES[type_]
    return severity, f"{label} in {column}: {shown}"
