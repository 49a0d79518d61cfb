"""Imports from where there is no file: a Postgres server, the hub; no password is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from core.datasets.locations import is_location, location_of, open_location
from core.errors import Forbidden, Invalid, LatheError, Upstream
from core.governance.permissions import OWNER, Actor
from core.jobs.folder import JobFolder
from core.settings import Settings
from core.workbench import Workbench
from tests.datasets.test_databases import PASSWORD, postgres, prepared  # noqa: F401  # a fixture
from tests.datasets.test_import_job import done
from tests.jobs.test_jobs import state, wait_for

ENGINEER = Actor("ann", "Ann", "engineer")
QUERY = "SELECT n, q, m FROM t ORDER BY n"
NOWHERE = "postgresql://me@127.0.0.1:1/x"


@pytest.fixture
def settings(home: Path, tmp_path: Path) -> Settings:
    return Settings(home=home, import_folders=(tmp_path,))


def with_password(location: str) -> str:
    return location.replace("me@", f"me:{PASSWORD}@")


def assert_forgotten(home: Path) -> None:
    """No file of the workspace has the password, the database's own included."""
    for path in home.rglob("*"):
        if path.is_file():
            assert PASSWORD.encode() not in path.read_bytes(), path


def test_an_address_is_told_from_a_path() -> None:
    assert is_location("postgres://h/d")
    assert is_location(" hf://owner/name")
    assert not any(is_location(text) for text in ("/data/rows.csv", "postgresql", b"hf://x/y"))
    found = location_of(with_password("postgresql://me@db.example/x?sslmode=require"))
    assert (found.kind, found.password) == ("postgres", PASSWORD)
    assert found.shown == "postgresql://me@db.example/x"
    assert PASSWORD not in f"{found} {found.to_dict()}"
    assert "sslmode=require" in found.address
    assert location_of("hf://owner/name").to_dict() == {"kind": "hub", "address": "owner/name"}
    assert location_of("hf://owner/name").shown == "hf://owner/name"


@pytest.mark.parametrize(
    "address", ["postgresql:///x", "postgresql://me@%2Ftmp/x", "postgresql://h,%2Ftmp/x"]
)
def test_a_socket_of_this_machine_is_for_the_owner_of_the_files(address: str) -> None:
    with pytest.raises(Forbidden, match="name of its host"):
        location_of(address)
    assert location_of(address, trusted=True).kind == "postgres"


def test_options_that_do_not_go_with_an_address_are_refused() -> None:
    for address, options, field in (
        (NOWHERE, {}, "sql"),
        (NOWHERE, {"sql": "DROP TABLE t"}, "sql"),
        (NOWHERE, {"sql": "SELECT 1", "split": "train"}, "split"),
        ("hf://owner/name", {"sql": "SELECT 1"}, "sql"),
        ("hf://owner/name", {"nothing": "x"}, "nothing"),
    ):
        with pytest.raises(Invalid) as caught:
            open_location(location_of(address), options)
        assert caught.value.field == field
    source = open_location(location_of("hf://owner/name"), {"split": "train"})
    assert source.details == {"split": "train"}


