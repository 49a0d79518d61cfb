"""Values on their way between the command line and a running app: JSON with tags.

Knows: which Python values cross, and how each is written. Does not know: HTTP, actions.
What JSON has is sent as it is; the rest is `{"$": tag, "v": content}`. Only the records named
here are rebuilt, so a message can never name a class of its own choosing.
"""

from __future__ import annotations

import base64
import importlib
import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

TAG = "$"

# Frozen dataclasses that actions take or give, and where each lives.
RECORDS: dict[str, str] = {
    "Generation": "core.generation",
    "Forecast": "core.models.forecast",
    "WorkerSpec": "core.models.spec",
    "Endpoint": "core.models.spec",
    "Example": "core.datasets.examples",
    "Fault": "core.datasets.faults",
    "ChatFormat": "core.datasets.formats.chat",
    "Variant": "core.evals.variants",
}


def encode(value: Any) -> Any:
    """The value as JSON; raises TypeError for what does not cross."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        number = float(value)
        return number if math.isfinite(number) else _tagged("float", str(number))
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return _encode_dict(value)
    if isinstance(value, tuple | set | frozenset):
        kind = "tuple" if isinstance(value, tuple) else "set"
        return _tagged(kind, [encode(item) for item in value])
    return _encode_object(value)


def decode(value: Any) -> Any:
    """What `encode` wrote; raises ValueError for a tag that is not known."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if TAG not in value:
        return {key: decode(item) for key, item in value.items()}
    tag, content = value[TAG], decode(value.get("v"))
    if tag in RECORDS:
        return getattr(importlib.import_module(RECORDS[tag]), tag)(**content)
    if tag not in _DECODERS:
        raise ValueError(f"A value of kind {tag!r} does not cross.")
    return _DECODERS[tag](content)


def _tagged(tag: str, content: Any) -> dict[str, Any]:
    return {TAG: tag, "v": content}


def _encode_dict(value: dict[Any, Any]) -> Any:
    if all(isinstance(key, str) and key != TAG for key in value):
        return {key: encode(item) for key, item in value.items()}
    return _tagged("dict", [[encode(key), encode(item)] for key, item in value.items()])


def _encode_object(value: Any) -> Any:
    name = type(value).__name__
    if isinstance(value, datetime):  # before date: a datetime is one
        return _tagged("datetime", value.isoformat())
    if isinstance(value, date):
        return _tagged("date", value.isoformat())
    if isinstance(value, bytes | bytearray):
        return _tagged("bytes", base64.b64encode(value).decode())
    if is_dataclass(value) and RECORDS.get(name) == type(value).__module__:
        content = {f.name: encode(getattr(value, f.name)) for f in fields(value) if f.init}
        return _tagged(name, content)
    if name == "DataFrame":
        return _tagged("frame", {str(key): encode(list(value[key])) for key in value.columns})
    if name in ("NaTType", "NAType"):
        return None
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        return encode(value.item())
    raise TypeError(f"A {name} does not cross between the command line and the app.")


def _frame(content: dict[str, Any]) -> Any:
    import pandas as pd

    return pd.DataFrame(content)


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "tuple": tuple,
    "set": set,
    "dict": dict,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "bytes": base64.b64decode,
    "frame": _frame,
}
