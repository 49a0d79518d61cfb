"""How far two samples are from each other: PSI, KS, chi-square, MMD, each with its effect size.

Every function says None where there is too little to say anything. Random draws have a seed, so
that the same two samples give the same figures.

Knows: numbers. Does not know: tables, what the samples are of.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

BINS = 10
LEAST_ROWS = 50
"""Fewer on either side: PSI and its null are mostly noise."""
DRAWS = 2_000
ENOUGH_EXPECTED = 20.0
"""Expected rows in the emptiest bin from which on the chi-square limit of PSI is near enough."""
MOST_VECTORS = 1_000


@dataclass(frozen=True, slots=True)
class Psi:
    """The population stability index of two samples in the same bins."""

    value: float
    null_95: float
    """What PSI stays under in 95 of 100 pairs of samples from one population, for these sizes."""
    method: str
    """How `null_95` was found: permutation, or chi-square."""


@dataclass(frozen=True, slots=True)
class Ks:
    """Two-sample Kolmogorov-Smirnov test, with an effect size that does not grow with n."""

    statistic: float
    """Largest distance of the two cumulative distributions, 0 to 1."""
    p_value: float
    cliffs_delta: float
    """P(new > old) - P(new < old), -1 to 1: which way and how far the values went."""


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """Pearson's test that two samples have the same categories, with Cramer's V."""

    statistic: float
    degrees: int
    p_value: float
    cramers_v: float
    """0 to 1: 0.1 small, 0.3 medium, 0.5 large (Cohen 1988, one degree of freedom)."""


@dataclass(frozen=True, slots=True)
class Mmd:
    """Maximum mean discrepancy of two sets of vectors."""

    squared: float
    """The unbiased estimate; below zero as often as above when nothing differs."""
    p_value: float
    bandwidth: float
    """Of the RBF kernel: the median distance between any two vectors."""
    n_old: int
    n_new: int


def psi(old: Array, new: Array) -> float:
    """PSI of two arrays of counts in the same bins: sum of (q - p) ln(q / p).

    An empty bin counts as half a row on that side, else one empty bin makes it infinite. It is the
    symmetric Kullback-Leibler divergence (Jeffreys 1946; Siddiqi 2006 for the cut-offs 0.1, 0.25).
    """
    return float(_psi(old, new))


def _psi(old: Array, new: Array) -> Array:
    """PSI over the last axis."""
    import numpy as np

    before, after = (np.where(counts == 0, 0.5, counts).astype(float) for counts in (old, new))
    p, q = before / before.sum(-1, keepdims=True), after / after.sum(-1, keepdims=True)
    return np.asarray(((q - p) * np.log(q / p)).sum(-1))


def psi_with_null(old: Array, new: Array, *, seed: int = 0) -> Psi | None:
    """PSI and its null 95% point; None below 50 rows on a side or with a single bin.

    With enough rows in every bin, PSI / (1/n + 1/m) is chi-square with one degree of freedom less
    than there are bins (Yurdakul 2018). Else the pooled rows are dealt anew 2,000 times: exact
    given the bins, as long as these do not look at which row is whose.
    """
    import numpy as np

    old, new = np.asarray(old, np.int64), np.asarray(new, np.int64)
    pooled = old + new
    used = pooled > 0
    old, new, pooled = old[used], new[used], pooled[used]
    n, m = int(old.sum()), int(new.sum())
    if min(n, m) < LEAST_ROWS or len(pooled) < 2:
        return None
    if pooled.min() * min(n, m) / (n + m) >= ENOUGH_EXPECTED:
        from scipy.stats import chi2

        limit = float(chi2.ppf(0.95, len(pooled) - 1) * (1 / n + 1 / m))
        return Psi(psi(old, new), limit, "chi-square")
    dealt = np.random.default_rng(seed).multivariate_hypergeometric(
        pooled, n, size=DRAWS, method="marginals"
    )
    null = float(np.quantile(_psi(dealt, pooled - dealt), 0.95))
    return Psi(psi(old, new), null, "permutation")


def bin_edges(old: Array, new: Array, *, bins: int = BINS) -> Array:
    """Inner edges of up to `bins` bins with about the same number of pooled values each.

    From both samples and not from the older alone, as is usual: then the bins do not know which
    value is whose and dealing the rows anew is an exact test. A value that is frequent enough to
    be several quantiles has a bin of its own. Bin n holds edges[n-1] < x <= edges[n].
    """
    import numpy as np

    pooled = np.sort(np.concatenate([old, new]))
    places = (np.arange(1, bins) * len(pooled)) // bins
    edges = np.unique(pooled[np.maximum(places - 1, 0)])
    return np.asarray(edges[edges < pooled[-1]])


def binned(values: Array, edges: Array) -> Array:
    """How many values each bin of `bin_edges` holds."""
    import numpy as np

    places = np.searchsorted(edges, values, side="left")
    return np.bincount(places, minlength=len(edges) + 1)


def ks(old: Array, new: Array) -> Ks | None:
    """Kolmogorov-Smirnov of two samples of numbers; None when either is under 50.

    The p-value is the asymptotic one, which ties make too large: with ties it errs on the side of
    no drift. Cliff's delta (1993) is small from 0.147, medium from 0.33, large from 0.474
    (Romano 2006).
    """
    import numpy as np
    from scipy.special import kolmogorov

    n, m = len(old), len(new)
    if min(n, m) < LEAST_ROWS:
        return None
    old, new = np.sort(old), np.sort(new)
    values = np.concatenate([old, new])
    gap = np.searchsorted(old, values, side="right") / n
    gap -= np.searchsorted(new, values, side="right") / m
    statistic = float(np.abs(gap).max())
    above = np.searchsorted(old, new, side="left").sum()  # pairs in which new is the larger
    below = (n - np.searchsorted(old, new, side="right")).sum()
    delta = (float(above) - float(below)) / (n * m)
    p_value = float(kolmogorov(statistic * math.sqrt(n * m / (n + m))))
    return Ks(statistic, min(1.0, p_value), delta)


def chi_square(old: Array, new: Array) -> ChiSquare | None:
    """Pearson's chi-square of two arrays of counts by category; None below 50 rows on a side."""
    import numpy as np
    from scipy.stats import chi2

    table = np.array([old, new], float)
    table = table[:, table.sum(0) > 0]
    sizes = table.sum(1)
    if sizes.min() < LEAST_ROWS or table.shape[1] < 2:
        return None
    expected = np.outer(sizes, table.sum(0)) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    degrees = table.shape[1] - 1
    v = math.sqrt(statistic / float(table.sum()))  # two rows: min(rows, columns) - 1 is 1
    return ChiSquare(statistic, degrees, float(chi2.sf(statistic, degrees)), min(1.0, v))


