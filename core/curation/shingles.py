"""Texts as sets of character n-grams, and how alike two of them are.

A text is compared in its plain form: lower case, punctuation and white space as single spaces.
Short texts are cut into 3-grams, long ones into 5-grams; those in between into both, so that no
two texts of about one length miss each other. N-grams are 64-bit numbers: for 3-grams the three
code points themselves, for 5-grams a hash of them.

Knows: forms, n-grams, the Jaccard index. Does not know: rows, how candidates are found.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Hashes = np.ndarray[Any, np.dtype[np.uint64]]

SHORT_BELOW = 200
"""Characters of a plain form up to which it is compared by 3-grams."""
LONG_FROM = 120
"""Characters of a plain form from which it is compared by 5-grams."""
MOST_CHARACTERS = 1_000_000
"""Of a longer text only the beginning is compared."""
_KEPT = "+*/=<>%$^|&#@~\\"  # 3+5 and 3*5 are not the same question
_FACTOR = 0x9E3779B97F4A7C15
_PLAIN_ASCII = bytes(
    ord(chr(code).lower()) if chr(code).isalnum() or chr(code) in _KEPT else ord(" ")
    for code in range(128)
) + bytes(128)


class _Plain(dict[int, str]):
    """What each character is in a plain form, looked up once."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        kept = unicodedata.category(character)[0] in "LNMS" and character != "`"
        self[code] = character if kept or character in _KEPT else " "
        return self[code]


_PLAIN = _Plain()


def exact_form(text: str) -> str:
    """The text with composed characters (NFC) and each run of white space as one space."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def plain_form(text: str) -> str:
    """What near duplicates are compared by; the exact form where nothing else would be left."""
    if text.isascii():
        found = b" ".join(text.encode().translate(_PLAIN_ASCII).split()).decode()
    else:
        folded = unicodedata.normalize("NFKC", text).casefold()
        found = " ".join(folded.translate(_PLAIN).split())
    return found or exact_form(text)


def sizes_of(form: str) -> tuple[int, ...]:
    """By which n-grams a plain form is compared: 3, 5, or both."""
    length = len(form)
    return ((3,) if length < SHORT_BELOW else ()) + ((5,) if length >= LONG_FROM else ())


def shingled(forms: Sequence[str], size: int) -> tuple[Hashes, list[int]]:
    """The n-grams of several forms one after the other, and where each form's begin and end.

    A form is taken with a space on either side, so that one of a single character has a 3-gram;
    each has at least one. They may repeat. `size` is 3 or 5.
    """
    import numpy as np

    padded = [f" {form[:MOST_CHARACTERS]} ".ljust(size) for form in forms]
    raw = "".join(padded).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(raw, np.uint32).astype(np.uint64)
    count = len(codes) - size + 1
    found = codes[:count].copy()
    for place in range(1, size):
        following = codes[place : count + place]
        if size == 3:
            found <<= np.uint64(21)
            found |= following
        else:
            found *= np.uint64(_FACTOR)
            found += following
    found ^= found >> np.uint64(29)  # mixed one to one: equal before, equal after
    found *= np.uint64(0xBF58476D1CE4E5B9)
    found ^= found >> np.uint64(32)
    lengths = np.array([len(form) for form in padded])
    ends = np.cumsum(lengths)
    inside = np.ones(len(codes), bool)
    for place in range(1, size):
        inside[ends - place] = False  # would run into the next form
    offsets = np.concatenate([[0], np.cumsum(lengths - size + 1)])
    return found[inside[:count]], offsets.tolist()


def shingle_set(form: str, size: int) -> Hashes:
    """The distinct n-grams of a form, sorted."""
    import numpy as np

    found = np.sort(shingled([form], size)[0])
    distinct: Hashes = found[np.concatenate([[True], found[1:] != found[:-1]])]
    return distinct


def overlap(one: Hashes, other: Hashes) -> float:
    """The Jaccard index of two sorted arrays without repeats: shared over all."""
    import numpy as np

    both = np.concatenate([one, other])
    both.sort()
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared)


def likeness(one: str, other: str) -> float:
    """How alike two texts are, 0 to 1: the larger Jaccard index of their n-grams.

    0 where one is short and the other long: under 120 characters and 200 or more.
    """
    first, second = plain_form(one), plain_form(other)
    if first == second:
        return 1.0
    sizes = [size for size in sizes_of(first) if size in sizes_of(second)]
    return max(
        (overlap(shingle_set(first, size), shingle_set(second, size)) for size in sizes),
        default=0.0,
    )
