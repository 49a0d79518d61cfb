"""An identifier: what a person is found by, and how it is found and taken out of text.

    text      case ignored, a whole word: not inside a longer one; white space counts as one space
    phone     at least six figures; spaces, dashes, dots, slashes and brackets are ignored
    email     the whole address

Text is looked through as it stands and as JSON and similar notations mean it (`\\u00e9`, `\\n`).

Knows: matching. Does not know: where texts are.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from core.errors import Invalid

MASK = "[erased]"
LEAST_CHARACTERS = 3
MOST_CHARACTERS = 200
LEAST_DIGITS = 6
AROUND = 24
"""Characters shown before and after a match in an example."""
NESTED = 3
"""JSON in JSON in JSON is looked into."""

_EMAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+\.[^\s@<>\"']+")
_PHONE = re.compile(r"\+?[\d\s().\-/]+")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


@dataclass(frozen=True, slots=True)
class Identifier:
    """Made by `parse`."""

    text: str
    kind: str
    """text, phone or email."""
    pattern: re.Pattern[str]
    needle: str
    """Lower-case letters or figures that every match has; empty when there are none to rely on."""

    @classmethod
    def parse(cls, given: str) -> Self:
        """Invalid when it is too short to mean one person, or too long."""
        text = " ".join(_composed(given).split())
        if not len(re.sub(r"[\W_]", "", text)) >= LEAST_CHARACTERS or len(text) > MOST_CHARACTERS:
            raise Invalid(
                f"An identifier has at least {LEAST_CHARACTERS} letters or figures and at most "
                f"{MOST_CHARACTERS} characters.",
                field="identifier",
                hint="Give a full name, an address, a number: what means this person alone.",
            )
        digits = re.sub(r"\D", "", text)
        if _EMAIL.fullmatch(text):
            kind, pattern = "email", rf"(?<![\w.+%-]){re.escape(text)}(?![\w-]|\.\w)"
        elif _PHONE.fullmatch(text) and len(digits) >= LEAST_DIGITS:
            kind = "phone"
            pattern = r"(?<!\w)(?<!\d[.,])" + r"[\s().\-/]{0,4}".join(digits) + r"(?!\w)"
        else:
            kind = "text"
            words = r"\s+".join(re.escape(word) for word in text.split())
            pattern = rf"(?<!\w){words}(?!\w)"
        found = re.compile(pattern, re.IGNORECASE)
        if found.search(MASK):
            raise Invalid(f"{given!r} is how Lathe marks what was erased.", field="identifier")
        runs = re.findall(r"[a-z0-9]{2,}", text.lower())
        needle = digits if kind == "phone" else max(runs, key=len, default="")
        return cls(text, kind, found, needle)

    @property
    def normal(self) -> str:
        """The same for the same identifier however it was typed: for its hash."""
        if self.kind == "phone":
            return re.sub(r"\D", "", self.text)
        return self.text.casefold()

    def found(self, text: str | None) -> bool:
        """Whether the text has it, as it stands or behind escapes."""
        if not text:
            return False
        if self.kind != "phone" and self.needle and self.needle not in text.lower():
            return False
        text = _composed(text)
        if self.pattern.search(text):
            return True
        for _ in range(NESTED):
            if "\\" not in text:
                return False
            plain = _composed(_unescaped(text))
            if self.pattern.search(plain):
                return True
            if plain == text:
                return False
            text = plain
        return False

    def likely(self, cell: str) -> str:
        """An SQL condition that is true of every cell that has it, and of few others; `$needle`."""
        cell = f"CAST({cell} AS VARCHAR)"
        if not self.needle:
            return f"({cell} IS NOT NULL AND $needle = '')"
        if self.kind == "phone":
            figures = f"regexp_replace({cell}, '[^0-9]', '', 'g')"
            return f"(contains({figures}, $needle) OR contains({cell}, chr(92)))"
        return f"contains(lower({cell}), $needle)"

    def mask(self, text: str) -> str:
        """The text without it; in JSON only the strings that have it change."""
        if not self.found(text):
            return text
        value = _parsed(text)
        if value is not None:
            masked = json.dumps(self.mask_value(value), ensure_ascii=False)
        else:
            masked = self.pattern.sub(MASK, _composed(text))
        return MASK if self.found(masked) else masked

    def mask_value(self, value: Any, *, whole: bool = False) -> Any:
        """A JSON value without it; with `whole` a string that has it goes as a whole."""
        if isinstance(value, str):
            if whole and _parsed(value) is None:
                return MASK if self.found(value) else value
            return self.mask(value)
        if isinstance(value, Mapping):
            return {
                self.mask(str(key)): self.mask_value(item, whole=whole)
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [self.mask_value(item, whole=whole) for item in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            return MASK if self.found(str(value)) else value
        return value

    def example(self, text: str) -> str:
        """A few words around the first match, of which only the first character is shown."""
        text = _composed(text)
        match = self.pattern.search(text)
        if match is None:
            text = _composed(_unescaped(text))
            match = self.pattern.search(text)
        if match is None:
            return MASK
        before = text[max(0, match.start() - AROUND) : match.start()]
        after = text[match.end() : match.end() + AROUND]
        shown = f"{before}{match[0][:1]}•••{self.pattern.sub('•••', after)}"
        return " ".join(shown.split())


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _unescaped(text: str) -> str:
    plain = _ESCAPE.sub(_character, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(match: re.Match[str]) -> str:
    told = match[1]
    return chr(int(told[1:], 16)) if len(told) == 5 else _NAMED.get(told, told)


def _parsed(text: str) -> Any:
    """An object, list or string in JSON; None for any other text."""
    if text[:1] not in ("{", "[", '"'):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
