"""Search in a version: by the words, by the meaning, and both ranked together.

Knows: BM25 over a Parquet file, cosine over stored vectors, rank fusion. Does not know: the model
that turns a question into a vector, pages.
BM25 as Robertson and Zaragoza give it (2009), k1 1.2, b 0.75; the two rankings are joined by
reciprocal rank fusion (Cormack, Clarke, Buettcher 2009), k 60.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.datasets.table import Table, quoted

if TYPE_CHECKING:
    import numpy as np

K1, B = 1.2, 0.75
FUSION = 60
MOST_WORDS = 12
WEAKEST = 0.25
"""Rows less alike than this are no answer by meaning."""
_WORD = re.compile(r"\w+")
IN_DUCKDB = r"[\p{L}\p{N}_]+"
"""The same for DuckDB, whose \\w has no letters but A to Z."""

Ranked = list[tuple[int, float]]
"""(row_index, score), best first."""


def words_of(query: str) -> list[str]:
    """The distinct words of a query, in small letters."""
    return list(dict.fromkeys(_WORD.findall(query.lower())))[:MOST_WORDS]


def by_words(table: Table, query: str, *, limit: int = 200) -> Ranked:
    """Rows with any of the words, by BM25 over their text columns; a word counts as a whole."""
    words = words_of(query)
    if not words or not table.text_columns():
        return []
    cells = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in table.text_columns())
    text = f"lower(concat_ws(chr(10), {cells}))"
    with table.connect() as connection:
        row = connection.execute(f"SELECT count(*), avg(len({text})) FROM rows").fetchone()
        total, usual = (int(row[0]), float(row[1] or 1)) if row else (0, 1.0)
        found = connection.execute(
            f"""
            WITH texts AS (SELECT row_index, {text} AS text FROM rows),
                near AS (
                    SELECT row_index, text FROM texts
                    WHERE len(list_filter($words::VARCHAR[], lambda w: contains(text, w))) > 0
                )
            SELECT row_index, len(text), list_transform($words::VARCHAR[], lambda w:
                len(list_filter(regexp_extract_all(text, $word), lambda word: word = w))) AS counts
            FROM near
            """,
            {"words": words, "word": IN_DUCKDB},
        ).fetchall()
    holding = [sum(1 for _, _, counts in found if counts[at]) for at in range(len(words))]
    weights = [math.log(1 + (total - n + 0.5) / (n + 0.5)) for n in holding]
    ranked = []
    for row_index, length, counts in found:
        norm = K1 * (1 - B + B * length / usual)
        score = sum(
            weight * count * (K1 + 1) / (count + norm)
            for weight, count in zip(weights, counts, strict=True)
            if count
        )
        if score > 0:
            ranked.append((int(row_index), score))
    return sorted(ranked, key=lambda item: (-item[1], item[0]))[:limit]


def by_meaning(path: Path, vector: Sequence[float], *, limit: int = 200) -> Ranked:
    """Rows by the cosine of their stored vector with this one; the file is mapped, never held."""
    import numpy as np

    vectors: np.ndarray[Any, Any] = np.load(path, mmap_mode="r")
    wanted = np.asarray(vector, dtype=np.float32)
    wanted = wanted / max(float(np.linalg.norm(wanted)), 1e-12)
    alike = np.concatenate(
        [vectors[start : start + 8_192] @ wanted for start in range(0, len(vectors), 8_192)]
        or [np.zeros(0, dtype=np.float32)]
    )
    best = np.argsort(-alike, kind="stable")[:limit]
    return [(int(row), float(alike[row])) for row in best if alike[row] >= WEAKEST]


def nearest(path: Path, row_index: int, *, limit: int = 10) -> Ranked:
    """The rows most alike to one row, itself left out."""
    import numpy as np

    vectors: np.ndarray[Any, Any] = np.load(path, mmap_mode="r")
    found = by_meaning(path, np.asarray(vectors[row_index]).tolist(), limit=limit + 1)
    return [item for item in found if item[0] != row_index][:limit]


def fused(*rankings: Ranked) -> Ranked:
    """Several rankings as one: a row scores 1/(60 + rank) in each that has it."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, (row, _) in enumerate(ranking, start=1):
            scores[row] = scores.get(row, 0.0) + 1 / (FUSION + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))
