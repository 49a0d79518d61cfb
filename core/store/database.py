"""The store: the one process that has lathe.duckdb open, and how it reads and writes.

Knows: connections, transactions, the revision number. Does not know: any table's meaning.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from core.errors import Invalid, NotFound, StoreLocked
from core.store.files import FileLock
from core.store.migrations import migrate

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
Parameters = Mapping[str, Any] | None


class Store:
    """DuckDB with one writer at a time and a cursor for every read.

    `revision` grows with every commit: a cache keyed by it is never stale.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.revision = 0
        self.closed = False
        self._write_lock = threading.RLock()
        self._reading = threading.Condition()
        self._cursors = 0
        self._compacting = False
        self._lock = FileLock(home / "lathe.lock")
        home.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire():
            raise StoreLocked(
                f"Another Lathe (process {_holder(home)}) has the workspace {home} open.",
                hint="Use that one, stop it, or start this one with another LATHE_HOME.",
            )
        (home / "lathe.lock").write_text(str(os.getpid()))
        try:
            self._connection = self._connect()
        except BaseException:
            self._lock.release()
            raise
        try:
            migrate(self._connection)
        except BaseException:
            self._connection.close()
            self._lock.release()
            raise

    def close(self) -> None:
        """Close the database and give the home back."""
        with self._write_lock:
            self.closed = True
            self._connection.close()
            self._lock.release()

    def rows(self, sql: str, parameters: Parameters = None) -> list[Row]:
        """Every row of a query as a dict; parameters are named `$name`."""
        with self._cursor() as cursor:
            return _dicts(cursor.execute(sql, dict(parameters or {})))

    def row(self, sql: str, parameters: Parameters = None) -> Row | None:
        """The first row of a query, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def get(self, table: str, row_id: str, *, noun: str) -> Row:
        """The row of `table` with that id; NotFound names the noun."""
        found = self.row(f"SELECT * FROM {table} WHERE id = $id", {"id": row_id})  # noqa: S608
        if found is None:
            raise NotFound(f"There is no {noun} with the id {row_id!r}.")
        return found

    def frame(self, sql: str, parameters: Parameters = None) -> pd.DataFrame:
        """A query as a pandas DataFrame."""
        with self._cursor() as cursor:
            return cursor.execute(sql, dict(parameters or {})).df()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Serialised write: commit at the end of the block, roll back when it raises."""
        with self._write_lock, self._cursor() as cursor:
            cursor.begin()
            try:
                yield cursor
            except BaseException:
                cursor.rollback()
                raise
            cursor.commit()
            self.revision += 1

    def execute(self, sql: str, parameters: Parameters = None) -> None:
        """One statement in a transaction of its own."""
        with self.transaction() as connection:
            connection.execute(sql, dict(parameters or {}))

    def insert(self, table: str, row: Row) -> None:
        """One new row; values of JSON columns are given as JSON text."""
        with self.transaction() as connection:
            insert_row(connection, table, row)

    def compact(self) -> None:
        """Write the database into a new file, which takes the place of the old one.

        DuckDB frees blocks without clearing them, so what was deleted may still be read from the
        file; the new one has never had it. Reads wait; not for use inside `transaction`. A crash
        leaves the old file or the new one. Needs as much room as the database takes.
        """
        with self._write_lock, self._reading:
            self._compacting = True  # else reads that overlap would keep it waiting for ever
            try:
                self._reading.wait_for(lambda: self._cursors == 0)
                self._replace_file()
            finally:
                self._compacting = False
                self._reading.notify_all()

    def _replace_file(self) -> None:
        path, fresh = self.home / "lathe.duckdb", self.home / "lathe.duckdb.fresh"
        for old in (fresh, fresh.with_name(f"{fresh.name}.wal")):
            old.unlink(missing_ok=True)
        self._connection.execute(f"ATTACH {literal(fresh)} AS fresh")
        try:
            self._connection.execute("COPY FROM DATABASE lathe TO fresh")
        finally:
            self._connection.execute("DETACH fresh")
        self._connection.close()  # this empties the write-ahead log too
        try:
            os.replace(fresh, path)
            path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
        finally:
            self._connection = self._connect()
        self.revision += 1

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(
            str(self.home / "lathe.duckdb"),
            config={"memory_limit": "256MB", "temp_directory": str(self.home / "tmp")},
        )
        connection.execute("SET TimeZone = 'UTC'")
        return connection

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._reading:  # held by `compact` while there is no connection
            self._reading.wait_for(lambda: not self._compacting)
            cursor = self._connection.cursor()
            self._cursors += 1
        try:
            cursor.execute("SET TimeZone = 'UTC'")
            yield cursor
        finally:
            cursor.close()
            with self._reading:
                self._cursors -= 1
                self._reading.notify_all()


def literal(text: object) -> str:
    """A text or path as SQL has it, where DuckDB takes no parameter."""
    return "'" + str(text).replace("'", "''") + "'"


def insert_row(connection: duckdb.DuckDBPyConnection, table: str, row: Row) -> None:
    """INSERT of one row by column name, inside the caller's transaction."""
    columns = ", ".join(row)
    slots = ", ".join(f"${name}" for name in row)
    connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({slots})", row)  # noqa: S608


def columns_of(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Column names and DuckDB types of a table, in order."""
    found = connection.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = $table"
        " ORDER BY column_index",
        {"table": table},
    ).fetchall()
    if not found:
        raise Invalid(f"There is no table {table!r}.", field="table")
    return dict(found)


def insert_missing(
    connection: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Mapping[str, Any]]
) -> None:
    """Bulk INSERT of rows whose primary key is not there yet; the others are left alone.

    Values are what JSON holds; DuckDB casts them to the columns' types, missing keys are NULL.
    Raises ValueError naming the columns that the table does not have.
    """
    import pyarrow as pa

    types = columns_of(connection, table)
    records = list(rows)
    unknown = {key for record in records for key in record} - types.keys()
    if unknown:
        raise ValueError(f"{table} has no column {', '.join(sorted(unknown))}")
    batch = pa.table(
        {name: pa.array([_plain(r.get(name)) for r in records], pa.string()) for name in types}
    )
    casts = ", ".join(
        f"CAST(CAST({name} AS JSON) AS {kind}) AS {name}" if kind.endswith("[]") else name
        for name, kind in types.items()
    )
    connection.register("incoming", batch)
    try:
        connection.execute(
            f"INSERT OR IGNORE INTO {table} BY NAME SELECT {casts} FROM incoming"  # noqa: S608
        )
    finally:
        with contextlib.suppress(duckdb.TransactionException):  # aborted: it goes with the cursor
            connection.unregister("incoming")


def _plain(value: Any) -> str | None:
    import json

    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _dicts(cursor: duckdb.DuckDBPyConnection) -> list[Row]:
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def _holder(home: Path) -> str:
    try:
        return (home / "lathe.lock").read_text().strip() or "unknown"
    except OSError:
        return "unknown"
