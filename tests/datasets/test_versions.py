"""Versions beside each other: diffs that are kept, tags and their gates, rollback, lineage."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.datasets.lineage import graph, step_count
from core.datasets.service import Datasets
from core.datasets.versions import Versions
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.evals.uses import runs_of
from core.governance.audit import Audit
from core.governance.permissions import OWNER, Actor
from core.store.database import Row, Store
from core.workbench import Workbench

LEAD = Actor("lead", "Lea", "lead")


@pytest.fixture
def datasets(store: Store) -> Datasets:
    return Datasets(store)


@pytest.fixture
def versions(store: Store, datasets: Datasets) -> Versions:
    return Versions(store, datasets)


def load(datasets: Datasets, *pairs: tuple[str, str], name: str = "Questions") -> Row:
    lines = (json.dumps({"question": q, "answer": a}) for q, a in pairs)
    return datasets.import_rows(
        OWNER, name=name, filename="rows.jsonl", data="\n".join(lines).encode(),
        mapping={"question": "input", "answer": "expected"},
    )  # fmt: skip


@pytest.fixture
def three(datasets: Datasets) -> tuple[Row, Row]:
    first = load(datasets, ("one", "1"), ("two", "2"), ("a b c d", "3"))
    return first, load(datasets, ("one", "1"), ("two", "zwei"), ("a b c x", "3"), ("new", "4"))


def test_a_diff_has_counts_columns_and_both_versions(
    versions: Versions, three: tuple[Row, Row]
) -> None:
    old, new = three
    found = versions.diff(OWNER, old["id"], new["id"])
    assert found["counts"] == {"added": 1, "removed": 0, "changed": 2, "same": 1}
    assert (found["old"]["label"], found["new"]["row_count"]) == ("Questions v1", 4)
    assert {c["name"]: c["changed_count"] for c in found["columns"]} == {"question": 1, "answer": 1}
    rows = versions.diff_rows(OWNER, old["id"], new["id"], kind="changed", column="answer")
    assert [row["after"]["answer"] for row in rows] == ["zwei"]
    assert versions.diff_count(OWNER, old["id"], new["id"]) == 3
    back = versions.diff(OWNER, new["id"], old["id"])["counts"]
    assert back == {"added": 0, "removed": 1, "changed": 2, "same": 1}
    assert versions.diff(OWNER, new["id"], new["id"])["counts"]["same"] == 4


def test_a_diff_is_computed_once_and_holds_no_content(
    versions: Versions, three: tuple[Row, Row], home: Path
) -> None:
    ids = [version["id"] for version in three]
    first = versions.diff(OWNER, *ids)
    kept = sorted((home / "datasets").rglob("*.diffs/*"))
    assert {path.suffix for path in kept} == {".json", ".parquet"}
    assert not any(b"zwei" in path.read_bytes() for path in kept)
    times = [path.stat().st_mtime_ns for path in kept]
    versions.diff_rows(OWNER, *ids)
    assert versions.diff(OWNER, *ids) == first
    assert [path.stat().st_mtime_ns for path in kept] == times
    for path in kept:
        path.unlink()
    assert versions.diff(OWNER, *ids) == first
    versions.diff(OWNER, *ids, key="question")
    assert versions.diff(OWNER, *ids) == first  # another key is another diff


def test_many_readers_get_one_diff(versions: Versions, three: tuple[Row, Row]) -> None:
    ids = [version["id"] for version in three]
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(versions.diff(OWNER, *ids)["counts"]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert all(counts == found[0] for counts in found)


def test_a_file_that_is_gone_is_named(versions: Versions, three: tuple[Row, Row]) -> None:
    Path(three[0]["path"]).unlink()
    with pytest.raises(NotFound, match="Questions v1 is missing"):
        versions.diff(OWNER, three[0]["id"], three[1]["id"])
    with pytest.raises(NotFound, match="Questions v1 is missing"):
        versions.rollback(OWNER, three[0]["id"])


def test_drift_is_kept_too(versions: Versions, datasets: Datasets) -> None:
    old = load(datasets, *((f"question {n}", "ab"[n % 2]) for n in range(80)))
    new = load(datasets, *((f"question {n}", "b") for n in range(80)))
    found = versions.drift(OWNER, old["id"], new["id"])
    assert [(c["name"], c["verdict"]) for c in found["columns"]] == [
        ("answer", "drifted"), ("question", "stable"),
    ]  # fmt: skip
    assert versions.drift(OWNER, old["id"], new["id"]) == found


def test_a_rollback_is_a_new_version_with_the_old_content(
    versions: Versions, datasets: Datasets, three: tuple[Row, Row], store: Store
) -> None:
    old, new = three
    made = versions.rollback(OWNER, old["id"], " The answers were better ")
    assert (made["number"], made["parent_number"]) == (3, 2)
    assert made["message"] == "The answers were better"
    assert (made["content_hash"], made["path"]) == (old["content_hash"], old["path"])
    assert made["id"] != old["id"]
    assert datasets.page(OWNER, made["id"]) == datasets.page(OWNER, old["id"])
    assert datasets.get(OWNER, old["dataset_id"])["newest_version_id"] == made["id"]
    manifest = json.loads(Path(made["path"]).with_suffix(".json").read_text())
    assert (manifest["number"], len(manifest["sha256"])) == (3, 64)
    with pytest.raises(Conflict, match=r"v3, has the content of v1 already"):
        versions.rollback(OWNER, old["id"])
    assert versions.rollback(OWNER, new["id"])["message"] == "Back to v2"
    said = Audit(store).list(OWNER, action_prefix="versions.rollback")
    assert [json.loads(line["detail"])["to_number"] for line in said] == [2, 1]


def test_an_import_of_known_content_gives_its_newest_version(
    versions: Versions, datasets: Datasets, three: tuple[Row, Row]
) -> None:
    versions.rollback(OWNER, three[0]["id"])
    again = load(datasets, ("one", "1"), ("two", "2"), ("a b c d", "3"))
    assert (again["number"], again["is_new"]) == (3, False)


def test_a_tag_moves_and_a_reference_may_name_it(
    versions: Versions, datasets: Datasets, three: tuple[Row, Row], store: Store
) -> None:
    old, new = three
    assert versions.tag(OWNER, old["id"], "approved")["tags"] == ["approved"]
    versions.tag(OWNER, old["id"], "baseline")
    assert datasets.find(OWNER, "questions@approved")["number"] == 1
    versions.tag(OWNER, new["id"], "approved")
    assert datasets.find(OWNER, "questions@approved")["number"] == 2
    tags = {v["number"]: v["tags"] for v in datasets.versions(OWNER, old["dataset_id"])}
    assert tags == {1: ["baseline"], 2: ["approved"]}
    versions.untag(OWNER, old["dataset_id"], "approved")
    with pytest.raises(NotFound, match="no version 'approved'"):
        datasets.find(OWNER, "questions@approved")
    with pytest.raises(NotFound, match="no tag 'approved'"):
        versions.untag(OWNER, old["dataset_id"], "approved")
    for wrong in ("", "2", "Approved", "a" * 41, "a b", "v@1"):
        with pytest.raises(Invalid, match="cannot be a tag"):
            versions.tag(OWNER, old["id"], wrong)
    lines = [line["action"] for line in Audit(store).list(OWNER, action_prefix="versions.")]
    assert lines == ["versions.untag", *["versions.tag"] * 3]


def test_gates_hold_a_tag_back_with_all_their_reasons(
    store: Store, datasets: Datasets, three: tuple[Row, Row]
) -> None:
    def checks(version: Row, tag: str) -> list[str]:
        return [f"{version['row_count']} rows are too few", "2 checks fail"] * (tag == "approved")

    def review(version: Row, tag: str) -> list[str]:
        return [] if version["number"] == 1 else ["it is not reviewed"]

    versions = Versions(store, datasets, gates=[checks, review])
    with pytest.raises(Conflict, match="3 rows are too few; 2 checks fail") as caught:
        versions.tag(OWNER, three[0]["id"], "approved")
    assert caught.value.title == "The tag is held back"
    versions.tag(OWNER, three[0]["id"], "candidate")
    with pytest.raises(Conflict, match="not reviewed"):
        versions.tag(OWNER, three[1]["id"], "candidate")
    assert datasets.find(OWNER, "questions@candidate")["number"] == 1


def test_who_may_only_read_changes_nothing(versions: Versions, three: tuple[Row, Row]) -> None:
    ids = [version["id"] for version in three]
    assert versions.diff(LEAD, *ids)
    assert versions.lineage(LEAD, three[0]["dataset_id"])["nodes"]
    for act in (
        lambda: versions.rollback(LEAD, ids[0]),
        lambda: versions.tag(LEAD, ids[0], "approved"),
        lambda: versions.untag(LEAD, three[0]["dataset_id"], "approved"),
    ):
        with pytest.raises(Forbidden):
            act()


def test_an_archived_dataset_stays_as_it_is(
    versions: Versions, datasets: Datasets, three: tuple[Row, Row]
) -> None:
    datasets.archive(OWNER, three[0]["dataset_id"])
    assert versions.diff(OWNER, three[0]["id"], three[1]["id"])
    for act in (versions.rollback, lambda a, id_: versions.tag(a, id_, "approved")):
        with pytest.raises(Conflict, match="archived"):
            act(OWNER, three[0]["id"])


def kinds(found: Row) -> set[tuple[str, str, str]]:
    titles = {node["id"]: node["title"] for node in found["nodes"]}
    return {(titles[e["from"]], e["kind"], titles[e["to"]]) for e in found["edges"]}


def test_lineage_goes_from_files_over_versions_to_runs(
    store: Store, datasets: Datasets, three: tuple[Row, Row]
) -> None:
    def runs(ids: Any) -> list[Row]:
        assert set(ids) >= {version["id"] for version in three}
        return [{"kind": "run", "id": "run_1", "title": "Nightly", "version_id": three[1]["id"],
                 "detail": "4 rows", "at": None, "left_out": 0}]  # fmt: skip

    versions = Versions(store, datasets, uses=[runs])
    versions.rollback(OWNER, three[0]["id"])
    found = versions.lineage(OWNER, three[0]["dataset_id"])
    assert kinds(found) == {
        ("rows.jsonl (jsonl)", "imported", "v1"), ("rows.jsonl (jsonl)", "imported", "v2"),
        ("v1", "follows", "v2"), ("v1", "restored", "v3"), ("v2", "follows", "v3"),
        ("v2", "used", "Nightly"),
    }  # fmt: skip
    assert [node["title"] for node in found["nodes"]] == [
        "rows.jsonl (jsonl)", "v1", "v2", "v3", "Nightly",
    ]  # fmt: skip


def test_a_recipe_is_an_edge_with_its_steps(three: tuple[Row, Row]) -> None:
    first, second = three
    steps = {"recipe": 1, "steps": [{"step": "trim"}, {"step": "drop"}]}
    curated = {**second, "recipe": steps, "source": "a recipe"}
    assert step_count(curated) == 2
    assert kinds(graph([curated, first])) == {
        ("rows.jsonl (jsonl)", "imported", "v1"), ("v1", "derived", "v2"),
    }  # fmt: skip
    imported = {**second, "recipe": {**steps, "import": {}}, "source": "b.csv (csv)"}
    found = graph([imported, first])
    assert kinds(found) >= {("b.csv (csv)", "imported", "v2"), ("v1", "follows", "v2")}
    assert "import, 2 steps" in {edge["title"] for edge in found["edges"]}


def test_runs_of_a_version_are_listed_newest_first_and_counted(workbench: Workbench) -> None:
    store = workbench.store
    for n in range(5):
        store.insert(
            "runs",
            {"id": f"run_{n}", "name": f"Run {n}", "dataset_version_id": "v", "dataset_label": "",
             "row_count": 1 + n, "scorers": "[]", "plan": "{}", "created_by": "me",
             "created_at": "2026-01-01"},
        )  # fmt: skip
    found = runs_of(store, ["v", "w"], limit=2)
    assert [(row["id"], row["detail"], row["left_out"]) for row in found] == [
        ("run_4", "5 rows", 3), ("run_3", "4 rows", 3),
    ]  # fmt: skip
    assert runs_of(store, []) == []


def test_drift_in_meaning_is_told_once_both_versions_are_embedded(
    store: Store, datasets: Datasets
) -> None:
    old = load(datasets, *((f"question {n}", "b") for n in range(80)))
    new = load(datasets, *((f"question {n}", "a") for n in range(80)))
    draws = np.random.default_rng(1)
    same, other = draws.normal(size=(80, 4)), draws.normal(3.0, size=(80, 4))
    known: dict[Path, tuple[str, Any]] = {}
    versions = Versions(store, datasets, vectors=known.get)
    found = versions.drift(OWNER, old["id"], new["id"])
    assert (found["mmd"], found["not_embedded"]) == (None, [old["id"], new["id"]])
    known[Path(old["path"])] = ("mini", same)
    assert versions.drift(OWNER, old["id"], new["id"])["not_embedded"] == [new["id"]]
    known[Path(new["path"])] = ("other", same)
    assert versions.drift(OWNER, old["id"], new["id"])["mmd"] is None  # not one space
    known[Path(new["path"])] = ("mini", other)
    found = versions.drift(OWNER, old["id"], new["id"])
    assert found["mmd"]["p_value"] < 0.01
    assert (found["embedded_by"], found["not_embedded"]) == ("mini", [])
    known.clear()  # what was found stays
    assert versions.drift(OWNER, old["id"], new["id"])["mmd"] == found["mmd"]
