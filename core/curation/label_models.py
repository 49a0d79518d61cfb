"""Features of texts, and how likely each label is by models that never saw the row.

Knows: embeddings, TF-IDF, logistic regression, folds. Does not know: tables, findings.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.curation.outliers import LEAST_ROWS, far
from core.curation.tools import Tools
from core.errors import ModelUnavailable

MOST_TF_IDF_ROWS = 4_000
"""Beyond it embeddings alone: words add little there and cost much."""
MOST_WORDS = 3_000
MOST_TURNED = 1_500
SEED = 0
STRENGTH = 10.0
"""C of the logistic regression."""


@dataclass(frozen=True, slots=True)
class Features:
    """A row of numbers for each text."""

    matrix: Any
    """(n, size), dense or sparse."""
    vectors: Any
    """(n, size), rows of length 1: what neighbours are told by."""

    def apart(self) -> Any:
        """True for texts so far from all others that nothing can be said of their label."""
        import numpy as np

        if hasattr(self.vectors, "todense") or len(self.vectors) < LEAST_ROWS:
            return np.zeros(self.vectors.shape[0], bool)
        return far(self.vectors)[0]

    def neighbours(self, at: int, count: int) -> list[tuple[int, float]]:
        """The most similar other texts with their cosine, nearest first."""
        import numpy as np

        found = self.vectors @ self.vectors[at].T
        near = np.asarray(found.todense()).ravel() if hasattr(found, "todense") else found
        near = np.array(near, dtype=np.float64)
        near[at] = -2
        count = min(count, len(near) - 1)
        if count < 1:
            return []
        chosen = np.argpartition(-near, count - 1)[:count]
        return [(int(i), float(near[i])) for i in sorted(chosen, key=lambda i: (-near[i], i))]


def features(
    texts: Sequence[str], parts_of: Sequence[Sequence[str]], names: Sequence[str], tools: Tools
) -> Features:
    """Embeddings, words and nearness to the labels' names; words alone without a model.

    `parts_of` has the texts by column: where there are two or three, each is embedded by itself
    too (a subject line weighs more then than its length).
    """
    import numpy as np

    try:
        vectors = tools.embed(texts)
        named = tools.embed([name.replace("_", " ") for name in names])
    except ModelUnavailable:
        words = _words(texts, most=10 * MOST_WORDS)
        matrix = _turned(words.toarray()) if len(texts) <= MOST_TURNED else words
        return Features(matrix * 2, words)
    near = vectors @ named.T
    parts = [vectors, 2 * (near - near.mean(axis=1, keepdims=True))]
    if len(texts) <= MOST_TF_IDF_ROWS:
        parts.append(0.4 * _words(texts, most=MOST_WORDS).toarray())
        if 2 <= len(parts_of) <= 3:
            parts += [0.6 * tools.embed(part) for part in parts_of]
            parts[0] = 0.6 * vectors
    return Features(_turned(np.hstack(parts)), vectors)


def _turned(matrix: Any) -> Any:
    """Fewer numbers a row where there are fewer rows than numbers; all distances stay.

    A rotation changes nothing for a regression with an L2 penalty, except that it is quicker.
    """
    import numpy as np

    count, size = matrix.shape
    if count >= size or count > MOST_TURNED:
        return matrix.astype(np.float32)
    values, sides = np.linalg.eigh((matrix @ matrix.T).astype(np.float64))
    kept = values > 1e-9 * max(values.max(), 1e-9)
    return sides[:, kept] * np.sqrt(values[kept])


def _words(texts: Sequence[str], *, most: int) -> Any:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        min_df=2,
        max_features=most,
    )
    try:
        return words.fit_transform(texts)
    except ValueError:  # no word is there twice
        return csr_matrix((len(texts), 1))


def probabilities(
    seen: Features, given: Any, count: int, tools: Tools, *, without: Any = None
) -> Any:
    """(n, count): how likely each label is for each row, by models trained on other rows.

    `without` marks rows that no model is trained on. Folds are by label, so that each label with
    two rows or more is in every training set.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    folds, rounds = (10, 2) if len(given) <= 300 else (5, 1)
    usable = np.ones(len(given), bool) if without is None else _kept(given, ~without, count)
    chances = np.zeros((len(given), count))
    random = np.random.default_rng(SEED)
    for _ in range(rounds):
        fold = _folds(given, folds, random)
        for number in range(folds):
            tools.check()
            held = fold == number
            if held.any():
                # many small products: threads would wait for each other most of the time
                with threadpool_limits(1 if len(given) < 5_000 else None):
                    chances[held] += _fitted(seen.matrix, given, usable & ~held, held, count)
    total: Any = chances.sum(axis=1, keepdims=True)
    return chances / np.where(total > 0, total, 1)


def _kept(given: Any, usable: Any, count: int) -> Any:
    """A label whose rows would nearly all be left out keeps them."""
    import numpy as np

    left = np.bincount(given[usable], minlength=count)
    had = np.bincount(given, minlength=count)
    return usable | (left < np.maximum(2, had / 2))[given]


def _folds(given: Any, folds: int, random: Any) -> Any:
    import numpy as np

    fold = np.empty(len(given), np.int64)
    start = 0
    for label in np.unique(given):
        at = np.flatnonzero(given == label)
        random.shuffle(at)
        fold[at] = (start + np.arange(len(at))) % folds
        start += len(at)
    return fold


def _fitted(matrix: Any, given: Any, train: Any, held: Any, count: int) -> Any:
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    chances = np.zeros((int(held.sum()), count))
    labels = np.unique(given[train])
    if len(labels) < 2:
        chances[:, labels] = 1.0
        return chances
    small = len(given) <= 5_000
    model = LogisticRegression(
        C=STRENGTH, max_iter=300 if small else 60, tol=1e-4 if small else 1e-3
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a rough answer is enough
        model.fit(matrix[train], given[train])
    chances[:, model.classes_] = model.predict_proba(matrix[held])
    return chances
