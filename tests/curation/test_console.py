"""The console: what computes is let through, what reaches out is refused, and limits hold."""

from __future__ import annotations

import contextlib
import datetime
import time
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.curation.console import MOST_ANSWER, MOST_CELL, ask, check_query, interrupted_after
from core.errors import Invalid
from tests.curation.test_checks import table_of


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Path]:
    table = table_of(tmp_path, q=["a", "bb", "ccc", "bb"], n=[1, 2, 3, 4])
    return {"rows": table.path}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) AS n FROM rows", [{"n": 4}]),
        ("select q, count(*) n from rows group by all order by n desc, q limit 1;", None),
        ("FROM rows SELECT row_id WHERE len(q) > 2", [{"row_id": "row_2"}]),
        ("WITH a AS (SELECT * FROM rows) SELECT max(n) AS m FROM a", [{"m": 4}]),
        ("SELECT sum(n) OVER (ORDER BY row_index) AS s FROM rows LIMIT 1", [{"s": 1}]),
        ("SELECT q FROM rows WHERE q LIKE '%c%' UNION SELECT 'x' ORDER BY 1", None),
        ("SELECT list_filter([1, 2], lambda x: x > 1) AS l", [{"l": [2]}]),
        ("SELECT * FROM (VALUES (1), (2)) v(a) WHERE a IN (SELECT n FROM rows) ORDER BY a", None),
        ("SELECT r.q FROM rows r JOIN rows s ON r.q = s.q AND r.n < s.n", [{"q": "bb"}]),
        ("SELECT regexp_replace(q, 'b+', 'B') AS r FROM rows WHERE n = 2", [{"r": "B"}]),
        (
            "SELECT CASE WHEN n > 2 THEN n::DOUBLE / 2 END AS h FROM rows WHERE n = 4",
            [{"h": 2.0}],
        ),
        ("SELECT a.b FROM (SELECT {'b': 1} AS a)", [{"b": 1}]),
        ("SELECT n, n FROM rows LIMIT 1", [{"n": 1, "n_1": 1}]),
        ("WITH a AS (SELECT 1 AS x), b AS (FROM a) FROM (FROM b) JOIN A USING (x)", [{"x": 1}]),
        (
            "WITH RECURSIVE a AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM a WHERE x < 3)"
            " SELECT max(x) AS m FROM a",
            [{"m": 3}],
        ),
        ("SELECT epoch_ms(0)::TIMESTAMPTZ AS t", [{"t": datetime.datetime(1970, 1, 1)}]),
    ],
)
def test_queries_that_compute_are_answered(
    rows: dict[str, Path], sql: str, expected: list[dict[str, object]] | None
) -> None:
    found = ask(sql, rows)
    assert found.rows
    if expected is not None:
        assert found.rows == expected


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "DROP TABLE rows",
        "INSERT INTO rows SELECT * FROM rows",
        "COPY rows TO 'x.csv'",
        "ATTACH 'x.duckdb'",
        "INSTALL httpfs",
        "SET memory_limit = '100GB'",
        "PRAGMA database_list",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'https://example.org/x.parquet'",
        "SELECT * FROM glob('*')",
        "SELECT * FROM duckdb_settings()",
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM query_table(['rows'])",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM duckdb_tables",
        "SELECT getenv('HOME')",
        "SELECT current_setting('temp_directory')",
        "SELECT json_execute_serialized_sql('x')",
        "SELECT repeat('x', 1000000000)",
        "SELECT main.getvariable('x')",
        "SELECT nextval('s')",
        "SELECT * FROM rows WHERE q IN (SELECT content FROM read_text('/etc/passwd'))",
        "WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x",
        "SELECT (SELECT count(*) FROM read_text('/etc/passwd'))",
        "SELECT * FROM rows ORDER BY (SELECT getenv('HOME'))",
        "SELECT * FROM rows LIMIT (SELECT count(*) FROM glob('*'))",
        "SELECT * FROM rows JOIN read_text('/etc/passwd') t ON true",
        "SELECT 1 UNION ALL SELECT size FROM read_text('/etc/passwd')",
        "SELECT count(*) FILTER (WHERE getenv('HOME') = 'x') FROM rows",
        "SELECT list_transform([1], lambda x: getenv('HOME'))",
        "SELECT * FROM range(len(getenv('HOME')))",
        "SELECT range(1000000000)",
        "DESCRIBE rows",
        "EXPLAIN SELECT 1",
        "SELECT $1",
        "SELECT * FROM pragma_version()",
        'FROM \'x.csv\', (WITH "x.csv" AS (SELECT 1) FROM "x.csv")',
        'WITH "x.csv" AS (FROM \'x.csv\') FROM "x.csv"',
        "WITH a AS (FROM 'x.csv'), \"x.csv\" AS (SELECT 1) FROM a",
        "WITH \"\u212a.csv\" AS (SELECT 1) FROM 'k.csv'",
        'WITH RECURSIVE "x.csv" AS (FROM \'x.csv\' UNION ALL FROM "x.csv") FROM rows',
    ],
)
def test_what_reaches_out_or_changes_is_refused(rows: dict[str, Path], sql: str) -> None:
    with pytest.raises(Invalid) as caught:
        ask(sql, rows)
    assert caught.value.field == "sql"


