"""How sure one can be: intervals and tests for pass rates, latencies and their differences.

Knows: numbers. Does not know: runs, scorers, where the numbers come from.
Every function says None where there is too little to say anything, never a made-up figure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RESAMPLES = 2_000
_CHUNK_VALUES = 2_000_000  # most random numbers held at once: 16 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Paired:
    """How one variant's verdicts on the same rows compare with the baseline's."""

    fixed: int
    """Rows that failed with the baseline and pass now."""
    broke: int
    """Rows that passed with the baseline and fail now."""
    same: int
    """Rows with the same verdict in both."""
    difference: float | None
    """Pass rate minus the baseline's, over the rows both were judged on."""
    interval: Interval | None
    """95% interval of the difference."""
    p_value: float | None
    """Exact McNemar test, two-sided: how often chance alone would look at least this uneven."""


def z_of(confidence: float) -> float:
    """The two-sided normal quantile: 1.96 for 0.95."""
    from statistics import NormalDist

    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(passed: int, n: int, *, confidence: float = 0.95) -> Interval | None:
    """Wilson's score interval of a rate; None without rows.

    Unlike the textbook interval it never leaves 0..1 and holds for few rows and extreme rates
    (Wilson 1927; Newcombe 1998, method 3).
    """
    if n == 0:
        return None
    z = z_of(confidence)
    rate = passed / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At none and at all the end is exact; floats would leave it a hair off.
    low = 0.0 if passed == 0 else max(0.0, centre - half)
    high = 1.0 if passed == n else min(1.0, centre + half)
    return Interval(low, high)


def mcnemar(fixed: int, broke: int) -> float:
    """Exact two-sided McNemar test: the p-value that `fixed` and `broke` differ by chance.

    Rows with the same verdict carry no information on the difference and do not enter.
    """
    from scipy.stats import binomtest

    if fixed + broke == 0:
        return 1.0
    return float(binomtest(fixed, fixed + broke, 0.5).pvalue)


def paired_rates(
    fixed: int, broke: int, n: int, *, confidence: float = 0.95
) -> tuple[float | None, Interval | None]:
    """Difference of two pass rates on the same `n` rows, with Bonett and Price's interval.

    The adjusted Wald interval for paired proportions (Bonett and Price 2012): one is added to
    each kind of change, which keeps its coverage near the nominal one for small n.
    """
    if n == 0:
        return None, None
    z = z_of(confidence)
    up, down = (fixed + 1) / (n + 2), (broke + 1) / (n + 2)
    centre = up - down
    half = z * math.sqrt(max(0.0, up + down - centre * centre) / (n + 2))
    return (fixed - broke) / n, Interval(max(-1.0, centre - half), min(1.0, centre + half))


def paired(baseline: Sequence[bool], variant: Sequence[bool]) -> Paired:
    """Compare verdicts on the same rows, in the same order."""
    if len(baseline) != len(variant):
        raise ValueError("paired verdicts need the same rows")
    fixed = sum(1 for old, new in zip(baseline, variant, strict=True) if new and not old)
    broke = sum(1 for old, new in zip(baseline, variant, strict=True) if old and not new)
    return paired_counts(fixed, broke, len(baseline) - fixed - broke)


def paired_counts(fixed: int, broke: int, same: int) -> Paired:
    """`paired` from counts, where the database has counted already."""
    n = fixed + broke + same
    difference, interval = paired_rates(fixed, broke, n)
    return Paired(fixed, broke, same, difference, interval, mcnemar(fixed, broke) if n else None)


def bootstrap_difference(
    baseline: Sequence[float],
    variant: Sequence[float],
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, Interval] | None:
    """Mean difference of paired continuous values with a percentile bootstrap interval.

    Rows are resampled, not values, so what the two share on a row cancels. None below ten rows:
    a bootstrap cannot invent the spread that a handful of rows does not show. The same seed
    gives the same interval, so that a page does not flicker.
    """
    import numpy as np

    if len(baseline) != len(variant):
        raise ValueError("paired values need the same rows")
    n = len(baseline)
    if n < 10:
        return None
    differences = np.asarray(variant, dtype=float) - np.asarray(baseline, dtype=float)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _CHUNK_VALUES // n)
    for start in range(0, resamples, step):
        stop = min(resamples, start + step)
        picks = generator.integers(0, n, size=(stop - start, n))
        means[start:stop] = differences[picks].mean(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(differences.mean()), Interval(float(low), float(high))


def values_needed(q: float) -> int:
    """Fewest values for a percentile to mean something: 3 for the median, 20 for p95, 100 for p99.

    With fewer, no value is expected to lie beyond it, and it would only repeat the maximum.
    """
    return max(3, round(1 / (1 - q)) if q < 1 else 1)


def percentile(values: Sequence[float], q: float) -> float | None:
    """The q-quantile, interpolated as DuckDB's quantile_cont does; None with too few values."""
    if len(values) < values_needed(q):
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * q
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def rows_for(difference: float, changing: float, *, power: float = 0.8) -> int:
    """Rows for a paired test at 5% to see `difference` in pass rate with that power.

    `changing` is the share of rows whose verdict differs between the two variants
    (Connor 1987); the difference cannot be larger.
    """
    if not 0 < abs(difference) <= changing <= 1:
        raise ValueError("0 < |difference| <= changing <= 1 must hold")
    z_alpha, z_beta = z_of(0.95), z_of(2 * power - 1)
    spread = z_alpha * math.sqrt(changing) + z_beta * math.sqrt(changing - difference**2)
    return math.ceil((spread / difference) ** 2)


def detectable_difference(n: int, *, changing: float = 0.2, power: float = 0.8) -> float | None:
    """The smallest difference in pass rate that `n` rows are likely to show; None: none at all.

    The inverse of `rows_for`, to a tenth of a percentage point.
    """
    for tenths in range(1, math.floor(changing * 1000) + 1):
        if rows_for(tenths / 1000, changing, power=power) <= n:
            return tenths / 1000
    return None


def hint(n: int) -> str:
    """One sentence on what a comparison over `n` rows can show."""
    smallest = detectable_difference(n)
    if smallest is None:
        return (
            f"{n} rows are too few to tell two variants apart, unless nearly all rows change the"
            " same way."
        )
    return (
        f"{n} rows can show a difference of about {smallest * 100:.0f} percentage points or more"
        " (if one row in five changes its verdict; 80% power, 5% level)."
    )


def as_dict(interval: Interval | None) -> dict[str, Any] | None:
    """An interval as JSON."""
    return None if interval is None else {"low": interval.low, "high": interval.high}