def test_the_hub_is_refused_where_downloads_are_off(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for address in ("hf://owner/name", "hf://../etc"):
        with pytest.raises((Forbidden, Invalid)):
            workbench.datasets.preview(ENGINEER, "", address)
    asked: dict[str, Any] = {"dataset": "Hub", "mapping": {"text": "input"}}
    job_id = workbench.datasets.start_import(ENGINEER, "hf://owner/name", **asked)
    wait_for(lambda: state(workbench, job_id) == "failed", 60)
    assert workbench.jobs.get(OWNER, job_id)["error"]["title"] == "Downloads are off"
    assert workbench.datasets.list(OWNER) == []


def test_a_server_that_does_not_answer_leaves_no_password(workbench: Workbench) -> None:
    with pytest.raises(Upstream) as caught:
        workbench.datasets.preview(
            ENGINEER, "", with_password(NOWHERE), options={"sql": "SELECT 1"}
        )
    assert PASSWORD not in str(caught.value.to_dict())
    job_id = workbench.datasets.start_import(
        ENGINEER, with_password(NOWHERE), dataset="X", mapping={"q": "input"},
        options={"sql": "SELECT 'a' AS q"},
    )  # fmt: skip
    wait_for(lambda: state(workbench, job_id) == "failed", 60)
    job = workbench.jobs.get(OWNER, job_id)
    assert job["title"] == "Import postgresql://me@127.0.0.1:1/x into X"
    assert job["error"]["title"] == "The database cannot be read"
    workbench.jobs.resume(ENGINEER, job_id)  # the password was for one attempt
    wait_for(lambda: state(workbench, job_id) == "failed", 60)
    again = workbench.jobs.get(OWNER, job_id)["error"]
    assert (again["message"], again["hint"]) == (
        "The password is kept for one attempt only.", "Import it anew, with the password.",
    )  # fmt: skip
    workbench.store.execute("CHECKPOINT")
    assert_forgotten(workbench.store.home)


def test_a_cancelled_job_forgets_its_secret(settings: Any) -> None:
    with Workbench.open(settings, background=False) as opened:
        job_id = opened.jobs.start(OWNER, "selftest", "t", {}, secret=PASSWORD)
        assert opened.jobs._secrets == {job_id: PASSWORD}
        opened.jobs.cancel(OWNER, job_id)
        assert opened.jobs._secrets == {}


def test_postgres_becomes_a_version(workbench: Workbench, postgres: Any) -> None:  # noqa: F811
    location = prepared(postgres)
    seen = workbench.datasets.preview(
        ENGINEER, "", location, options={"sql": QUERY}, password=PASSWORD
    )
    assert (seen["row_count"], seen["format"], seen["complete"]) == (2500, "postgres", True)
    assert [column["name"] for column in seen["columns"]] == ["n", "q", "m"]
    asked: dict[str, Any] = {
        "dataset": "Shop", "mapping": {"q": "input", "n": "metadata"}, "options": {"sql": QUERY},
    }  # fmt: skip
    job_id = workbench.datasets.start_import(ENGINEER, location, password=PASSWORD, **asked)
    version = done(workbench, job_id)["version"]
    assert (version["row_count"], version["source"]) == (2500, f"{location} (postgres)")
    assert version["report"]["import"]["sql"] == QUERY
    spec = JobFolder(workbench.store.home / "jobs" / job_id).spec().payload
    assert (spec["has_password"], "path" in spec) == (True, False)
    again = workbench.datasets.import_rows(
        ENGINEER, name="Shop", filename="", data=with_password(location),
        mapping=asked["mapping"], options=asked["options"],
    )  # fmt: skip
    assert (again["id"], again["is_new"]) == (version["id"], False)
    for wrong in ("SELECT nope FROM t", "DELETE FROM t"):
        with pytest.raises(LatheError) as caught:
            workbench.datasets.preview(
                ENGINEER, "", with_password(location), options={"sql": wrong}
            )
        assert PASSWORD not in str(caught.value.to_dict())
    workbench.store.execute("CHECKPOINT")
    assert_forgotten(workbench.store.home)


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
def test_a_query_on_a_file_becomes_a_version(
    workbench: Workbench, tmp_path: Path, kind: str
) -> None:
    import sqlite3

    path = tmp_path / f"shop.{kind}"
    connection: Any = duckdb.connect(str(path)) if kind == "duckdb" else sqlite3.connect(path)
    connection.execute("CREATE TABLE a (q TEXT, n INTEGER)")
    connection.execute("CREATE TABLE b (n INTEGER, label TEXT)")
    connection.execute("INSERT INTO a VALUES ('one', 1), ('two', 2), ('three', 3)")
    connection.execute("INSERT INTO b VALUES (1, 'x'), (3, 'y')")
    connection.commit()
    connection.close()
    options = {"sql": "SELECT q, label FROM a JOIN b ON a.n = b.n ORDER BY a.n"}
    seen = workbench.datasets.preview(ENGINEER, path.name, str(path), options=options)
    assert seen["rows"] == [{"q": "one", "label": "x"}, {"q": "three", "label": "y"}]
    job_id = workbench.datasets.start_import(
        ENGINEER, str(path), dataset="Joined", mapping=seen["mapping"], options=options
    )
    version = done(workbench, job_id)["version"]
    assert (version["row_count"], version["expected"]) == (2, "label")
    assert version["source"] == f"shop.{kind} ({kind})"


def test_a_preview_of_many_rows_of_a_query_stops(workbench: Workbench, tmp_path: Path) -> None:
    path = tmp_path / "many.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 'q' || i AS q FROM range(60000) r(i)")
    seen = workbench.datasets.preview(ENGINEER, path.name, str(path), most_bytes=2**20)
    assert (seen["complete"], seen["row_count"]) == (False, 20_000)
