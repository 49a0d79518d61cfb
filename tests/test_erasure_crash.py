"""An erasure that is killed is completed, and leaves no bytes behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.datasets.table import Table
from core.settings import PROJECT_ROOT, Settings
from core.workbench import OWNER, Workbench
from tests.test_erasure import EMAIL, NAME, ROWS, imported, places, texts


def test_a_manifest_that_names_the_file_of_a_person_is_written_anew(workbench: Workbench) -> None:
    version = workbench.datasets.import_rows(
        OWNER, name="Odd", filename="zelda quince.csv", data=b"text\nhello\n",
        mapping={"text": "input"},
    )  # fmt: skip
    found = places(workbench, NAME)
    assert found["Manifests of versions"] == 1
    assert "Dataset rows" not in found
    assert workbench.erasure.erase(OWNER, NAME)["verification"] | {"checked_at": ""} == {
        "checked_at": "", "found": {}, "raw_files": [],
    }  # fmt: skip
    after = workbench.datasets.version(OWNER, version["id"])
    assert "[erased]" in after["source"]
    assert after["content_hash"] == version["content_hash"]
    assert texts(workbench, version["id"]) == ["hello"]
    assert json.loads(Path(after["path"]).with_suffix(".json").read_text())["sha256"]


def test_bytes_that_the_database_freed_are_gone_too(workbench: Workbench) -> None:
    home = workbench.settings.home
    workbench.drafts.put(OWNER, "draft", {"text": EMAIL})
    assert EMAIL.encode() in (home / "lathe.duckdb.wal").read_bytes()
    with workbench.store._cursor() as cursor:
        cursor.execute("CHECKPOINT")
    assert EMAIL.encode() in (home / "lathe.duckdb").read_bytes()
    workbench.drafts.put(OWNER, "draft", None)  # deleted, and still in a block that was freed
    assert places(workbench, EMAIL) == {}
    workbench.erasure.erase(OWNER, EMAIL)
    for path in home.rglob("*"):
        if path.is_file():
            assert EMAIL.encode() not in path.read_bytes().lower(), path
    workbench.drafts.put(OWNER, "after", {"still": "written"})
    assert workbench.drafts.get(OWNER, "after") == {"still": "written"}


KILLED = """
import os, signal, sys
from core.erasure import files, snapshots, tables
from core.settings import Settings
from core.store.database import Store
from core.workbench import OWNER, Workbench

def dies(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

module = {"snapshots": snapshots, "tables": tables, "Store": Store}[sys.argv[2]]
setattr(module, sys.argv[3], dies)
with Workbench.open(Settings.from_env(), background=False) as workbench:
    workbench.erasure.erase(OWNER, sys.argv[1], "first")
"""


@pytest.mark.parametrize(
    ("module", "function"),
    [("tables", "clear"), ("snapshots", "forget_embeddings"), ("snapshots", "_number_results"),
     ("snapshots", "drop"), ("Store", "compact")],
)  # fmt: skip
def test_killed_in_the_middle_a_second_call_completes_it(
    settings: Settings, module: str, function: str
) -> None:
    with Workbench.open(settings) as workbench:
        first, second = imported(workbench), imported(workbench, ROWS[:3])
        workbench.drafts.put(OWNER, "playground", {"user": EMAIL})
    done = subprocess.run(
        [sys.executable, "-c", KILLED, EMAIL, module, function],
        env={**os.environ, "LATHE_HOME": str(settings.home)},
        cwd=PROJECT_ROOT,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    with Workbench.open(settings) as workbench:
        found = workbench.erasure.find(OWNER, EMAIL)
        assert found["begun"] is True
        made = workbench.erasure.erase(OWNER, EMAIL, "second")
        assert made["found"]["Dataset rows"] == 2
        assert made["found"]["Drafts and pending recipes"] == 1
        assert sum(row["rows"] for row in made["versions"]) == 2
        assert made["verification"]["found"] == {}
        assert made["verification"]["raw_files"] == []
        for version in (first, second):
            row = workbench.datasets.version(OWNER, version["id"])
            assert Table.of(row).count() == row["row_count"] == version["row_count"] - 1
            assert not Path(version["path"]).exists()
