"""The formats of a source and what can be chosen about each: what a dialog offers.

Knows: names, suffixes, options. Does not know: how anything is read; the modules beside this do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """Something that a person may choose; left out, it is found out or not used."""

    name: str
    title: str
    help: str
    choices: tuple[str, ...] = ()
    """What there is to choose from where that does not depend on the file; see Source.choices."""


@dataclass(frozen=True, slots=True)
class Format:
    """One format of files, folders or databases."""

    name: str
    title: str
    suffixes: tuple[str, ...]
    options: tuple[str, ...] = ()


OPTIONS: dict[str, Option] = {
    option.name: option
    for option in (
        Option("encoding", "Encoding", "Such as utf-8 or cp1252, where the guess is wrong"),
        Option("delimiter", "Separator", "One character between cells", (",", ";", "\t", "|")),
        Option("sheet", "Sheet", "The sheet of a spreadsheet; the first one otherwise"),
        Option("key", "Key", "Which array of a JSON object holds the rows"),
        Option("table", "Table", "A table or view of a database file"),
        Option("sql", "Query", "One SELECT statement on a database"),
        Option("config", "Configuration", "Of a dataset on the hub that has several"),
        Option("split", "Split", "One split of a dataset on the hub; all of them otherwise"),
        Option("revision", "Revision", "A branch, tag or commit of a dataset on the hub"),
        Option(
            "chat",
            "Read as",
            "Turn conversations into columns of Lathe",
            ("openai", "sharegpt", "alpaca", "completion", "preference", "traces", "results"),
        ),
    )
}

FORMATS: dict[str, Format] = {
    found.name: found
    for found in (
        Format("csv", "CSV", (".csv",), ("encoding", "delimiter", "chat")),
        Format("tsv", "TSV", (".tsv", ".tab"), ("encoding", "delimiter", "chat")),
        Format("jsonl", "JSON lines", (".jsonl", ".ndjson"), ("encoding", "chat")),
        Format("json", "JSON", (".json",), ("encoding", "key", "chat")),
        Format("parquet", "Parquet", (".parquet", ".pq"), ("chat",)),
        Format("arrow", "Arrow", (".arrow",), ("chat",)),
        Format("excel", "Spreadsheet", (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
               ("sheet", "chat")),
        Format("sqlite", "SQLite", (".sqlite", ".sqlite3", ".db"), ("table", "sql", "chat")),
        Format("duckdb", "DuckDB", (".duckdb", ".ddb"), ("table", "sql", "chat")),
        Format("postgres", "Postgres", (), ("sql", "chat")),
        Format("datasets", "Folder of Hugging Face datasets", (), ("chat",)),
        Format("folder", "Folder of data files", (), ("encoding", "delimiter", "chat")),
        Format("hub", "Hugging Face hub", (), ("config", "split", "revision", "chat")),
    )
}  # fmt: skip
PACKED_SUFFIXES = (".gz", ".zst", ".zip")
"""Packed CSV, TSV, JSON and JSON lines are read as what is inside."""
