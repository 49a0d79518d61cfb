"""Rows that say the same in other words, by the cosine of their embeddings.

Texts that are duplicates already, exact or near, count as one and are embedded once. Up to
100,000 texts each is compared with each, a block at a time; of more, those that share one of
their nearest centroids: a million texts need minutes instead of hours and a few pairs are missed.

Memory: vectors wait in a file without a name; a block of cosines takes about 100 MB.

Knows: cosines, centroids, average linkage. Does not know: versions, findings.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from core.curation.alike import NEAR_THRESHOLD, Forms, Texts, near_edges, portion
from core.curation.groups import Group, Union, joined
from core.curation.tools import Tools

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LEAST_THRESHOLD, MOST_THRESHOLD = 0.7, 0.95
"""Between these lies the threshold that nobody has set; see `usual_threshold`."""
SAMPLED = 600
"""Texts that it is taken from."""
SPREAD = 5.0
FEW, FEW_THRESHOLD = 50, 0.75
"""Of fewer texts the pairs say nothing about what is usual."""
LOOSER = 0.05
"""The texts of a group are on average at most this far below the threshold."""
EXHAUSTIVE = 100_000
BLOCK_CELLS = 24_000_000
MOST_NEIGHBOURS = 32
"""Of a text that is close to very many only the closest are kept."""
CENTROIDS_SAMPLE = 50_000
ROUNDS = 4
SHARED = 4
"""In how many clusters each text is."""
SEED = 20_261

Edge = tuple[int, int, float]


def semantic_groups(
    open_texts: Callable[[], Texts],
    tools: Tools,
    *,
    threshold: float,
    near: float = NEAR_THRESHOLD,
    total: int | None = None,
) -> list[Group]:
    """Rows that mean the same: cosine of at least `threshold`, and alike on average.

    `open_texts` gives the batches anew each time it is called. A group holds at least two texts
    that are no near duplicates of one another (Jaccard index `near`); their exact and near
    duplicates are listed with them. Raises ModelUnavailable where there is no embedding model.
    """
    import numpy as np

    rows_of = _distinct(open_texts, tools, near, total)
    numbers = np.array(sorted(rows_of), np.int64)
    with tempfile.TemporaryFile(dir=tools.cache) as file:
        size = 0
        for vectors in _embedded(open_texts(), {rows_of[at][0] for at in numbers.tolist()}, tools):
            file.write(np.ascontiguousarray(vectors).tobytes())
            size = vectors.shape[1]
        file.flush()
        if len(numbers) < 2:
            return []
        vectors = np.memmap(file, np.float32, "r", shape=(len(numbers), size))
        edges = list(_close(vectors, threshold, tools))
        edges = _tight(edges, vectors, threshold)
        linked = {at for a, b, _ in edges for at in (a, b)}
        return joined(
            {at: rows_of[int(numbers[at])] for at in linked},
            edges,
            lambda a, b: float(vectors[a] @ vectors[b]),
        )


def usual_threshold(open_texts: Callable[[], Texts], tools: Tools) -> float:
    """The cosine from which texts of this kind say the same, by how alike they are anyway.

    Five standard deviations above the mean of some pairs, but at least 0.7 and at most 0.95. Of
    tickets and passages in ordinary language MiniLM gives pairs 0.12 on average, sd 0.11: there it
    is 0.7, above all of 30,000 pairs that have nothing to do with each other (the closest 0.64) and
    below two thirds of the paraphrases that were tried. Texts made from one template are 0.7 alike
    to begin with; there it is 0.95. The same texts give the same threshold.
    """
    import numpy as np

    count = sum(len(texts) for texts in open_texts())
    step = max(1, count // SAMPLED)
    chosen: list[str] = []
    at = 0
    for texts in open_texts():
        chosen += [text for place, text in enumerate(texts, at) if place % step == 0 and text]
        at += len(texts)
    if len(chosen) < FEW:
        return FEW_THRESHOLD
    vectors = tools.embed(chosen)
    cosines = (vectors @ vectors.T)[np.triu_indices(len(chosen), 1)]
    others = cosines[cosines < MOST_THRESHOLD]
    if not len(others):
        return MOST_THRESHOLD
    far = float(others.mean() + SPREAD * others.std())
    return round(min(max(far, LEAST_THRESHOLD), MOST_THRESHOLD), 3)


def _distinct(
    open_texts: Callable[[], Texts], tools: Tools, near: float, total: int | None
) -> dict[int, list[int]]:
    """All rows of each text, near duplicates counted as one text; by the text's first row."""
    forms = Forms(tools)
    try:
        edges = near_edges(forms, open_texts(), portion(tools, 0, 0.2), near, total)
        union = Union(forms.count)
        for a, b, _ in edges:
            union.join(a, b)
        found: dict[int, list[int]] = {}
        for row, number in enumerate(forms.of_row):
            if number >= 0:
                found.setdefault(union.find(number), []).append(row)
        return {rows[0]: rows for rows in found.values()}
    finally:
        forms.close()


