"""Import of JSON lines against DuckDB's own `read_json` -> Parquet, and a page of ten million rows.

Lathe's figure has more in it: every row is checked and gets its id, the content is hashed, the file
is compressed, synced and hashed. Sizes: LATHE_BENCH_IMPORT_MB (1000), LATHE_BENCH_GRID_ROWS (10
million).
"""

from __future__ import annotations

import json
import os
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.datasets.examples import page
from core.datasets.files import Column
from core.datasets.importing import import_source
from core.datasets.readers import open_source
from core.datasets.table import connect
from core.datasets.writing import VersionWriter
from core.store.database import Store

pytestmark = [pytest.mark.bench, pytest.mark.timeout(1800)]

MEGABYTES = int(os.environ.get("LATHE_BENCH_IMPORT_MB", "1000"))
GRID_ROWS = int(os.environ.get("LATHE_BENCH_GRID_ROWS", "10000000"))
MOST_RATIO, MOST_PAGE_S = 2.0, 0.3
MAPPING = {
    "question": "input", "answer": "expected", "id": "metadata", "score": "metadata",
    "topic": "metadata",
}  # fmt: skip
Timed = tuple[float, float]


def timed(work: Callable[[], object]) -> Timed:
    """Seconds on the wall, and of CPU in all threads."""
    begin, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - begin, time.process_time() - cpu


def conversations(path: Path, chats: bool) -> Path:
    """Rows of about a kilobyte of words, with a nested column if asked."""
    chance = random.Random(5)
    words = [
        "".join(chance.choices("abcdefghijklmnop", k=chance.randint(2, 10))) for _ in range(9999)
    ]
    size = number = 0
    with path.open("w") as file:
        while size < MEGABYTES * 1_000_000:
            question = " ".join(chance.choices(words, k=chance.randint(60, 180)))
            row = {"id": number, "question": f'{number} {question} "é\n"', "score": chance.random(),
                   "answer": question[:160], "topic": chance.choice("abc")}  # fmt: skip
            if chats:
                row["messages"] = [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": question[:160]},
                ]
            size += file.write(json.dumps(row) + "\n")
            number += 1
    return path


@pytest.mark.parametrize("chats", [False, True], ids=["flat", "nested"])
def test_an_import_takes_less_than_twice_as_long_as_read_json(tmp_path: Path, chats: bool) -> None:
    path = conversations(tmp_path / "rows.jsonl", chats)
    mapping = MAPPING | ({"messages": "metadata"} if chats else {})
    copy = f"COPY (SELECT * FROM read_json('{path}')) TO '{tmp_path}/b.parquet' (FORMAT parquet)"
    base: list[Timed] = []
    ours: list[Timed] = []
    for turn in range(2):
        with connect(memory="2GB") as connection:
            base.append(timed(lambda: connection.execute(copy)))
        folder = tmp_path / f"out{turn}"
        source = open_source(path.name, path)
        ours.append(timed(lambda: import_source(source, mapping, folder)))  # noqa: B023
    (base_s, base_cpu), (ours_s, ours_cpu) = min(base), min(ours)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"\n{path.stat().st_size / 1e6:.0f} MB of {'nested' if chats else 'flat'} JSON lines:"
        f" read_json -> Parquet {base_s:.2f} s ({base_cpu:.2f} of CPU), Lathe {ours_s:.2f} s"
        f" ({ours_cpu:.2f}): {ours_s / base_s:.2f} times (CPU {ours_cpu / base_cpu:.2f});"
        f" peak memory of both {peak:.0f} MB"
    )
    assert ours_s / base_s < MOST_RATIO


def test_a_page_of_ten_million_rows_takes_less_than_300_ms(tmp_path: Path) -> None:
    columns = [Column("question", "input", "text"), Column("n", "metadata", "integer")]
    writer = VersionWriter(tmp_path / "grid", columns)
    with connect() as connection:
        for start in range(0, GRID_ROWS, 500_000):
            end = min(start + 500_000, GRID_ROWS)
            rows = connection.sql(
                "SELECT concat('What is ', i, ' plus ', i % 97, ', in words and in figures?')"
                f" AS question, i AS n FROM range({start}, {end}) t(i)"
            ).to_arrow_table()
            writer.append(writer.prepare(rows))
    written = writer.finish()
    store = Store(tmp_path / "home")
    try:
        took = {}
        for offset in (0, GRID_ROWS // 2, GRID_ROWS - 50):
            begin = time.perf_counter()
            found = page(store, written.path, columns, offset=offset, limit=50, search="")
            took[offset] = time.perf_counter() - begin
            assert [row["n"] for row in found] == [*range(offset, offset + 50)]
        begin = time.perf_counter()
        store.rows("SELECT * FROM read_parquet($path) ORDER BY row_index LIMIT 50 OFFSET $at",
                   {"path": str(written.path), "at": GRID_ROWS - 50})  # fmt: skip
        by_offset = time.perf_counter() - begin
    finally:
        store.close()
    shown = ", ".join(
        f"row {offset:,}: {seconds * 1000:.0f} ms" for offset, seconds in took.items()
    )
    print(
        f"\na page of {GRID_ROWS:,} rows: {shown}; by LIMIT and OFFSET {by_offset * 1000:.0f} ms:"
        f" {by_offset / max(took.values()):.0f} times as long"
    )
    assert max(took.values()) < MOST_PAGE_S
