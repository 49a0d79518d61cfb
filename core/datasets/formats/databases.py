"""Rows of a query on a foreign database: a DuckDB file, a SQLite file, a Postgres server.

Knows: drivers, opened so that nothing can be changed and nothing beyond the database reached.
Does not know: which statements are let through (sql).

Rows stream: no driver is asked for more than a thousand at a time. A password is held in memory
only, and never in a message.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from core.datasets.formats.arrow_rows import BATCH_ROWS, rows_of
from core.datasets.formats.sql import DUCKDB, POSTGRES, SQLITE
from core.datasets.records import MAX_LINE_BYTES, Data, Record, as_path, checked_columns, unreadable
from core.datasets.values import plain
from core.errors import Invalid, Upstream

BATCH_SECONDS = 600
"""A query that gives no rows for so long is stopped."""
CONNECT_SECONDS = 10
MEMORY = "1GB"
_OPENING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Sqlite:
    """A reader of a query on a SQLite file, opened by `mode=ro`; the authorizer lets it read."""

    data: Data
    sql: str

    def columns(self) -> list[str]:
        """The names of the result."""
        with self._cursor() as cursor:
            return _names(cursor.description)

    def records(self) -> Iterator[Record]:
        """The rows of the result, in its order."""
        with self._cursor() as cursor:
            names = _names(cursor.description)
            with _sqlite_errors():
                for index, row in enumerate(cursor):
                    if index % BATCH_ROWS == 0:
                        cursor.connection.set_progress_handler(_deadline(), 100_000)
                    yield Record(index, None, dict(zip(names, map(plain, row), strict=True)))

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[sqlite3.Cursor]:
        with sqlite(self.data) as connection, _sqlite_errors():
            yield connection.execute(self.sql)


@contextlib.contextmanager
def sqlite(data: Data) -> Iterator[sqlite3.Connection]:
    """A SQLite file that can only be read."""
    with as_path(data, ".sqlite") as path, contextlib.ExitStack() as stack:
        with _sqlite_errors():
            connection = sqlite3.connect(
                f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, check_same_thread=False
            )
            stack.callback(connection.close)
            connection.text_factory = lambda raw: raw.decode(errors="surrogateescape")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA query_only = ON")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_LINE_BYTES)
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            connection.set_authorizer(_may)
            connection.set_progress_handler(_deadline(), 100_000)
        yield connection


def _deadline() -> Callable[[], bool]:
    """True, which stops the statement, once no batch has come for too long."""
    last = time.monotonic() + BATCH_SECONDS
    return lambda: time.monotonic() > last


_ALLOWED = {
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE,
}  # fmt: skip


def _may(action: int, one: str | None, two: str | None, *_: str | None) -> int:
    """The authorizer: reading tables and calling functions, but not one that loads code."""
    if action not in _ALLOWED or "load_extension" in (one, two):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


@contextlib.contextmanager
def _sqlite_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OverflowError) as error:
        raise _failed(SQLITE, error) from None


@dataclass(frozen=True, slots=True)
class Duck:
    """A reader of a query on a DuckDB file: read-only, with no reach beyond that file."""

    data: Data
    sql: str

    def columns(self) -> list[str]:
        """The names of the result."""
        with duck(self.data) as connection, _duck_errors():
            return _names(connection.execute(f"DESCRIBE {self.sql}\n").fetchall())

    def records(self) -> Iterator[Record]:
        """The rows of the result, in its order."""
        with duck(self.data) as connection, _duck_errors():
            with _in_time(connection):
                reader = connection.sql(self.sql).to_arrow_reader(BATCH_ROWS)
            checked_columns(list(reader.schema.names))
            index = 0
            batches = iter(reader)
            while True:
                with _in_time(connection):
                    batch = next(batches, None)
                if batch is None:
                    return
                for values in rows_of(batch, {}):
                    yield Record(index, None, values)
                    index += 1


@contextlib.contextmanager
def duck(data: Data) -> Iterator[Any]:
    """A DuckDB file that can only be read."""
    import duckdb

    with as_path(data, ".duckdb") as path, contextlib.ExitStack() as stack:
        with _duck_errors(), _OPENING:
            connection = duckdb.connect(
                str(path.resolve()),
                read_only=True,
                config={
                    "memory_limit": MEMORY,
                    "enable_external_access": False,
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                    "allow_community_extensions": False,
                },
            )
            stack.callback(connection.close)
            ((locked,),) = connection.execute(
                "SELECT current_setting('lock_configuration')"
            ).fetchall()
            if not locked:  # else another reading in this process shares the database
                connection.execute("SET GLOBAL TimeZone = 'UTC'")
                connection.execute("SET lock_configuration = true")
        yield connection


@contextlib.contextmanager
def _in_time(connection: Any) -> Iterator[None]:
    timer = threading.Timer(BATCH_SECONDS, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _duck_errors() -> Iterator[None]:
    import duckdb
    import pyarrow as pa

    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise _failed(DUCKDB, error) from None


@dataclass(frozen=True, slots=True)
class Postgres:
    """A reader of a query on a Postgres server: a read-only transaction, a server-side cursor."""

    location: str
    """A connection string without a password."""
    sql: str
    password: str | None = field(default=None, repr=False)

    def columns(self) -> list[str]:
        """The names of the result."""
        with self._cursor() as cursor:
            cursor.fetchmany(1)
            return _names(cursor.description)

    def records(self) -> Iterator[Record]:
        """The rows of the result, in its order."""
        with self._cursor() as cursor:
            rows, index = cursor.fetchmany(BATCH_ROWS), 0
            names = _names(cursor.description)
            while rows:
                for row in rows:
                    yield Record(index, None, dict(zip(names, map(plain, row), strict=True)))
                    index += 1
                rows = cursor.fetchmany(BATCH_ROWS)

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        import psycopg

        try:
            with psycopg.connect(
                self.location, connect_timeout=CONNECT_SECONDS, application_name="lathe",
                passfile=os.devnull, password=self.password or "",  # not PGPASSWORD either
            ) as connection:  # fmt: skip
                connection.read_only = True
                connection.execute(f"SET statement_timeout = {BATCH_SECONDS * 1000}")
                with connection.cursor(name="lathe") as cursor:
                    cursor.execute(self.sql.encode())
                    yield cursor
                connection.rollback()
        except psycopg.OperationalError as error:
            raise Upstream(
                f"Postgres did not answer: {_said(error, self.password)}",
                title="The database cannot be read",
                hint="Check host, port, database, user and password.",
            ) from None
        except (psycopg.Error, UnicodeError) as error:
            raise _failed(POSTGRES, error, self.password) from None


def split_location(location: str) -> tuple[str, str | None]:
    """A Postgres connection string without its password, and the password.

    Takes `postgresql://user:password@host/db` and `host=... dbname=...`; Invalid, which never
    repeats what was given, where it is neither, or names a file of this machine.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    try:
        parts: dict[str, Any] = dict(conninfo_to_dict(location.strip()))
    except (ProgrammingError, UnicodeError):
        raise _bad_location("It is not a connection string.") from None
    secret = parts.pop("password", None)
    refused = sorted(set(parts) - _PARTS)
    if refused:
        raise _bad_location(f"It sets {', '.join(refused)}, which is not let through.")
    if not parts.get("dbname") and not parts.get("host"):
        raise _bad_location("It names neither a host nor a database.")
    return make_conninfo("", **parts), str(secret) if secret is not None else None


