"""Removed and added rows that are one row whose input was edited: found by place and words.

An import names a row by a hash of its inputs, so an edited input gives another id. Two rows are
taken for one when

1. they have the same words in the same order (case, punctuation and white space differ), wherever
   they stand, the n-th of several with the n-th; or
2. they stand in the same gap, between the same two rows that both versions have, and share at
   least half of their words (Jaccard), in order: of all ways to pair up a gap without crossing,
   the one with the most likeness.

Place alone is not enough (a file sorted anew has something else in each place) and words alone are
not either (thousands of short questions are alike): together they seldom err, and need only a few
comparisons a row. A row that was edited and moved stays one removed and one added.

Knows: the table `joined` of `diff`, two files. Does not know: versions, columns beyond the inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.datasets.table import quoted

if TYPE_CHECKING:
    import duckdb
    import numpy as np

LEAST_ALIKE = 0.5
MOST_ROWS = 30_000  # a side: beyond it whole files differ, and single edits say little
MOST_CHARACTERS = 4_000  # of a text: what is alike so far is the same row
SMALL_GAP = 400  # removed x added rows of a gap that are compared each with each
MOST_CANDIDATES = 200_000

# Chinese, Japanese and Thai set no spaces: each of their signs counts as a word.
_SPACED = (
    r"regexp_replace({text}, '([\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Thai}}])', ' \1 ', 'g')"
)
_WORDS = r"list_filter(string_split_regex(lower({text}), '[^\pL\pN\pM]+'), lambda w: w <> '')"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Three arrays of one length: old and new `row_index`, and how alike the words are, 0 to 1."""

    old: np.ndarray[Any, Any]
    new: np.ndarray[Any, Any]
    similarity: np.ndarray[Any, Any]
    note: str = ""


def pair(
    connection: duckdb.DuckDBPyConnection,
    sides: tuple[tuple[str, str], tuple[str, str]],
    inputs: Sequence[str],
) -> Pairs:
    """The pairs among the rows of `joined` that are removed and added; each row in one at most.

    `sides` are the two files in SQL, each with what else to select of it: both end up in the
    tables `gone` and `come`, so that who compares the cells of pairs need not read the files again.
    """
    import numpy as np

    nothing = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    row = connection.execute(
        "SELECT count(*) FILTER (kind = 'removed'), count(*) FILTER (kind = 'added') FROM joined"
    ).fetchall()[0]
    if not inputs or not min(row):
        return nothing
    tables = (("gone", "old_index", "removed"), ("come", "new_index", "added"))
    for (name, at, kind), (file, more) in zip(tables, sides, strict=True):
        text = f"left(concat_ws(chr(10), {', '.join(map(quoted, inputs))}), {MOST_CHARACTERS})"
        words = _WORDS.format(text=_SPACED.format(text=text))
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {name} AS"
            f" SELECT row_index AS place, {words} AS words{more}"
            f" FROM {file} WHERE row_index IN (SELECT {at} FROM joined WHERE kind = '{kind}'"
            f" ORDER BY {at} LIMIT {MOST_ROWS})"
        )
    equal = _equal(connection)
    edited = _edited(connection, equal)
    both = np.concatenate([equal, edited[:, :2].astype(np.int64)])
    likeness = np.concatenate([np.ones(len(equal)), edited[:, 2]])
    note = ""
    if max(row) > MOST_ROWS:
        note = (
            f"Only the first {MOST_ROWS:,} removed and added rows were looked at for rows whose"
            " input was edited."
        )
    return Pairs(both[:, 0], both[:, 1], likeness, note)


def _equal(connection: duckdb.DuckDBPyConnection) -> np.ndarray[Any, Any]:
    """(n, 2) of old and new positions: the same words, the n-th with the n-th."""
    import numpy as np

    numbered = (
        "(SELECT place, words, row_number() OVER (PARTITION BY words ORDER BY place) AS n"
        " FROM {name} WHERE len(words) > 0)"
    )
    found = connection.execute(
        f"SELECT g.place, c.place FROM {numbered.format(name='gone')} g"
        f" JOIN {numbered.format(name='come')} c ON g.words = c.words AND g.n = c.n ORDER BY 1"
    ).fetchall()
    return np.array(found, np.int64).reshape(-1, 2)


