"""Rows unlike all others: far from everything in meaning, or of an odd length or odd characters.

Knows: distances, robust statistics, where a tail begins. Does not know: what to do with such rows.

Meaning: the mean cosine distance to the nearest rows, and the distance from the middle of all, once
a distinct text; beyond the tail is what exceeds the upper quartile by FENCE interquartile ranges on
average of the two (Tukey's fence, on log odds, where such distances are near normal). Length and
characters: modified z score by the median absolute deviation (Iglewicz and Hoaglin 1993), and a
factor that shows; and keys pressed at random.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

from core.curation.findings import Finding
from core.curation.language import SURE, languages
from core.curation.quality import hardly_text
from core.curation.sampling import Hits, Sample, drawn
from core.curation.tools import Tools
from core.datasets.table import Table
from core.errors import ModelUnavailable

log = logging.getLogger(__name__)

MOST_ROWS = 20_000
"""Rows compared in meaning, drawn at random; option `rows`. Their embeddings are the cost."""
MOST_MEASURED = 1_000_000
"""Rows whose length and characters are measured."""
LEAST_ROWS = 30
"""With fewer there is no tail to speak of."""
NEAREST = 10
FENCE = 1.3
"""Interquartile ranges beyond the upper quartile; option `fence`. Measured: all rows planted in two
sets and no other; of 127 clean tickets the four that are no tickets at all."""
ODD = 6.0
"""Modified z score of a length or a share of characters."""


def detect(table: Table, tools: Tools) -> list[Finding]:
    """One finding a row, the farthest first.

    `detail` is {by: meaning, distance, usual, nearest: [{row, similarity}]} or {by: length or
    characters, value, usual}, or {by: random keys}.
    """
    names = table.text_columns()
    if not names or table.count() < LEAST_ROWS:
        return []
    hits = Hits()
    found = set()
    for finding in (*_by_meaning(table, names, tools), *_by_shape(table, names, tools)):
        if finding.rows not in found:  # a row is named once, for the stronger reason
            found.add(finding.rows)
            hits.add(finding)
    return hits.all()


def far(vectors: Any, *, fence: float = FENCE, nearest: int = NEAREST) -> tuple[Any, Any, float]:
    """(which rows lie beyond the tail, each row's distance, the usual distance).

    `vectors` are (n, size) of length 1. Rows with the same vector count once.
    """
    import numpy as np

    distances = _distances(vectors, nearest)
    middle = vectors.mean(axis=0)
    from_middle = 1 - vectors @ (middle / max(float(np.linalg.norm(middle)), 1e-9))
    tail = (_beyond_quartile(distances) + _beyond_quartile(from_middle)) / 2
    return (tail > fence) & (distances > 0.45), distances, float(np.median(distances))


def _beyond_quartile(distances: Any) -> Any:
    """How far beyond the upper quartile, in interquartile ranges of the log odds."""
    import numpy as np

    kept = np.clip(distances, 1e-3, 0.999)
    odds = np.log(kept / (1 - kept))
    low, high = np.quantile(odds, (0.25, 0.75))
    return (odds - high) / max(high - low, 0.2)


def _distances(vectors: Any, nearest: int) -> Any:
    """Mean cosine distance to the nearest others, in blocks of bounded memory."""
    import numpy as np

    count = len(vectors)
    nearest = min(nearest, count - 1)
    found = np.zeros(count)
    for start in range(0, count, 512):
        near = vectors[start : start + 512] @ vectors.T
        near[np.arange(len(near)), np.arange(start, start + len(near))] = -2
        best = np.partition(near, count - nearest, axis=1)[:, count - nearest :]
        found[start : start + 512] = 1 - best.mean(axis=1)
    return found


def _by_meaning(table: Table, names: list[str], tools: Tools) -> list[Finding]:
    import numpy as np

    sample = drawn(table, names, limit=int(tools.options.get("rows", MOST_ROWS)))
    first: dict[str, int] = {}
    for at, text in enumerate(sample.texts(names)):
        if text.strip():
            first.setdefault(text, at)
    if len(first) < LEAST_ROWS:
        return []
    try:
        vectors = tools.embed(list(first))
    except ModelUnavailable as error:
        log.info("outliers are told by length and characters alone: %s", error)
        return []
    tools.tell(0.7, f"Comparing {len(first):,} texts")
    beyond, distances, usual = far(vectors, fence=float(tools.options.get("fence", FENCE)))
    places = np.array(list(first.values()))
    order = sorted(np.flatnonzero(beyond).tolist(), key=lambda i: (-distances[i], i))
    order = without_strangers(order, list(first))
    return [
        _far_finding(sample, places, i, vectors @ vectors[i], float(distances[i]), usual)
        for i in order
    ]


def without_strangers(order: list[int], texts: list[str]) -> list[int]:
    """These places without texts in another language than most: `language` names those."""
    usual = Counter(code for code, _ in languages(texts[:: max(1, len(texts) // 200)]) if code)
    if not usual:
        return order
    majority = usual.most_common(1)[0][0]
    told = languages([texts[i] for i in order])
    return [
        i
        for i, (code, confidence) in zip(order, told, strict=True)
        if code in (None, majority) or confidence < SURE
    ]


def _far_finding(
    sample: Sample, at: Any, i: int, near: Any, distance: float, usual: float
) -> Finding:
    import numpy as np

    near[i] = -2
    nearest = [int(j) for j in np.argsort(-near, kind="stable")[:3]]
    row = int(sample.rows[at[i]])
    message = (
        f"Nothing here is like it: its nearest rows are {1 - distance:.2f} alike (cosine), usual"
        f" is {1 - usual:.2f}.{sample.said}"
    )
    detail = {
        "by": "meaning",
        "distance": round(distance, 4),
        "usual": round(usual, 4),
        "nearest": [
            {"row": int(sample.rows[at[j]]), "similarity": round(float(near[j]), 3)}
            for j in nearest
        ],
    }
    return Finding("outlier", "medium", message, (row,), None, detail)


@dataclass(frozen=True, slots=True)
class _Shapes:
    rows: Any
    lengths: Any
    letters: Any
    """Share of letters and spaces among the characters."""
    random: list[int]
    """Places of texts that are no words."""


def _shapes(table: Table, names: list[str], tools: Tools) -> _Shapes:
    import numpy as np

    lengths: list[Any] = []
    letters: list[Any] = []
    random: list[int] = []
    at = 0
    rows = [batch.column(0).to_numpy() for batch in table.batches(["row_index"])]
    for texts in table.texts(names, 1_024):
        tools.check()
        lengths.append(np.array([len(text.strip()) for text in texts], np.float64))
        letters.append(np.array([_letters(text[:2_000]) for text in texts], np.float64))
        random += [at + i for i, text in enumerate(texts) if hardly_text(text[:2_000])]
        at += len(texts)
    return _Shapes(np.concatenate(rows), np.concatenate(lengths), np.concatenate(letters), random)


def _letters(text: str) -> float:
    """Share of letters, marks and white space among the first characters."""
    plain = sum(character.isalpha() or character.isspace() for character in text)
    return plain / len(text) if text else 1.0


def _by_shape(table: Table, names: list[str], tools: Tools) -> list[Finding]:
    import numpy as np

    tools.tell(0.9, "Measuring lengths and characters")
    shapes = _shapes(table, names, tools)
    there = shapes.lengths > 0
    if there.sum() < LEAST_ROWS:
        return []
    logs = np.log(np.maximum(shapes.lengths, 1))
    z = odd(logs, logs[there], least=0.25)
    usual = float(np.median(shapes.lengths[there]))
    factor = shapes.lengths / usual
    long = there & (z > ODD) & (factor > 5)
    short = there & (z < -ODD) & (factor < 0.2)
    found = [
        _length_finding(int(shapes.rows[i]), int(shapes.lengths[i]), usual)
        for i in sorted(np.flatnonzero(long | short).tolist(), key=lambda i: (-abs(z[i]), i))
    ]
    plain = float(np.median(shapes.letters[there]))
    strange = there & (shapes.lengths >= 20) & (np.abs(shapes.letters - plain) > 0.35)
    strange &= np.abs(odd(shapes.letters, shapes.letters[there], least=0.02)) > ODD
    found += [_random_finding(int(shapes.rows[i])) for i in shapes.random]
    return found + [
        _letters_finding(int(shapes.rows[i]), float(shapes.letters[i]), plain)
        for i in np.flatnonzero(strange)
    ]


def odd(values: Any, of: Any, *, least: float) -> Any:
    """The modified z score of values against `of`; `least` is the smallest deviation believed."""
    import numpy as np

    middle = np.median(of)
    spread = max(1.4826 * float(np.median(np.abs(of - middle))), least)
    return (values - middle) / spread


def _length_finding(row: int, length: int, usual: float) -> Finding:
    many = "1 character" if length == 1 else f"{length:,} characters"
    side = "longer" if length > usual else "shorter"
    message = f"Far {side} than the others: {many}, usual is {usual:,.0f}."
    detail = {"by": "length", "value": length, "usual": usual}
    return Finding("outlier", "low", message, (row,), None, detail)


def _random_finding(row: int) -> Finding:
    message = "No words in it: it looks like keys pressed at random."
    return Finding("outlier", "medium", message, (row,), None, {"by": "random keys"})


def _letters_finding(row: int, share: float, usual: float) -> Finding:
    message = f"Other characters than the rest: {share:.0%} letters, usual is {usual:.0%}."
    detail = {"by": "characters", "value": round(share, 4), "usual": round(usual, 4)}
    return Finding("outlier", "low", message, (row,), None, detail)
