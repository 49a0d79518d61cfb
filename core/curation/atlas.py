"""The map of a version: every row a point, near to what means the same, in named clusters.

    <version>.findings/vectors.npy    (n, size) float32, one unit vector a row, in row order
    <version>.findings/points.parquet    row_index, x, y, cluster (-1: belongs to none)
    <version>.findings/map.json       clusters with size and title; the model; how it was made

Knows: projection, clusters, keywords. Does not know: pages, search.
UMAP (McInnes, Healy, Melville 2018) lays the vectors out, HDBSCAN (Campello et al. 2013) finds the
clusters on the layout, class-based TF-IDF (Grootendorst 2022) names them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.curation.findings import Finding, findings_folder
from core.curation.profile import model_name
from core.curation.tools import Tools
from core.datasets.table import Table
from core.store.files import read_json, write_json

if TYPE_CHECKING:
    import numpy as np

    Matrix = np.ndarray[Any, Any]

FEW_ROWS = 30
"""Under so many rows there is nothing to lay out: two principal components, no clusters."""
LAID_OUT = 30_000
"""Rows that UMAP lays out itself; the others are put among their nearest of these."""
NEIGHBOURS = 15
SEED = 42
TITLE_WORDS = 3
WORD = r"(?u)\b[^\W\d_]{3,}\b"
IDLE = frozenset(
    {
        "did", "does", "doing", "done", "don", "didn", "doesn", "isn", "wasn", "aren", "can",
        "could", "say", "says", "said", "just", "like", "get", "got", "getting", "please",
        "thanks", "thank", "hello", "dear", "want", "need", "use", "used", "using",
    }
)  # fmt: skip
"""Words that name nothing, beside those that scikit-learn leaves out."""
TITLE_TEXTS = 200
"""Texts of a cluster that its title is taken from."""


def detect(table: Table, tools: Tools) -> list[Finding]:
    """Make the map; it finds nothing wrong by itself."""
    write_map(table, findings_folder(table.path), tools)
    return []


def write_map(table: Table, folder: Path, tools: Tools) -> int:
    """Embed, lay out, cluster and name; how many clusters. The same rows give the same map.

    Raises ModelUnavailable where there is no embedding model.
    """
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    count = table.count()
    vectors = _write_vectors(table, folder / "vectors.npy", count, tools)
    tools.tell(0.7, "laying out")
    tools.check()
    points = lay_out(vectors)
    tools.tell(0.9, "finding clusters")
    tools.check()
    labels = clusters_of(points)
    groups = [np.flatnonzero(labels == label) for label in range(int(labels.max(initial=-1)) + 1)]
    titles = _titles(table, groups)
    _write_points(folder / "points.parquet", points, labels)
    write_json(
        folder / "map.json",
        {
            "row_count": count,
            "model": str(tools.embedding_model),
            "clusters": [
                {"cluster": number, "size": len(rows), "title": title}
                for number, (rows, title) in enumerate(zip(groups, titles, strict=True))
            ],
            "unsorted": int((labels < 0).sum()),
        },
    )
    return len(groups)


def vectors_of(version_path: Path) -> tuple[str, Matrix] | None:
    """The name of the embedding model and (n, size) vectors in their file; None without a map."""
    import numpy as np

    folder = findings_folder(version_path)
    made = read_json(folder / "map.json")
    try:
        vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    except (OSError, ValueError):
        return None
    if made is None or len(vectors) != made["row_count"]:
        return None
    return model_name(Path(made["model"])), vectors


def lay_out(vectors: Matrix) -> Matrix:
    """(n, size) unit vectors -> (n, 2), scaled into -1 to 1."""
    import numpy as np

    count = len(vectors)
    if count < FEW_ROWS:
        points = _principal(vectors)
    elif count <= LAID_OUT:
        points = _umap(np.asarray(vectors))
    else:
        chosen = np.sort(np.random.default_rng(SEED).choice(count, LAID_OUT, replace=False))
        points = _placed(vectors, chosen, _umap(np.asarray(vectors[chosen])))
    points = points - points.mean(axis=0, keepdims=True) if count else points
    return (points / max(float(np.abs(points).max(initial=0)), 1e-9)).astype(np.float32)


def clusters_of(points: Matrix) -> Matrix:
    """(n,) cluster numbers, the largest cluster 0; -1 for rows that belong to none."""
    import numpy as np
    from sklearn.cluster import HDBSCAN

    count = len(points)
    if count < FEW_ROWS:
        return np.full(count, -1, dtype=np.int64)
    size = max(5, min(200, count // 40))
    found = HDBSCAN(min_cluster_size=size, min_samples=5, copy=True).fit_predict(points)
    names, sizes = np.unique(found[found >= 0], return_counts=True)
    order = {int(name): rank for rank, name in enumerate(names[np.argsort(-sizes, kind="stable")])}
    return np.array([order.get(int(label), -1) for label in found], dtype=np.int64)


def keywords(texts: Sequence[Sequence[str]], count: int = TITLE_WORDS) -> list[list[str]]:
    """For each class of texts the words that tell it from the others, by class-based TF-IDF."""
    import numpy as np
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    if not texts:
        return []
    idle = sorted(ENGLISH_STOP_WORDS | IDLE)
    counter = CountVectorizer(stop_words=idle, max_features=20_000, **{"token_pattern": WORD})
    try:
        counts = counter.fit_transform(" ".join(part) for part in texts).toarray().astype(float)
    except ValueError:  # not one word in all of them
        return [[] for _ in texts]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rarity = np.log(1 + counts.sum() / len(texts) / np.maximum(counts.sum(axis=0), 1))
    weights = share * rarity
    words = counter.get_feature_names_out()
    best = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    return [
        [str(words[at]) for at in row if weights[number, at] > 0] for number, row in enumerate(best)
    ]


def _write_vectors(table: Table, path: Path, count: int, tools: Tools) -> Matrix:
    """Every row's vector in one file, opened as a memory map."""
    import numpy as np

    unfinished = path.with_suffix(".unfinished")
    found: np.memmap[Any, Any] | None = None
    done = 0
    for texts in table.texts(size=2_048):
        tools.check()
        part = tools.embed(texts)
        if found is None:
            shape = (count, part.shape[1])
            found = np.lib.format.open_memmap(unfinished, "w+", np.float32, shape)
        found[done : done + len(part)] = part
        done += len(part)
        tools.tell(0.7 * done / max(count, 1), f"{done:,} of {count:,} rows")
    if found is None:
        return np.zeros((0, 1), dtype=np.float32)
    found.flush()
    os.replace(unfinished, path)
    return found


