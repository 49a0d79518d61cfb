"""The store: one opener, all or nothing, and a schema that is never guessed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest

from core.errors import Invalid, NotFound, StoreLocked
from core.settings import PROJECT_ROOT
from core.store.database import Store, insert_missing
from core.store.migrations import MIGRATIONS


def test_a_second_opener_is_told_who_has_the_home(store: Store, home: Path) -> None:
    code = "import sys; from pathlib import Path; from core.store.database import Store; "
    code += "Store(Path(sys.argv[1]))"
    other = subprocess.run(
        [sys.executable, "-c", code, str(home)], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    assert other.returncode != 0
    assert "StoreLocked" in other.stderr
    assert f"process {os.getpid()}" in other.stderr


def test_the_home_is_free_again_after_close(home: Path) -> None:
    Store(home).close()
    again = Store(home)
    with pytest.raises(NotFound, match="no job with the id 'none'"):
        again.get("jobs", "none", noun="job")
    again.close()


def test_a_transaction_that_fails_writes_nothing_and_moves_no_revision(store: Store) -> None:
    before = store.revision
    with pytest.raises(duckdb.ConstraintException), store.transaction() as connection:
        connection.execute(  # the first of the two rows is good
            "INSERT INTO drafts VALUES ('u', 'k', '1', now()), (NULL, 'k', '1', now())"
        )
    assert store.rows("SELECT * FROM drafts") == []
    assert store.revision == before


def test_writers_in_many_threads_wait_for_each_other(store: Store) -> None:
    store.execute("INSERT INTO drafts VALUES ('u', 'k', '0', now())")

    def add() -> None:
        for _ in range(20):
            with store.transaction() as connection:
                connection.execute(
                    "UPDATE drafts SET value = CAST(CAST(value AS INTEGER) + 1 AS VARCHAR)"
                )

    threads = [threading.Thread(target=add) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.row("SELECT value FROM drafts") == {"value": "100"}


def test_readers_see_what_is_committed_while_somebody_writes(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute("INSERT INTO drafts VALUES ('u', 'k', '1', now())")
        assert store.rows("SELECT * FROM drafts") == []
    assert len(store.rows("SELECT * FROM drafts")) == 1


def test_a_newer_schema_is_refused_and_left_alone(home: Path) -> None:
    Store(home).close()
    with duckdb.connect(str(home / "lathe.duckdb")) as connection:
        newer = len(MIGRATIONS) + 1
        connection.execute("INSERT INTO migrations VALUES (?, now())", [newer])
    with pytest.raises(StoreLocked, match="has schema") as refused:
        Store(home)
    assert "Nothing was changed" in str(refused.value.hint)
    with duckdb.connect(str(home / "lathe.duckdb")) as connection:
        row = connection.execute("SELECT max(number) FROM migrations").fetchone()
    assert row == (newer,)


def test_a_migration_that_fails_leaves_the_schema_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(home).close()

    def broken(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute("CREATE TABLE half_done (id INTEGER)")
        raise RuntimeError("in the middle")

    monkeypatch.setattr("core.store.migrations.MIGRATIONS", [*MIGRATIONS, broken])
    with pytest.raises(RuntimeError, match="in the middle"):
        Store(home)
    monkeypatch.undo()
    reopened = Store(home)
    assert reopened.rows("SELECT * FROM duckdb_tables() WHERE table_name = 'half_done'") == []
    reopened.close()


def test_times_are_utc(store: Store) -> None:
    row = store.row("SELECT current_setting('TimeZone') AS zone")
    assert row == {"zone": "UTC"}


def test_bulk_inserts_take_each_key_once_and_name_unknown_columns(store: Store) -> None:
    rows = [{"user_id": "u", "key": str(i % 3), "value": "{}", "updated_at": "2026-01-01T00:00:00"}
            for i in range(6)]  # fmt: skip
    with store.transaction() as connection:
        insert_missing(connection, "drafts", rows)
    assert len(store.rows("SELECT * FROM drafts")) == 3
    with pytest.raises(ValueError, match="no column colour"), store.transaction() as connection:
        insert_missing(connection, "drafts", [{"colour": "red"}])
    with pytest.raises(Invalid, match="no table"), store.transaction() as connection:
        insert_missing(connection, "nowhere", [{"a": 1}])


def test_compact_keeps_every_row_and_leaves_nothing_that_was_deleted(
    store: Store, home: Path
) -> None:
    job = {"id": "a", "kind": "k", "title": "t" * 40, "state": "queued", "created_by": "u"}
    store.insert("jobs", {**job, "created_at": "2026-01-01"})
    store.insert("jobs", {**job, "id": "b", "title": "a secret title", "created_at": "2026-01-01"})
    with store._cursor() as cursor:
        cursor.execute("CHECKPOINT")
    store.execute("DELETE FROM jobs WHERE id = 'b'")
    schema = "SELECT sql FROM duckdb_tables() UNION ALL SELECT sql FROM duckdb_views() ORDER BY 1"
    before = store.rows(schema)
    store.compact()
    files = [path.read_bytes() for path in home.iterdir() if path.is_file()]
    assert not any(b"a secret title" in data for data in files)
    assert store.rows(schema) == before
    assert [row["id"] for row in store.rows("SELECT id FROM jobs")] == ["a"]
    with pytest.raises(duckdb.ConstraintException):
        store.insert("jobs", {**job, "created_at": "2026-01-01"})


def test_compact_waits_for_reads_and_reads_wait_for_it(store: Store) -> None:
    failed: list[Exception] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                store.rows("SELECT * FROM users")
                store.execute("UPDATE users SET name = name")
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        store.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []


def test_reads_that_overlap_without_a_pause_do_not_keep_compact_waiting(store: Store) -> None:
    stop, done = threading.Event(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            with store._cursor() as cursor:
                cursor.execute("SELECT count(*) FROM users").fetchall()
                time.sleep(0.02)

    def compact() -> None:
        store.compact()
        done.set()

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
        time.sleep(0.005)
    compacting = threading.Thread(target=compact)
    compacting.start()
    in_time = done.wait(20)
    stop.set()
    for thread in [*threads, compacting]:
        thread.join()
    assert in_time
