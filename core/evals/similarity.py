"""Similarity scores: made after the answers, in batches, with the embedding model loaded once.

Knows: batches, cosines, what has its score already. Does not know: how answers were made.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from core.errors import ModelUnavailable
from core.evals import done as written
from core.evals.ask import score_row
from core.evals.plan import Plan
from core.evals.scorers import Answer, EmbeddingSimilarity
from core.evals.session import ModelSession
from core.models.client import embed

BATCH = 64
KEPT_VECTORS = 2_000  # the same expected answers come back with every variant

Result = dict[str, Any]


class Similarity:
    """Scores the results in a job's spool with one embedding model."""

    def __init__(self, plan: Plan, spool: Path, session: ModelSession) -> None:
        self._plan = plan
        self._spool = spool
        self._session = session
        self._vectors: OrderedDict[str, list[float]] = OrderedDict()

    def rows(self, scorer: EmbeddingSimilarity) -> Iterator[list[tuple[str, dict[str, Any]]]]:
        """Rows of `scores`, a batch at a time, for each good result that has none yet."""
        waiting = pending(self._spool, scorer)
        while batch := list(islice(waiting, BATCH)):
            yield [("scores", row) for row in self._judge(scorer, batch)]

    def _judge(self, scorer: EmbeddingSimilarity, batch: Sequence[Result]) -> Iterator[Result]:
        pairs = [(row["output"] or "", row["expected"] or "") for row in batch]
        measured = [bool(row["expected"]) and bool(row["output"].strip()) for row in batch]
        self._embed(
            [text for pair, yes in zip(pairs, measured, strict=True) if yes for text in pair]
        )
        for row, (output, expected), yes in zip(batch, pairs, measured, strict=True):
            if yes:
                cosined = cosine(self._vectors[output], self._vectors[expected])
                verdict = scorer.judge(cosined)
            else:
                verdict = scorer.score(Answer(output, row["expected"]))
            yield score_row(
                self._plan.run_id,
                row["variant_id"],
                row["row_id"],
                row["attempt"],
                scorer,
                verdict,
            )
        while len(self._vectors) > KEPT_VECTORS:
            self._vectors.popitem(last=False)

    def _embed(self, texts: Sequence[str]) -> None:
        missing = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if missing:
            self._vectors.update(zip(missing, self._ask(missing), strict=True))
        for text in texts:
            self._vectors.move_to_end(text)

    def _ask(self, texts: Sequence[str]) -> list[list[float]]:
        """Vectors, from a model started again once when it died."""
        endpoint = self._session.endpoint
        try:
            return embed(endpoint, texts)
        except ModelUnavailable:
            return embed(self._session.reopened(endpoint), texts)


def pending(spool: Path, scorer: EmbeddingSimilarity) -> Iterator[Result]:
    """Good results that the scorer has not judged yet."""
    done = written.read(spool, frozenset({scorer.name}))
    for table, row in written.stream_rows(spool):
        if table != "results" or row["state"] != "ok":
            continue
        if (row["variant_id"], row["row_id"], row["attempt"], scorer.name) not in done.scores:
            yield row


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """Cosine of the angle; 0 when one of them has no direction."""
    length = math.sqrt(math.fsum(x * x for x in a)) * math.sqrt(math.fsum(x * x for x in b))
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0.0
