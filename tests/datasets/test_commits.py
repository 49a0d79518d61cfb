"""A written file becomes a version once, wherever it was written and however often it is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.datasets.files import UNFINISHED, Column, Written
from core.datasets.service import Datasets
from core.datasets.snapshots import write_snapshot
from core.datasets.table import connect
from core.errors import Conflict, NotFound
from core.governance.audit import Audit
from core.governance.permissions import OWNER
from core.store.database import Store

COLUMNS = (Column("q", "input", "text"), Column("n", "metadata", "integer"))
RECIPE = {"recipe": 1, "steps": [{"step": "trim"}]}


@pytest.fixture
def datasets(store: Store) -> Datasets:
    return Datasets(store)


def written(folder: Path, *questions: str) -> Written:
    connection = connect()
    connection.execute("CREATE TABLE r (row_id VARCHAR, row_index BIGINT, q VARCHAR, n BIGINT)")
    for at, question in enumerate(questions):
        connection.execute("INSERT INTO r VALUES (?, ?, ?, ?)", [f"row_{at}", at * 3, question, at])
    return write_snapshot(connection, "r", COLUMNS, folder)


def commit(datasets: Datasets, file: Written, dataset: str = "Rows", **more: object) -> dict:  # type: ignore[type-arg]
    return datasets.commit_written(OWNER, dataset, file, COLUMNS, source="a recipe", **more)  # type: ignore[arg-type]


def test_a_file_from_a_jobs_folder_becomes_the_first_version(
    datasets: Datasets, home: Path
) -> None:
    file = written(home / "jobs" / "job_1", "a", "b")
    version = commit(datasets, file, recipe=RECIPE, report={"trim": {"changed": 2}})
    assert (version["label"], version["is_new"], version["recipe"]) == ("Rows v1", True, RECIPE)
    assert not file.path.exists()
    assert [row["row_index"] for row in datasets.page(OWNER, version["id"])] == [0, 1]
    manifest = json.loads(Path(version["path"]).with_suffix(".json").read_text())
    assert (manifest["recipe"], manifest["report"]) == (RECIPE, {"trim": {"changed": 2}})
    assert manifest["sha256"] == file.sha256


def test_asked_again_after_a_crash_it_gives_the_same_version(
    datasets: Datasets, home: Path, store: Store
) -> None:
    file = written(home / "jobs" / "job_1", "a")
    first = commit(datasets, file)
    again = commit(datasets, Written.of(file.to_dict()))
    assert (again["id"], again["is_new"]) == (first["id"], False)
    other = commit(datasets, written(home / "jobs" / "job_2", "a"), first["dataset_id"])
    assert (other["id"], other["is_new"]) == (first["id"], False)
    assert [line["action"] for line in Audit(store).list(OWNER)] == ["datasets.import_rows"]


def test_a_name_in_any_case_or_an_id_is_the_dataset_that_is_there(
    datasets: Datasets, home: Path
) -> None:
    first = commit(datasets, written(home / "a", "a"))
    second = commit(datasets, written(home / "b", "b"), "rOWS", message="two")
    third = commit(
        datasets, written(home / "c", "c"), first["dataset_id"], parent_id=first["id"],
        verb="datasets.roll_back",
    )  # fmt: skip
    assert [second["number"], third["number"]] == [2, 3]
    assert [second["parent_number"], third["parent_number"]] == [1, 1]


def test_a_file_that_is_gone_and_no_version_is_not_found(datasets: Datasets, home: Path) -> None:
    file = written(home / "a", "a")
    file.drop()
    with pytest.raises(NotFound, match="gone"):
        commit(datasets, file)
    assert datasets.list(OWNER) == []


def test_a_failure_leaves_neither_file_nor_row(
    datasets: Datasets, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: object, **__: object) -> None:
        raise Conflict("taken in between")

    file = written(home / "jobs" / "job_1", "a")
    monkeypatch.setattr(datasets, "_refuse_taken", taken)
    with pytest.raises(Conflict):
        commit(datasets, file)
    assert datasets.list(OWNER) == []
    assert [path for path in (home / "datasets").rglob("*") if path.is_file()] == []


def test_what_a_crash_left_is_swept_also_where_it_is_a_folder(store: Store, home: Path) -> None:
    folder = home / "datasets" / "dataset_1"
    (folder / f"{UNFINISHED}temp").mkdir(parents=True)  # where an erasure puts rows meanwhile
    (folder / f"{UNFINISHED}temp" / "spilled").write_text("x")
    (folder / f"{UNFINISHED}abc.parquet").write_text("x")
    Datasets(store)
    assert list(folder.iterdir()) == []


def again(datasets: Datasets, version: dict) -> dict:  # type: ignore[type-arg]
    return datasets.commit_again(OWNER, version["id"], source="v1", message="", report={})


def test_a_rollback_takes_the_content_that_the_version_has_by_then(
    datasets: Datasets, home: Path, store: Store
) -> None:
    first = commit(datasets, written(home / "a", "a", "b"))
    commit(datasets, written(home / "b", "c"))
    erased = written(home / "c", "a")
    old = Path(first["path"])
    erased.path.rename(old.with_name(f"{erased.content_hash}.parquet"))
    old.unlink()
    with pytest.raises(NotFound, match="is missing"):
        again(datasets, first)
    store.execute(
        "UPDATE dataset_versions SET content_hash = $hash, row_count = 1 WHERE id = $id",
        {"hash": erased.content_hash, "id": first["id"]},
    )
    made = again(datasets, first)
    assert (made["number"], made["row_count"]) == (3, 1)
    assert [row["q"] for row in datasets.page(OWNER, made["id"])] == ["a"]


def test_a_rollback_whose_manifest_cannot_be_written_leaves_no_row(
    datasets: Datasets, home: Path
) -> None:
    first = commit(datasets, written(home / "a", "a"))
    commit(datasets, written(home / "b", "b"))
    manifest = Path(first["path"]).with_suffix(".json")
    manifest.rename(home / "kept.json")
    (manifest / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        again(datasets, first)
    assert len(datasets.versions(OWNER, first["dataset_id"])) == 2
