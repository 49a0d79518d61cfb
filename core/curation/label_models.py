"""Features of texts, and how likely each label is by models that never saw the row.

Two models are asked, and the geometric mean of what they say is taken: a logistic regression, and
how near a row is to the mean of each label's rows, which a few wrong rows hardly move. Then each
label is measured by how sure the models are of the rows that bear it (the thresholds of Northcutt
et al. 2021): being unsure of a vague label says little, being unsure of a clear one much.

Knows: embeddings, TF-IDF, models, folds. Does not know: tables, findings.
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
SHARPNESS = 8.0
"""By which the cosine to a label's mean is multiplied before it becomes a chance."""
LEAST_CHANCE = 1e-3
"""No model is surer than this that a label is wrong: the other one counts too."""


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

    Each row adds up to 1. `without` marks rows that no model is trained on and no label is
    measured by. Folds are by label, so that each label with two rows or more is in every training
    set.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    folds, rounds = (10, 2) if len(given) <= 300 else (5, 1)
    usable = np.ones(len(given), bool) if without is None else _kept(given, ~without, count)
    chances = np.zeros((len(given), count))
    turned = _centred(seen.matrix)
    random = np.random.default_rng(SEED)
    for _ in range(rounds):
        fold = _folds(given, folds, random)
        for number in range(folds):
            tools.check()
            held = fold == number
            if held.any():
                # many small products: threads would wait for each other most of the time
                with threadpool_limits(1 if len(given) < 5_000 else None):
                    train = usable & ~held
                    said = _fitted(seen.matrix, given, train, held, count)
                    if turned is not None:
                        near = _near_means(turned, given, train, held, count)
                        said = np.sqrt((said + LEAST_CHANCE) * (near + LEAST_CHANCE))
                    chances[held] += _to_one(said)
    return _measured(_to_one(chances), given, usable, count)


def _to_one(chances: Any) -> Any:
    import numpy as np

    total: Any = chances.sum(axis=1, keepdims=True)
    return chances / np.where(total > 0, total, 1)


def _measured(chances: Any, given: Any, usable: Any, count: int) -> Any:
    """Each label's chances against how sure the models are where it is given."""
    import numpy as np

    own = chances[np.arange(len(given)), given]
    rows = np.maximum(np.bincount(given[usable], minlength=count), 1)
    usual = np.bincount(given[usable], weights=own[usable], minlength=count) / rows
    return _to_one(chances / np.maximum(usual, 0.05))


def _centred(matrix: Any) -> Any:
    """Rows of length 1 around the mean of all; None for a sparse matrix, which it would fill."""
    import numpy as np

    if hasattr(matrix, "todense"):
        return None
    moved = np.asarray(matrix) - np.mean(matrix, axis=0)
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    return moved / np.maximum(lengths, 1e-9)


def _near_means(turned: Any, given: Any, train: Any, held: Any, count: int) -> Any:
    """How likely each label is by the cosine to the mean of its rows."""
    import numpy as np

    means = np.zeros((count, turned.shape[1]))
    for label in np.unique(given[train]):
        means[label] = turned[train & (given == label)].mean(axis=0)
    lengths = np.linalg.norm(means, axis=1)
    alike = turned[held] @ (means / np.maximum(lengths, 1e-9)[:, None]).T
    alike[:, lengths == 0] = -np.inf
    raised = np.exp(SHARPNESS * (alike - alike.max(axis=1, keepdims=True)))
    return _to_one(raised)


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
