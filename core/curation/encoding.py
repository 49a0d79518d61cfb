"""Text that was decoded wrongly: mojibake, replacement and control characters, HTML entities.

Knows: what each looks like, and the repaired text where there is one. Does not know: who decides
about it. Mojibake is told by ftfy's `badness`, a pattern of characters that good text never has.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from core.curation.findings import Finding
from core.curation.sampling import Hits, cells, prose, shown
from core.curation.secrets import find as secrets
from core.curation.tools import Tools
from core.datasets.repair import repair
from core.datasets.table import Table
from core.datasets.values import JSON, TEXT

KEPT = 10_000
"""A repaired text longer than this is not kept in a finding."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]")
_REPLACEMENT = "�"
_ENTITY = re.compile(r"&(?:#\d{2,6}|#[xX][0-9a-fA-F]{2,5}|[A-Za-z][A-Za-z0-9]{1,30});")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+", re.DOTALL)
_MARKUP = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>|<!--|<\?xml")
_CLUE = re.compile("[&�\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Broken:
    """What is wrong with one text."""

    what: str
    """One of SAYS."""
    piece: str
    """Where it shows first."""
    repaired: str | None
    """The text as it should be, or None where what was there is lost."""


SAYS = {
    "mojibake": "was decoded as another encoding than it was written in",
    "replacement": "has lost characters: � stands where they were",
    "control": "holds control characters that no one can see",
    "entities": "holds HTML entities where characters should be",
}
SEVERITY = {"mojibake": "medium", "replacement": "medium", "control": "low", "entities": "low"}


def detect(table: Table, tools: Tools) -> list[Finding]:
    """One finding for each broken cell; `detail` is {what, piece, repaired}."""
    hits = Hits()
    columns = [column for column in table.columns if column.type in (TEXT, JSON)]
    for number, column in enumerate(columns):
        tools.tell(number / len(columns), f"Looking for broken text in {column.name}")
        for rows, values in cells(table, column.name):
            tools.check()
            for row, value in zip(rows, values, strict=True):
                found = broken(prose(value, column.type))
                if found is not None and column.type == JSON:
                    found = replace(found, repaired=None)  # of the texts in it, not of the cell
                if found is not None and found.repaired and secrets(found.repaired):
                    found = replace(found, repaired=None)  # a finding holds none
                if found is not None:
                    hits.add(_finding(row, column.name, found))
    return hits.all()


def broken(text: str) -> Broken | None:
    """What is wrong with a text, the worst first, or None.

    Good text is never named: accents, emoji, every script, source code, markup.
    """
    if _CLUE.search(text) is None:
        return None
    for what, test in _TESTS.items():
        piece = test(text)
        if piece is not None:
            return Broken(what, shown(piece, 60), _repaired(text, what))
    return None


def _finding(row: int, name: str, found: Broken) -> Finding:
    message = f"The text {SAYS[found.what]}: “{found.piece}”."
    if found.repaired is not None and found.what in ("mojibake", "entities"):
        message += f" It should read “{shown(found.repaired, 60)}”."
    detail = {"what": found.what, "piece": found.piece, "repaired": found.repaired}
    return Finding("encoding", SEVERITY[found.what], message, (row,), name, detail)


def _repaired(text: str, what: str) -> str | None:
    if len(text) > KEPT or what == "replacement":
        return None
    if what == "control":
        return _CONTROL.sub("", text)
    if what == "entities":
        return html.unescape(text)
    repaired = repair(text)
    return None if repaired == text else _CONTROL.sub("", repaired)


def _mojibake(text: str) -> str | None:
    if text.isascii():
        return None
    from ftfy.badness import BADNESS_RE

    found = BADNESS_RE.search(text)
    return None if found is None else _around(text, found.start())


def _around(text: str, at: int) -> str:
    return text[max(0, at - 25) : at + 25]


def _replacement(text: str) -> str | None:
    at = text.find(_REPLACEMENT)
    return None if at < 0 else _around(text, at)


def _control(text: str) -> str | None:
    found = _CONTROL.search(text)
    if found is None:
        return None
    return _CONTROL.sub(lambda m: f"\\x{ord(m.group()):02x}", _around(text, found.start()))


def _entities(text: str) -> str | None:
    """Not in markup and not in code, where entities belong."""
    if "&" not in text or _MARKUP.search(text):
        return None
    for found in _ENTITY.finditer(_CODE.sub(" ", text)):
        if html.unescape(found.group()) != found.group():
            return _around(_CODE.sub(" ", text), found.start())
    return None


_TESTS: dict[str, Callable[[str], str | None]] = {
    "mojibake": _mojibake,
    "replacement": _replacement,
    "control": _control,
    "entities": _entities,
}
