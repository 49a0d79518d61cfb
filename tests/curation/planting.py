"""Small versions on disk for the tests of detectors, and how well a fault was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.curation.findings import Finding
from core.datasets.files import Column
from core.datasets.table import Table

KINDS = {"text": pa.string(), "json": pa.string(), "integer": pa.int64(), "number": pa.float64()}


def table_of(
    folder: Path,
    values: Mapping[str, Sequence[Any]],
    roles: Mapping[str, str] | None = None,
    types: Mapping[str, str] | None = None,
    name: str = "version",
) -> Table:
    """A version with these columns: inputs and text, unless said otherwise."""
    roles, types = roles or {}, types or {}
    columns = tuple(
        Column(column, roles.get(column, "input"), types.get(column, "text")) for column in values
    )
    count = len(next(iter(values.values())))
    arrays = {"row_id": pa.array([f"row_{i}" for i in range(count)])}
    arrays["row_index"] = pa.array(range(count), pa.int64())
    for column in columns:
        arrays[column.name] = pa.array(list(values[column.name]), KINDS[column.type])
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), folder / f"{name}.parquet")
    return Table(folder / f"{name}.parquet", columns)


def rows_of(findings: Iterable[Finding], kind: str | None = None) -> set[int]:
    """Every row that the findings name."""
    return {row for found in findings if kind in (None, found.kind) for row in found.rows}


def precision_recall(found: set[int], planted: Iterable[int]) -> tuple[float, float]:
    """Share of the found that were planted, share of the planted that were found."""
    planted = set(planted)
    hit = len(found & planted)
    return hit / max(1, len(found)), hit / max(1, len(planted))
