"""JSON lines: one object a line, each parsed strictly.

Knows: what counts as a row in JSON. Does not know: where a document's rows are (json_document).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO

from core.datasets.faults import Fault
from core.datasets.formats.text import Lines
from core.datasets.records import MAX_COLUMNS, Record
from core.datasets.values import DEEPEST


@dataclass(frozen=True, slots=True)
class Jsonl:
    """A reader of lines."""

    open: Callable[[], AbstractContextManager[BinaryIO]]
    encoding: str

    def columns(self) -> list[str]:
        """None: every row has its own."""
        return []

    def records(self) -> Iterator[Record]:
        """One line at a time; a bad one does not end the reading."""
        with self.open() as file:
            lines = Lines(file, self.encoding)
            index = 0
            for text in lines:
                line = lines.number
                fault = lines.take_fault(index, line)
                if not text.strip() and fault is None:
                    continue
                yield parsed(text, index, line, fault)
                index += 1


def parsed(
    text: str, index: int, line: int | None, fault: Fault | None = None, *, what: str = "line"
) -> Record:
    """The row that a JSON text is, or what is wrong with it; `what` names the text in messages."""
    values: dict[str, Any] = {}
    if fault is None:
        try:
            values = json_object(text, what)
            if text.count("[") + text.count("{") > DEEPEST and is_deep(values, DEEPEST + 1):
                raise RecursionError
        except ValueError as error:
            hint = f"Write one JSON object a {what}."
            fault = Fault(index, None, str(error), hint, line)
        except RecursionError:
            fault = Fault(index, None, "the values are nested too deep", "Flatten them.", line)
    return Record(index, line, values if fault is None else {}, (fault,) if fault else ())


def json_object(text: str, what: str = "line") -> dict[str, Any]:
    """A JSON object without twin or blank keys, NaN or Infinity; ValueError says what is wrong."""
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"the {what} is not JSON: {error.msg}, at column {error.colno}") from None
    if not isinstance(value, dict):
        kind = _KINDS.get(type(value), "a number")
        raise ValueError(f"the {what} is {kind}, not an object")
    if len(value) > MAX_COLUMNS:
        raise ValueError(f"the {what} has {len(value):,} keys; the most is {MAX_COLUMNS}")
    if not all(name.strip() for name in value):
        raise ValueError("a key is blank")
    return _no_duplicates([(name.strip(), item) for name, item in value.items()])


def is_deep(value: Any, levels: int) -> bool:
    """Whether a parsed value has more levels of nesting than that."""
    level = [value]
    for _ in range(levels):
        level = [
            item
            for nested in level
            if isinstance(nested, dict | list)
            for item in (nested.values() if isinstance(nested, dict) else nested)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


_KINDS = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
