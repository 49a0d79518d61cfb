"""The rows of dataset versions: found in their Parquet files, and written anew without them.

A version keeps its id and number. The file without the rows is whole under its own name before the
database says so, and the old one goes after: a crash leaves the one or the other.

Knows: Parquet files, dataset_versions, what lies beside a version. Does not know: other places.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.clock import utc_iso
from core.curation.embeddings import key_of
from core.datasets.files import STAGED, UNFINISHED, Column, Written
from core.datasets.service import Datasets
from core.datasets.snapshots import write_snapshot
from core.datasets.table import Table, connect, quoted
from core.erasure.files import staged_files
from core.erasure.identifier import Identifier
from core.store.database import Store, literal
from core.store.files import read_json, write_json

BATCH = 2_000
BESIDE = (".findings", ".diffs")


@dataclass(frozen=True, slots=True)
class Hit:
    """One row that has it."""

    row_id: str
    text: str
    """The cell that has it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One file: the content of one version, or of several after a rollback."""

    dataset_id: str
    content_hash: str
    path: Path
    columns: tuple[Column, ...]
    version_ids: tuple[str, ...]
    label: str

    @property
    def table(self) -> Table:
        """Its rows."""
        return Table(self.path, self.columns)


def snapshots(store: Store) -> list[Snapshot]:
    """Every file that a version of any dataset has, archived ones too; those that are there."""
    rows = store.rows(
        "SELECT v.dataset_id, v.content_hash, any_value(v.columns) AS columns,"
        " list(v.id ORDER BY v.number) AS ids, any_value(d.name) AS name,"
        " list(v.number ORDER BY v.number) AS numbers"
        " FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_id"
        " GROUP BY v.dataset_id, v.content_hash ORDER BY min(v.created_at), v.content_hash"
    )
    found = [
        Snapshot(
            row["dataset_id"],
            row["content_hash"],
            store.home / "datasets" / row["dataset_id"] / f"{row['content_hash']}.parquet",
            tuple(Column(**column) for column in json.loads(row["columns"])),
            tuple(row["ids"]),
            f"{row['name']} v{', v'.join(map(str, row['numbers']))}",
        )
        for row in rows
    ]
    return [snapshot for snapshot in found if snapshot.path.exists()]


def hits(table: Table, identifier: Identifier) -> Iterator[Hit]:
    """The rows that have it in any cell."""
    names = [column.name for column in table.columns]
    if not names:
        return
    cells = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in names)
    likely = " OR ".join(identifier.likely(quoted(name)) for name in names)
    with contextlib.closing(table.connect()) as connection:
        found = connection.execute(
            f"SELECT row_id, {cells} FROM rows WHERE {likely}",
            {"needle": identifier.needle},
        )
        while batch := found.fetchmany(BATCH):
            for row_id, *values in batch:
                hit = next((value for value in values if identifier.found(value)), None)
                if hit is not None:
                    yield Hit(row_id, hit)


def texts_of(table: Table, row_ids: Sequence[str] | None) -> Iterator[str]:
    """Every text that may have been embedded of these rows, or of all: the row's, each cell's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [column.name for column in table.columns]
    chosen = table.text_columns()
    wanted = None if row_ids is None else pa.array(list(row_ids), pa.string())
    for batch in table.batches(["row_id", *names]):
        if wanted is not None:
            batch = batch.filter(pc.is_in(batch.column("row_id"), value_set=wanted))
        for row in batch.to_pylist():
            yield "\n".join(str(row[name]) for name in chosen if row[name] is not None)
            yield from (value for name in names if isinstance(value := row[name], str))


def forget_embeddings(home: Path, texts: Iterable[str]) -> None:
    """Remove the vectors of these texts from every cache; answers of models go as a whole, since
    nobody can tell of which row they are."""
    caches = list((home / "cache").rglob("embeddings/*.sqlite"))
    keys = ((key_of(text),) for text in texts)
    while caches and (part := list(itertools.islice(keys, BATCH))):
        for path in caches:
            _forget(path, part)
    for path in (home / "cache").rglob("answers.sqlite*"):
        path.unlink(missing_ok=True)


def _forget(path: Path, keys: Sequence[tuple[bytes]]) -> None:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.executemany("DELETE FROM vectors WHERE key = ?", keys)
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError:  # damaged, or locked for too long: it is only a cache
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)


