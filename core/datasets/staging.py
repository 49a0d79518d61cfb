"""Imports as jobs: started, finished, and a new version held back until somebody has seen the diff.

    datasets/<dataset id>/.staged-<job id>.parquet   the rows that wait
    datasets/<dataset id>/.differs-<job id>.*        each row that differs from the newest version
    datasets/<dataset id>/.staged-<job id>.json      what they are, how they differ: written last

Knows: these files, what a job gave. Does not know: how a file is read (import_job), permissions:
`Datasets` asks for them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.clock import iso, utc_iso
from core.datasets.commits import Commits, checked_name
from core.datasets.diff import Diff
from core.datasets.files import STAGED, Column, Written
from core.datasets.import_job import DIFFERENCE
from core.datasets.locations import is_location, location_of
from core.datasets.mapping import ColumnMapping, fields_of
from core.datasets.table import Table
from core.datasets.uploads import drop_upload, readable, stamp
from core.errors import Conflict, Invalid, NotFound
from core.governance.audit import record
from core.governance.permissions import OWNER, Actor
from core.jobs.folder import JobFolder
from core.jobs.service import Jobs
from core.store.database import Row, Store
from core.store.files import inside, read_json, write_json

KIND = "dataset.import"
DIFFERS = ".differs-"
DIFF_FILES = (".parquet", ".json")


class Staging:
    """The imports of a workspace that are jobs."""

    def __init__(self, store: Store, commits: Commits, jobs: Jobs) -> None:
        self._store, self._commits, self._jobs = store, commits, jobs
        self._deciding = threading.Lock()  # two people may look at the same rows that wait

    def start(
        self,
        actor: Actor,
        path: Path | str,
        *,
        folders: Sequence[Path],
        dataset: str,
        mapping: ColumnMapping,
        options: Mapping[str, Any] | None,
        accept: bool,
        words: Mapping[str, str],
        password: str | None = None,
    ) -> str:
        """Queue the job; its id."""
        origin, shown, secret = self._origin(actor, path, folders, password)
        fields_of(mapping)
        known = self._there(dataset)
        newest = self._commits._newest(known["id"]) if known else None
        newest = self._plain(newest["id"]) if newest else None
        payload = {
            **origin,
            "filename": shown,
            "dataset": known["id"] if known else checked_name(dataset),
            "mapping": dict(mapping),
            "options": dict(options or {}),
            "accept": accept,
            "newest": newest,
            **words,
        }
        name = newest["label"].rsplit(" v", 1)[0] if newest else payload["dataset"]
        title = f"Import {shown} into {name}"
        return self._jobs.start(
            actor, KIND, title, payload, subject_id=known["id"] if known else None, secret=secret
        )

    def _origin(
        self, actor: Actor, path: Path | str, folders: Sequence[Path], password: str | None
    ) -> tuple[dict[str, Any], str, str | None]:
        """What a payload says of a source, how people read it, and what is not written down."""
        trusted = actor == OWNER
        if isinstance(path, str) and is_location(path):
            found = location_of(path, password=password, trusted=trusted)
            origin = {"location": found.to_dict(), "has_password": found.password is not None}
            return origin, found.shown, found.password
        file = readable(self._store.home, path, folders, trusted=trusted)
        return {"path": str(file), "stamp": stamp(file)}, file.name, None

    def finish(self, job_id: str, value: dict[str, Any], user_id: str) -> None:
        """A finisher: the first version of a dataset is committed, a further one waits."""
        asked = JobFolder(self._store.home / "jobs" / job_id).spec().payload
        dataset = str(asked["dataset"])
        there = self._there(dataset)
        if there is None or asked["accept"] or self._is_known(there["id"], value):
            self._commit(user_id, dataset, value, asked)
        else:
            self._stage(there["id"], job_id, value, asked, user_id)
        if "path" in asked:
            drop_upload(self._store.home, Path(asked["path"]))

    def outcome(self, job_id: str) -> dict[str, Any]:
        """Of an import that has succeeded: `staged`, or the `version` that it became or was
        already (`is_new` False); both None while it has not, or when it was discarded."""
        if self._store.get("jobs", job_id, noun="job")["kind"] != KIND:
            raise Invalid("This job is no import.", field="job_id")
        folder = JobFolder(self._store.home / "jobs" / job_id)
        result = folder.result() or {}
        if result.get("state") != "succeeded":
            return {"staged": None, "version": None}
        if (staged := self._find(job_id)) is not None:
            return {"staged": read_json(staged), "version": None}
        dataset = str(folder.spec().payload["dataset"])
        row = self._store.row(
            "SELECT v.id FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_id"
            " WHERE v.content_hash = $hash AND (d.id = $dataset OR lower(d.name) = lower($dataset))"
            " ORDER BY d.archived_at IS NOT NULL, v.number DESC LIMIT 1",
            {"hash": result["value"]["written"]["content_hash"], "dataset": dataset},
        )
        if row is None:
            return {"staged": None, "version": None}
        version = self._commits._one(row["id"])
        is_new = iso(version["created_at"]) >= folder.spec().created_at
        return {"staged": None, "version": {**version, "is_new": is_new}}

    def waiting(self, dataset_id: str) -> list[Row]:
        """What waits for this dataset, oldest first."""
        found = [read_json(path) for path in self._folder(dataset_id).glob(f"{STAGED}*.json")]
        return sorted(filter(None, found), key=lambda staged: str(staged["job_id"]))

    def accept(self, actor: Actor, job_id: str) -> Row:
        """Make what waits a version; NotFound when nothing does."""
        with self._deciding:
            path = self._existing(job_id)
            staged = read_json(path)
            version = self._commit(actor, staged["dataset_id"], staged["value"], staged["asked"])
            self._drop(path, job_id)
        return version

    def discard(self, actor: Actor, job_id: str) -> None:
        """Remove what waits; no version has it."""
        with self._deciding:
            path = self._mark(job_id)
            staged = read_json(path)
            self._drop(path, job_id)
        record(self._store, actor, "datasets.discard", staged["dataset_id"], job_id=job_id)

    def rows(self, job_id: str, page: Mapping[str, Any]) -> list[Row]:
        """A page of the rows in which what waits differs, as `Diff.rows` has them."""
        path = self._existing(job_id)
        staged = read_json(path)
        if staged["diff"] is None:
            return []
        against = staged["diff"]["against"]
        old = Table.of({**against, "path": inside(self._store.home, *against["path"].split("/"))})
        new = Table.of({**staged, "path": path.with_suffix(".parquet")})
        found = Diff.load(path.parent / f"{DIFFERS}{job_id}", old, new)
        return found.rows(**page) if found else []

    def _drop(self, path: Path, job_id: str) -> None:
        """The mark first: what has none is nothing that waits."""
        differs = [path.parent / f"{DIFFERS}{job_id}{suffix}" for suffix in DIFF_FILES]
        for one in (path, path.with_suffix(".parquet"), *differs):
            one.unlink(missing_ok=True)
        self._store.revision += 1

    def _commit(self, who: Actor | str, dataset: str, value: Row, asked: Row) -> Row:
        return self._commits.commit_written(
            who,
            dataset,
            Written.of(value["written"]),
            [Column(**column) for column in value["columns"]],
            source=value["source"],
            message=asked["message"],
            recipe=value["recipe"],
            report=value["report"],
            description=asked["description"],
            license=asked["license"],
        )

    def _stage(self, dataset_id: str, job_id: str, value: Row, asked: Row, user_id: str) -> None:
        path = self._folder(dataset_id) / f"{STAGED}{job_id}.json"
        rows, written = path.with_suffix(".parquet"), Path(value["written"]["path"])
        if path.exists():
            return  # a second call after a crash
        if written.exists():
            os.replace(written, rows)
        if not rows.exists():
            raise NotFound("The rows that the import wrote are gone.", hint="Import anew.")
        for suffix in DIFF_FILES:
            kept = self._store.home / "jobs" / job_id / f"{DIFFERENCE}{suffix}"
            if kept.exists():
                os.replace(kept, path.parent / f"{DIFFERS}{job_id}{suffix}")
        held = {**value, "written": {**value["written"], "path": str(rows)}}
        write_json(
            path,
            {
                "job_id": job_id,
                "dataset_id": dataset_id,
                "created_by": user_id,
                "created_at": utc_iso(),
                "row_count": value["written"]["row_count"],
                "columns": value["columns"],
                "source": value["source"],
                "message": asked["message"],
                "diff": value["diff"],
                "value": {name: held[name] for name in held if name != "diff"},
                "asked": {name: asked[name] for name in ("message", "description", "license")},
            },
        )
        self._store.revision += 1  # what pages have cached of this dataset is out of date

    def _there(self, dataset: str) -> Row | None:
        """The dataset of that id or name, if it is there."""
        found = self._store.row("SELECT id FROM datasets WHERE id = $id", {"id": dataset})
        return found or self._commits._named(" ".join(dataset.split()))

    def _is_known(self, dataset_id: str, value: Row) -> bool:
        return bool(
            self._store.row(
                "SELECT 1 FROM dataset_versions WHERE dataset_id = $id AND content_hash = $hash",
                {"id": dataset_id, "hash": value["written"]["content_hash"]},
            )
        )

    def _plain(self, version_id: str) -> Row:
        """A version as a payload has it: the path relative to the home."""
        version = self._commits._one(version_id)
        path = Path(version["path"]).relative_to(self._store.home.resolve())
        names = ("id", "label", "number", "columns", "row_count")
        return {**{name: version[name] for name in names}, "path": str(path)}

    def _mark(self, job_id: str) -> Path:
        path = self._find(job_id)
        if path is None:
            raise NotFound("No import waits under this id.", hint="It was accepted or discarded.")
        return path

    def _existing(self, job_id: str) -> Path:
        path = self._mark(job_id)
        if not path.with_suffix(".parquet").exists() and not self._is_known(
            path.parent.name, read_json(path)["value"]
        ):
            raise Conflict("The rows that wait are gone.", hint="Discard them and import anew.")
        return path

    def _find(self, job_id: str) -> Path | None:
        name = f"{STAGED}{job_id}.json"
        found = (self._store.home / "datasets").glob(f"*/{STAGED}*.json")
        return next((path for path in found if path.name == name), None)

    def _folder(self, dataset_id: str) -> Path:
        return self._commits._folder(dataset_id)
