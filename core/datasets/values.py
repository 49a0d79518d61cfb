"""Cell values: which kinds there are, how they are stored and how they read as text.

Knows: kinds and conversions. Does not know: files, roles.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

TEXT, INTEGER, NUMBER, BOOLEAN, JSON = "text", "integer", "number", "boolean", "json"
LARGEST_EXACT = 2**53  # beyond it a double is no longer exact, so such integers are kept as text

DEEPEST = 64  # levels of nesting


def kind_of(value: Any) -> str | None:
    """The kind of one value; None for a missing one."""
    if value is None:
        return None
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return INTEGER if abs(value) <= LARGEST_EXACT else TEXT
    if isinstance(value, float):
        return NUMBER
    return TEXT if isinstance(value, str) else JSON


def common_kind(one: str | None, other: str | None) -> str | None:
    """The kind of a column that holds both: numbers join, anything nested makes it JSON."""
    if one is None or other is None or one == other:
        return one or other
    if JSON in (one, other):
        return JSON
    return NUMBER if {one, other} == {INTEGER, NUMBER} else TEXT


def stored(value: Any, kind: str) -> Any:
    """What the Parquet file holds for a value in a column of this kind."""
    if value is None:
        return None
    if kind == JSON:
        return json.dumps(value, ensure_ascii=False)
    if kind == TEXT:
        return text_of(value)
    return float(value) if kind == NUMBER else value


def loaded(value: Any, kind: str) -> Any:
    """The value again, from what the file holds."""
    return json.loads(value) if kind == JSON and value is not None else value


def text_of(value: Any) -> str | None:
    """How a value reads as text; 1.0 and 1 read the same, so that a row keeps its identity when
    its column turns from integers to numbers."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_EXACT:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def is_blank(value: Any) -> bool:
    """Missing, or nothing but white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def fault_in(value: Any, depth: int = 0) -> str | None:
    """Why a value cannot be kept, or None: null bytes, half characters, infinite numbers."""
    if depth > DEEPEST:
        return "is nested too deep"
    if isinstance(value, str):
        if "\0" in value:
            return "contains a null byte"
        return None if value.isascii() or _encodable(value) else "contains half a character"
    if isinstance(value, bytes):
        return "holds bytes, not text"
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a finite number"
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list):
        return next((why for item in value if (why := fault_in(item, depth + 1))), None)
    return None


def plain(value: Any) -> Any:
    """A value from Parquet as JSON has it: times in ISO 8601, decimals and the rest as text."""
    if isinstance(value, float) and math.isnan(value):
        return None  # how data frames write a missing value
    if value is None or isinstance(value, str | bytes | bool | int | float):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


def shown(value: Any) -> Any:
    """A value for a preview on the screen, whatever is wrong with it."""
    if isinstance(value, bytes):
        return f"({len(value):,} bytes)"
    if kind_of(value) == JSON:
        value = json.dumps(value, ensure_ascii=False, default=str)
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def escape_formula(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula, with an apostrophe before it.

    https://owasp.org/www-community/attacks/CSV_Injection; numbers stay numbers. Text that has such
    an apostrophe already gets one more, so that `unescape_formula` gives back what was there.
    """
    if isinstance(value, str) and value.lstrip("'").startswith(_FORMULA):
        return "'" + value
    return value


def unescape_formula(value: Any) -> Any:
    """Undo `escape_formula`, for a file that is known to be written with it."""
    if isinstance(value, str) and value[:1] == "'" and value.lstrip("'").startswith(_FORMULA):
        return value[1:]
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
