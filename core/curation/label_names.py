"""Labels that are one label in two spellings.

Knows: strings and how often each is there. Does not know: texts, rows.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

RARE = 0.25
"""A misspelling is at most this often against the label that it stands for."""
MOST_COMPARED = 500


def spellings(counts: Counter[str]) -> tuple[dict[str, str], dict[str, str]]:
    """({value: the label it counts as}, {rarer spelling: the usual one}).

    The same but for case, white space and punctuation; or rare and one letter off (two from eight
    letters on). A difference in digits is never a spelling: “class 1” and “class 2” are two labels.
    """
    by_key: dict[str, list[str]] = {}
    for value in sorted(counts, key=lambda v: (-counts[v], v)):
        by_key.setdefault(_key(value), []).append(value)
    usual = {value: values[0] for values in by_key.values() for value in values}
    sizes = {key: sum(counts[v] for v in values) for key, values in by_key.items()}
    keys = sorted(sizes, key=lambda key: (-sizes[key], key))[:MOST_COMPARED]
    for at in range(len(keys) - 1, 0, -1):
        key = keys[at]
        for other in keys[:at]:
            if sizes[key] <= RARE * sizes[other] and _a_slip(key, other):
                for value in by_key[key]:
                    usual[value] = by_key[other][0]
                break
    return usual, {value: label for value, label in usual.items() if value != label}


def _key(value: str) -> str:
    folded = unicodedata.normalize("NFKC", value).casefold()
    return " ".join(re.split(r"[\W_]+", folded)).strip() or folded.strip()


def _a_slip(one: str, other: str) -> bool:
    length = min(len(one), len(other))
    most = 0 if length < 5 else 1 if length < 8 else 2
    if abs(len(one) - len(other)) > most or re.findall(r"\d", one) != re.findall(r"\d", other):
        return False
    return distance(one, other) <= most and not _opposite(one, other)


def _opposite(one: str, other: str) -> bool:
    """“complete” and “incomplete”, “legal” and “illegal”: letters put before make another word."""
    long, short = (one, other) if len(one) > len(other) else (other, one)
    return len(long) > len(short) and long.endswith(short)


def distance(one: str, other: str) -> int:
    """Letters to insert, delete, change or swap with the next (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        last, before, row = before, row, [i]
        for j, b in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
