"""Queries on foreign databases: streamed, read-only, and nothing beyond the database."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.datasets.formats import databases
from core.datasets.formats.sql import checked_select
from core.datasets.readers import open_query, open_source
from core.errors import Invalid, LatheError, Upstream
from tests.datasets.making import values

PASSWORD = "s3cret-w0rd"


@pytest.fixture
def sqlite_file(tmp_path: Path) -> Path:
    path = tmp_path / "a ?#'b.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (q TEXT, n INTEGER)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [("x", 1), ("y", None)])
    connection.close()
    return path


@pytest.fixture
def duckdb_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.duckdb"
    (tmp_path / "secret.csv").write_text("secret\n1\n")
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT i AS n, 'q' || i AS q, [i] AS l, {'a': i} AS s,"
            " DATE '2024-01-31' AS d FROM range(2500) r(i)"
        )
        connection.execute(f"CREATE VIEW v AS SELECT * FROM read_csv('{tmp_path}/secret.csv')")
    return path


def test_sqlite_is_read_by_table_and_by_query(sqlite_file: Path) -> None:
    rows = [{"q": "x", "n": 1}, {"q": "y", "n": None}]
    assert values(open_source("a.db", sqlite_file)) == rows
    assert values(open_source("a.db", sqlite_file.read_bytes(), options={"table": "t"})) == rows
    source = open_query("sqlite", sqlite_file, "SELECT upper(q) AS q FROM t WHERE q GLOB 'x*';")
    assert values(source) == [{"q": "X"}]
    assert source.columns() == ["q"]
    assert source.details == {"sql": "SELECT upper(q) AS q FROM t WHERE q GLOB 'x*'"}


def test_duckdb_is_read_by_table_and_by_query(duckdb_file: Path) -> None:
    with pytest.raises(Invalid, match="has 2 tables") as caught:
        open_source("a.duckdb", duckdb_file)
    assert caught.value.hint == "Choose a table, or write a query. There are t, v."
    source = open_source("a.duckdb", duckdb_file, options={"table": "t"})
    rows = values(source)
    assert len(rows) == 2500
    assert rows[7] == {"n": 7, "q": "q7", "l": [7], "s": {"a": 7}, "d": "2024-01-31"}
    assert source.choices == {"table": ("t", "v")}
    data = duckdb_file.read_bytes()
    asked = {"sql": "FROM t SELECT max(n) AS most -- the last"}
    assert values(open_source("a.duckdb", data, options=asked)) == [{"most": 2499}]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM v",
        "SELECT * FROM 'secret.csv'",
        "SELECT * FROM read_csv('secret.csv')",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('*')",
        "SELECT getenv('HOME')",
        "ATTACH 'other.db'",
        "COPY t TO 'out.csv'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "CREATE TABLE x AS SELECT 1",
        "DROP TABLE t",
        "SELECT 1; DROP TABLE t",
        "SELECT n, n FROM t",
        "SELECT missing FROM t",
        "",
    ],
)
def test_duckdb_gives_nothing_but_its_own_rows(duckdb_file: Path, statement: str) -> None:
    before = duckdb_file.read_bytes()
    with pytest.raises(Invalid) as caught:
        list(open_query("duckdb", duckdb_file, statement).records())
    assert caught.value.hint
    assert duckdb_file.read_bytes() == before


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT load_extension('x')",
        "SELECT randomblob(200000000)",
        "PRAGMA writable_schema = 1",
        "INSERT INTO t VALUES ('z', 1) RETURNING q",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "ATTACH 'x.db' AS x",
        "VACUUM",
        "SELECT * FROM nowhere",
        "SELECT writefile('x', 'y')",
    ],
)
def test_sqlite_is_only_read(sqlite_file: Path, statement: str) -> None:
    before = sqlite_file.read_bytes()
    with pytest.raises(Invalid):
        list(open_query("sqlite", sqlite_file, statement).records())
    assert sqlite_file.read_bytes() == before
    assert [p.name for p in sqlite_file.parent.iterdir()] == [sqlite_file.name]


def test_the_drivers_refuse_a_change_that_the_parser_lets_through(sqlite_file: Path) -> None:
    for statement in ("DELETE FROM t", "ATTACH ':memory:' AS x", "PRAGMA query_only = OFF"):
        with pytest.raises(Invalid):
            list(databases.Sqlite(sqlite_file, statement).records())
    assert len(values(open_source("a.db", sqlite_file))) == 2


def test_a_query_that_never_ends_is_stopped(
    sqlite_file: Path, duckdb_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "BATCH_SECONDS", 0.5)
    endless = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT max(x) FROM r"
    for kind, path in (("sqlite", sqlite_file), ("duckdb", duckdb_file)):
        began = time.monotonic()
        with pytest.raises(Invalid, match=r"(?i)interrupt"):
            list(open_query(kind, path, endless).records())
        assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"SQLite format 3\0" + b"\1" * 9000, "a.db"),
        (b"\0" * 8 + b"DUCK" + b"\0" * 9000, "a.duckdb"),
        (b"SQLite format 3\0", "a.csv"),
        (b"not a database", "a.sqlite"),
    ],
)
def test_a_damaged_database_is_refused_in_words(data: bytes, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        list(open_source(name, data).records())
    assert caught.value.hint


@given(st.text(st.sampled_from("SELECT FROM;'\"()*,-/\n\0$%1axé"), max_size=60))
def test_any_statement_is_let_through_or_refused_in_words(statement: str) -> None:
    for dialect in ("duckdb", "sqlite", "postgres"):
        try:
            checked_select(statement, dialect)
        except Invalid as error:
            assert error.hint  # noqa: PT017


@pytest.mark.parametrize(
    "statement",
    [
        "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone",
        "SELECT * INTO copy FROM t",
        "SELECT * FROM t FOR UPDATE",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_catalog.\"pg_read_file\"('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT nextval('s')",
        "EXPLAIN ANALYZE DELETE FROM t",
        "DO $$ BEGIN DELETE FROM t; END $$",
        "CALL p()",
        "COPY t TO PROGRAM 'id'",
        "SELECT " + "(" * 3000 + "1" + ")" * 3000,
    ],
)
def test_what_changes_something_is_not_let_through(statement: str) -> None:
    with pytest.raises(Invalid, match="one SELECT that only reads"):
        checked_select(statement, "postgres")


def test_a_location_is_taken_apart_and_never_repeated() -> None:
    split = databases.split_location
    server, secret = split(f"postgresql://me:{PASSWORD}@db.example:5433/x?sslmode=require")
    assert secret == PASSWORD
    assert PASSWORD not in server
    assert databases.shown_location(server) == "postgresql://me@db.example:5433/x"
    assert split("host=h dbname=d password='a b'")[1] == "a b"
    assert PASSWORD not in repr(databases.Postgres(server, "SELECT 1", PASSWORD))
    for bad in (f"postgresql://me:{PASSWORD} x@h/d", f"{PASSWORD}", "", f"host=h {PASSWORD}",
                f"host=h password={PASSWORD} passfile=/root/.pgpass", "host=h options=-cx=1",
                f"password={PASSWORD}", "service=admin"):  # fmt: skip
        with pytest.raises(Invalid) as caught:
            split(bad)
        assert caught.value.field == "location"
        assert PASSWORD not in str(caught.value.to_dict())


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    source = open_query("postgres", f"postgresql://me:{PASSWORD}@127.0.0.1:1/x", "SELECT 1")
    with pytest.raises(Upstream) as caught:
        list(source.records())
    for shown in (str(caught.value.to_dict()), repr(source), repr(source.details)):
        assert PASSWORD not in shown


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A real server on a free port, where its programs are installed."""
    found = shutil.which("initdb"), shutil.which("postgres")
    if None in found:
        pytest.skip("Postgres is not installed")
    folder = Path("/tmp") / f"lathe-pg-{os.getpid()}"  # noqa: S108  # pytest's own is closed to others
    folder.mkdir()
    (folder / "password").write_text(PASSWORD)
    more: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        more = {"user": "postgres", "group": "postgres"}
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = folder / "data"
    subprocess.run(
        [str(found[0]), "-D", str(data), "-U", "me", "-A", "scram-sha-256", "-N",
         f"--pwfile={folder}/password", "--locale=C", "-E", "UTF8"],
        check=True, capture_output=True, cwd=folder, **more,
    )  # fmt: skip
    server = subprocess.Popen(
        [str(found[1]), "-D", str(data), "-p", str(port), "-k", str(folder), "-F", "-h",
         "127.0.0.1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, **more,
    )  # fmt: skip
    try:
        yield {"host": "127.0.0.1", "port": port, "user": "me", "dbname": "postgres"}
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def prepared(postgres: dict[str, Any]) -> str:
    import psycopg

    for _ in range(100):
        try:
            connection = psycopg.connect(password=PASSWORD, **postgres)
            break
        except psycopg.OperationalError:
            time.sleep(0.1)
    else:
        pytest.fail("the server never answered")
    with connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute(
            "CREATE TABLE t AS SELECT i AS n, 'q ' || i AS q, jsonb_build_object('a', i) AS j,"
            " date '2024-01-31' AS d, i::numeric / 4 AS m FROM generate_series(0, 2499) i"
        )
    connection.close()
    return "postgresql://{user}@{host}:{port}/{dbname}".format(**postgres)


def test_postgres_streams_and_is_only_read(postgres: dict[str, Any]) -> None:
    location = prepared(postgres)
    source = open_query(
        "postgres", location, "SELECT * FROM t WHERE q LIKE 'q %' ORDER BY n", password=PASSWORD
    )
    rows = values(source)
    assert len(rows) == 2500
    assert rows[6]["j"] == {"a": 6}
    assert (rows[6]["q"], rows[6]["d"]) == ("q 6", "2024-01-31")
    assert source.columns() == ["n", "q", "j", "d", "m"]
    assert (source.filename, source.format) == (location, "postgres")
    first = next(source.records())  # a reading that is left early leaves nothing open
    assert first.values["n"] == 0

    with pytest.raises(LatheError, match=r"read-only|syntax error"):  # were one let through
        list(databases.Postgres(location, "DELETE FROM t", PASSWORD).records())
    for statement in ("SELECT nope FROM t", "SELECT 1/0 AS x"):
        with pytest.raises(Invalid, match="could not run the query"):
            list(open_query("postgres", location, statement, password=PASSWORD).records())
    with pytest.raises(Upstream) as caught:
        list(open_query("postgres", location, "SELECT 1", password="wrong").records())
    assert "authentication failed" in caught.value.message
    assert len(values(source)) == 2500


def test_two_readings_of_one_duckdb_file_do_not_disturb_each_other(duckdb_file: Path) -> None:
    first = open_query("duckdb", duckdb_file, "SELECT n FROM t ORDER BY n").records()
    assert next(first).values == {"n": 0}
    second = open_query("duckdb", duckdb_file, "SELECT current_setting('TimeZone') AS zone")
    assert values(second) == [{"zone": "UTC"}]
    with pytest.raises(Invalid):
        values(open_query("duckdb", duckdb_file, "SELECT * FROM 'secret.csv'"))
    assert sum(1 for _ in first) == 2499


def test_a_password_of_the_environment_is_sent_to_no_server(
    postgres: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    location = prepared(postgres)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with pytest.raises(Upstream):
        open_query("postgres", location, "SELECT q FROM t").columns()
    assert open_query("postgres", location, "SELECT q FROM t", password=PASSWORD).columns() == ["q"]
