"""Exact and near duplicates of texts of about 1.5 kB, planted by a seed, on one core.

Baseline: datasketch's own pipeline (MinHash by `update_batch`, MinHashLSH with 32 bands of 8) on
`LATHE_BENCH_BASE_ROWS` of the same texts, over the same n-grams and over the five times fewer
3-grams of words that its users take; compared by seconds a row.

    LATHE_BENCH_ROWS=100000 LATHE_BENCH_BASE_ROWS=2000 pytest -s -m bench tests/bench -k datasketch
    LATHE_BENCH_MILLION=1000000 pytest -s -m bench tests/bench -k million_rows

Knows: texts, clocks. Does not know: findings, pages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.curation.alike import exact_groups, near_groups
from core.curation.groups import Group
from core.curation.shingles import likeness, plain_form
from core.curation.tools import Tools
from core.settings import PROJECT_ROOT
from tests.curation.duplicating import Planted, plant, slow_likeness

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3_600)]

ROWS = int(os.environ.get("LATHE_BENCH_ROWS", "10000"))
BASE_ROWS = int(os.environ.get("LATHE_BENCH_BASE_ROWS", "400"))
MOST_S = 60 * max(1, ROWS / 100_000)
MOST_BYTES = 4 * 1024**3


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """The process and whatever threads it starts stay on one core."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


def batches(texts: list[str], size: int = 4_096) -> Iterator[list[str]]:
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def recall(made: Planted, groups: list[Group], below: float = 1.1) -> tuple[float, int]:
    """Of the planted pairs with a Jaccard index from 0.8 to `below`: the share found together."""
    group_of = {row: at for at, group in enumerate(groups) for row in group.rows}
    alike = [(a, b) for a, b in made.near if 0.8 <= likeness(made.texts[a], made.texts[b]) < below]
    found = sum(group_of.get(a, -1) == group_of.get(b, -2) for a, b in alike)
    return found / max(1, len(alike)), len(alike)


def characters(text: str) -> list[bytes]:
    """The n-grams that Lathe compares long texts by."""
    form = f" {plain_form(text)} "
    return [form[at : at + 5].encode() for at in range(len(form) - 4)]


def words(text: str) -> list[bytes]:
    """3-grams of words."""
    found = plain_form(text).split()
    return [" ".join(found[at : at + 3]).encode() for at in range(len(found) - 2)]


def datasketch_pairs(
    texts: list[str], shingles: Callable[[str], list[bytes]]
) -> set[tuple[int, int]]:
    """Candidate pairs as datasketch's documentation has it."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=256, params=(32, 8))
    found = set()
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=256)
        sketch.update_batch(shingles(text))
        found.update((int(other), number) for other in index.query(sketch))
        index.insert(str(number), sketch)
    return found


def test_a_hundred_thousand_rows_on_one_core_against_datasketch(tmp_path: Path) -> None:
    made = plant(ROWS)
    tools = Tools(cache=tmp_path)
    begin = time.perf_counter()
    exact = exact_groups(batches(made.texts), tools)
    exact_s = time.perf_counter() - begin
    near = near_groups(batches(made.texts), tools)
    took = time.perf_counter() - begin
    found, planted = recall(made, near)
    hardest, close = recall(made, near, below=0.82)
    links = [link for group in near for link in group.links]
    checked = links[:: max(1, len(links) // 300)]
    right = sum(slow_likeness(*(made.texts[row] for row in link.rows)) >= 0.8 for link in checked)

    few = made.texts[:BASE_ROWS]
    alike = [
        pair
        for pair in made.near
        if pair[1] < len(few) and likeness(*(few[row] for row in pair)) >= 0.8
    ]
    ratios, told = [], []
    for shingles in (characters, words):
        begin = time.perf_counter()
        pairs = datasketch_pairs(few, shingles)
        base = (time.perf_counter() - begin) / len(few)
        ratios.append(base / (took / len(made.texts)))
        share = sum(pair in pairs for pair in alike) / max(1, len(alike))
        told.append(
            f"datasketch over {shingles.__name__}: {base * 1e3:.2f} ms a row, recall {share:.4f}"
            f" of {len(alike):,}; Lathe {took / len(made.texts) * 1e3:.3f} ms a row:"
            f" {ratios[-1]:.1f} times as fast"
        )
    kb = sum(map(len, made.texts)) / len(made.texts) / 1_000
    print(
        f"\n{len(made.texts):,} rows of {kb:.2f} kB on one core: exact {exact_s:.1f} s,"
        f" near {took - exact_s:.1f} s"
    )
    print(f"exact groups {len(exact):,}, near groups {len(near):,}")
    print(
        f"recall at Jaccard 0.8: {found:.4f} of {planted:,} planted pairs,"
        f" {hardest:.4f} of the {close:,} below 0.82;"
        f" precision {right / len(checked):.4f} of {len(checked):,} links checked by sets"
    )
    print("\n".join(told))
    assert took < MOST_S
    assert min(ratios) >= 3
    assert found >= 0.99
    assert right == len(checked)
    assert len(exact) >= len({pair[0] for pair in made.exact}) * 0.9


MILLION = """
import random, resource, sys, time
from pathlib import Path
from core.curation.alike import exact_groups, near_groups
from core.curation.tools import Tools
from tests.curation.duplicating import vocabulary

rows, folder = int(sys.argv[1]), Path(sys.argv[2])
known = vocabulary(random.Random(5))

def batches():
    rng = random.Random(7)
    made, last = 0, []
    while made < rows:
        batch = []
        for _ in range(min(4096, rows - made)):
            text = " ".join(rng.choices(known, k=235)) + "."
            if last and rng.random() < 0.15:
                words = rng.choice(last).split()
                for _ in range(rng.randint(0, 9)):
                    words[rng.randrange(len(words))] = rng.choice(known)
                text = " ".join(words)
            batch.append(text)
        made, last = made + len(batch), batch[:200]
        yield batch

begin = time.perf_counter()
exact = exact_groups(batches(), Tools(cache=folder))
near = near_groups(batches(), Tools(cache=folder))
took = time.perf_counter() - begin
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(took, peak, len(exact), len(near))
"""


@pytest.mark.skipif("LATHE_BENCH_MILLION" not in os.environ, reason="takes several minutes")
def test_a_million_rows_finish_within_4_gb(tmp_path: Path) -> None:
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    rows = int(os.environ["LATHE_BENCH_MILLION"])
    done = subprocess.run(
        [sys.executable, "-c", MILLION, str(rows), str(tmp_path)],
        capture_output=True, text=True, cwd=PROJECT_ROOT, check=True,
    )  # fmt: skip
    took, peak, exact, near = map(float, done.stdout.split())
    print(
        f"\n{rows:,} rows of 1.5 kB, made as they are read: {took:.0f} s,"
        f" {peak / 1024**3:.2f} GB at the most, {exact:,.0f} exact and {near:,.0f} near groups"
    )
    assert peak < MOST_BYTES
