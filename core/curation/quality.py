"""Cells without a value, text that is hardly text, and abusive words.

Knows: what stands for nothing, repetition, boilerplate, endings that were cut, a word list. Does
not know: length and rarity (`outliers`), encodings (`encoding`), meaning.

Answers that stand in their question are no fault here: in extractive question answering they must.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from core.curation.abusive_words import INSULTS, PHRASES, THREATS
from core.curation.findings import Finding
from core.curation.repetition import repetition
from core.curation.sampling import Hits, cells, prose, shown
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.table import Table
from core.datasets.values import JSON, TEXT

LOOKED_AT = 20_000
"""Characters of a cell that are looked at."""
REPETITION_WORDS = 30
"""Shorter texts repeat a word or two by nature: they are named where next to nothing else is
there."""
FEWEST_WORDS = 8
NOTHING_ELSE = 0.9
"""Share of a short text in runs of five words that come again."""
REPETITION = {
    "top_2gram_share": 0.30, "top_3gram_share": 0.25, "top_4gram_share": 0.25,
    "repeated_5gram_share": 0.40, "duplicate_line_character_share": 0.40,
}  # fmt: skip
"""Looser than Gopher's limits, which are for web pages: rows are short."""
FEW = 0.2
"""A kind of ending that more of the rows have is how this column is written."""

_NOTHING = frozenset(
    """
    n/a na n.a. none null nil nan - -- --- . .. ... ? ?? ??? x xx xxx todo tbd tba tbc fixme
    undefined unknown empty blank missing #n/a #ref! #value! #name? #null! #div/0! (none) (null)
    (empty) (blank) <null> <none> [null] [none] placeholder
    """.split()  # noqa: SIM905
)
_FILLER = re.compile(r"lorem ipsum|dolor sit amet|consectetur adipiscing", re.IGNORECASE)
_MARKUP = re.compile(
    r"</?(?:html|body|head|div|span|table|tr|td|p|br|script|style|a|img|ul|li|font|nav|footer)\b"
    r"[^<>]{0,500}>",
    re.IGNORECASE,
)
_BOILERPLATE = re.compile(
    r"accept (?:all )?cookies|we use cookies|all rights reserved|click here to unsubscribe|"
    r"to unsubscribe|view (?:this email )?in your browser|enable javascript|"
    r"skip to (?:main )?content|"
    r"subscribe to our newsletter|terms (?:of service|and conditions) (?:and|\|) privacy policy|"
    r"as an ai language model|as a large language model",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_ENDED = re.compile(r"[.!?…:;)\]}\"'”’»>`*|。！？।]\s*$")
_CUT = re.compile(
    r"(?:\b(?:the|a|an|and|or|but|because|if|my|your|our|their|und|oder|der|die|das|le|les|et|que)|"
    r",|\w-)\s*$",
    re.IGNORECASE,
)
"""Words that nothing ends with; a question may end with “from”."""
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5,}")
_VOWELS = re.compile(r"[aeiouyäöüáàâéèêíìîóòôúùûåæøœ]")
_ABUSE = re.compile(
    r"(?<![\w-])(?:" + "|".join(map(re.escape, (*PHRASES, *sorted(INSULTS)))) + r")(?![\w-])",
    re.IGNORECASE,
)


def detect(table: Table, tools: Tools) -> list[Finding]:
    """Findings of the kinds missing (one a column), quality and toxicity (one a cell)."""
    hits = Hits()
    findings: list[Finding] = []
    for number, column in enumerate(table.columns):
        tools.tell(number / len(table.columns), f"Reading {column.name}")
        seen = _Seen(column)
        for rows, values in cells(table, column.name):
            tools.check()
            seen.add(rows, values)
            for found in seen.faults:
                hits.add(found)
            seen.faults.clear()
        findings += seen.about_the_column()
        for found in seen.cut():
            hits.add(found)
    return findings + hits.all()


