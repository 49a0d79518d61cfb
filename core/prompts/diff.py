"""Word-level differences between two texts.

Knows: words. Does not know: whether they are prompts or answers.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

_TOKEN = re.compile(r"\s+|\w+|[^\w\s]")
_MOST_WORDS = 3_000  # per side; above it the comparison is by lines: difflib is quadratic

Pieces = list[tuple[str, str]]


def word_diff(old: str, new: str) -> Pieces:
    """Pieces `(op, text)` with op equal, delete or insert, in reading order.

    Equal and deleted pieces together are `old`, equal and inserted ones together are `new`.
    White space that two changes have between them goes along with them: it reads better.
    """
    pieces: Pieces = []
    left, right = _TOKEN.findall(old), _TOKEN.findall(new)
    if max(len(left), len(right)) > _MOST_WORDS:
        left, right = old.splitlines(keepends=True), new.splitlines(keepends=True)
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for op, i1, i2, j1, j2 in matcher.get_opcodes():
        if op == "equal":
            pieces.append((op, "".join(left[i1:i2])))
        else:
            pieces.append(("delete", "".join(left[i1:i2])))
            pieces.append(("insert", "".join(right[j1:j2])))
    return _merged(_without_islands([piece for piece in pieces if piece[1]]))


def _without_islands(pieces: Pieces) -> Pieces:
    """Equal white space between two changes becomes part of both."""
    result: Pieces = []
    for index, (op, text) in enumerate(pieces):
        if op == "equal" and text.isspace() and 0 < index < len(pieces) - 1:
            result += [("delete", text), ("insert", text)]
        else:
            result.append((op, text))
    return result


def _merged(pieces: Pieces) -> Pieces:
    """Neighbouring changes as one delete and one insert."""
    result: Pieces = []
    gone, come = "", ""
    for op, text in [*pieces, ("equal", "")]:
        if op == "delete":
            gone += text
        elif op == "insert":
            come += text
        else:
            result += [("delete", gone)] if gone else []
            result += [("insert", come)] if come else []
            result += [("equal", text)] if text else []
            gone, come = "", ""
    return result
