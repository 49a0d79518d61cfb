"""Ingest: the thread that turns spool segments into rows, exactly once.

Knows: offsets, batches, lines that cannot be read. Does not know: what the rows mean.
Rows and the offset behind them are committed in one transaction, so a crash repeats nothing;
a row that arrives twice all the same is ignored by its primary key.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import duckdb

from core.store.database import Store, insert_missing
from core.store.files import is_locked, read_lines

log = logging.getLogger(__name__)

STREAMS = ("traces", "trace_texts", "spans", "results", "scores", "calibrations")
BATCH_BYTES = 2 * 1024 * 1024


class Ingest:
    """Reads `spool/` and every job's `spool/` under the store's home.

    Segments in `spool/` are deleted when their writer is gone and every line is in the database.
    A job's segments stay: they are how a resumed job knows what it has done.
    """

    def __init__(self, store: Store, *, interval_s: float = 0.25) -> None:
        self._store = store
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._once = threading.Lock()
        self._sizes: dict[Path, int] = {}

    def start(self) -> None:
        """Begin reading in the background."""
        self._thread = threading.Thread(target=self._loop, name="lathe-ingest", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read what is there, then end the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.drain()

    def drain(self) -> int:
        """Read every segment to its end; the number of rows read."""
        with self._once:
            home = self._store.home
            count = sum(self._read(path) for path in sorted(home.glob("jobs/*/spool/*.ndjson")))
            for path in sorted((home / "spool").glob("*.ndjson")):
                abandoned = not is_locked(path.with_suffix(".lock"))
                count += self._read(path)
                if abandoned:
                    self._remove(path)
            return count

    def _loop(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self.drain()
            except (duckdb.Error, OSError):
                log.exception("ingest failed, it will be tried again")
                time.sleep(1)

    def _read(self, path: Path) -> int:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return 0
        if self._sizes.get(path) == size:
            return 0
        segment = str(path.relative_to(self._store.home))
        count = 0
        offset = self._offset(segment)
        while True:
            lines, end = read_lines(path, offset, BATCH_BYTES)
            if not lines:
                break
            count += self._commit(segment, lines, end)
            offset = end
        self._sizes[path] = size
        return count

    def _offset(self, segment: str) -> int:
        row = self._store.row(
            "SELECT offset_bytes FROM ingest_offsets WHERE segment = $segment", {"segment": segment}
        )
        return int(row["offset_bytes"]) if row else 0

    def _commit(self, segment: str, lines: list[bytes], end: int) -> int:
        """One batch; if it does not go in as a whole, line by line, so one bad row costs itself."""
        entries = [self._parse(segment, line) for line in lines]
        good = [entry for entry in entries if entry is not None]
        try:
            self._write(segment, good, end)
        except (duckdb.ConversionException, duckdb.ConstraintException, ValueError):
            for entry in good:
                try:
                    self._write(segment, [entry], None)
                except (duckdb.ConversionException, duckdb.ConstraintException, ValueError) as why:
                    self._reject(segment, json.dumps(entry, ensure_ascii=False), str(why))
            self._write(segment, [], end)
        return len(good)

    def _write(
        self, segment: str, entries: list[tuple[str, dict[str, Any]]], end: int | None
    ) -> None:
        by_table: dict[str, list[dict[str, Any]]] = {}
        for table, row in entries:
            by_table.setdefault(table, []).append(row)
        with self._store.transaction() as connection:
            for table, rows in by_table.items():
                insert_missing(connection, table, rows)
            if end is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO ingest_offsets VALUES ($segment, $end)",
                    {"segment": segment, "end": end},
                )

    def _parse(self, segment: str, line: bytes) -> tuple[str, dict[str, Any]] | None:
        try:
            entry = json.loads(line)
            table, row = entry["table"], entry["row"]
            if table in STREAMS and isinstance(row, dict):
                return table, row
            why = f"rows of {table!r} do not come through the spool"
        except (ValueError, KeyError, TypeError) as error:
            why = str(error)
        self._reject(segment, line.decode(errors="replace"), why)
        return None

    def _reject(self, segment: str, line: str, why: str) -> None:
        """Keep what could not be read, with the reason, where a person can find it."""
        log.warning("a line of %s was set aside: %s", segment, why)
        with (self._store.home / "rejected.ndjson").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"segment": segment, "why": why, "line": line}) + "\n")

    def _remove(self, path: Path) -> None:
        """Delete a segment that nobody writes any more; a torn last line is kept as rejected."""
        _, end = read_lines(path, self._offset(str(path.relative_to(self._store.home))))
        with path.open("rb") as file:
            file.seek(end)
            torn = file.read()
        if torn:
            self._reject(path.name, torn.decode(errors="replace"), "the last line is torn")
        path.unlink()
        path.with_suffix(".lock").unlink(missing_ok=True)
        self._sizes.pop(path, None)
        segment = str(path.relative_to(self._store.home))
        self._store.execute("DELETE FROM ingest_offsets WHERE segment = $s", {"s": segment})
