"""The profile of a version: what each column holds, computed by SQL in a few passes.

Knows: types, missing cells, distinct values, lengths, histograms, labels. Does not know: what is
wrong with any of it (`quality`), signals of single rows (`signals`).

    {"row_count", "columns": [...], "tokenizer", "token_rows", "label_column"}

A column has `name`, `role`, `type`, `row_count`, `missing` (NULL or blank), `distinct` and whether
it `is_exact`, `min`, `max`, `mean`, `sd`, `p5`, `p50`, `p95` of numbers, `length` in characters and
`tokens` (p50, p95, max, mean) of text, `histogram` (of, edges, counts, open: whether the last bin
holds all that is beyond it), `top` values with counts, and `is_label`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.table import Table, quoted
from core.datasets.values import BOOLEAN, INTEGER, JSON, NUMBER, TEXT
from core.store.files import write_json

if TYPE_CHECKING:
    import duckdb

EXACT_ROWS = 200_000
"""Up to here distinct values and quantiles are exact; beyond they are approximate, and say so."""
TOKEN_ROWS = 20_000
"""Tokens are counted in this many rows, spread evenly."""
BINS = 20
TOP = 10
MOST_LABELS = 100
"""A column with more distinct values than this is no label."""
MOST_GROUPS = 10_000
"""On large data, values are counted only in columns with fewer distinct ones."""
SHOWN_CHARACTERS = 200
TOKENIZED_CHARACTERS = 100_000
"""A cell is tokenised up to here: a cell of 10 MB would take a minute alone."""

Counts = dict[str, Any]


def write_profile(
    table: Table, folder: Path, tools: Tools, tokenizer: Path | None
) -> tuple[int, dict[str, Any]]:
    """Compute and write `profile.json`; no findings, and what was sampled."""
    found = profile_of(table, tools, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "profile.json", found)
    return 0, {key: found[key] for key in ("tokenizer", "token_rows")}


def profile_of(table: Table, tools: Tools, tokenizer: Path | None = None) -> dict[str, Any]:
    """The profile; `tokenizer` is a `tokenizer.json`, without it there are no token counts."""
    row_count = table.count()
    texts = [column.name for column in table.columns if column.type in (TEXT, JSON)]
    columns = []
    connection = table.connect()
    try:
        for at, column in enumerate(table.columns):
            tools.check()
            tools.tell(at / (len(table.columns) + 1), column.name)
            columns.append(_column(connection, column, row_count))
    finally:
        connection.close()
    counted = tokenizer is not None and bool(texts) and row_count > 0
    if tokenizer is not None and counted:
        tools.tell(len(table.columns) / (len(table.columns) + 1), "tokens")
        tokens = column_tokens(table, texts, tokenizer, tools)
        for found in columns:
            found["tokens"] = tokens.get(found["name"])
    label = next((c for c in columns if c["is_label"] and c["role"] == "expected"), None)
    return {
        "row_count": row_count,
        "columns": columns,
        "tokenizer": tokenizer_name(tokenizer) if tokenizer is not None else None,
        "token_rows": min(row_count, TOKEN_ROWS) if counted else 0,
        "label_column": label["name"] if label else None,
    }


def tokenizer_name(path: Path) -> str:
    """What people call the model that the tokenizer belongs to: its folder's name."""
    return model_name(path.parent.parent if path.parent.name == "safetensors" else path.parent)


def model_name(folder: Path) -> str:
    """The name of a model's folder, the same in a home and in the cache, where a hash follows."""
    return re.sub(r"-[0-9a-f]{12}-\d+$", "", folder.name)


def column_tokens(
    table: Table, names: Sequence[str], tokenizer: Path, tools: Tools
) -> dict[str, Counts]:
    """p50, p95, max and mean of the tokens of each column's cells, in TOKEN_ROWS rows."""
    import numpy as np

    step = max(1, math.ceil(table.count() / TOKEN_ROWS))
    lengths: dict[str, list[int]] = {name: [] for name in names}
    encoder = load_tokenizer(tokenizer)
    at = 0
    for batch in table.batches(list(names)):
        tools.check()
        chosen = range((-at) % step, batch.num_rows, step)
        at += batch.num_rows
        for name in names:
            column = batch.column(name)
            cells = [column[place].as_py() for place in chosen]
            lengths[name] += count_tokens(encoder, [cell for cell in cells if cell])
    return {
        name: {
            "p50": float(np.quantile(found, 0.5)),
            "p95": float(np.quantile(found, 0.95)),
            "max": max(found),
            "mean": float(np.mean(found)),
        }
        for name, found in lengths.items()
        if found
    }


def load_tokenizer(path: Path) -> Any:
    """The tokenizer in a `tokenizer.json`, without truncation or padding."""
    from tokenizers import Tokenizer

    found = Tokenizer.from_file(str(path))
    found.no_truncation()
    found.no_padding()
    return found


def count_tokens(encoder: Any, texts: Sequence[str]) -> list[int]:
    """How many tokens each text has, in its first TOKENIZED_CHARACTERS; no special ones."""
    cut = [text[:TOKENIZED_CHARACTERS] for text in texts]
    found = encoder.encode_batch_fast(cut, add_special_tokens=False)
    return [len(encoding) for encoding in found]