def test_a_misspelt_query_says_where(rows: dict[str, Path]) -> None:
    with pytest.raises(Invalid, match="syntax error"):
        ask("SELECT FROM WHERE", rows)
    with pytest.raises(Invalid, match="colour"):
        ask("SELECT colour FROM rows", rows)


def test_more_rows_than_the_limit_are_cut_and_said(rows: dict[str, Path]) -> None:
    assert len(ask("SELECT * FROM rows", rows, limit=3).rows) == 3
    assert ask("SELECT * FROM rows", rows, limit=3).truncated
    assert not ask("SELECT * FROM rows", rows, limit=4).truncated


def test_a_query_without_end_is_stopped(rows: dict[str, Path]) -> None:
    endless = "SELECT count(*) FROM range(100000) a, range(100000) b, range(100000) c"
    with pytest.raises(Invalid, match=r"more than 0\.3 s"):
        ask(endless, rows, timeout_s=0.3)


def test_what_runs_after_a_limited_query_is_not_stopped_by_its_limit() -> None:
    with duckdb.connect() as connection:
        for n in range(40):
            with interrupted_after(connection, 0.002 + n * 0.0001):
                time.sleep(0.002)
            assert connection.execute("SELECT sum(range) FROM range(100000)").fetchone()


def test_a_query_that_needs_too_much_memory_is_stopped(rows: dict[str, Path]) -> None:
    with pytest.raises(Invalid):
        ask("SELECT list(a.range) FROM range(400000000) a", rows, timeout_s=60)


def test_the_file_stays_as_it_was(rows: dict[str, Path]) -> None:
    before = rows["rows"].read_bytes()
    ask("SELECT * FROM rows", rows)
    assert rows["rows"].read_bytes() == before


@given(st.text(alphabet="SELCTFROMrows*(),.'\"; -\n1=x", max_size=60))
def test_whatever_is_typed_is_let_through_or_refused(sql: str) -> None:
    with contextlib.suppress(Invalid):  # anything else is a defect
        assert check_query(sql, {"rows"}) in sql


def long(character: str, tens: int) -> str:
    """An expression for so long a text, by functions that are let through."""
    ten = character * 10
    found = f"'{ten}'"
    for _ in range(tens - 1):
        found = f"replace({found}, '{character}', '{ten}')"
    return found


def test_a_cell_that_is_too_long_is_cut_and_said(rows: dict[str, Path]) -> None:
    answer = ask(
        f"SELECT {long('é', 6)} AS text, string_split({long('a', 5)}, 'b') AS list, 7 AS number,"
        " 'x' AS short",
        rows,
    )
    (row,) = answer.rows
    assert row == {"text": "é" * MOST_CELL + "…", "list": None, "number": 7, "short": "x"}
    assert answer.columns == ["text", "list", "number", "short"]
    assert answer.cut == 1
    plain = ask("SELECT 'x' AS a, [1, 2] AS b, NULL AS c", rows)
    assert plain.rows == [{"a": "x", "b": [1, 2], "c": None}]
    assert plain.cut == 0


def test_an_answer_is_no_larger_than_it_may_be(rows: dict[str, Path]) -> None:
    wide = ", ".join(f"{long('x', 4)} AS c{n}" for n in range(40))
    answer = ask(f"SELECT {wide} FROM range(1000)", rows)
    assert answer.truncated
    assert 40 <= len(answer.rows) <= MOST_ANSWER / (40 * 10_000)
