"""What a job has written already: the answer to "what has no result yet".

Knows: the job's own spool segments. Does not know: the database, nor other jobs of the run.
Segments are streamed: of ten thousand answers only their keys are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.store.files import read_lines

CHUNK_BYTES = 1024 * 1024

Key = tuple[str, str]
"""variant id, row id"""


@dataclass(slots=True)
class Done:
    """Keys of what is written."""

    results: dict[Key, int] = field(default_factory=dict)
    """The attempt whose result is there."""
    orphans: dict[Key, int] = field(default_factory=dict)
    """The highest attempt of which scores were written and then, in a crash, no result."""
    scores: set[tuple[str, str, int, str]] = field(default_factory=set)
    """variant id, row id, attempt, scorer: only of the scorers asked for."""
    failed_count: int = 0

    def attempt(self, key: Key, first: int) -> int:
        """The attempt to write now: never one that has scores already, they would be mixed."""
        return max(first, self.orphans.get(key, 0) + 1)


def read(folder: Path, scorers: frozenset[str] = frozenset()) -> Done:
    """Everything that is whole in the segments; a torn line is as if it was never written."""
    done = Done()
    seen: dict[Key, int] = {}
    for table, row in stream_rows(folder):
        if table not in ("results", "scores"):
            continue
        key = (row["variant_id"], row["row_id"])
        seen[key] = max(seen.get(key, 0), row["attempt"])
        if table == "results":
            done.results[key] = max(done.results.get(key, 0), row["attempt"])
            done.failed_count += row["state"] == "failed"
        elif row["name"] in scorers:
            done.scores.add((*key, row["attempt"], row["name"]))
    done.orphans = {key: n for key, n in seen.items() if n > done.results.get(key, 0)}
    return done


def stream_rows(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(table, row) of every whole line, oldest segment first."""
    for segment in sorted(folder.glob("*.ndjson")):
        offset = 0
        while True:
            lines, offset = read_lines(segment, offset, CHUNK_BYTES)
            if not lines:
                break
            for line in lines:
                try:
                    entry = json.loads(line)
                    yield entry["table"], entry["row"]
                except (ValueError, KeyError, TypeError):
                    continue  # the ingest sets it aside; the row is computed again
