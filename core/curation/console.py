"""The SQL console: one SELECT over a version's tables, and nothing else.

Knows: which statements, tables and functions are let through, and the limits of an answer. Does
not know: versions, pages.

The query is parsed by DuckDB's own parser (`json_serialize_sql`, which takes SELECT alone), so
what is checked is what will run; every function and table has to be on a list. It then runs in a
DuckDB of its own, in memory, that can open the named files and no other, has no network, a memory
limit, and is interrupted when its time is over.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.curation.sql_functions import FUNCTIONS, TABLE_FUNCTIONS
from core.datasets.table import quoted
from core.errors import Invalid, LatheError
from core.store.database import literal

if TYPE_CHECKING:
    import duckdb

LIMIT_ROWS = 1_000
TIMEOUT_S = 10.0
MEMORY = "512MB"
MOST_CHARACTERS = 20_000
MOST_CELL = 10_000
"""Characters of one cell of an answer; a longer text is cut, a longer list or object left out."""
MOST_ANSWER = 20_000_000
"""Characters of a whole answer: what comes after is left out, as rows over the limit are."""
FETCHED_ROWS = 100
SOURCES = frozenset(
    {"BASE_TABLE", "SUBQUERY", "JOIN", "EMPTY", "EXPRESSION_LIST", "TABLE_FUNCTION"}
)
NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave."""

    columns: list[str]
    rows: list[dict[str, Any]]
    truncated: bool
    """True when there was more than the limit."""
    elapsed_ms: float
    cut: int = 0
    """How many rows have a cell that was too long to be given whole."""


def check_query(sql: str, tables: frozenset[str] | set[str]) -> str:
    """The query as it may run, without its last semicolon.

    Raises Invalid (field `sql`) that names the statement, table or function which is not let
    through, or where the syntax is wrong.
    """
    sql = sql.strip().rstrip(";").strip()
    if not sql:
        raise _refused("There is no query.", "For example: SELECT * FROM rows LIMIT 10")
    if len(sql) > MOST_CHARACTERS:
        raise _refused(f"The query has over {MOST_CHARACTERS:,} characters.", "Shorten it.")
    parsed = _parsed(sql)
    if len(parsed) != 1:
        raise _refused(f"There are {len(parsed)} statements.", "Run one at a time.")
    _check(parsed, frozenset(_folded(name) for name in tables))
    return sql


def ask(
    sql: str,
    tables: Mapping[str, Path],
    *,
    limit: int = LIMIT_ROWS,
    timeout_s: float = TIMEOUT_S,
) -> Answer:
    """Run one SELECT over Parquet files, each a table of the name it has in `tables`.

    Raises Invalid for what `check_query` refuses and for what DuckDB does, and when the time or
    the memory is not enough.
    """
    checked = check_query(sql, set(tables))
    began = time.perf_counter()
    with _sandbox(tables) as connection, interrupted_after(connection, timeout_s):
        query = f"FROM ({checked}\n) LIMIT {int(limit) + 1}"
        asked = connection.sql(query)  # bound, not run: its columns and their types
        columns = asked.columns
        found, more = _fetched(connection.execute(_shortened(asked, query)), limit)
    rows = [dict(zip(columns, row, strict=False)) for row in found]
    cut = sum(row[-1] for row in found)
    elapsed_ms = (time.perf_counter() - began) * 1000
    return Answer(columns, rows, more, elapsed_ms, cut)


def _shortened(found: duckdb.DuckDBPyRelation, query: str) -> str:
    """The query with every cell no longer than it may be, and as the last column whether one of
    the row was.

    Times with a zone become plain UTC, as they are everywhere: DuckDB hands them out by pytz.
    """
    chosen, long = [], []
    for name, type_ in zip(found.columns, found.types, strict=True):
        cell, kind = quoted(name), str(type_)
        size = f"length(CAST({cell} AS VARCHAR))"
        if kind in ("VARCHAR", "JSON"):
            text = f"CAST({cell} AS VARCHAR)"
            chosen.append(
                f"CASE WHEN {size} > {MOST_CELL} THEN left({text}, {MOST_CELL}) || '…'"
                f" ELSE {text} END AS {cell}"
            )
        elif kind == "BLOB" or kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION")):
            chosen.append(f"CASE WHEN {size} > {MOST_CELL} THEN NULL ELSE {cell} END AS {cell}")
        elif kind == "TIMESTAMP WITH TIME ZONE":
            chosen.append(f"CAST({cell} AS TIMESTAMP) AS {cell}")
            continue
        else:
            chosen.append(cell)
            continue
        long.append(f"coalesce({size} > {MOST_CELL}, false)")
    return f"SELECT {', '.join(chosen)}, {' OR '.join(long) or 'false'} FROM ({query})"