def _edited(
    connection: duckdb.DuckDBPyConnection, equal: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """(n, 3) of old position, new position and similarity: alike in the same gap."""
    import numpy as np
    import pyarrow as pa

    both = connection.execute(
        "SELECT old_index, new_index FROM joined"
        " WHERE old_index IS NOT NULL AND new_index IS NOT NULL"
    ).fetchnumpy()
    anchors = np.concatenate([np.stack([both["old_index"], both["new_index"]], 1), equal])
    gone, come = (
        connection.execute(f"SELECT place FROM {name} ORDER BY place").fetchnumpy()["place"]
        for name in ("gone", "come")
    )
    gone, come = np.setdiff1d(gone, equal[:, 0]), np.setdiff1d(come, equal[:, 1])
    gaps = list(_gaps(anchors.astype(np.int64), gone, come))
    candidates = [(o, n) for old, new in gaps for o, n in _candidates(old, new)][:MOST_CANDIDATES]
    if not candidates:
        return np.empty((0, 3))
    pairs = np.array(candidates, np.int64)
    connection.register("candidates", pa.table({"o": pairs[:, 0], "n": pairs[:, 1]}))
    common = "len(list_intersect(g.words, c.words))"
    alike = connection.execute(
        f"SELECT o, n, {common} / (len(g.words) + len(c.words) - {common}) AS jaccard"
        " FROM candidates"
        " JOIN (SELECT place, list_distinct(words) AS words FROM gone) g ON g.place = o"
        " JOIN (SELECT place, list_distinct(words) AS words FROM come) c ON c.place = n"
        f" WHERE jaccard >= {LEAST_ALIKE}"
    ).fetchall()
    connection.unregister("candidates")
    scores = {(o, n): score for o, n, score in alike}
    return np.array([hit for old, new in gaps for hit in _best(old, new, scores)]).reshape(-1, 3)


Ints = list[int]


def _gaps(
    anchors: np.ndarray[Any, Any], gone: np.ndarray[Any, Any], come: np.ndarray[Any, Any]
) -> Iterator[tuple[Ints, Ints]]:
    """Removed and added positions that follow the same row that is in both versions."""
    import numpy as np

    def after(column: int, positions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        ordered = anchors[np.argsort(anchors[:, column])]
        place = np.searchsorted(ordered[:, column], positions) - 1
        new = np.append(ordered[:, 1], -1)  # place -1, before all anchors, is the last: -1
        return np.asarray(new[place])

    old_gaps, new_gaps = after(0, gone), after(1, come)
    old_order, new_order = np.argsort(old_gaps, kind="stable"), np.argsort(new_gaps, kind="stable")
    old_sorted, new_sorted = old_gaps[old_order], new_gaps[new_order]
    for gap in np.intersect1d(old_gaps, new_gaps):
        left, right = np.searchsorted(old_sorted, [gap, gap + 1])
        low, high = np.searchsorted(new_sorted, [gap, gap + 1])
        yield gone[old_order[left:right]].tolist(), come[new_order[low:high]].tolist()


def _candidates(old: Ints, new: Ints) -> Iterator[tuple[int, int]]:
    """In a small gap each with each, in a large one the n-th with the n-th."""
    if len(old) * len(new) <= SMALL_GAP:
        yield from ((o, n) for o in old for n in new)
    else:
        yield from zip(old, new, strict=False)


def _best(
    old: Ints, new: Ints, scores: dict[tuple[int, int], float]
) -> list[tuple[int, int, float]]:
    """The pairs of a gap with the most likeness in all, none crossing another."""
    if len(old) * len(new) > SMALL_GAP:
        return [(o, n, scores[o, n]) for o, n in zip(old, new, strict=False) if (o, n) in scores]
    best = [[0.0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i, o in enumerate(old):
        for j, n in enumerate(new):
            paired = best[i][j] + scores.get((o, n), 0.0)
            best[i + 1][j + 1] = max(paired, best[i][j + 1], best[i + 1][j])
    found = []
    i, j = len(old), len(new)
    while i and j:
        score = scores.get((old[i - 1], new[j - 1]), 0.0)
        if score and best[i][j] == best[i - 1][j - 1] + score:
            i, j = i - 1, j - 1
            found.append((old[i], new[j], score))
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            j -= 1
    return found[::-1]
