"""Cells: the texts and numbers in a cell, each with what it is called, and putting others there.

A cell of JSON holds many: every string, every key and every longer number, each with the way to
it. A way that ends in -1 leads to a key, not to its value; a changed number becomes a string.

Knows: JSON. Does not know: what is looked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.datasets.values import INTEGER, JSON, NUMBER, text_of

Path = tuple[str | int, ...]
KEY = -1
"""Ends the way to a key: no list has such a place."""
LEAST = 1_000_000
"""Smaller numbers are nobody's, and there are many of them."""
LONGEST_KEY = 60
WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_.\-/]+")


@dataclass(frozen=True, slots=True)
class Piece:
    """One text or number of a cell."""

    path: Path
    """The way to it; () for a cell that is no JSON."""
    text: str
    name: str
    """What it is called, in words: its column, and the last two keys on the way."""
    figures: bool = False
    """Whether it is a number and not a text."""


def words(name: str) -> str:
    """A column's name in words: `phoneNumber` and `phone_number` are phone number."""
    return WORDS.sub(" ", name).strip()


def pieces(cell: Any, kind: str, column: str) -> list[Piece]:
    """What there is to look at in a cell that is not empty."""
    name = words(column)
    if kind in (INTEGER, NUMBER):
        return [Piece((), text_of(cell) or "", name, figures=True)]
    if kind != JSON:
        return [Piece((), cell, name)]
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return [Piece((), cell, name)]
    return list(_pieces(value, (), [name]))


def replaced(cell: str, kind: str, new: dict[Path, str]) -> str:
    """The cell with some of its texts changed; JSON is written as the datasets write it."""
    if () in new:
        return new[()] if kind != JSON else _as_json_text(cell, new[()])
    value = json.loads(cell)
    keys = sorted((path for path in new if path[-1] == KEY), key=len, reverse=True)
    for path, text in new.items():
        if path[-1] != KEY:
            place = _at(value, path[:-1])
            if text_of(place[path[-1]]) != text:
                place[path[-1]] = text
    for path in keys:  # the inner ones first: the way to them is as it was
        _rename(_at(value, path[:-2]), str(path[-2]), new[path])
    return json.dumps(value, ensure_ascii=False)


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _rename(place: dict[str, Any], old: str, new: str) -> None:
    """Another key in the same place; one that is there already gets a number behind it."""
    free, count = new, 1
    while free in place and free != old:
        count += 1
        free = f"{new} {count}"
    items = [(free if key == old else key, item) for key, item in place.items()]
    place.clear()
    place.update(items)


def _as_json_text(cell: str, text: str) -> str:
    """A JSON cell that is one value becomes that text; broken JSON is changed as it stands."""
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return text
    return cell if text_of(value) == text else json.dumps(text, ensure_ascii=False)


def _pieces(value: Any, path: Path, said: list[str]) -> Iterator[Piece]:
    if isinstance(value, str):
        yield Piece(path, value, " ".join(said))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield Piece((*path, key, KEY), key, said[0])
            named = [said[0], *said[1:][-1:], words(key[:LONGEST_KEY])]
            yield from _pieces(item, (*path, key), named)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _pieces(item, (*path, index), said)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value >= LEAST:
        yield Piece(path, text_of(value) or "", " ".join(said), figures=True)