def _fetched(found: duckdb.DuckDBPyConnection, limit: int) -> tuple[list[tuple[Any, ...]], bool]:
    """Rows up to the limit and to the size of an answer; whether there were more."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    while batch := found.fetchmany(FETCHED_ROWS):
        for row in batch:
            size += sum(len(str(value)) for value in row)
            if len(rows) == limit or size > MOST_ANSWER:
                return rows, True
            rows.append(row)
    return rows, False


@contextmanager
def interrupted_after(connection: duckdb.DuckDBPyConnection, timeout_s: float) -> Iterator[None]:
    """Stop what the connection runs when the time is over; DuckDB's errors become Invalid.

    Once it is left nothing is stopped any more: what the connection runs next has its own time.
    """
    import duckdb

    timer = threading.Timer(timeout_s, connection.interrupt)
    timer.start()
    try:
        yield
    except duckdb.InterruptException:
        raise _refused(
            f"The query took more than {timeout_s:g} s and was stopped.",
            "Ask for less: filter first, or leave out a join.",
        ) from None
    except duckdb.OutOfMemoryException:
        raise _refused(
            "The query needs more memory than it may have.", "Ask for fewer rows or columns."
        ) from None
    except duckdb.Error as error:
        raise _refused(str(error).split("\n\n")[0][:600], "Correct the query.") from None
    finally:
        timer.cancel()
        timer.join()  # it may be interrupting at this moment


@contextmanager
def _sandbox(tables: Mapping[str, Path]) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    config: dict[str, Any] = {
        "memory_limit": MEMORY,
        "autoinstall_known_extensions": False,
        "threads": 2,
    }
    connection = duckdb.connect(":memory:", config=config)
    try:
        paths = [str(path) for path in tables.values()]
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        connection.execute("SET allowed_paths = $paths", {"paths": paths})
        connection.execute("SET enable_external_access = false")
        for name, path in tables.items():
            connection.execute(
                f"CREATE VIEW {quoted(name)} AS SELECT * FROM read_parquet({literal(path)})"
            )
        connection.execute("SET lock_configuration = true")
        yield connection
    finally:
        connection.close()


def _parsed(sql: str) -> list[Any]:
    import duckdb

    with duckdb.connect(":memory:") as connection:
        row = connection.execute("SELECT json_serialize_sql($sql)", {"sql": sql}).fetchone()
    told: dict[str, Any] = json.loads(row[0]) if row else {}
    if told.get("error", True):
        if told.get("error_type") == "not implemented":
            raise _refused("Only SELECT can be run here.", "Nothing here changes data.")
        at = told.get("position")
        where = f" (at character {int(at) + 1})" if at else ""
        raise _refused(f"{told['error_message']}{where}.", "Correct the query.")
    found: list[Any] = told["statements"]
    return found


def _check(value: Any, known: frozenset[str]) -> None:
    """Everything below a node. A name that WITH gives is a table where it is in scope and nowhere
    else: outside of it DuckDB takes the same name for a file."""
    if isinstance(value, list):
        for item in value:
            _check(item, known)
    if not isinstance(value, dict):
        return
    for entry in (value.get("cte_map") or {}).get("map", ()):
        _check(entry["value"], known)
        known |= {_folded(entry["key"])}
    _check_node(value, known)
    function = value.get("function") if value.get("type") == "TABLE_FUNCTION" else None
    for key, item in value.items():
        if key == "cte_map":
            continue
        if function and key == "function":
            item = function.get("arguments")  # itself it is checked as a source
        again = {_folded(value["cte_name"])} if key == "right" and "cte_name" in value else ()
        _check(item, known.union(again))


def _check_node(node: Mapping[str, Any], known: frozenset[str]) -> None:
    kind, what = node.get("type"), node.get("class")
    if ("from_table" in node or "cte_map" in node) and kind not in NODES:
        raise _refused(f"{kind} cannot be run here.", "Write it as a SELECT.")
    if what == "PARAMETER":
        raise _refused("There are no parameters here.", "Write the value into the query.")
    if what in ("FUNCTION", "WINDOW"):
        _check_function(node, FUNCTIONS)
    if "from_table" in node:
        _check_source(node["from_table"], known)
    elif kind == "JOIN" and what is None:
        _check_source(node["left"], known)
        _check_source(node["right"], known)


def _check_source(source: Mapping[str, Any], known: frozenset[str]) -> None:
    kind = source.get("type")
    if kind not in SOURCES:
        raise _refused(f"{kind} cannot be read from here.", "Read from the tables listed.")
    if kind == "BASE_TABLE":
        qualified = source.get("schema_name") or source.get("catalog_name")
        if qualified or _folded(str(source.get("table_name"))) not in known:
            raise _refused(
                f"There is no table {source.get('table_name')!r} here.",
                f"There are {', '.join(sorted(known))}.",
            )
    if kind == "TABLE_FUNCTION":
        _check_function(source["function"], TABLE_FUNCTIONS)


def _check_function(node: Mapping[str, Any], allowed: frozenset[str]) -> None:
    name = str(node.get("function_name")).lower()
    if node.get("schema") or node.get("catalog"):
        raise _refused(f"{name} cannot be called by its schema.", "Call it by its name.")
    if name not in allowed and not node.get("is_operator"):
        raise _refused(
            f"The function {name} is not let through here.",
            "Functions of text, numbers, times, lists and JSON are; files and settings are not.",
        )


def _folded(name: str) -> str:
    """A name as DuckDB compares it: the case of A to Z does not count, that of others does."""
    return "".join(c.lower() if c.isascii() else c for c in name)


def _refused(message: str, hint: str) -> LatheError:
    return Invalid(message, field="sql", title="The query was not run", hint=hint)
