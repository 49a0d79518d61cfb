"""What a diff of two large versions costs. Baselines: reading both files whole, a pandas merge."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from core.datasets.diff import diff
from core.datasets.files import Column
from core.datasets.snapshots import ROW_GROUP_ROWS
from core.datasets.table import Table, connect

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
WORDS = int(os.environ.get("BENCH_WORDS", "60"))
MOST_S = 5.0
MOST_PAGE_S = 0.3
COLUMNS = (
    Column("question", "input", "text"),
    Column("answer", "expected", "text"),
    Column("score", "metadata", "integer"),
    Column("language", "metadata", "text"),
)


def made(folder: Path) -> tuple[Table, Table]:
    """A version, and one in which 1% of the answers and 0.1% of the inputs were edited, 0.5% of
    the rows went and 0.2% are new."""
    connection = connect(memory="2GB", temp=folder / "tmp")
    word = "substr(md5(((i * 31 + k * k) % 9973)::VARCHAR), 1, 6)"
    words = f"array_to_string(list_transform(range({WORDS}), lambda k: {word}), ' ')"
    text = f"'ticket ' || i || ' ' || {words}"
    old, new = (folder / f"{name}.parquet" for name in ("old", "new"))
    options = f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
    connection.execute(
        f"COPY (SELECT 'row_' || substr(md5(i::VARCHAR), 1, 16) AS row_id, i AS row_index,"
        f" {text} AS question, ['billing', 'bug', 'other'][1 + i % 3] AS answer, i % 100 AS score,"
        f" ['en', 'de'][1 + i % 2] AS language FROM range({ROWS}) t(i)) TO '{old}' {options}"
    )
    connection.execute(
        "COPY (SELECT row_id, row_number() OVER (ORDER BY place) - 1 AS row_index,"
        " * EXCLUDE (row_id, row_index, place) FROM (SELECT row_index AS place, * REPLACE ("
        "   CASE WHEN row_index % 1000 = 7 THEN 'row_e' || row_index ELSE row_id END AS row_id,"
        "   CASE WHEN row_index % 1000 = 7 THEN question || ' please' ELSE question END"
        "     AS question,"
        "   CASE WHEN row_index % 100 = 5 THEN 'edited' ELSE answer END AS answer)"
        f" FROM '{old}' WHERE row_index % 200 <> 3 UNION ALL BY NAME"
        "   SELECT row_index + 0.5 AS place, * REPLACE ('row_n' || row_index AS row_id,"
        "     md5(question) AS question)"
        f" FROM '{old}' WHERE row_index % 500 = 11) ORDER BY place) TO '{new}' {options}"
    )
    connection.close()
    return Table(old, COLUMNS), Table(new, COLUMNS)


def timed(action: Callable[[], object]) -> tuple[float, object]:
    begin = time.perf_counter()
    found = action()
    return time.perf_counter() - begin, found


def read_whole(old: Table, new: Table) -> int:
    return sum(pq.read_table(table.path).num_rows for table in (old, new))


def merged(old: Table, new: Table) -> dict[str, int]:
    """The same counts by pandas, without a thought for edited inputs."""
    import pandas as pd

    both = pd.merge(
        pd.read_parquet(old.path), pd.read_parquet(new.path), on="row_id", how="outer",
        suffixes=("_old", "_new"), indicator=True,
    )  # fmt: skip
    there = both[both["_merge"] == "both"]
    differs = pd.concat(
        [there[f"{c.name}_old"] != there[f"{c.name}_new"] for c in COLUMNS], axis=1
    ).any(axis=1)
    sides = both["_merge"].value_counts()
    return {
        "added": int(sides["right_only"]),
        "removed": int(sides["left_only"]),
        "changed": int(differs.sum()),
    }


def test_a_diff_of_two_million_rows_takes_seconds(tmp_path: Path) -> None:
    old, new = made(tmp_path)
    size = sum(table.path.stat().st_size for table in (old, new)) / 1e6
    read_s, _ = timed(lambda: read_whole(old, new))
    seconds = []
    for _ in range(3):
        diff_s, found = timed(lambda: diff(old, new))
        seconds.append(diff_s)
    page_s, rows = timed(lambda: found.rows("changed", offset=ROWS // 200, limit=20))  # type: ignore[attr-defined]
    merge_s, plain = timed(lambda: merged(old, new))
    best = min(seconds)
    print(
        f"\n{ROWS:,} rows twice, {size:,.0f} MB of Parquet, texts of about {WORDS * 7 + 15} bytes"
        f"\ndiff {best:.2f} s (of three; slowest {max(seconds):.2f} s),"
        f" a page of 20 changed rows {page_s * 1000:.0f} ms"
        f"\nreading both files whole {read_s:.2f} s: the diff takes {best / read_s:.1f} times that"
        f"\na pandas merge {merge_s:.2f} s: {merge_s / best:.1f} times the diff"
    )
    counts = found.counts  # type: ignore[attr-defined]
    edited = found.rewritten_count  # type: ignore[attr-defined]
    assert edited == len(range(7, ROWS, 1000))
    assert plain == {
        "added": counts["added"] + edited,
        "removed": counts["removed"] + edited,
        "changed": counts["changed"] - edited,
    }
    assert len(rows) == 20  # type: ignore[arg-type]
    assert best < MOST_S
    assert page_s < MOST_PAGE_S
