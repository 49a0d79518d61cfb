"""JSON documents as rows, without holding the document: an array of objects, one object that
holds such an array, or objects one after another over several lines.

Knows: where the values of a document begin and end. Does not know: what is in a value (json_rows).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import BinaryIO

from core.datasets.faults import Fault
from core.datasets.formats.json_rows import parsed
from core.datasets.formats.text import BOM
from core.datasets.records import MAX_LINE_BYTES, Record, unreadable

Open = Callable[[], AbstractContextManager[BinaryIO]]

_CHUNK = 1024**2
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\]"]', re.DOTALL)
_SKIPPED = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
_MOST_KEYS = 100


@dataclass(frozen=True, slots=True)
class Piece:
    """One value of a document, or what stands between two of them and should not."""

    data: bytes
    line: int
    """One-based, where it begins."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class JsonDocument:
    """A reader of the objects in the array that begins at byte `start`; with `array` false, of
    objects one after another."""

    open: Open
    array: bool = True
    start: int = 0

    def columns(self) -> list[str]:
        """None: every row has its own."""
        return []

    def records(self) -> Iterator[Record]:
        """One object at a time; what is between them that should not be is a fault."""
        with self.open() as file:
            for index, piece in enumerate(pieces(file, self.array, self.start)):
                yield _record(piece, index)


def _record(piece: Piece, index: int) -> Record:
    problem = piece.problem
    text = ""
    try:
        text = piece.data.decode()
    except UnicodeDecodeError:
        problem = problem or f"the value in line {piece.line} is not UTF-8 text"
    if problem:
        fault = Fault(index, None, problem, "Check how the file was written.", piece.line)
        return Record(index, piece.line, faults=(fault,))
    return parsed(text, index, piece.line, what="value")


def pieces(file: BinaryIO, array: bool, start: int = 0) -> Iterator[Piece]:
    """The values of an array, or of a file of values; each is at most 64 MiB."""
    scanner = Scanner(file, start)
    level = 1 if array else 0
    depth, first = 0, True
    if array:
        scanner.token()
        depth, scanner.keep = 1, scanner.end
    while (token := scanner.token(strings=depth == level)) is not None:
        if token in b"]}":
            depth -= 1
            if depth < level:
                yield from _between(scanner.kept(scanner.start), scanner.line, 0)
                if start == 0:
                    yield from _after(scanner)
                return
            ended = depth == level
        else:
            if depth == level:
                gap = scanner.kept(scanner.start)
                yield from _between(gap, scanner.line, 0 if first or not array else 1)
                scanner.keep_from(scanner.start)
                first = False
            if token in b"[{":
                depth += 1
            ended = depth == level
        if ended:
            line = scanner.line
            yield Piece(scanner.kept(scanner.end), line)
            scanner.keep_from(scanner.end)
    rest = scanner.rest()
    if depth > level or (array and depth == level) or scanner.torn:
        what = "a value" if depth > level or scanner.torn else "the array"
        yield Piece(b"", scanner.line, f"the file ends within {what} begun in line {scanner.line}")
    else:
        yield from _between(rest, scanner.line, 0)


def _between(gap: bytes, line: int, commas: int) -> Iterator[Piece]:
    """What is wrong between two values: numbers and words, commas too many or too few."""
    parts = gap.removeprefix(BOM).split(b",")
    loose = [part for part in parts if part.strip()]
    for part in loose:
        yield Piece(part.strip()[:200], line)
    if not loose and len(parts) != commas + 1:
        few = len(parts) < commas + 1
        yield Piece(b"", line, "a comma is missing" if few else "there is a comma too many")


def _after(scanner: Scanner) -> Iterator[Piece]:
    scanner.keep_from(scanner.end)
    token = scanner.token()
    if token is not None or scanner.rest().strip():
        yield Piece(b"", scanner.line, "there is something after the end of the array")


class Scanner:
    """Brackets and strings of a JSON text, one at a time; what lies between is not looked at."""

    def __init__(self, file: BinaryIO, start: int = 0) -> None:
        self._file = file
        self._buffer, self._base, self._at = b"", 0, 0
        self._ended = False
        self.line = 1
        """Where what is kept begins."""
        self.keep = 0
        self.start = self.end = 0
        """Where the last token is, in bytes from the start of the file."""
        self.torn = False
        """The file ends within a string."""
        while self._base < start:
            chunk = file.read(min(_CHUNK, start - self._base))
            if not chunk:
                break
            self.line += chunk.count(b"\n")
            self._base += len(chunk)
        self.keep = self._base

    def token(self, *, strings: bool = True) -> bytes | None:
        """The next bracket, or, where `strings` are asked for too, a quote for a whole string;
        None at the end."""
        while True:
            if not strings and (skipped := _SKIPPED.match(self._buffer, self._at)):
                self._at = skipped.end()
            found = _TOKEN.search(self._buffer, self._at)
            if found is not None and found[0] != b'"':
                self._at = found.end()
                self.start, self.end = self._base + found.start(), self._base + found.end()
                return found[0][:1]
            at = self._base + (len(self._buffer) if found is None else found.start())
            if self._ended:
                self.torn = found is not None
                return None
            self._fill(at)

    def kept(self, end: int) -> bytes:
        """The bytes from `keep` to `end`."""
        return self._buffer[self.keep - self._base : end - self._base]

    def keep_from(self, at: int) -> None:
        """Let go of what is before."""
        self.line += self._buffer.count(b"\n", self.keep - self._base, at - self._base)
        self.keep = at

    def rest(self) -> bytes:
        """What is kept, to the end of the file."""
        return self._buffer[self.keep - self._base :]

    def text(self) -> str:
        """The last token, a string, as text."""
        raw = self._buffer[self.start - self._base : self.end - self._base]
        try:
            return str(json.loads(raw))
        except ValueError:
            return raw.decode(errors="replace").strip('"')

    def _fill(self, at: int) -> None:
        drop = min(at, self.keep) - self._base
        self._buffer = self._buffer[drop:]
        self._base += drop
        self._at = at - self._base
        if len(self._buffer) > MAX_LINE_BYTES:
            raise unreadable(
                f"The value that begins in line {self.line} is longer than 64 MiB.",
                "Check that it is the right file.",
            )
        chunk = self._file.read(max(_CHUNK, len(self._buffer)))
        self._ended = not chunk
        self._buffer += chunk


@dataclass(slots=True)
class Held:
    """What a document that begins with `{` holds."""

    arrays: dict[str, int] = field(default_factory=dict)
    """Key -> byte where its array begins; only arrays with an object first."""
    more: bool = False
    """Another value follows the first."""


def held(file: BinaryIO) -> Held:
    """Look through a document that begins with `{`, to its end or to a second value."""
    scanner, found = Scanner(file), Held()
    depth, key, opening, begun = 0, "", -1, False
    while (token := scanner.token(strings=depth <= 1)) is not None:
        if depth == 0 and begun:
            found.more = True
            return found
        begun = True
        if token == b'"':
            key = scanner.text() if depth == 1 and scanner.end - scanner.start < 1_000 else key
        elif token in b"[{":
            if depth == 1:
                opening = scanner.start if token == b"[" else -1
            elif depth == 2 and token == b"{" and opening >= 0:
                if len(found.arrays) < _MOST_KEYS:
                    found.arrays.setdefault(key, opening)
                opening = -1
            depth += 1
        else:
            depth -= 1
        scanner.keep = scanner.end
    return found