@dataclass(slots=True)
class _Seen:
    """One column while it is read."""

    column: Column
    count: int = 0
    missing: list[int] = field(default_factory=list)
    first: Any = None
    constant: bool = True
    nothing: dict[str, list[int]] = field(default_factory=dict)
    faults: list[Finding] = field(default_factory=list)
    ended: int = 0
    long: int = 0
    unfinished: list[tuple[int, str]] = field(default_factory=list)

    def add(self, rows: list[int], values: list[Any]) -> None:
        """Take up a batch; what is wrong with single cells is left in `faults`."""
        texts: list[tuple[int, str]] = []
        for row, value in zip(rows, values, strict=True):
            self.count += 1
            if value is None or (isinstance(value, str) and not value.strip()):
                self.missing.append(row)
                continue
            self.first = value if self.first is None else self.first
            self.constant = self.constant and value == self.first
            if isinstance(value, str) and self.column.type in (TEXT, JSON):
                text = prose(value, self.column.type)[:LOOKED_AT]
                if text.strip().lower() in _NOTHING:
                    self.nothing.setdefault(text.strip(), []).append(row)
                else:
                    texts.append((row, text))
        self._look_at(texts)

    def _look_at(self, texts: list[tuple[int, str]]) -> None:
        shares = repetition([text for _, text in texts]) if texts else {}
        for at, (row, text) in enumerate(texts):
            hit = abuse(text)
            if hit is not None:
                self.faults.append(self._toxic(row, hit))
            words = text.count(" ") + text.count("\n") + 1
            why = _repeats(shares, at, words) or next(
                (said for test in _TESTS if (said := test(text))), None
            )
            if why is not None:
                detail = {"rule": why[1]}
                self.faults.append(
                    Finding("quality", "low", why[0], (row,), self.column.name, detail)
                )
            elif self.column.type == TEXT and words >= 8:
                self._ending(row, text, whole=len(text) < LOOKED_AT)

    def _ending(self, row: int, text: str, *, whole: bool) -> None:
        self.long += 1
        self.ended += _ENDED.search(text[-20:]) is not None
        if whole and _CUT.search(text[-20:]) and len(self.unfinished) < 10_000:
            self.unfinished.append((row, text[-40:]))

    def _toxic(self, row: int, hit: str) -> Finding:
        severity = "high" if hit.lower() in THREATS else "medium"
        masked = hit[0] + "•" * (len(hit) - 2) + hit[-1]
        message = f"An abusive word: “{masked}”."
        return Finding("toxicity", severity, message, (row,), self.column.name, {"word": hit})

    def about_the_column(self) -> Iterator[Finding]:
        """Missing cells, words that stand for nothing, a column that says one thing."""
        name, role = self.column.name, self.column.role
        if self.missing:
            share = len(self.missing) / self.count
            severity = {"expected": "high", "input": "medium"}.get(role, "low")
            yield Finding(
                "missing",
                severity,
                f"{name} is empty in {_rows(len(self.missing))} of {self.count:,} ({share:.1%}).",
                tuple(self.missing),
                name,
                {"count": len(self.missing), "share": round(share, 4)},
            )
        for text, rows in self.nothing.items():
            if len(rows) > 0.2 * max(5, self.count) or (
                role == "expected" and len(rows) > 0.02 * self.count
            ):
                continue  # a value of the column, as “unknown” among labels
            said = (
                f"{name} says “{shown(text, 20)}” in {_rows(len(rows))}, which stands for nothing."
            )
            detail = {"rule": "placeholder", "value": text[:100]}
            yield Finding("quality", "low", said, tuple(rows), name, detail)
        filled = self.count - len(self.missing)
        if self.constant and filled >= 10 and self.column.role != "metadata":
            said = f"{name} is “{shown(str(self.first), 40)}” in every row."
            yield Finding("quality", "low", said, (), name, {"rule": "constant"})

    def cut(self) -> Iterator[Finding]:
        """Texts that stop in the middle of a sentence, where nearly no other does."""
        if self.long < 20 or len(self.unfinished) > FEW * self.long or self.ended < 0.6 * self.long:
            return
        for row, end in self.unfinished:
            said = f"The text stops in the middle of a sentence: “…{shown(end, 40)}”."
            detail = {"rule": "cut"}
            yield Finding("quality", "low", said, (row,), self.column.name, detail)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def abuse(text: str) -> str | None:
    """The first abusive word or phrase in a text, or None; whole words only."""
    found = _ABUSE.search(text)
    return found.group() if found else None


Why = tuple[str, str]


def _repeats(shares: dict[str, Any], at: int, words: int) -> Why | None:
    """The rule that a text breaks by most, in words; one for short texts, none for a few words."""
    if words < FEWEST_WORDS:
        return None
    limits = REPETITION if words >= REPETITION_WORDS else {"repeated_5gram_share": NOTHING_ELSE}
    over = {rule: float(shares[rule][at]) / limit for rule, limit in limits.items()}
    rule = max(over, key=lambda name: over[name])
    if over[rule] <= 1:
        return None
    return f"The text repeats itself: {shares[rule][at]:.0%} of it is said again.", "repetition"


def _filler(text: str) -> Why | None:
    found = _FILLER.search(text)
    return (f"Filler text: “{found.group()}”.", "filler") if found else None


def _boilerplate(text: str) -> Why | None:
    found = _BOILERPLATE.search(text)
    return (f"Boilerplate in the text: “{found.group()}”.", "boilerplate") if found else None


def _markup(text: str) -> Why | None:
    """Pages, not a tag that somebody asks about: tags are a fifth of the text, and several."""
    if "<" not in text:
        return None
    tags = _MARKUP.findall(text)
    if len(tags) < 4 or sum(map(len, tags)) < 0.2 * len(text):
        return None
    return f"HTML is left in the text: {len(tags):,} tags.", "markup"


def hardly_text(text: str) -> Why | None:
    """Keys pressed at random, one character again and again, marks without a word."""
    stripped = text.strip()
    if len(stripped) < 4:
        return None
    character, times = Counter(stripped.replace(" ", "")[:2_000]).most_common(1)[0]
    said = character.isascii() or character.isalpha()  # eight thumbs up say something
    if said and times >= 6 and times > 0.8 * len(stripped.replace(" ", "")[:2_000]):
        return f"Hardly text: “{character}” again and again.", "hardly_text"
    if not any(letter.isalnum() for letter in stripped):
        symbols = all(ord(letter) < 0x2000 for letter in stripped if not letter.isspace())
        return (f"No word in it: “{shown(stripped, 30)}”.", "hardly_text") if symbols else None
    words = [word for word in _TOKEN.findall(stripped[:2_000].lower()) if len(word) >= 4]
    if not words or not stripped.isascii():
        return None
    odd = sum(_is_odd(word) for word in words)
    letters = sum(letter.isalpha() for letter in stripped[:2_000])
    if odd >= 2 and odd >= 0.5 * len(words) and letters > 0.6 * len(stripped[:2_000]):
        return f"Hardly text: “{shown(stripped, 40)}”.", "hardly_text"
    return None


def _is_odd(word: str) -> bool:
    """A word that nobody can say."""
    return bool(_CONSONANTS.search(word)) or _VOWELS.search(word) is None


_TESTS: tuple[Callable[[str], Why | None], ...] = (_filler, _boilerplate, _markup, hardly_text)
