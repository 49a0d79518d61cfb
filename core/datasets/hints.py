"""What the first values of a column suggest: dates and numbers kept as text, mixed kinds, text that
was decoded wrongly. Shown in the preview of an import; nothing is changed by it.

Knows: kinds of values, what dates and numbers look like. Does not know: files, roles.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from core.datasets.repair import is_broken
from core.datasets.values import BOOLEAN, INTEGER, JSON, NUMBER, TEXT, is_blank, kind_of

_ISO_DATE = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"
)
_DATE = re.compile(r"(\d{1,2})[./-](\d{1,2})[./-](?:\d{4}|\d\d)(?: \d{1,2}:\d\d(?::\d\d)?)?")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[ ,.'\u00a0\u202f]\d{3})+(?:[.,]\d+)?|[+-]?\d+,\d+")
_WORDS = {
    TEXT: ("text", "texts"), NUMBER: ("number", "numbers"), JSON: ("nested value", "nested values"),
    BOOLEAN: ("true or false", "true or false"),
}  # fmt: skip
_LONGEST = 100_000  # characters looked at; a preview is not the place for megabytes
_MOSTLY = 0.8


def hints(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Column -> what its values suggest, in a sentence or two; columns without are left out."""
    found = {}
    for column in columns:
        values = [row[column] for row in rows if not is_blank(row.get(column))]
        said = [text for text in (_kinds(values), _looks(values), _wrong(values)) if text]
        if said:
            found[column] = " ".join(said)
    return found


def _kinds(values: list[Any]) -> str | None:
    counts = Counter(NUMBER if kind_of(v) == INTEGER else kind_of(v) or TEXT for v in values)
    if len(counts) < 2:
        return None
    listed = " and ".join(f"{n} {_WORDS[kind][n > 1]}" for kind, n in counts.most_common())
    return f"Mixed: {listed}."


def _looks(values: list[Any]) -> str | None:
    """What texts look like, all of them or nearly."""
    texts = [value.strip()[:_LONGEST] for value in values if isinstance(value, str)]
    if not texts or len(texts) < len(values):
        return None
    if all(_ISO_DATE.fullmatch(text) for text in texts):
        return "Dates, kept as text."
    dates = [match for text in texts if (match := _DATE.fullmatch(text))]
    if len(dates) == len(texts):
        return _ambiguous(dates)
    numbers = [bool(_NUMBER.fullmatch(text) or _GROUPED.fullmatch(text)) for text in texts]
    if all(numbers):
        grouped = next((text for text in texts if not _NUMBER.fullmatch(text)), None)
        return f"Numbers written like {grouped}, kept as text." if grouped else "Numbers, as text."
    if sum(numbers) >= _MOSTLY * len(texts):
        odd = texts[numbers.index(False)][:40]
        return f"Numbers, as text, but for {len(texts) - sum(numbers)}, such as {odd!r}."
    if all(text.lower() in ("true", "false") for text in texts):
        return "True or false, kept as text."
    return "JSON, kept as text." if all(map(_is_json, texts)) else None


def _ambiguous(dates: list[re.Match[str]]) -> str:
    """Which of day and month comes first, where any of the dates says it."""
    firsts, seconds = ({int(date[part]) for date in dates} for part in (1, 2))
    if max(firsts) > 12 and max(seconds) > 12:
        return "Dates, kept as text; day and month change places among them."
    if max(firsts) > 12 or max(seconds) > 12:
        return f"Dates with the {'day' if max(firsts) > 12 else 'month'} first, kept as text."
    return f"Dates, kept as text; in {dates[0][0]!r} either part may be the month."


def _wrong(values: list[Any]) -> str | None:
    texts = [value[:_LONGEST] for value in values if isinstance(value, str)]
    broken = sum(map(is_broken, texts))
    padded = sum(text != text.strip() for text in texts)
    said = []
    if broken:
        said.append(f"{broken} of {len(values)} look wrongly decoded; curation can repair them.")
    if padded:
        said.append(f"{padded} of {len(values)} begin or end with white space.")
    return " ".join(said) or None


def _is_json(text: str) -> bool:
    if text[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
