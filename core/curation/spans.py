"""Spans: where in a cell something stands that should not, and how a whole version is searched.

Knows: spans, marks, previews, which cells are worth a look, streaming over a table.
Does not know: what is looked for (`personal`, `secrets`), what is done about it.

A mark is six hexadecimal digits of a sha256 over row, column and the words. It tells the hits of
one cell apart and finds them again in the next version; it is too short to try out which phone
number it was made from, so recipes and the database may hold it.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.curation.cells import Path, Piece, pieces, words
from core.curation.findings import Finding
from core.curation.tools import Tools
from core.datasets.table import Table
from core.datasets.values import INTEGER, JSON, NUMBER, TEXT

if TYPE_CHECKING:
    import pyarrow as pa

PLAIN_KEY = re.compile(r"(?!.*\d{5})[A-Za-z_$][A-Za-z0-9_$-]{0,40}")


@dataclass(frozen=True, slots=True)
class Span:
    """One hit in one text."""

    type: str
    score: float
    """How sure, 0 to 1."""
    start: int
    end: int
    """Characters, end excluded."""


Find = Callable[[Piece, frozenset[str]], list[Span]]
"""Takes a text or number with what it is called, which says what kind of text it is, and the parts
of the search that may find something in its cell."""


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


def public_path(path: Path, row_id: str, column: str) -> Path:
    """The way to a text in JSON as a finding tells it: a key that is no plain word as its mark.

    A key may be an address or a name itself, which no finding gives away.
    """
    return tuple(
        f"#{mark(row_id, column, key)}"
        if isinstance(key, str) and not PLAIN_KEY.fullmatch(key)
        else key
        for key in path
    )


def preview(text: str, *, head: int = 2, tail: int = 2) -> str:
    """The first and last characters of what was found; short ones give nothing away."""
    line = " ".join(text.split())
    if len(line) < 3 * (head + tail):
        return line[:1] + "…"
    return f"{line[:head]}…{line[-tail:]}" if tail else f"{line[:head]}…"


def searched(columns: Iterable[Any], *, numbers: bool) -> list[tuple[str, str]]:
    """Name and kind of every column that is looked at, metadata included: text, and numbers."""
    kinds = (TEXT, JSON, INTEGER, NUMBER) if numbers else (TEXT, JSON)
    return [(column.name, column.type) for column in columns if column.type in kinds]


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


def candidates(cells: pa.Array, anchors: str, kind: str, column: str) -> Sequence[bool | None]:
    """Which cells of a column are worth a close look.

    A column whose name is a clue always is, and in JSON a cell with such a key; a number that has
    enough figures.
    """
    from core.curation.figures import least
    from core.curation.personal_patterns import IN_JSON

    if kind in (INTEGER, NUMBER):
        import pyarrow.compute as pc

        figures = least(words(column))
        if figures is None:
            return [False] * len(cells)
        long: Sequence[bool | None] = pc.greater_equal(cells, 10 ** (figures - 1)).to_pylist()
        return long
    if named(column):
        return [True] * len(cells)
    return possible(cells, f"{anchors}|{IN_JSON}" if anchors and kind == JSON else anchors, kind)


def hits(
    cell: Any, kind: str, column: str, find: Find, parts: frozenset[str]
) -> list[tuple[Path, str, Span]]:
    """Every hit in a cell: the way to its text, that text, the span in it."""
    return [
        (piece.path, piece.text, span)
        for piece in pieces(cell, kind, column)
        for span in find(piece, parts)
    ]


def look_through(
    table: Table,
    tools: Tools,
    *,
    anchors: Mapping[str, str],
    find: Find,
    describe: Callable[[str, str, float, str], tuple[str, str]],
    kind: str,
    columns: list[tuple[str, str]],
) -> list[Finding]:
    """A finding for every distinct hit of every cell of these columns (name and kind), by row.

    `anchors` is, for each part of the search, what a cell must have for it to be asked (see
    `candidates`): RE2 over a batch is a hundred times cheaper than the close look.
    `describe(type, column, score, preview)` gives severity and message.
    """
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
            asked = [candidates(cells, pattern, form, name) for pattern in anchors.values()]
            for at, wanted in enumerate(zip(*asked, strict=True)):
                cell = cells[at].as_py() if any(wanted) else None
                if not cell:
                    continue
                if at % 64 == 0:
                    tools.check()
                parts = frozenset(itertools.compress(anchors, wanted))
                found = hits(cell, form, name, find, parts)
                findings += _findings(found, ids[at], indexes[at], name, describe, kind)
        done += len(ids)
        tools.tell(done / total, f"{done:,} rows, {len(findings):,} hits")
    findings.sort(key=lambda finding: finding.rows)
    return findings


def named(column: str) -> bool:
    """Whether the name of a column says that it holds personal data."""
    from core.curation.personal_patterns import COLUMN_CLUE

    return COLUMN_CLUE.search(words(column)) is not None


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
                "spans": [
                    _as_dict(span, column, public_path(path, row_id, column))
                    for path, _, span in places
                ],
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