def _embedded(texts: Texts, wanted: set[int], tools: Tools) -> Iterator[Array]:
    """Vectors of the wanted rows, in row order."""
    row = done = 0
    for batch in texts:
        mine = [text for at, text in enumerate(batch, row) if at in wanted]
        row += len(batch)
        if mine:
            begin, end = (0.2 + 0.6 * at / len(wanted) for at in (done, done + len(mine)))
            yield portion(tools, begin, end).embed(mine)
            done += len(mine)


def _close(vectors: Array, threshold: float, tools: Tools) -> Iterator[Edge]:
    """Pairs with a cosine of at least the threshold, each once, the lower place first."""
    import numpy as np

    if len(vectors) <= EXHAUSTIVE:
        yield from _close_among(np.arange(len(vectors)), vectors, threshold, portion(tools, 0.8, 1))
        return
    members = _clusters(vectors, tools)
    known: set[tuple[int, int]] = set()
    for at, cluster in enumerate(members):
        tools.tell(0.8 + 0.2 * at / len(members), "comparing meanings")
        for a, b, cosine in _close_among(cluster, vectors, threshold, portion(tools, 1, 1)):
            if (a, b) not in known:
                known.add((a, b))
                yield a, b, cosine


def _close_among(places: Array, vectors: Array, threshold: float, tools: Tools) -> Iterator[Edge]:
    """Those among some of the vectors; of each text at most its 32 closest among later ones."""
    import numpy as np

    mine = np.asarray(vectors[places])
    height = max(16, BLOCK_CELLS // max(1, len(mine)))
    for start in range(0, len(mine), height):
        tools.check()
        tools.tell(start / len(mine), "comparing meanings")
        block = mine[start : start + height] @ mine[start:].T
        square = block[:, : len(block)]
        square[np.tril_indices(len(block))] = -1  # itself, and what came before
        for at in np.flatnonzero((block >= threshold).any(1)).tolist():
            near = np.flatnonzero(block[at] >= threshold)
            if len(near) > MOST_NEIGHBOURS:
                order = np.argsort(-block[at][near], kind="stable")
                near = near[order[:MOST_NEIGHBOURS]]
            for other in near.tolist():
                a, b = int(places[start + at]), int(places[start + other])
                yield a, b, float(block[at, other])


def _clusters(vectors: Array, tools: Tools) -> list[Array]:
    """Overlapping clusters: places that have a centroid among their four nearest.

    Spherical k-means on a sample, the square root of the number of texts as k.
    """
    import numpy as np

    rng = np.random.default_rng(SEED)
    sample = np.sort(rng.choice(len(vectors), min(len(vectors), CENTROIDS_SAMPLE), replace=False))
    mine = np.asarray(vectors[sample])
    count = max(2, int(len(vectors) ** 0.5))
    centroids = mine[rng.choice(len(mine), min(count, len(mine)), replace=False)]
    for _ in range(ROUNDS):
        sums = np.zeros_like(centroids)
        for start in range(0, len(mine), 10_000):
            tools.check()
            part = mine[start : start + 10_000]
            np.add.at(sums, (part @ centroids.T).argmax(1), part)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centroids = np.where(lengths > 0, sums / np.maximum(lengths, 1e-9), centroids)
    parts, places = [], []
    for start in range(0, len(vectors), 10_000):
        tools.check()
        cosines = np.asarray(vectors[start : start + 10_000]) @ centroids.T
        nearest = np.argpartition(-cosines, SHARED, axis=1)[:, :SHARED]
        parts.append(nearest.ravel().astype(np.int32))
        places.append(np.repeat(np.arange(start, start + len(cosines)), SHARED))
    which, at = np.concatenate(parts), np.concatenate(places)
    order = np.argsort(which, kind="stable")
    bounds = np.flatnonzero(np.diff(which[order])) + 1
    return [cluster for cluster in np.split(at[order], bounds) if len(cluster) > 1]


def _tight(edges: list[Edge], vectors: Array, threshold: float) -> list[Edge]:
    """The links that remain when groups only merge that are alike on average.

    A single link would make chains: a is like b and b like c until a has nothing to do with z.
    The mean cosine of two groups is the product of their sums, so it costs one product.
    """
    import numpy as np

    union = Union(len(vectors))
    sums: dict[int, Array] = {}
    counts: dict[int, int] = {}
    kept = []
    for a, b, cosine in sorted(edges, key=lambda edge: (-edge[2], edge[0], edge[1])):
        one, other = union.find(a), union.find(b)
        if one == other:
            continue
        first, second = (sums.get(root, vectors[root]) for root in (one, other))
        n, m = counts.get(one, 1), counts.get(other, 1)
        if float(np.dot(first, second)) / (n * m) >= threshold - LOOSER:
            union.join(one, other)
            root = union.find(one)
            sums[root], counts[root] = np.asarray(first + second), n + m
            kept.append((a, b, cosine))
    return kept
