"""Embedding by `tools.embed`, cache and all, against sentence-transformers' own `encode`.

The same texts, the same model, turn by turn; then once more from the cache.

    LATHE_BENCH_TEXTS=2000 pytest -m bench tests/bench/bench_embeddings.py

Knows: texts, clocks. Does not know: what vectors are for.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest

from core.curation.embeddings import embedded, embedding_model_path, loaded
from core.curation.tools import Tools
from tests.curation.duplicating import vocabulary

pytestmark = [pytest.mark.bench, pytest.mark.starter, pytest.mark.timeout(3_600)]

TEXTS = int(os.environ.get("LATHE_BENCH_TEXTS", "300"))
ROUNDS = 3


def texts_of(count: int, seed: int) -> list[str]:
    """From a few words to a few hundred, all different."""
    rng = random.Random(seed)
    known = vocabulary(rng, 5_000)
    return [" ".join(rng.choices(known, k=rng.randint(3, 60))) for _ in range(count)]


def test_embedding_is_as_fast_as_encode_and_the_cache_far_faster(
    starter_home: Path, tmp_path: Path
) -> None:
    folder = embedding_model_path(starter_home)
    assert folder is not None
    model = loaded(folder)
    model.encode(texts_of(64, 99), show_progress_bar=False)
    ours, theirs = [], []
    for turn in range(ROUNDS):
        texts = texts_of(TEXTS, turn)
        tools = Tools(cache=tmp_path / str(turn), embedding_model=folder)
        begin = time.perf_counter()
        found = embedded(tools, texts)
        ours.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        expected = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        theirs.append(time.perf_counter() - begin)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    begin = time.perf_counter()
    embedded(tools, texts)
    again = time.perf_counter() - begin
    ratio = min(theirs) / min(ours)
    print(
        f"\n{TEXTS:,} texts of 3 to 60 words: {TEXTS / min(ours):.0f} a second, encode"
        f" {TEXTS / min(theirs):.0f}: ratio {ratio:.3f};"
        f" from the cache {TEXTS / again:,.0f} a second"
    )
    assert ratio > 0.95
    assert again < min(ours) / 20
