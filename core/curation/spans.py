"""Spans: where in a cell something stands that should not, and how a whole version is searched.

Knows: spans, marks, previews, the strings inside JSON cells, streaming over a table.
Does not know: what is looked for (`personal`, `secrets`), what is done about it.

A mark is six hexadecimal digits of a sha256 over row, column and the words. It tells the hits of
one cell apart and finds them again in the next version; it is too short to try out which phone
number it was made from, so recipes and the database may hold it.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.curation.findings import Finding
from core.curation.tools import Tools
from core.datasets.table import Table
from core.datasets.values import JSON, TEXT

if TYPE_CHECKING:
    import pyarrow as pa

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """One hit in one text."""

    type: str
    score: float
    """How sure, 0 to 1."""
    start: int
    end: int
    """Characters, end excluded."""


Find = Callable[[str, str], list[Span]]
"""Takes a text and the name of its column, which says what kind of text it is."""


def best(spans: Iterable[Span]) -> list[Span]:
    """Spans that do not overlap, by position; where two do, the surer and then longer one stays."""
    chosen: list[Span] = []
    starts: list[int] = []
    for span in sorted(spans, key=lambda s: (-s.score, s.start - s.end, s.start, s.type)):
        at = bisect.bisect_left(starts, span.start)
        if at < len(chosen) and chosen[at].start < span.end:
            continue
        if at and chosen[at - 1].end > span.start:
            continue
        starts.insert(at, span.start)
        chosen.insert(at, span)
    return chosen


def mark(row_id: str, column: str, text: str) -> str:
    """Names a hit within its cell without giving it away."""
    told = f"{row_id}\0{column}\0{text}".encode(errors="surrogatepass")
    return hashlib.sha256(told).hexdigest()[:6]


def preview(text: str, *, head: int = 2, tail: int = 2) -> str:
    """The first and last characters of what was found; short ones give nothing away."""
    line = " ".join(text.split())
    if len(line) < 3 * (head + tail):
        return line[:1] + "…"
    return f"{line[:head]}…{line[-tail:]}" if tail else f"{line[:head]}…"


def strings(cell: str, kind: str) -> list[tuple[Path, str]]:
    """The texts in a cell: the cell itself, or every string inside JSON, with the way to it."""
    if kind != JSON:
        return [((), cell)]
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return [((), cell)]
    return list(_strings(value, ()))


def replaced(cell: str, kind: str, new: dict[Path, str]) -> str:
    """The cell with some of its strings changed; JSON is written as the datasets write it."""
    if () in new:
        return new[()] if kind != JSON else _as_json_text(cell, new[()])
    value = json.loads(cell)
    for path, text in new.items():
        place = value
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = text
    return json.dumps(value, ensure_ascii=False)


def _as_json_text(cell: str, text: str) -> str:
    """A JSON cell that is one string stays one; broken JSON is changed as the text that it is."""
    try:
        json.loads(cell)
    except (ValueError, RecursionError):
        return text
    return json.dumps(text, ensure_ascii=False)


def _strings(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, (*path, index))


def textual(columns: Iterable[Any]) -> list[tuple[str, str]]:
    """Name and kind of every column that holds text, metadata included."""
    return [(column.name, column.type) for column in columns if column.type in (TEXT, JSON)]


def possible(cells: pa.Array, pattern: str, kind: str = TEXT) -> Sequence[bool | None]:
    """Which cells have anything of the pattern: RE2 over the whole batch, in linear time.

    JSON is looked at with its escapes undone; a cell with escapes of another sort always may.
    """
    import pyarrow.compute as pc

    if kind == JSON:
        pattern = rf"{pattern}|\\u[0-9a-fA-F]{{4}}" if pattern else ""
        for escaped, plain in (
            ("\\\\", "\x01"),  # first: the n after an escaped backslash ends no line
            ("\\n", "\n"),
            ("\\r", "\r"),
            ("\\t", "\t"),
            ('\\"', '"'),
            ("\\/", "/"),
        ):
            cells = pc.replace_substring(cells, escaped, plain)
    found: Sequence[bool | None] = pc.match_substring_regex(cells, pattern).to_pylist()
    return found


def hits(cell: str, kind: str, column: str, find: Find) -> list[tuple[Path, str, Span]]:
    """Every hit in a cell: the way to its string, that string, the span in it."""
    return [(path, text, span) for path, text in strings(cell, kind) for span in find(text, column)]


def look_through(
    table: Table,
    tools: Tools,
    *,
    anchors: str,
    find: Find,
    describe: Callable[[str, str, float, str], tuple[str, str]],
    kind: str,
) -> list[Finding]:
    """A finding for every distinct hit of every cell, by row.

    `anchors` is what a cell must have to be looked at closely; a column whose name is a clue
    (`find` decides) is always. `describe(type, column, score, preview)` gives severity and message.
    """
    columns = textual(table.columns)
    chosen = tools.options.get("columns")
    columns = [(name, form) for name, form in columns if chosen is None or name in chosen]
    total = max(table.count(), 1)
    findings: list[Finding] = []
    done = 0
    for batch in table.batches(["row_id", "row_index", *(name for name, _ in columns)], 2_048):
        tools.check()
        ids = batch.column("row_id").to_pylist()
        indexes = batch.column("row_index").to_pylist()
        for name, form in columns:
            cells = batch.column(name)
            wanted = possible(cells, anchors, form) if not named(name) else [True] * len(ids)
            for at, yes in enumerate(wanted):
                cell = cells[at].as_py() if yes else None
                if not cell:
                    continue
                if at % 64 == 0:
                    tools.check()
                found = hits(cell, form, name, find)
                findings += _findings(found, ids[at], indexes[at], name, describe, kind)
        done += len(ids)
        tools.tell(done / total, f"{done:,} rows, {len(findings):,} hits")
    findings.sort(key=lambda finding: finding.rows)
    return findings


def named(column: str) -> bool:
    """Whether the name of a column says that it holds personal data."""
    from core.curation.personal_patterns import COLUMN_CLUE

    return COLUMN_CLUE.search(column.replace("_", " ")) is not None


def _findings(
    found: list[tuple[Path, str, Span]],
    row_id: str,
    row_index: int,
    column: str,
    describe: Callable[[str, str, float, str], tuple[str, str]],
    kind: str,
) -> Iterator[Finding]:
    """One for each distinct text: the same address twice in a cell is one decision."""
    by_mark: dict[tuple[str, str], list[tuple[Path, str, Span]]] = {}
    for path, text, span in found:
        key = (span.type, mark(row_id, column, text[span.start : span.end]))
        by_mark.setdefault(key, []).append((path, text, span))
    for (type_, sign), places in by_mark.items():
        _, text, first = places[0]
        shown = preview(text[first.start : first.end])
        score = round(max(span.score for _, _, span in places), 2)
        severity, message = describe(type_, column, score, shown)
        yield Finding(
            kind=kind,
            severity=severity,
            message=message,
            rows=(row_index,),
            column=column,
            detail={
                "type": type_,
                "score": score,
                "preview": shown,
                "hash": sign,
                "spans": [_as_dict(span, column, path) for path, _, span in places],
            },
        )


def _as_dict(span: Span, column: str, path: Path) -> dict[str, Any]:
    told = {
        "type": span.type,
        "score": round(span.score, 2),
        "start": span.start,
        "end": span.end,
        "column": column,
    }
    return {**told, "path": list(path)} if path else told
