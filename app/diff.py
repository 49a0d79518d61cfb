"""Two texts with their differences marked, word by word.

    diff.show(old, new)                            # one text: what went, what came
    diff.show(old, new, sides=("v1", "v2"))        # beside each other
    diff.show(old, new, whitespace=True)           # spaces, tabs and line ends as signs

What went is struck through and what came is underlined, so that neither rests on colour alone; the
tints are translucent and stand on a light ground as on a dark one.

Knows: how a difference looks. Does not know: whether the texts are prompts or answers.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Literal

import streamlit as st

from app import text
from core.prompts.diff import Pieces, word_diff

Side = Literal["both", "old", "new"]

_BOX = (
    "font-family:'JetBrains Mono',ui-monospace,monospace;font-size:0.9rem;line-height:1.55;"
    "white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4;padding:0.75rem 1rem;margin:0;"
    "border:1px solid rgba(128,136,146,0.35);border-radius:6px;"
)
_MARK = "border-radius:3px;padding:1px 0;text-decoration-thickness:1px;color:inherit;"
_STYLES = {
    "delete": _MARK
    + "background:rgba(217,72,60,0.18);text-decoration-line:line-through;"
    + "text-decoration-color:rgba(217,72,60,0.75);",
    "insert": _MARK
    + "background:rgba(32,150,84,0.20);text-decoration-line:underline;"
    + "text-underline-offset:3px;text-decoration-color:rgba(32,150,84,0.9);",
}
_TAGS = {"delete": "del", "insert": "ins"}
_HIDDEN: dict[Side, str] = {"both": "", "old": "insert", "new": "delete"}
_SIGNS = str.maketrans({" ": "·", "\t": "→\t", "\n": "↵\n", "\r": "␍", "\u00a0": "⍽"})


def show(
    old: str,
    new: str,
    *,
    sides: tuple[str, str] | None = None,
    whitespace: bool = False,
    max_height: int | None = None,
) -> None:
    """Draw the difference: one text, or two beside each other under the names in `sides`."""
    pieces = word_diff(old, new)
    if sides is None:
        st.html(markup(pieces, whitespace=whitespace, max_height=max_height))
        return
    shown: tuple[Side, Side] = ("old", "new")
    for column, name, side in zip(st.columns(2, gap="small"), sides, shown, strict=True):
        with column:
            st.caption(name)
            st.html(markup(pieces, side=side, whitespace=whitespace, max_height=max_height))


def markup(
    pieces: Pieces,
    *,
    side: Side = "both",
    whitespace: bool = False,
    max_height: int | None = None,
) -> str:
    """The pieces of `word_diff` as HTML, escaped; one side leaves out what the other adds.

    A change of nothing but white space shows its signs always: it could not be seen otherwise.
    """
    body = "".join(
        _piece(op, piece, whitespace=whitespace) for op, piece in pieces if op != _HIDDEN[side]
    )
    limit = f"max-height:{max_height}px;overflow:auto;" if max_height else ""
    empty = '<span style="opacity:0.7">Empty</span>'
    # tabindex: what scrolls has to be reachable by the keyboard
    focus = ' tabindex="0"' if max_height else ""
    return f'<div style="{_BOX}{limit}"{focus}>{body or empty}</div>'


def summary(pieces: Pieces) -> str:
    """`3 words added, 1 removed`, or that nothing differs."""
    added, removed = (_words(pieces, op) for op in ("insert", "delete"))
    if not added and not removed:
        same = all(op == "equal" for op, _ in pieces)
        return "No difference" if same else "Only white space or punctuation differs"
    parts = [f"{text.plural(added, 'word')} added"] if added else []
    if removed:
        parts.append(f"{text.count(removed) if added else text.plural(removed, 'word')} removed")
    return ", ".join(parts)


def _words(pieces: Iterable[tuple[str, str]], op: str) -> int:
    changed = (piece for kind, piece in pieces if kind == op)
    return sum(any(c.isalnum() for c in word) for piece in changed for word in piece.split())


def _piece(op: str, piece: str, *, whitespace: bool) -> str:
    signs = whitespace or (op != "equal" and piece.isspace())
    escaped = html.escape(piece.translate(_SIGNS) if signs else piece)
    if signs:
        escaped = escaped.replace("·", "·<wbr>")  # a line may break where the space was
    if op == "equal":
        return escaped
    return f'<{_TAGS[op]} style="{_STYLES[op]}">{escaped}</{_TAGS[op]}>'