def _umap(vectors: Matrix) -> Matrix:
    import warnings

    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba's and umap's notes on their own defaults
        from umap import UMAP

        layout = UMAP(
            n_neighbors=min(NEIGHBOURS, len(vectors) - 1),
            min_dist=0.1,
            metric="cosine",
            init="pca",
            random_state=SEED,
            n_jobs=1,
        )
        points: Matrix = np.asarray(layout.fit_transform(vectors), dtype=np.float32)
    return np.nan_to_num(points)


def _principal(vectors: Matrix) -> Matrix:
    import numpy as np

    points = np.zeros((len(vectors), 2), dtype=np.float32)
    if len(vectors) > 2:
        centred = np.asarray(vectors) - np.asarray(vectors).mean(axis=0)
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
        points[:, : min(2, len(sizes))] = (left * sizes)[:, :2]
    return points


def _placed(vectors: Matrix, chosen: Matrix, points: Matrix) -> Matrix:
    """Rows that were not laid out stand at the mean of their five nearest that were."""
    import numpy as np

    known = np.asarray(vectors[chosen])
    found = np.zeros((len(vectors), 2), dtype=np.float32)
    for start in range(0, len(vectors), 2_048):
        alike = np.asarray(vectors[start : start + 2_048]) @ known.T
        best = np.argpartition(-alike, 5, axis=1)[:, :5]
        found[start : start + 2_048] = points[best].mean(axis=1)
    found[chosen] = points
    return found


def _titles(table: Table, groups: Sequence[Matrix]) -> list[str]:
    """A few words for each cluster, from some of its texts."""
    import numpy as np

    wanted: dict[int, int] = {}
    chance = np.random.default_rng(SEED)
    for number, rows in enumerate(groups):
        some = rows if len(rows) <= TITLE_TEXTS else chance.choice(rows, TITLE_TEXTS, replace=False)
        wanted |= {int(row): number for row in some}
    texts: list[list[str]] = [[] for _ in groups]
    at = 0
    for batch in table.texts():
        for text in batch:
            if at in wanted:
                texts[wanted[at]].append(text[:2_000])
            at += 1
    return [", ".join(words) or "no words in common" for words in keywords(texts)]


def _write_points(path: Path, points: Matrix, labels: Matrix) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "row_index": np.arange(len(points)),
            "x": points[:, 0],
            "y": points[:, 1],
            "cluster": labels,
        }
    )
    unfinished = path.with_suffix(".unfinished")
    pq.write_table(table, unfinished, compression="zstd")
    os.replace(unfinished, path)