_PARTS = {
    "host", "hostaddr", "port", "dbname", "user", "sslmode", "connect_timeout", "client_encoding",
    "target_session_attrs", "channel_binding", "gssencmode",
}  # fmt: skip


def is_remote(location: str) -> bool:
    """Whether the server is named by hosts, and not by a socket of this machine."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(location)
    hosts = [host.strip() for host in str(parts.get("host") or "").split(",")]
    if not any(hosts):
        return bool(parts.get("hostaddr"))
    return all(host and host[0] not in "/@" for host in hosts)


def shown_location(location: str) -> str:
    """How a version's manifest names a server: postgresql://user@host:port/database."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(location)
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    host = str(parts.get("host") or parts.get("hostaddr") or "")
    return f"postgresql://{user}{host}{port}/{parts.get('dbname') or ''}"


def tables_of(kind: str, data: Data) -> list[str]:
    """The tables and views of a DuckDB or SQLite file, by name."""
    if kind == SQLITE:
        with sqlite(data) as connection, _sqlite_errors():
            found = connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
                " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name LIMIT 1000"
            )
            return [str(name) for (name,) in found]
    with duck(data) as connection, _duck_errors():
        rows = connection.execute(
            "SELECT table_name FROM information_schema.tables"
            " WHERE table_schema = 'main' ORDER BY table_name LIMIT 1000"
        ).fetchall()
        return [str(name) for (name,) in rows]


def _names(description: Any) -> list[str]:
    return checked_columns([str(column[0]).strip() for column in description or ()])


def _bad_location(message: str) -> Invalid:
    return Invalid(
        message,
        field="location",
        title="The database cannot be reached",
        hint="Write postgresql://user@host:5432/database, and the password in its own field.",
    )


def _failed(kind: str, error: Exception, password: str | None = None) -> Invalid:
    name = {DUCKDB: "DuckDB", SQLITE: "SQLite", POSTGRES: "Postgres"}[kind]
    return unreadable(
        f"{name} could not run the query: {_said(error, password)}",
        "Check the statement and the file.",
        "sql",
    )


def _said(error: Exception, password: str | None = None) -> str:
    """The first lines of a driver's message, with no password in it."""
    text = re.sub(r"\s*\n\s*", " ", str(error).strip()) or type(error).__name__
    if password:
        text = text.replace(password, "•••")
    return text[:300]
