"""The job `dataset.import`: a file on this machine, read and written without the database.

    <job>/version/rows.parquet   the rows, whole
    <job>/difference.*           how they differ from the newest version
    <job>/imported.json          what they are: written last

A job that was killed sweeps what it had begun and reads again; one that was killed after the last
file gives what it has. Nothing of it is a version before the owner of the database commits it.

The password of a database comes as the job's secret: a second attempt has to be given it anew.

Knows: the payload, progress. Does not know: the database, whether the version is wanted.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.datasets.diff import diff
from core.datasets.importing import Imported, format_options, import_source
from core.datasets.locations import Location, open_location
from core.datasets.readers import Source, open_source
from core.datasets.table import Table
from core.errors import Invalid, NotFound
from core.store.files import inside, read_json, write_json

if TYPE_CHECKING:
    from core.jobs.context import JobContext

DIFFERENCE = "difference"
"""The stem of the two files that a diff is kept in, beside the job's others."""


def work(job: JobContext) -> dict[str, Any]:
    """Import what the payload names; the value for the finisher."""
    done = job.folder.path / "imported.json"
    found: dict[str, Any] | None = read_json(done)
    if found is not None and Path(found["written"]["path"]).exists():
        return found
    folder = job.folder.path / "version"
    shutil.rmtree(folder, ignore_errors=True)
    imported = _imported(job, folder)
    value: dict[str, Any] = {
        "written": imported.written.to_dict(),
        "columns": [column.to_dict() for column in imported.columns],
        "source": imported.source,
        "recipe": imported.recipe,
        "report": imported.report,
        "diff": None,
    }
    if newest := job.payload.get("newest"):
        job.log(f"Comparing with {newest['label']}")
        value["diff"] = _compared(job, newest, imported)
    write_json(done, value)
    return value


def _imported(job: JobContext, folder: Path) -> Imported:
    asked = job.payload
    source = _source(job)
    options = asked["options"]
    begun = time.monotonic()

    def tell(done: int, total: int, rows: int) -> None:
        took = time.monotonic() - begun
        eta_s = took / done * (total - done) if done and took > 0.5 else None
        job.progress(max(0, min(done, total - 1)), total or 1, f"{rows:,} rows", eta_s=eta_s)

    found = import_source(
        source, asked["mapping"], folder, options=options, tell=tell, check=job.raise_if_cancelled
    )
    final = folder / "rows.parquet"
    os.replace(found.written.path, final)
    total = found.report["import"].get("bytes") or 1
    job.progress(total, total, f"{found.written.row_count:,} rows")
    return replace(found, written=replace(found.written, path=final))


def _source(job: JobContext) -> Source:
    """What the payload names, opened."""
    asked = job.payload
    options = format_options(asked["options"])
    if named := asked.get("location"):
        if asked.get("has_password") and job.secret is None:
            raise Invalid(
                "The password is kept for one attempt only.",
                title="The database cannot be read again",
                hint="Import it anew, with the password.",
            )
        return open_location(Location(**named, password=job.secret), options)
    path = Path(asked["path"])
    if not path.exists():
        raise NotFound(f"{path.name} is not there any more.", hint="Put it back, or import anew.")
    if path.resolve() != path:  # what was let through had no links in it
        raise Invalid(f"{path.name} has become a link.", field="file", hint="Import it anew.")
    if path.is_file() and [path.stat().st_size, path.stat().st_mtime_ns] != asked["stamp"]:
        raise Invalid(f"{path.name} has changed since.", field="file", hint="Import it anew.")
    return open_source(asked["filename"], path, options=options)


def _compared(job: JobContext, newest: dict[str, Any], imported: Imported) -> dict[str, Any] | None:
    """How the rows differ from the newest version's; None where its file is gone."""
    home = job.folder.path.parents[1]
    old = Table.of({**newest, "path": inside(home, *newest["path"].split("/"))})
    if not old.path.exists():
        return None
    found = diff(old, Table(imported.written.path, tuple(imported.columns)))
    found.save(job.folder.path / DIFFERENCE)
    plain = {name: newest[name] for name in ("id", "label", "number", "columns", "path")}
    return {**found.to_dict(), "against": plain}
