"""Faults: a full disk, a killed process, a large file. None leaves half a version."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.datasets.service import Datasets
from core.errors import LatheError
from core.governance.permissions import OWNER
from core.store.database import Store

MAPPING = {"question": "input", "answer": "expected"}


def big_file(path: Path, rows: int) -> Path:
    """Rows that do not compress, about 300 bytes each."""
    chance = random.Random(7)
    with path.open("w") as file:
        for number in range(rows):
            row = {"question": f"{number} {chance.randbytes(140).hex()}", "answer": "yes"}
            file.write(json.dumps(row) + "\n")
    return path


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """Writes past this size fail in mid-file, as they do on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def load(datasets: Datasets, path: Path) -> dict[str, object]:
    return datasets.import_rows(OWNER, name="Big", filename=path.name, data=path, mapping=MAPPING)


def test_a_full_disk_leaves_no_half_version(store: Store, home: Path, tmp_path: Path) -> None:
    datasets = Datasets(store)
    path = big_file(tmp_path / "rows.jsonl", 20_000)
    with file_size_limit(2_000_000), pytest.raises(LatheError) as caught:
        load(datasets, path)
    assert caught.value.title == "The disk is full"
    assert datasets.list(OWNER) == []
    assert list((home / "datasets").rglob("*")) == []

    version = load(datasets, path)  # and with room again the same import works
    assert (version["number"], version["row_count"]) == (1, 20_000)


def test_a_full_disk_leaves_the_versions_before_alone(
    store: Store, home: Path, tmp_path: Path
) -> None:
    datasets = Datasets(store)
    first = load(datasets, big_file(tmp_path / "small.jsonl", 100))
    before = sorted(path.name for path in (home / "datasets").rglob("*"))
    large = big_file(tmp_path / "rows.jsonl", 20_000)
    with file_size_limit(2_000_000), pytest.raises(LatheError):
        load(datasets, large)
    assert sorted(path.name for path in (home / "datasets").rglob("*")) == before
    assert datasets.count(OWNER, str(first["id"])) == 100


IMPORT_FOREVER = """
import sys
from pathlib import Path
from core.datasets import json_chunks
from core.datasets.service import Datasets
from core.governance.permissions import OWNER
from core.store.database import Store
json_chunks._fast = lambda *given: None  # row by row, so that there is time
datasets = Datasets(Store(Path(sys.argv[1])))
print("importing", flush=True)
datasets.import_rows(OWNER, name="Big", filename="rows.jsonl", data=Path(sys.argv[2]),
                     mapping={"question": "input", "answer": "expected"})
print("done", flush=True)
"""


def test_kill_9_in_mid_import_leaves_no_half_version(home: Path, tmp_path: Path) -> None:
    path = big_file(tmp_path / "rows.jsonl", 40_000)
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORT_FOREVER, str(home), str(path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "importing\n"
        while not any(f.stat().st_size for f in (home / "datasets").glob("*/.importing-*")):
            assert process.poll() is None, "the import ended before it could be killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    store = Store(home)
    try:
        datasets = Datasets(store)
        assert datasets.list(OWNER) == []
        assert list((home / "datasets").glob("*/*")) == []  # the torn file is swept away
        assert load(datasets, path)["number"] == 1
    finally:
        store.close()


def test_a_large_file_is_never_held_as_a_whole(store: Store, tmp_path: Path) -> None:
    datasets = Datasets(store)
    path = big_file(tmp_path / "rows.jsonl", 30_000)
    load(datasets, big_file(tmp_path / "warm.jsonl", 10))
    tracemalloc.start()
    try:
        load(datasets, path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 9_000_000
    assert peak < path.stat().st_size
