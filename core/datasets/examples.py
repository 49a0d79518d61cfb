"""Rows of a version, read in place from its Parquet file by SQL.

Knows: pages, search, examples. Does not know: how versions come about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.datasets.files import Column
from core.datasets.table import quoted
from core.datasets.values import loaded, text_of
from core.store.database import Row, Store


@dataclass(frozen=True, slots=True)
class Example:
    """One item of a dataset version, as runs and the playground take it."""

    row_id: str
    """The same in every version that has these inputs."""
    row_index: int
    """Zero-based position in this version."""
    inputs: dict[str, Any]
    """Variable name -> value, for the templates."""
    expected: str | None
    """What an answer is scored against, as text."""
    metadata: dict[str, Any]
    """The rest, for filters."""


def page(
    store: Store, path: Path, columns: Sequence[Column], *, offset: int, limit: int, search: str
) -> list[Row]:
    """Rows in order, with `row_id`, `row_index` and the columns; all words have to be there.

    Without words it takes as long at the end of ten million rows as at the beginning: the rows'
    numbers say which part of the file to unpack.
    """
    if not search.split():
        found = store.rows(
            "SELECT * FROM read_parquet($path) WHERE row_index >= $offset AND row_index < $end"
            " ORDER BY row_index",
            {"path": str(path), "offset": offset, "end": offset + limit},
        )
        return [_loaded(row, columns) for row in found]
    found = store.rows(
        f"SELECT * FROM read_parquet($path) WHERE {_matches(columns, search)}"
        " ORDER BY row_index LIMIT $limit OFFSET $offset",
        {"path": str(path), "limit": limit, "offset": offset, **_words(search)},
    )
    return [_loaded(row, columns) for row in found]


def count(store: Store, path: Path, columns: Sequence[Column], *, search: str) -> int:
    """How many rows `page` would give in all."""
    row = store.row(
        f"SELECT count(*) AS n FROM read_parquet($path) WHERE {_matches(columns, search)}",
        {"path": str(path), **_words(search)},
    )
    return int(row["n"]) if row else 0


def examples(
    store: Store, path: Path, columns: Sequence[Column], *, limit: int | None
) -> list[Example]:
    """The first `limit` rows, or all of them, as examples."""
    found = store.rows(
        "SELECT * FROM read_parquet($path) WHERE $limit IS NULL OR row_index < $limit"
        " ORDER BY row_index",
        {"path": str(path), "limit": limit},
    )
    return [example_of(_loaded(row, columns), columns) for row in found]


def example_of(row: Row, columns: Sequence[Column]) -> Example:
    """A row as `page` gives it, sorted by role."""
    named = {
        role: {column.name: row[column.name] for column in columns if column.role == role}
        for role in ("input", "expected", "metadata")
    }
    expected = next(iter(named["expected"].values()), None)
    return Example(
        row["row_id"], row["row_index"], named["input"], text_of(expected), named["metadata"]
    )


def _loaded(row: Row, columns: Sequence[Column]) -> Row:
    kinds = {column.name: column.type for column in columns}
    return {name: loaded(value, kinds.get(name, "")) for name, value in row.items()}


def _words(search: str) -> dict[str, Any]:
    words = search.lower().split()
    return {"words": words} if words else {}


def _matches(columns: Sequence[Column], search: str) -> str:
    """A condition over all columns and the row's id; column names are quoted, never trusted."""
    if not search.split():
        return "true"
    names = ", ".join(f"CAST({quoted(column.name)} AS VARCHAR)" for column in columns)
    haystack = f"lower(concat_ws(chr(10), row_id, {names}))"
    missing = f"list_filter($words::VARCHAR[], lambda word: NOT contains({haystack}, word))"
    return f"len({missing}) = 0"
