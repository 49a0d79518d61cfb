"""Looking for personal data and secrets in 1.5 kB rows, against presidio's recognizers alone.

Knows: rows made of the samples' sentences, every third with a hit or a near miss in it. The
baseline calls the same recognizers of presidio, the telephone one included, on each whole text, and
no more: no names, no addresses, no secrets.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from core.curation import personal, recognizers, secrets
from core.curation.tools import Tools
from core.settings import PROJECT_ROOT
from tests.curation.planted import CLEAN, PERSONAL, SECRETS
from tests.curation.versions import table_of

ROWS = 5_000
BASELINE_ROWS = 300
CHARACTERS = 1_500


@pytest.mark.bench
def test_bench_personal_data_and_secrets(tmp_path: Path) -> None:
    texts = made(ROWS)
    table = table_of(tmp_path, texts)
    tools = Tools(cache=tmp_path)
    personal.find("warm up: a@example.com")
    seconds = {}
    for module in (personal, secrets):
        began = time.perf_counter()
        found = module.detect(table, tools)
        seconds[module] = time.perf_counter() - began
        name = module.__name__.rpartition(".")[2]
        print(
            f"\n{name}: {len(found):,} hits in {ROWS:,} rows, {seconds[module]:.2f} s, "
            f"{seconds[module] / ROWS * 100_000:.0f} s for 100,000 rows"
        )
    baseline = whole_texts(texts[:BASELINE_ROWS]) / BASELINE_ROWS
    ratio = baseline / (seconds[personal] / ROWS)
    print(
        f"presidio on whole texts: {baseline * 100_000:.0f} s for 100,000 rows; ratio {ratio:.1f}"
    )
    assert ratio > 2
    assert sum(seconds.values()) / ROWS * 100_000 < 600


def whole_texts(texts: list[str]) -> float:
    """Seconds that presidio's recognizers take, given every text as it is."""
    names = [pattern.recognizer for pattern in recognizers.PATTERNS]
    used = [recognizers._presidio(name) for name in names]
    used.append(recognizers.load().PhoneRecognizer())
    began = time.perf_counter()
    for text in texts:
        for recognizer in used:
            recognizer.analyze(text, recognizer.supported_entities)
    return time.perf_counter() - began


def made(count: int) -> list[str]:
    """Texts of about 1.5 kB."""
    rng = random.Random(7)
    sentences = []
    for path in sorted((PROJECT_ROOT / "data" / "samples").glob("s*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            sentences.append(row.get("body") or row["context"])
    planted = [text for text, _ in PERSONAL] + [text for text, _, _ in SECRETS] + CLEAN
    texts = []
    for number in range(count):
        parts: list[str] = []
        while sum(map(len, parts)) < CHARACTERS:
            parts.append(rng.choice(sentences))
        if number % 3 == 0:
            parts.insert(rng.randrange(len(parts)), rng.choice(planted))
        texts.append(" ".join(parts))
    return texts
