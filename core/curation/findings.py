"""Findings: what is wrong with rows of a version, one entry a group or hit.

Knows: kinds, severities, the file beside a version that holds them. Does not know: how each kind
is found (`detectors`), what was decided about it (`reviews`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.ids import canonical_json

SEVERITIES = ("high", "medium", "low")

KINDS: dict[str, str] = {
    "secret": "A key or password in the text",
    "personal_data": "Something that names or reaches a person",
    "leakage": "The same text on both sides of a split, or in another dataset",
    "exact_duplicate": "Rows whose text is the same",
    "near_duplicate": "Rows whose text differs in a few words",
    "semantic_duplicate": "Rows that say the same in other words",
    "label_error": "A label that the rest of the data speaks against",
    "encoding": "Text that was decoded wrongly",
    "language": "A row in another language than the rest",
    "outlier": "A row unlike all others",
    "missing": "Cells without a value",
    "quality": "Repetition, boilerplate, or text that is hardly text",
    "toxicity": "Abusive words",
    "check": "A row that fails a check of this dataset",
}
"""Every kind there is, worst first, and what it means in words."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One group of rows, or one hit."""

    kind: str
    severity: str
    message: str
    """A sentence for people: what, where, how sure."""
    rows: tuple[int, ...]
    """`row_index` of each row concerned, ascending; a group's all members."""
    column: str | None = None
    """The column, where it is in one."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What a page needs to show it: spans, similarity, the weakest link, the likely label."""

    @property
    def id(self) -> str:
        """The same for the same finding in the same version: decisions are kept by it."""
        told = canonical_json([self.kind, list(self.rows), self.column, dict(self.detail)])
        return "find_" + hashlib.sha256(told.encode()).hexdigest()[:20]

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for pages and `lathe datasets findings --json`."""
        return {
            "id": self.id,
            "kind": self.kind,
            "severity": self.severity,
            "message": self.message,
            "rows": list(self.rows),
            "column": self.column,
            "detail": dict(self.detail),
        }


def write_findings(path: Path, findings: Iterable[Finding]) -> int:
    """Write one detector's findings as Parquet, whole or not at all; how many there are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [(name, pa.string()) for name in ("id", "kind", "severity", "message")]
        + [("rows", pa.list_(pa.int64())), ("column", pa.string()), ("detail", pa.string())]
    )
    records = [{**found.to_dict(), "detail": json.dumps(dict(found.detail))} for found in findings]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    pq.write_table(pa.Table.from_pylist(records, schema=schema), unfinished, compression="zstd")
    os.replace(unfinished, path)
    return len(records)


def findings_folder(version_path: Path) -> Path:
    """Where the findings of a version lie: beside its Parquet file, a file a detector."""
    return version_path.with_suffix(".findings")