def _column(connection: duckdb.DuckDBPyConnection, column: Column, row_count: int) -> Counts:
    cell = quoted(column.name)
    exact = row_count <= EXACT_ROWS
    found: Counts = {
        "name": column.name,
        "role": column.role,
        "type": column.type,
        "row_count": row_count,
        **_filled(connection, cell, column.type, exact=exact),
        "is_exact": exact,
        "length": None,
        "tokens": None,
        "histogram": None,
    }
    if column.type in (INTEGER, NUMBER):
        found |= _numbers(connection, cell, exact=exact)
        found["histogram"] = histogram(connection, cell, "value", exact=exact)
    elif column.type in (TEXT, JSON):
        length = f"length({cell})"
        spread = _numbers(connection, length, exact=exact)
        found["length"] = {key: spread[key] for key in ("min", "p50", "p95", "max", "mean")}
        found["histogram"] = histogram(connection, length, "characters", exact=exact)
    few = found["distinct"] <= MOST_GROUPS or exact
    found["top"] = _top(connection, cell, MOST_LABELS) if few else []
    found["is_label"] = _is_label(column, found, row_count)
    if not found["is_label"]:
        found["top"] = found["top"][:TOP]
    return found


def _filled(connection: duckdb.DuckDBPyConnection, cell: str, kind: str, *, exact: bool) -> Counts:
    blank = f"{cell} IS NULL" + (f" OR trim({cell}) = ''" if kind == TEXT else "")
    distinct = f"count(DISTINCT {cell})" if exact else f"approx_count_distinct({cell})"
    row = connection.execute(
        f"SELECT count(*) FILTER (WHERE {blank}), {distinct} FROM rows"
    ).fetchone()
    return {"missing": int(row[0]), "distinct": int(row[1])} if row else {}


def _numbers(connection: duckdb.DuckDBPyConnection, value: str, *, exact: bool) -> Counts:
    """min, max, mean, sd and quantiles of an expression; None each where there is nothing."""
    quantile = "quantile_cont" if exact else "approx_quantile"
    row = connection.execute(
        f"SELECT min(v), max(v), avg(v), stddev_samp(v), {quantile}(v, 0.05),"
        f" {quantile}(v, 0.5), {quantile}(v, 0.95)"
        f" FROM (SELECT CAST({value} AS DOUBLE) AS v FROM rows)"
    ).fetchone()
    names = ("min", "max", "mean", "sd", "p5", "p50", "p95")
    return dict(zip(names, (_finite(part) for part in row or [None] * 7), strict=True))


def histogram(
    connection: duckdb.DuckDBPyConnection,
    value: str,
    of: str,
    *,
    relation: str = "rows",
    exact: bool = True,
    whole: bool | None = None,
) -> Counts | None:
    """Counts in BINS equal bins of an SQL expression, from its least value to its 99th percentile.

    The last bin is open where something lies beyond it: a few very long cells would else leave
    all others in one bin. Bins of whole numbers are whole; `whole` says whether they are, else it
    is looked at. None where there are no values.
    """
    quantile = "quantile_cont" if exact else "approx_quantile"
    inner = f"(SELECT CAST({value} AS DOUBLE) AS v FROM {relation})"
    row = connection.execute(
        f"SELECT min(v), {quantile}(v, 0.99), max(v), bool_and(v = floor(v)) FROM {inner}"
    ).fetchone()
    if row is None or row[0] is None or not all(math.isfinite(part) for part in row[:3]):
        return None
    low, high, most, integral = row
    whole = bool(integral) if whole is None else whole
    high = most if high <= low or most - low <= 1.5 * (high - low) else high
    width = (high - low) / BINS or 1.0
    if whole:
        width = max(1.0, float(math.ceil(width)))
    bins = max(1, min(BINS, math.ceil((high - low + (1 if whole else 0)) / width)))
    counts = [0] * bins
    for at, count in connection.execute(
        f"SELECT least(greatest(floor((v - $low) / $width), 0), $last)::BIGINT AS bin, count(*)"
        f" FROM {inner} WHERE v IS NOT NULL GROUP BY bin",
        {"low": low, "width": width, "last": bins - 1},
    ).fetchall():
        counts[at] = count
    edges = [low + width * at for at in range(bins + 1)]
    return {"of": of, "edges": edges, "counts": counts, "open": bool(most > edges[-1])}


def _top(connection: duckdb.DuckDBPyConnection, cell: str, limit: int) -> list[Counts]:
    found = connection.execute(
        f"SELECT left(CAST({cell} AS VARCHAR), {SHOWN_CHARACTERS}), n FROM ("
        f" SELECT {cell}, count(*) AS n FROM rows WHERE {cell} IS NOT NULL"
        f" GROUP BY {cell} ORDER BY n DESC, {cell} LIMIT {limit})"
    ).fetchall()
    return [{"value": value, "count": count} for value, count in found]


def _is_label(column: Column, found: Counts, row_count: int) -> bool:
    """Whether the column sorts the rows into a few classes, each with several rows."""
    if column.role == "input" or column.type not in (TEXT, INTEGER, BOOLEAN):
        return False
    return bool(2 <= found["distinct"] <= min(MOST_LABELS, row_count // 3))


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
