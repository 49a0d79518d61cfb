"""What a query on a foreign database may be: one statement that only reads.

Knows: SQL's parsed form (sqlglot). Does not know: connections; those are read-only besides.
"""

from __future__ import annotations

import re

from core.errors import Invalid

DUCKDB, SQLITE, POSTGRES = "duckdb", "sqlite", "postgres"
MAX_CHARACTERS = 100_000

# They change something, or reach beyond the database, from within a SELECT.
_REFUSED = re.compile(
    r"pg_(read|ls|stat_file|terminate|cancel|reload|rotate|switch|promote|advisory|try_advisory"
    r"|create|drop|replication|logical|wal|backup|start|stop|export|import|notify|sleep|file"
    r"|log_backend).*|lo_.*|dblink.*|set_config|setval|nextval|query_to_xml.*"
    r"|table_to_xml.*|cursor_to_xml.*|database_to_xml.*|load_extension|readfile|writefile|edit"
    r"|fts3_tokenizer|read_.*|parquet_.*|sniff_csv|getenv|query|query_table|.*_scan(_.*)?"
    r"|duckdb_secrets|which_secret|sqlite_attach|postgres_attach|iceberg.*|delta.*",
    re.IGNORECASE,
)  # fmt: skip


def checked_select(sql: str, dialect: str) -> str:
    """The statement without a closing semicolon; Invalid unless it is one that only reads."""
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    text = sql.strip().rstrip(";").strip()
    if not text:
        raise refused("There is no statement.")
    if len(text) > MAX_CHARACTERS or "\0" in text:
        raise refused("The statement is too long, or holds a null byte.")
    try:
        parsed = [
            found
            for found in sqlglot.parse(text, dialect=dialect)
            if found is not None and not isinstance(found, exp.Semicolon)
        ]
    except SqlglotError as error:
        first = re.sub(r"\x1b\[[\d;]*m", "", str(error)).splitlines()[0][:200]
        raise refused(f"The statement cannot be read: {first}") from None
    except RecursionError:
        raise refused("The statement is nested too deep.") from None
    if len(parsed) != 1:
        raise refused(f"There are {len(parsed)} statements.")
    if not isinstance(parsed[0], exp.Query) or isinstance(parsed[0], exp.Table):
        raise refused(f"It begins with {text.split()[0].upper()}.")
    writes = (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock, exp.Pragma, exp.Set, exp.Copy,
              exp.Attach, exp.Detach, exp.Use)  # fmt: skip
    for node in parsed[0].walk():
        if isinstance(node, writes) and not isinstance(node, exp.Query):
            raise refused(f"{node.key.upper()} changes or locks something.")
        name = node.name if isinstance(node, exp.Anonymous) else ""
        if isinstance(node, exp.Func) and not name:
            name = node.sql_name()
        if isinstance(node, exp.Func) and _REFUSED.fullmatch(name):
            raise refused(f"The function {name.lower()} reaches beyond the query.")
    return text


def refused(message: str) -> Invalid:
    """The error for a statement that is not run."""
    return Invalid(
        f"{message} It has to be one SELECT that only reads.",
        field="sql",
        title="The query is not run",
        hint="Write one SELECT statement, for example: SELECT question, answer FROM tickets.",
    )
