"""Texts that share runs of 13 words across sides: one holds a part of the other.

Brown et al. 2020 (GPT-3, appendix C): words in lower case without punctuation; a run that more than
ten rows have is a phrase and tells nothing. Here the share counts too: shared runs over the runs of
the shorter text, at least `LEAST`. A text under 13 words has no such run: it cannot be checked.

Knows: words, runs as 64-bit numbers, which rows share them. Does not know: splits, versions.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from core.curation.tools import Tools

SIZE = 13
LEAST = 0.3
COMMON = 10
"""A run that more rows of the smaller sides have than this is a phrase."""
MOST_RUNS = 40_000_000
"""Runs held in memory (16 bytes each); of more, each side keeps the same part, chosen by value."""
KNOWN_WORDS = 500_000
_WORD = re.compile(r"\w+")
_FACTOR = 0x9E3779B97F4A7C15

Texts = Iterable[list[str]]


@dataclass(frozen=True, slots=True)
class Shared:
    """Two rows of different sides."""

    rows: tuple[int, int]
    overlap: float


def shared_runs(
    open_texts: Callable[[], Texts], sides: Any, tools: Tools, *, least: float = LEAST
) -> tuple[list[Shared], Any]:
    """(pairs of rows that share runs, which rows are too short to be checked).

    `sides` (n, int) has the side of each row, negative for none. The largest side is only read
    past the others, which are held.
    """
    import numpy as np

    asked = sides >= 0
    counts = np.bincount(sides[asked]) if asked.any() else np.zeros(1, np.int64)
    held = asked & (sides != int(counts.argmax()))
    sizes = np.zeros(len(sides), np.int64)
    runs, rows, keep = _held(open_texts(), held, sizes, tools)
    found: list[Shared] = []
    for mine, of in _runs(open_texts(), asked, sizes, tools):
        if keep > 1:
            mine, of = mine[mine % keep == 0], of[mine % keep == 0]
        found += _meetings(mine, of, runs, rows, sides, sizes, held, least, keep)
    return sorted(found, key=lambda pair: (-pair.overlap, pair.rows)), asked & (sizes == 0)


def _held(texts: Texts, held: Any, sizes: Any, tools: Tools) -> tuple[Any, Any, int]:
    """The runs of the held rows, sorted, with their rows, phrases left out; one of how many."""
    import numpy as np

    parts, owners, count, keep = [], [], 0, 1
    for mine, of in _runs(texts, held, sizes, tools):
        parts.append(mine[mine % keep == 0] if keep > 1 else mine)
        owners.append(of[mine % keep == 0] if keep > 1 else of)
        count += len(parts[-1])
        if count > MOST_RUNS:
            keep *= 2
            kept = [part % keep == 0 for part in parts]
            owners = [owner[k] for owner, k in zip(owners, kept, strict=True)]
            parts = [part[k] for part, k in zip(parts, kept, strict=True)]
            count = sum(map(len, parts))
    runs = np.concatenate(parts) if parts else np.array([], np.uint64)
    rows = np.concatenate(owners) if owners else np.array([], np.int64)
    order = np.argsort(runs, kind="stable")
    runs, rows = runs[order], rows[order]
    starts = np.searchsorted(runs, runs, "left")
    common = np.searchsorted(runs, runs, "right") - starts > COMMON
    return runs[~common], rows[~common], keep


def _meetings(
    mine: Any,
    of: Any,
    runs: Any,
    rows: Any,
    sides: Any,
    sizes: Any,
    held: Any,
    least: float,
    keep: int,
) -> list[Shared]:
    """Pairs of one of these rows and a held row of another side, of `keep` runs one compared."""
    import numpy as np

    low, high = np.searchsorted(runs, mine, "left"), np.searchsorted(runs, mine, "right")
    times = high - low
    if not times.any():
        return []
    first = np.repeat(of, times)
    steps = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    second = rows[np.repeat(low, times) + steps]
    across = sides[first] != sides[second]
    across &= ~held[first] | (first > second)  # two held rows meet twice
    pairs, counts = np.unique(
        np.stack([first[across], second[across]], axis=1), axis=0, return_counts=True
    )
    found = []
    for (a, b), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        overlap = min(1.0, keep * count / min(sizes[a], sizes[b]))
        if overlap >= least:
            found.append(Shared((min(a, b), max(a, b)), float(overlap)))
    return found


def _runs(texts: Texts, wanted: Any, sizes: Any, tools: Tools) -> Iterator[tuple[Any, Any]]:
    """The distinct runs of each wanted row and the row of each; `sizes` is filled in passing."""
    import numpy as np

    known: dict[str, int] = {}
    start = 0
    for batch in texts:
        tools.check()
        chosen = np.flatnonzero(wanted[start : start + len(batch)])
        words = [_numbered(batch[at], known) for at in chosen.tolist()]
        lengths = np.array([len(row) for row in words], np.int64)
        owner = np.repeat(chosen + start, lengths)
        flat = np.array([number for row in words for number in row], np.uint64)
        mine, of = distinct_runs(flat, owner)
        numbers, counts = np.unique(of, return_counts=True)
        sizes[numbers] = counts
        start += len(batch)
        yield mine, of


def distinct_runs(words: Any, owner: Any, size: int = SIZE) -> tuple[Any, Any]:
    """The distinct runs of `size` words in each row, as (numbers, rows)."""
    import numpy as np

    count = len(words) - size + 1
    if count < 1:
        return np.array([], np.uint64), np.array([], np.int64)
    total = np.zeros(count, np.uint64)
    for step in range(size):
        total = total * np.uint64(_FACTOR) + words[step : step + count]
    total ^= total >> np.uint64(29)
    total = total * np.uint64(_FACTOR)
    total ^= total >> np.uint64(32)
    inside = owner[:count] == owner[size - 1 :]
    mine, of = total[inside], owner[:count][inside]
    order = np.lexsort((mine, of))
    mine, of = mine[order], of[order]
    new = np.ones(len(mine), bool)
    new[1:] = (mine[1:] != mine[:-1]) | (of[1:] != of[:-1])
    return mine[new], of[new]


def _numbered(text: str, known: dict[str, int]) -> list[int]:
    """The words of a text as numbers that are the same in every process."""
    found = []
    for word in _WORD.findall(text.lower()):
        number = known.get(word)
        if number is None:
            if len(known) > KNOWN_WORDS:
                known.clear()
            data = word.encode("utf-8", "surrogatepass")
            number = known[word] = zlib.crc32(data) << 32 | zlib.adler32(data)
        found.append(number)
    return found