def mmd(old: Array, new: Array, *, permutations: int = 500, seed: int = 0) -> Mmd | None:
    """MMD of vectors (n, d) and (m, d) with an RBF kernel; None below 50 on a side.

    They may lie in files: only those that are drawn, 1,000 on a side at most, are read. The
    unbiased estimate of Gretton et al. (2012, eq. 3), the bandwidth by the median heuristic, the
    p-value by dealing the vectors anew.
    """
    import numpy as np

    generator = np.random.default_rng(seed)
    old, new = (np.asarray(_drawn(part, generator), np.float64) for part in (old, new))
    n, m = len(old), len(new)
    if min(n, m) < LEAST_ROWS:
        return None
    both = np.concatenate([old, new])
    squares = (both**2).sum(1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * both @ both.T, 0.0)
    median = float(np.median(distances[np.triu_indices(n + m, 1)]))
    kernel = np.exp(-distances / (2 * median)) if median > 0 else (distances == 0).astype(float)
    np.fill_diagonal(kernel, 0.0)
    dealt = np.zeros((n + m, permutations + 1))
    dealt[:n, 0] = 1.0
    for column in range(1, permutations + 1):
        dealt[generator.permutation(n + m)[:n], column] = 1.0
    within = (dealt * (kernel @ dealt)).sum(0)  # both in the first part
    touching = (dealt * kernel.sum(1)[:, None]).sum(0)  # at least one of the two in it
    across, outside = touching - within, kernel.sum() - 2 * touching + within
    values = within / (n * (n - 1)) + outside / (m * (m - 1)) - 2 * across / (n * m)
    beaten = int((values[1:] >= values[0] - 1e-12).sum())
    p_value = (1 + beaten) / (1 + permutations)
    return Mmd(float(values[0]), p_value, math.sqrt(median), n, m)


def _drawn(vectors: Array, generator: np.random.Generator) -> Array:
    if len(vectors) <= MOST_VECTORS:
        return vectors
    return vectors[generator.choice(len(vectors), MOST_VECTORS, replace=False)]
