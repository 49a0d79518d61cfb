"""Text as scorers compare it: normalised, or parsed as strict JSON.

Knows: Unicode, blanks, punctuation, fences. Does not know: what the text answers.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, NoReturn

_FENCE = re.compile(r"\A```[A-Za-z0-9_-]*[ \t]*\r?\n(?P<inner>.*?)\r?\n?```\Z", re.DOTALL)


def normalise(
    text: str, *, case: bool = False, punctuation: bool = False, whitespace: bool = True
) -> str:
    """The text with what is to be ignored taken out; idempotent.

    Always NFC, so that composed and combining letters are equal. Punctuation is every character
    of a Unicode category P*, and goes before whitespace so that it leaves no gap.
    """
    text = unicodedata.normalize("NFC", text)
    if case:
        text = unicodedata.normalize("NFC", text.casefold())
    if punctuation:
        text = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
        text = unicodedata.normalize("NFC", text)
    if whitespace:
        text = " ".join(text.split())
    return text


def parse_json(text: str, *, fenced: bool = False) -> Any:
    """The JSON value that the text is; raises ValueError saying what is wrong.

    Stricter than Python's reader: NaN and Infinity are refused. Nesting that exhausts the
    reader's stack is refused too. With `fenced` a Markdown fence around it is taken off.
    """
    text = text.strip()
    fence = _FENCE.match(text) if fenced else None
    try:
        return json.loads(fence["inner"] if fence else text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
