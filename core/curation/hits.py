"""Hits: the findings of personal data and secrets in a version, each with its row and its words.

Knows: the findings' files, the version's file. Does not know: what was decided (`reviews`).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.curation.analysis import is_outdated, record_path
from core.curation.cells import pieces
from core.curation.findings import findings_folder
from core.curation.spans import public_path
from core.datasets.table import Table, connect, quoted
from core.store.files import read_json

DETECTORS = ("secrets", "personal")
AROUND = 400
"""Characters of a text shown before and after a hit."""
Key = tuple[str, str, str]
Cells = dict[tuple[int, str], Any]


@dataclass(frozen=True, slots=True)
class Hit:
    """One finding, with the row that it is in."""

    finding_id: str
    kind: str
    type: str
    severity: str
    message: str
    score: float
    row_index: int
    row_id: str
    column: str
    mark: str
    detail: str
    """JSON: spans, preview."""

    @property
    def key(self) -> Key:
        """What a decision is kept by."""
        return self.row_id, self.column, self.mark

    def named(self) -> dict[str, str]:
        """As the arguments of a step name it."""
        return {"row_id": self.row_id, "column": self.column, "hash": self.mark}


def hits_of(path: str | Path) -> tuple[Hit, ...]:
    """Every hit of the version in this file, by row and place; () where nobody has looked yet."""
    files = _files(Path(path))
    return _hits(str(path), tuple((str(file), file.stat().st_mtime_ns) for file in files))


def looked(path: str | Path) -> bool:
    """Whether both detectors have been through the whole version, for all of their types."""
    folder = findings_folder(Path(path))
    return all(_looked(folder, name) for name in DETECTORS)


def _looked(folder: Path, name: str) -> bool:
    if not (folder / f"{name}.parquet").exists() or is_outdated(folder, name):
        return False
    record = read_json(record_path(folder, name)) or {"state": "done"}
    options = record.get("options") or {}
    narrow = options.get("columns") is not None or options.get("types")
    return bool(record["state"] == "done" and not narrow)


def name_models_of(path: str | Path) -> dict[str, str]:
    """The models that found names in this version, as a step names them: to find them again."""
    record = read_json(record_path(findings_folder(Path(path)), "personal")) or {}
    options = record.get("options") or {}
    return {name: options[name] for name in ("spacy_model", "gliner_model") if options.get(name)}


def _files(path: Path) -> list[Path]:
    folder = findings_folder(path)
    return [
        file
        for name in DETECTORS
        if (file := folder / f"{name}.parquet").exists() and not is_outdated(folder, name)
    ]


@functools.lru_cache(maxsize=4)
def _hits(path: str, files: tuple[tuple[str, int], ...]) -> tuple[Hit, ...]:
    if not files:
        return ()
    with connect() as connection:
        found = connection.execute(
            """
            SELECT f.id, f.kind, f.detail->>'$.type', f.severity, f.message,
                CAST(f.detail->>'$.score' AS DOUBLE), r.row_index, r.row_id, f."column",
                f.detail->>'$.hash', f.detail
            FROM read_parquet($files) f JOIN read_parquet($path) r ON r.row_index = f.rows[1]
            ORDER BY r.row_index, f."column",
                CAST(f.detail->>'$.spans[0].start' AS BIGINT), f.id
            """,
            {"files": [file for file, _ in files], "path": path},
        ).fetchall()
    return tuple(Hit(*row) for row in found)


def cells_of(table: Table, hits: Sequence[Hit]) -> Cells:
    """The cells that these hits are in, by row number and column."""
    wanted = sorted({hit.row_index for hit in hits})
    names = sorted({hit.column for hit in hits} & {column.name for column in table.columns})
    if not wanted or not names:
        return {}
    with table.connect() as connection:
        found = connection.execute(
            f"SELECT row_index, {', '.join(map(quoted, names))} FROM rows"
            " WHERE list_contains($wanted::BIGINT[], row_index)",
            {"wanted": wanted},
        ).fetchall()
    return {(row[0], name): row[at] for row in found for at, name in enumerate(names, start=1)}


def entry(hit: Hit, cell: Any, kind: str) -> dict[str, Any]:
    """A hit with the text around it, as `Reviews.queue` gives it."""
    detail = json.loads(hit.detail)
    spans = detail["spans"]
    way = tuple(spans[0].get("path", ()))
    found = pieces(cell, kind, hit.column) if cell not in (None, "") else []
    told = ((public_path(piece.path, hit.row_id, hit.column), piece.text) for piece in found)
    text = next((text for path, text in told if path == way), "")
    left = max(0, spans[0]["start"] - AROUND)
    right = min(len(text), spans[0]["end"] + AROUND)
    return {
        "id": hit.finding_id,
        "kind": hit.kind,
        "type": hit.type,
        "severity": hit.severity,
        "message": hit.message,
        "score": hit.score,
        "row_index": hit.row_index,
        "row_id": hit.row_id,
        "column": hit.column,
        "path": list(way),
        "hash": hit.mark,
        "preview": detail["preview"],
        "text": text[left:right],
        "cut": (left > 0, right < len(text)),
        "spans": [
            {"start": span["start"] - left, "end": span["end"] - left}
            for span in spans
            if tuple(span.get("path", ())) == way and left <= span["start"] and span["end"] <= right
        ],
    }
