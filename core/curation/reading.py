"""The findings of a version, read in place from its files by SQL, worst first.

Knows: the files' columns, order, filters. Does not know: who may see them, what was decided.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.curation.analysis import is_outdated
from core.curation.detectors import DETECTORS
from core.curation.findings import KINDS, SEVERITIES
from core.datasets.table import quoted
from core.store.database import Row, Store

SHOWN_ROWS = 100
"""How many of a group's row numbers a list carries; one finding read alone has them all."""

_WORST_FIRST = (
    "list_position($severities::VARCHAR[], severity), list_position($kinds::VARCHAR[], kind),"
    " row_count DESC, rows[1], id"
)
_MATCHES = """
    ($kind IS NULL OR kind = $kind)
    AND ($severity IS NULL OR severity = $severity)
    AND ($detectors IS NULL OR list_contains($detectors::VARCHAR[], detector))
    AND id NOT IN (SELECT unnest($without::VARCHAR[]))
    AND len(list_filter($words::VARCHAR[], lambda w: NOT contains(lower(message), w))) = 0
"""


def files(folder: Path) -> list[str]:
    """The files of findings that there are, without those of a detector that has changed since."""
    return [
        str(path)
        for name in DETECTORS
        if (path := folder / f"{name}.parquet").exists() and not is_outdated(folder, name)
    ]


def findings(
    store: Store,
    folder: Path,
    *,
    kind: str | None = None,
    severity: str | None = None,
    search: str = "",
    detectors: Sequence[str] | None = None,
    without: Sequence[str] = (),
    offset: int = 0,
    limit: int | None = 50,
    whole: bool = False,
) -> list[Row]:
    """Findings as `Finding.to_dict` with `detector` and `row_count`, worst first.

    Worst is the higher severity, then the kind's place in KINDS, then the larger group. `rows`
    has the first SHOWN_ROWS unless `whole`. `without` leaves out these ids.
    """
    paths = files(folder)
    if not paths:
        return []
    rows = "rows" if whole else f"list_slice(rows, 1, {SHOWN_ROWS})"
    found = store.rows(
        f"SELECT * REPLACE ({rows} AS rows) FROM ({_UNION}) WHERE {_MATCHES}"
        f" ORDER BY {_WORST_FIRST} LIMIT $limit OFFSET $offset",
        {
            **_asked(paths, kind, severity, search, detectors, without),
            "severities": list(SEVERITIES),
            "kinds": list(KINDS),
            "limit": limit,
            "offset": offset,
        },
    )
    return [_loaded(row) for row in found]


def count(
    store: Store,
    folder: Path,
    *,
    kind: str | None = None,
    severity: str | None = None,
    search: str = "",
    detectors: Sequence[str] | None = None,
    without: Sequence[str] = (),
) -> int:
    """How many `findings` would give in all."""
    paths = files(folder)
    if not paths:
        return 0
    row = store.row(
        f"SELECT count(*) AS n FROM ({_UNION}) WHERE {_MATCHES}",
        _asked(paths, kind, severity, search, detectors, without),
    )
    return int(row["n"]) if row else 0


def counts(store: Store, folder: Path, *, without: Sequence[str] = ()) -> list[Row]:
    """`kind`, `severity`, `finding_count` and `row_count` (rows concerned), worst first."""
    paths = files(folder)
    if not paths:
        return []
    return store.rows(
        f"""
        SELECT kind, severity, count(*) AS finding_count, sum(row_count)::BIGINT AS row_count
        FROM ({_UNION}) WHERE {_MATCHES} GROUP BY kind, severity
        ORDER BY list_position($severities::VARCHAR[], severity),
            list_position($kinds::VARCHAR[], kind)
        """,
        {
            **_asked(paths, None, None, "", None, without),
            "severities": list(SEVERITIES),
            "kinds": list(KINDS),
        },
    )


def finding(store: Store, folder: Path, finding_id: str) -> Row | None:
    """One finding with all of its rows, or None."""
    paths = files(folder)
    if not paths:
        return None
    row = store.row(f"SELECT * FROM ({_UNION}) WHERE id = $id", {"paths": paths, "id": finding_id})
    return _loaded(row) if row else None


def rows_at(store: Store, path: Path, indexes: Sequence[int]) -> list[Row]:
    """These rows of a version's file, in the order of the file."""
    return store.rows(
        "SELECT * FROM read_parquet($path)"
        " WHERE row_index IN (SELECT unnest($indexes::BIGINT[])) ORDER BY row_index",
        {"path": str(path), "indexes": list(indexes)},
    )


def worst(
    store: Store, signals: Path, path: Path, name: str, *, descending: bool, limit: int
) -> list[Row]:
    """The rows with the largest or smallest value of a signal, whole, with `_signal`."""
    direction = "DESC" if descending else "ASC"
    return store.rows(
        f"""
        WITH chosen AS (
            SELECT row_index, {quoted(name)} AS _signal FROM read_parquet($signals)
            WHERE {quoted(name)} IS NOT NULL ORDER BY _signal {direction}, row_index LIMIT $limit
        )
        SELECT rows.*, chosen._signal FROM read_parquet($path) rows
        JOIN chosen USING (row_index) ORDER BY _signal {direction}, row_index
        """,
        {"signals": str(signals), "path": str(path), "limit": limit},
    )


_UNION = """
    SELECT *, len(rows) AS row_count, parse_filename(filename, true) AS detector
    FROM (SELECT * FROM read_parquet($paths, filename = true))
"""


def _asked(
    paths: Sequence[str],
    kind: str | None,
    severity: str | None,
    search: str,
    detectors: Sequence[str] | None,
    without: Sequence[str],
) -> dict[str, Any]:
    return {
        "paths": list(paths),
        "kind": kind,
        "severity": severity,
        "words": search.lower().split(),
        "detectors": list(detectors) if detectors is not None else None,
        "without": list(without),
    }


def _loaded(row: Row) -> Row:
    row.pop("filename", None)
    return {**row, "detail": json.loads(row["detail"] or "{}")}
