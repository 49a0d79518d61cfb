"""A run's results as a file: CSV, JSON lines or Parquet, one line for a result.

Knows: formats, and that a spreadsheet runs what looks like a formula. Does not know: HTTP.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from core.clock import iso
from core.datasets.examples import Example
from core.datasets.values import escape_formula
from core.errors import Invalid
from core.evals.plan import Plan
from core.evals.results import Results
from core.evals.rows import inputs_text, stream_examples
from core.store.database import Row

FORMATS = ("csv", "jsonl", "parquet")
PAGE_ROWS = 2_000

COLUMNS: dict[str, str] = {
    "run_id": "string",
    "row_index": "int64",
    "row_id": "string",
    "variant": "string",
    "prompt": "string",
    "model": "string",
    "engine": "string",
    "quantization": "string",
    "device": "string",
    "input": "string",
    "expected": "string",
    "output": "string",
    "state": "string",
    "error": "string",
    "passed": "bool",
    "attempt": "int64",
    "finish_reason": "string",
    "prompt_token_count": "int64",
    "completion_token_count": "int64",
    "ttft_ms": "float64",
    "tpot_ms": "float64",
    "e2e_ms": "float64",
    "compute_ms": "float64",
    "trace_id": "string",
    "created_at": "string",
}


def write(rows: Iterator[Row], scorers: Sequence[str], kind: str) -> bytes:
    """The file's bytes. Each row has the names of COLUMNS and `scores`: name -> value, passed."""
    columns = {**COLUMNS}
    for name in scorers:
        columns[f"score:{name}"] = "float64"
        columns[f"passed:{name}"] = "bool"
    flat = (_flat(row, scorers) for row in rows)
    if kind == "csv":
        return _csv(flat, list(columns))
    if kind == "jsonl":
        return _jsonl(flat)
    if kind == "parquet":
        return _parquet(flat, columns)
    raise Invalid(f"There is no export as {kind!r}.", hint=f"There are {', '.join(FORMATS)}.")


def result_rows(results: Results, variants: Sequence[Row], home: Path, plan: Plan) -> Iterator[Row]:
    """What `write` takes: results with scores and whole inputs, a page at a time."""
    by_id = {variant["id"]: variant for variant in variants}
    inputs, after = _Inputs(home, plan), -1
    while page := results.full_page(after, PAGE_ROWS):
        for row in page:
            variant = by_id[row["variant_id"]]
            yield {
                **row,
                "input": inputs.at(row["row_index"]),
                "variant": variant["name"],
                "prompt": variant["prompt_label"],
                "model": variant["model_name"],
                **{name: variant[name] for name in ("engine", "quantization", "device")},
            }
        after = page[-1]["row_index"]


class _Inputs:
    """Input texts by row index, asked for in rising order; read once, one at a time."""

    def __init__(self, home: Path, plan: Plan) -> None:
        self._examples = stream_examples(home, plan.rows, plan.row_count, plan.only)
        self._current: Example | None = None

    def at(self, row_index: int) -> str | None:
        while self._current is None or self._current.row_index < row_index:
            self._current = next(self._examples, None)
            if self._current is None:
                return None
        return inputs_text(self._current) if self._current.row_index == row_index else None


def _flat(row: Row, scorers: Sequence[str]) -> Row:
    flat = {name: _plain(row.get(name)) for name in COLUMNS}
    for name in scorers:
        score = row["scores"].get(name) or {}
        flat[f"score:{name}"] = score.get("value")
        flat[f"passed:{name}"] = score.get("passed")
    return flat


def _plain(value: Any) -> Any:
    return iso(value) if isinstance(value, datetime) else value


def _csv(rows: Iterator[Row], columns: list[str]) -> bytes:
    buffer = io.BytesIO()
    # The mark tells spreadsheets that it is UTF-8.
    text = io.TextIOWrapper(buffer, encoding="utf-8-sig", newline="")
    writer = csv.writer(text)
    writer.writerow([escape_formula(name) for name in columns])
    for row in rows:
        writer.writerow([escape_formula(_csv_cell(row[name])) for name in columns])
    text.flush()
    return buffer.getvalue()


def _csv_cell(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _jsonl(rows: Iterator[Row]) -> bytes:
    buffer = io.BytesIO()
    for row in rows:
        buffer.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return buffer.getvalue()


def _parquet(rows: Iterator[Row], columns: dict[str, str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema) as writer:
        batch: list[Row] = []
        for row in rows:
            batch.append(row)
            if len(batch) == 1000:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return buffer.getvalue()
