"""Statistics: against published values, second implementations, and what must always hold."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.evals.statistics import (
    bootstrap_difference,
    detectable_difference,
    hint,
    mcnemar,
    paired,
    paired_counts,
    paired_rates,
    percentile,
    rows_for,
    values_needed,
    wilson,
)

counts = st.integers(0, 500)


@pytest.mark.parametrize(
    ("passed", "n", "low", "high"),
    [  # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(passed: int, n: int, low: float, high: float) -> None:
    interval = wilson(passed, n)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 2000), st.floats(0, 1), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(n: int, share: float, confidence: float) -> None:
    passed = round(n * share)
    ours = wilson(passed, n, confidence=confidence)
    theirs = stats.binomtest(passed, n).proportion_ci(confidence, method="wilson")
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(counts, counts)
def test_wilson_holds_the_rate_stays_in_bounds_and_mirrors(passed: int, failed: int) -> None:
    n = passed + failed
    interval, mirrored = wilson(passed, n), wilson(failed, n)
    if interval is None or mirrored is None:
        assert n == 0
        return
    assert 0 <= interval.low <= passed / n <= interval.high <= 1
    assert interval.low == pytest.approx(1 - mirrored.high)


def binomial_two_sided(a: int, b: int) -> float:
    """The exact test by hand: twice the smaller tail, at most 1."""
    n, k = a + b, min(a, b)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_agrees_with_the_binomial_sum_and_does_not_care_for_direction(
    fixed: int, broke: int
) -> None:
    assert mcnemar(fixed, broke) == pytest.approx(binomial_two_sided(fixed, broke), rel=1e-9)
    assert mcnemar(fixed, broke) == mcnemar(broke, fixed)


def test_mcnemar_gives_known_values() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(6, 0) == pytest.approx(0.03125)
    assert mcnemar(5, 0) == pytest.approx(0.0625)
    assert mcnemar(59, 6) == pytest.approx(binomial_two_sided(59, 6))


def test_mcnemar_rarely_cries_wolf() -> None:
    generator = random.Random(1)
    alarms = 0
    for _ in range(400):
        fixed = sum(generator.random() < 0.5 for _ in range(40))
        alarms += mcnemar(fixed, 40 - fixed) < 0.05
    assert alarms <= 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200))
def test_paired_counts_every_row_once(rows: list[tuple[bool, bool]]) -> None:
    found = paired([old for old, _ in rows], [new for _, new in rows])
    assert found.fixed + found.broke + found.same == len(rows)
    assert found == paired_counts(found.fixed, found.broke, found.same)
    if rows:
        change = sum(new for _, new in rows) - sum(old for old, _ in rows)
        assert found.difference == pytest.approx(change / len(rows))
    else:
        assert (found.difference, found.interval, found.p_value) == (None, None, None)


def test_paired_refuses_rows_that_do_not_match() -> None:
    with pytest.raises(ValueError, match="same rows"):
        paired([True], [])


@given(counts, counts, counts)
def test_the_paired_interval_mirrors_and_narrows_with_more_rows(
    fixed: int, broke: int, same: int
) -> None:
    n = fixed + broke + same
    _, one = paired_rates(fixed, broke, n)
    _, other = paired_rates(broke, fixed, n)
    _, wider = paired_rates(fixed * 4, broke * 4, n * 4)
    if one is None or other is None or wider is None:
        assert n == 0
        return
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert wider.high - wider.low <= one.high - one.low + 1e-12


def test_the_paired_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    truth = 0.15 - 0.08
    draws = generator.multinomial(60, [0.15, 0.08, 0.77], size=2000)
    covered = 0
    for fixed, broke, _ in draws.tolist():
        _, interval = paired_rates(fixed, broke, 60)
        assert interval is not None
        covered += interval.low <= truth <= interval.high
    assert 0.93 <= covered / 2000 <= 0.98


def test_the_bootstrap_agrees_with_scipy_and_repeats_itself() -> None:
    generator = np.random.default_rng(3)
    baseline = generator.gamma(2.0, 100.0, size=120)
    variant = baseline * 0.9 + generator.normal(0, 10, size=120)
    ours = bootstrap_difference(baseline.tolist(), variant.tolist(), resamples=8000)
    assert ours is not None
    theirs = stats.bootstrap(
        (variant - baseline,), np.mean, n_resamples=8000, method="percentile", rng=4
    ).confidence_interval
    difference, interval = ours
    width = theirs.high - theirs.low
    assert difference == pytest.approx(float((variant - baseline).mean()))
    assert interval.low == pytest.approx(theirs.low, abs=width * 0.05)
    assert interval.high == pytest.approx(theirs.high, abs=width * 0.05)
    assert ours == bootstrap_difference(baseline.tolist(), variant.tolist(), resamples=8000)


def test_the_bootstrap_says_nothing_on_a_handful_of_rows() -> None:
    assert bootstrap_difference([1.0] * 9, [2.0] * 9) is None
    with pytest.raises(ValueError, match="same rows"):
        bootstrap_difference([1.0], [1.0, 2.0])


@given(st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=60), st.floats(-100, 100))
def test_a_constant_shift_is_found_exactly(values: list[float], shift: float) -> None:
    found = bootstrap_difference(values, [v + shift for v in values], resamples=50)
    assert found is not None
    assert found[0] == pytest.approx(shift, abs=1e-6)
    assert found[1].low == pytest.approx(found[1].high, abs=1e-6)


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=100, max_size=200), st.sampled_from([0.5, 0.95, 0.99])
)
def test_percentiles_agree_with_numpy(values: list[float], q: float) -> None:
    assert percentile(values, q) == pytest.approx(float(np.quantile(values, q)), rel=1e-9, abs=1e-6)


def test_percentiles_want_enough_values() -> None:
    assert [values_needed(q) for q in (0.5, 0.9, 0.95, 0.99)] == [3, 10, 20, 100]
    assert percentile([1.0] * 19, 0.95) is None
    assert percentile([1.0] * 20, 0.95) == 1.0
    assert percentile([], 0.5) is None


def test_rows_for_gives_a_hand_computed_value_and_the_power_it_promises() -> None:
    assert rows_for(0.1, 0.3) == 234  # (1.95996*sqrt(.3) + 0.84162*sqrt(.29))^2 / .01 = 233.1
    generator = np.random.default_rng(5)
    draws = generator.multinomial(234, [0.2, 0.1, 0.7], size=600)
    seen = sum(mcnemar(fixed, broke) < 0.05 for fixed, broke, _ in draws.tolist())
    assert 0.70 <= seen / 600 <= 0.86  # the exact test is a little more careful than the formula
    with pytest.raises(ValueError, match="must hold"):
        rows_for(0.4, 0.3)


@given(st.integers(1, 20_000), st.floats(0.05, 1.0))
def test_the_detectable_difference_is_the_smallest_one(n: int, changing: float) -> None:
    found = detectable_difference(n, changing=changing)
    if found is None:
        assert rows_for(math.floor(changing * 1000) / 1000, changing) > n
        return
    assert rows_for(found, changing) <= n
    if found > 0.001:
        assert rows_for(found - 0.001, changing) > n


def test_the_hint_reads_as_a_sentence() -> None:
    assert "about 9 percentage points" in hint(200)
    assert "too few" in hint(5)
