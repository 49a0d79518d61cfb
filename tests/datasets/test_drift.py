"""Drift: against published examples, second implementations, brute force and simulated nulls."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.datasets import distance
from core.datasets.distance import (
    bin_edges,
    binned,
    chi_square,
    ks,
    mmd,
    psi,
    psi_with_null,
)
from core.datasets.drift import drift, verdict
from core.datasets.files import Column
from core.datasets.table import Table

RNG = np.random.default_rng(7)


def counts(*values: int) -> Any:
    return np.array(values)


def test_psi_of_a_published_example() -> None:
    """Incomes in three bins, 40/30/30 % then 35/25/40 %, as GeeksforGeeks works it out: 0.0445."""
    assert psi(counts(40, 30, 30), counts(35, 25, 40)) == pytest.approx(0.0445, abs=1e-4)


def test_psi_is_symmetric_zero_when_equal_and_finite_with_empty_bins() -> None:
    old, new = counts(10, 0, 90), counts(30, 20, 50)
    assert psi(old, new) == pytest.approx(psi(new, old))
    assert psi(old, old * 3) == pytest.approx(0, abs=0.01)
    assert math.isfinite(psi(old, new))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), min_size=2, max_size=12))
def test_psi_is_both_relative_entropies_together(pairs: list[tuple[int, int]]) -> None:
    old, new = np.array(pairs).T
    p, q = old / old.sum(), new / new.sum()
    both = stats.entropy(p, q) + stats.entropy(q, p)
    assert psi(old, new) == pytest.approx(both, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("size", [60, 400, 3_000])
def test_the_null_point_is_passed_by_one_pair_in_twenty(size: int) -> None:
    """Both ways to find it: samples of one population pass it about 5 times in 100."""
    passed, methods = 0, set()
    for _ in range(200):
        old, new = RNG.exponential(size=size), RNG.exponential(size=size + size // 3)
        edges = bin_edges(old, new)
        found = psi_with_null(binned(old, edges), binned(new, edges))
        assert found is not None
        methods.add(found.method)
        passed += found.value > found.null_95
    assert methods == {"permutation" if size == 60 else "chi-square"}
    assert passed <= 20  # 10 expected; 20 or more once in 500 such tests


def test_the_cut_offs_are_no_finding_in_small_samples() -> None:
    old, new = counts(*[6] * 10), counts(8, 4, 7, 5, 9, 3, 6, 6, 2, 10)
    found = psi_with_null(old, new)
    assert found is not None
    assert found.value > 0.1
    assert verdict(found) == "stable"
    assert psi_with_null(counts(20, 29), counts(500, 500)) is None
    assert psi_with_null(counts(500, 0), counts(500, 0)) is None
    assert verdict(None) == "not enough data"


@settings(deadline=None)
@given(
    st.lists(st.integers(-5, 5) | st.floats(-1e6, 1e6), min_size=1, max_size=80),
    st.lists(st.integers(-5, 5), min_size=0, max_size=80),
)
def test_every_value_is_in_one_bin_and_the_bins_do_not_know_whose(
    old: list[float], new: list[float]
) -> None:
    one, other = np.array(old, float), np.array(new, float)
    edges = bin_edges(one, other)
    assert np.array_equal(edges, bin_edges(other, one))
    assert len(edges) <= distance.BINS - 1
    assert binned(one, edges).sum() == len(one)
    pooled = binned(np.concatenate([one, other]), edges)
    assert (pooled > 0).all()
    assert np.array_equal(pooled, binned(one, edges) + binned(other, edges))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(50, 150), st.integers(50, 150), st.integers(1, 40))
def test_ks_agrees_with_scipy_and_with_counting_pairs(
    seed: int, n: int, m: int, values: int
) -> None:
    generator = np.random.default_rng(seed)
    one = generator.integers(values, size=n).astype(float)
    other = generator.integers(values + int(generator.integers(5)), size=m).astype(float)
    found = ks(one, other)
    assert found is not None
    theirs = stats.ks_2samp(one, other, method="asymp")
    assert found.statistic == pytest.approx(theirs.statistic)
    assert found.p_value == pytest.approx(float(theirs.pvalue), abs=0.06)
    pairs = np.sign(other[:, None] - one[None, :]).mean()
    assert found.cliffs_delta == pytest.approx(pairs)


def test_ks_p_values_of_the_limit_distribution() -> None:
    """Smirnov (1948): 1.3581 is the 95% point of the limit, 1.6276 the 99% point."""
    n = 200_000
    for point, level in ((1.3581, 0.05), (1.6276, 0.01)):
        shift = round(point / math.sqrt(n / 2) * n)
        found = ks(np.arange(n, dtype=float), np.arange(n, dtype=float) + shift)
        assert found is not None
        assert found.p_value == pytest.approx(level, abs=5e-4)


def test_a_tiny_shift_of_many_rows_is_certain_and_small() -> None:
    found = ks(RNG.normal(size=200_000), RNG.normal(0.02, size=200_000))
    assert found is not None
    assert found.p_value < 1e-3
    assert abs(found.cliffs_delta) < 0.03
    assert ks(np.zeros(49), np.zeros(500)) is None


def test_chi_square_of_a_published_example() -> None:
    """Party by gender, Agresti (2007) p. 39: 30.07 with 2 degrees of freedom, n = 2,757."""
    found = chi_square(counts(762, 327, 468), counts(484, 239, 477))
    assert found is not None
    assert found.statistic == pytest.approx(30.07, abs=0.005)
    assert found.degrees == 2
    assert found.cramers_v == pytest.approx(math.sqrt(30.07 / 2757), abs=1e-4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), min_size=2, max_size=9))
def test_chi_square_agrees_with_scipy(pairs: list[tuple[int, int]]) -> None:
    table = np.array(pairs).T
    found = chi_square(*table)
    used = table[:, table.sum(0) > 0]
    if used.shape[1] < 2 or table.sum(1).min() < 50:
        assert found is None
        return
    theirs = stats.contingency.association(used, method="cramer")
    test = stats.chi2_contingency(used, correction=False)
    assert found is not None
    assert found.statistic == pytest.approx(test.statistic)
    assert found.p_value == pytest.approx(test.pvalue)
    assert found.cramers_v == pytest.approx(theirs, abs=1e-9)


def plain_mmd(old: Any, new: Any, bandwidth: float) -> float:
    """Gretton et al. 2012, equation 3, term by term."""

    def kernel(a: Any, b: Any) -> float:
        return math.exp(-float(((a - b) ** 2).sum()) / (2 * bandwidth**2))

    n, m = len(old), len(new)
    first = sum(kernel(old[i], old[j]) for i in range(n) for j in range(n) if i != j)
    second = sum(kernel(new[i], new[j]) for i in range(m) for j in range(m) if i != j)
    cross = sum(kernel(a, b) for a in old for b in new)
    return first / (n * (n - 1)) + second / (m * (m - 1)) - 2 * cross / (n * m)


def test_mmd_is_the_unbiased_estimate_with_the_median_distance() -> None:
    old, new = RNG.normal(size=(50, 3)), RNG.normal(0.3, size=(60, 3))
    found = mmd(old, new, permutations=50)
    assert found is not None
    both = np.concatenate([old, new])
    distances = [np.linalg.norm(a - b) for i, a in enumerate(both) for b in both[:i]]
    assert found.bandwidth == pytest.approx(np.median(distances), rel=1e-3)
    assert found.squared == pytest.approx(plain_mmd(old, new, found.bandwidth), abs=1e-9)


def test_mmd_sees_other_meanings_and_is_calm_about_the_same() -> None:
    def vectors(shift: float, n: int = 80) -> Any:
        found = RNG.normal(size=(n, 8)) + shift
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    moved = mmd(vectors(0), vectors(0.5))
    assert moved is not None
    assert moved.p_value < 0.01
    alarms = sum(
        found is not None and found.p_value <= 0.05
        for found in (mmd(vectors(0), vectors(0), permutations=99) for _ in range(100))
    )
    assert alarms <= 12  # 5 expected
    same = np.ones((60, 4))
    equal = mmd(same, same)
    assert equal is not None
    assert (equal.squared, equal.p_value) == (pytest.approx(0), 1.0)
    assert mmd(same[:49], same) is None
    large = mmd(vectors(0, 1_500), vectors(0, 1_200), permutations=20)
    assert large is not None
    assert (large.n_old, large.n_new) == (1_000, 1_000)


def written(path: Path, types: dict[str, str], cells: dict[str, list[Any]]) -> Table:
    kinds = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(),
             "boolean": pa.bool_()}  # fmt: skip
    n = len(next(iter(cells.values())))
    columns = {"row_id": pa.array([f"row_{i}" for i in range(n)]), "row_index": pa.array(range(n))}
    columns |= {name: pa.array(cells[name], kinds[kind]) for name, kind in types.items()}
    pq.write_table(pa.table(columns), path)
    return Table(path, tuple(Column(name, "metadata", kind) for name, kind in types.items()))


TYPES = {"text": "text", "label": "text", "score": "number", "seen": "boolean", "n": "integer"}


def made(path: Path, n: int, *, shift: float = 0.0) -> Table:
    cells = {
        "text": ["word " * (1 + int(RNG.integers(40))) + str(i) for i in range(n)],
        "label": RNG.choice(["a", "b", "c"], n, p=[0.4 + shift, 0.3, 0.3 - shift]).tolist(),
        "score": (RNG.normal(size=n) + 5 * shift).tolist(),
        "seen": RNG.choice([True, False], n).tolist(),
        "n": [None if i % 2 and shift else int(RNG.integers(9)) for i in range(n)],
    }
    return written(path, TYPES, cells)


def test_each_column_is_compared_by_what_it_holds(tmp_path: Path) -> None:
    old, new = made(tmp_path / "a.parquet", 900), made(tmp_path / "b.parquet", 600, shift=0.25)
    found = drift(old, new)
    assert (found["old_count"], found["new_count"], found["mmd"]) == (900, 600, None)
    columns = {entry["name"]: entry for entry in found["columns"]}
    assert {name: entry["measure"] for name, entry in columns.items()} == {
        "text": "length", "label": "categories", "score": "values", "seen": "categories",
        "n": "values",
    }  # fmt: skip
    verdicts = {name: entry["verdict"] for name, entry in columns.items()}
    assert verdicts == {
        "score": "drifted", "n": "drifted", "label": "drifted", "text": "stable", "seen": "stable",
    }  # fmt: skip
    assert [e["verdict"] for e in found["columns"]] == ["drifted"] * 3 + ["stable"] * 2
    assert columns["score"]["effect"] > 0.474
    assert columns["n"]["bins"][-1]["label"] == "(missing)"
    assert columns["n"]["bins"][-1]["new"] == pytest.approx(0.5)
    for entry in found["columns"]:
        for side in ("old", "new"):
            assert sum(part[side] for part in entry["bins"]) == pytest.approx(1)


def test_too_few_rows_are_not_judged_and_nothing_breaks(tmp_path: Path) -> None:
    few = written(tmp_path / "a.parquet", {"text": "text", "n": "integer"},
                  {"text": ["a", None], "n": [None, None]})  # fmt: skip
    none = written(tmp_path / "b.parquet", {"text": "text", "n": "integer"},
                   {"text": [], "n": []})  # fmt: skip
    for old, new in ((few, few), (few, none), (none, none)):
        assert {e["verdict"] for e in drift(old, new)["columns"]} == {"not enough data"}


def test_embeddings_are_an_argument(tmp_path: Path) -> None:
    table = made(tmp_path / "a.parquet", 60)
    found = drift(table, table, vectors=(RNG.normal(size=(60, 4)), RNG.normal(2, size=(60, 4))))
    assert found["mmd"]["p_value"] < 0.01