def rewrite(
    store: Store,
    datasets: Datasets,
    snapshot: Snapshot,
    row_ids: Sequence[str],
    note: Mapping[str, Any],
) -> None:
    """Replace the file by one without these rows; `note` joins the report of its versions."""
    written = _written(snapshot, row_ids)
    final = snapshot.path.with_name(f"{written.content_hash}.parquet")
    os.replace(written.path, final)
    told = {**note, "rows": len(row_ids), "at": utc_iso()}
    runs = store.rows(
        "SELECT id, plan FROM runs WHERE list_contains($ids::VARCHAR[], dataset_version_id)",
        {"ids": list(snapshot.version_ids)},
    )
    with store.transaction() as connection:
        for version_id in snapshot.version_ids:
            row = connection.execute(
                "SELECT report FROM dataset_versions WHERE id = $id", {"id": version_id}
            ).fetchone()
            report = json.loads(row[0]) if row and row[0] else {}
            report["erased"] = [*report.get("erased", []), told]
            connection.execute(
                "UPDATE dataset_versions SET content_hash = $hash, row_count = $rows,"
                " report = $report WHERE id = $id",
                {
                    "hash": written.content_hash,
                    "rows": written.row_count,
                    "report": json.dumps(report, ensure_ascii=False),
                    "id": version_id,
                },
            )
        for run in runs:
            connection.execute(
                "UPDATE runs SET plan = $plan WHERE id = $id",
                {
                    "plan": run["plan"].replace(snapshot.content_hash, written.content_hash),
                    "id": run["id"],
                },
            )
        _number_results(connection, final, [run["id"] for run in runs], written.row_count)
    for version_id in snapshot.version_ids:
        datasets.describe(version_id, written.sha256)
    if final != snapshot.path:
        drop(snapshot.path)
    drop_beside(snapshot.path)


def _written(snapshot: Snapshot, row_ids: Sequence[str]) -> Written:
    temp = snapshot.path.parent / f"{UNFINISHED}temp"
    try:
        with contextlib.closing(connect(temp=temp)) as connection:
            connection.execute("CREATE TABLE gone AS SELECT unnest($ids::VARCHAR[]) AS row_id",
                               {"ids": list(row_ids)})  # fmt: skip
            connection.execute(
                f"CREATE VIEW kept AS SELECT * FROM read_parquet({literal(snapshot.path)})"
                " WHERE row_id NOT IN (SELECT row_id FROM gone)"
            )
            return write_snapshot(connection, "kept", snapshot.columns, snapshot.path.parent)
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _number_results(connection: Any, path: Path, runs: Sequence[str], row_count: int) -> None:
    """Results follow the new row numbers; those of erased rows come after the last."""
    where = "list_contains($runs::VARCHAR[], r.run_id)"
    given = {"runs": list(runs), "path": str(path)}
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE numbered AS SELECT row_id, row_index"
        " FROM read_parquet($path)",
        {"path": given["path"]},
    )
    connection.execute(
        "INSERT INTO numbered SELECT row_id, $count + row_number() OVER (ORDER BY row_index) - 1"
        " FROM (SELECT row_id, min(row_index) AS row_index FROM results r"
        f" WHERE {where} AND row_id NOT IN (SELECT row_id FROM numbered) GROUP BY row_id)",
        {"runs": given["runs"], "count": row_count},
    )
    connection.execute(
        "UPDATE results AS r SET row_index = n.row_index FROM numbered n"
        f" WHERE r.row_id = n.row_id AND {where}",
        {"runs": given["runs"]},
    )
    connection.execute("DROP TABLE numbered")


def orphans(store: Store) -> list[Path]:
    """Files of versions that no version has any more: an erasure was cut off before it removed
    them."""
    rows = store.rows("SELECT dataset_id, content_hash FROM dataset_versions")
    known = {(row["dataset_id"], row["content_hash"]) for row in rows}
    files = (store.home / "datasets").glob("*/*.parquet")
    return [
        path
        for path in files
        if not path.name.startswith(".") and (path.parent.name, path.stem) not in known
    ]


def drop(path: Path) -> None:
    """Remove a version's file and manifest, and first all that lies beside them: a crash in
    between leaves the file, by which the rest is found again."""
    drop_beside(path)
    for file in (path, path.with_suffix(".json")):
        file.unlink(missing_ok=True)


def drop_beside(path: Path) -> None:
    """Remove what was computed of a version, and every comparison with it, also of imports that
    wait: the numbers of its rows are others now."""
    for suffix in BESIDE:
        shutil.rmtree(path.with_suffix(suffix), ignore_errors=True)
    for compared in path.parent.parent.glob(f"*/*.diffs/{path.stem}*"):
        compared.unlink(missing_ok=True)
    for staged in path.parent.glob(f"{STAGED}*.json"):
        told = read_json(staged)
        if told and told["diff"] and Path(told["diff"]["against"]["path"]).name == path.name:
            write_json(staged, {**told, "diff": None})
            for name in staged_files(staged)[2:]:
                (path.parent / name).unlink(missing_ok=True)
