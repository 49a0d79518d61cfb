"""How a written file becomes a version: the rows of the database and the name of the file together.

Knows: the tables datasets and dataset_versions, manifests, numbers. Does not know: where the rows
of a file came from, or who may write them: whoever calls has asked.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.clock import iso, utc_now
from core.datasets.files import UNFINISHED, Column, Written, disk_full, is_disk_full
from core.datasets.sweeping import sweep
from core.errors import Conflict, Invalid, NotFound
from core.governance.audit import record
from core.governance.permissions import Actor
from core.ids import new_id
from core.store.database import Row, Store, insert_row
from core.store.files import inside, read_json, write_json

log = logging.getLogger(__name__)

VERSION = """
    SELECT v.*, d.name AS dataset_name, p.number AS parent_number,
        coalesce((SELECT list(t.tag ORDER BY t.tag) FROM dataset_tags t
                  WHERE t.version_id = v.id), []) AS tags
    FROM dataset_versions v JOIN datasets d ON d.id = v.dataset_id
    LEFT JOIN dataset_versions p ON p.id = v.parent_id
"""


class Commits:
    """What `Datasets` stands on: every new version, from an import or a recipe, passes here."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._importing = threading.RLock()  # one version is made at a time, whoever asks
        self.on_version: list[Callable[[Row], None]] = []
        """Called with each new version once it is there; what they raise is logged."""
        for torn in (store.home / "datasets").glob(f"*/{UNFINISHED}*"):
            if torn.is_dir():  # what an erasure had on the disk
                shutil.rmtree(torn, ignore_errors=True)
            else:
                torn.unlink(missing_ok=True)  # an import that a crash cut off
        sweep(store)

    def commit_written(
        self,
        who: Actor | str,
        dataset: str,
        written: Written,
        columns: Sequence[Column],
        *,
        source: str,
        parent_id: str | None = None,
        message: str = "",
        recipe: Mapping[str, Any] | None = None,
        report: Mapping[str, Any] | None = None,
        description: str = "",
        license: str = "",
        verb: str = "datasets.import_rows",
    ) -> Row:
        """Make a written file a version of `dataset`, an id or a name; a new name makes a dataset.

        For finishers of jobs and for services: it asks for no permission. `who` is an actor or a
        user's id. The file may lie anywhere in the home. Content that is a version of the dataset
        already adds nothing: that version comes back with `is_new` False, so a second call after a
        crash is harmless. `parent_id` is the newest version when it is left out. `verb` is what
        the audit log calls it. NotFound when the file is gone and its content is no version;
        whatever fails, neither file nor row stays without the other.
        """
        actor = who if isinstance(who, Actor) else Actor(who, who, "")
        with self._importing:
            dataset_id, header = self._destination(dataset, written)
            folder = self._folder(dataset_id)
            known = self._store.row(
                "SELECT id FROM dataset_versions WHERE dataset_id = $id AND content_hash = $hash"
                " ORDER BY number DESC LIMIT 1",
                {"id": dataset_id, "hash": written.content_hash},
            )
            if known:
                _keep(written, folder)  # the same content; heals a file that was lost
                return {**self._one(known["id"]), "is_new": False}
            version: Row = {
                "id": new_id("dsversion"),
                "dataset_id": dataset_id,
                "parent_id": parent_id,
                "content_hash": written.content_hash,
                "row_count": written.row_count,
                "columns": json.dumps([column.to_dict() for column in columns]),
                "source": source,
                "message": message.strip(),
                "recipe": None if recipe is None else json.dumps(recipe, ensure_ascii=False),
                "report": None if report is None else json.dumps(report, ensure_ascii=False),
                "created_by": actor.id,
                "created_at": utc_now(),
            }
            if header is not None:
                header |= {"description": description.strip(), "license": license}
            self._commit(version, header, written)
        made = self._one(version["id"])
        record(self._store, actor, verb, made["id"], name=made["dataset_name"],
               number=made["number"], row_count=written.row_count)  # fmt: skip
        self._tell(made)
        return {**made, "is_new": True}

    def _tell(self, version: Row) -> None:
        for listener in self.on_version:
            try:
                listener(version)
            except Exception:  # the version is made: what a listener does wrong undoes nothing
                log.exception("a listener failed on %s", version["label"])

    def commit_again(
        self, actor: Actor, version_id: str, *, source: str, message: str, report: Mapping[str, Any]
    ) -> Row:
        """A new version at the head with the content of an earlier one, whose file it shares.

        For a service that has asked for the permission and writes the audit log. The content is
        what the earlier one has by now: an erasure may have come between. NotFound where its file
        is gone.
        """
        with self._importing:
            return self._again(actor, self._one(version_id), source, message, report)

    def _again(
        self, actor: Actor, version: Row, source: str, message: str, report: Mapping[str, Any]
    ) -> Row:
        path = present(version)
        again = {
            **{name: version[name] for name in ("dataset_id", "content_hash", "row_count")},
            "id": new_id("dsversion"),
            "columns": json.dumps(version["columns"]),
            "source": source,
            "message": message.strip(),
            "recipe": None,
            "report": json.dumps(report, ensure_ascii=False),
            "created_by": actor.id,
            "created_at": utc_now(),
        }
        manifest = path.with_suffix(".json")
        sha256 = (read_json(manifest) or {}).get("sha256")
        newest = self._newest(version["dataset_id"])
        again["number"] = newest["number"] + 1 if newest else 1
        again["parent_id"] = newest["id"] if newest else None
        with self._store.transaction() as connection:
            insert_row(connection, "dataset_versions", again)
            write_json(manifest, _manifest(again, sha256))  # where it fails, there is no row
        return self._one(again["id"])

    @contextlib.contextmanager
    def _making(self) -> Iterator[None]:
        """Hold off every new version while the block runs: for whoever rewrites files."""
        with self._importing:
            yield

    def describe(self, version_id: str, sha256: str | None) -> None:
        """Write the manifest of a version anew, beside the file that it has now."""
        row = self._store.row("SELECT * FROM dataset_versions WHERE id = $id", {"id": version_id})
        if row is not None:
            path = self._folder(row["dataset_id"]) / f"{row['content_hash']}.json"
            write_json(path, _manifest(row, sha256))

    def _destination(self, dataset: str, written: Written) -> tuple[str, Row | None]:
        """The dataset's id, and the start of its row when it has to be made."""
        found = self._store.row("SELECT id FROM datasets WHERE id = $id", {"id": dataset})
        if found is None:
            name = checked_name(dataset)
            found = self._named(name)
        if found is not None:
            return str(found["id"]), None
        folder = written.path.parent  # an import has reserved the id by the folder that it wrote in
        if folder.parent == self._store.home / "datasets":
            return folder.name, {"name": name}
        return new_id("dataset"), {"name": name}

    def _named(self, name: str) -> Row | None:
        return self._store.row(
            "SELECT id FROM datasets WHERE lower(name) = lower($name) AND archived_at IS NULL",
            {"name": name},
        )

    def _commit(self, version: Row, header: Row | None, written: Written) -> None:
        """Give the file its name and the database its rows; neither stays without the other."""
        dataset_id = version["dataset_id"]
        newest = self._newest(dataset_id)
        version["number"] = newest["number"] + 1 if newest else 1
        if version["parent_id"] is None and newest:
            version["parent_id"] = newest["id"]
        folder = self._folder(dataset_id)
        try:
            path = _keep(written, folder)
            write_json(path.with_suffix(".json"), _manifest(version, written.sha256))
            with self._store.transaction() as connection:
                if header is not None:
                    self._refuse_taken(header["name"])
                    made = {key: version[key] for key in ("created_by", "created_at")}
                    insert_row(connection, "datasets", {"id": dataset_id, **header, **made})
                insert_row(connection, "dataset_versions", version)
        except BaseException as error:
            written.drop()
            _drop(folder, written)
            if is_disk_full(error):
                raise disk_full() from error
            raise

    def _one(self, version_id: str) -> Row:
        row = self._store.row(VERSION + " WHERE v.id = $id", {"id": version_id})
        if row is None:
            raise NotFound(f"There is no dataset version with the id {version_id!r}.")
        return self._version(row)

    def _newest(self, dataset_id: str) -> Row | None:
        return self._store.row(
            "SELECT id, number FROM dataset_versions WHERE dataset_id = $id"
            " ORDER BY number DESC LIMIT 1",
            {"id": dataset_id},
        )

    def _version(self, row: Row) -> Row:
        columns = json.loads(row["columns"])
        path = inside(self._folder(row["dataset_id"]), f"{row['content_hash']}.parquet")
        return {
            **row,
            "label": f"{row['dataset_name']} v{row['number']}",
            "columns": columns,
            "inputs": [c["name"] for c in columns if c["role"] == "input"],
            "expected": next((c["name"] for c in columns if c["role"] == "expected"), None),
            "recipe": json.loads(row["recipe"]) if row["recipe"] else None,
            "report": json.loads(row["report"]) if row["report"] else None,
            "path": str(path),
        }

    def _folder(self, dataset_id: str) -> Path:
        return self._store.home / "datasets" / dataset_id

    def _refuse_taken(self, name: str, but: str = "") -> None:
        taken = self._store.row(
            "SELECT 1 FROM datasets WHERE lower(name) = lower($name) AND id <> $but"
            " AND archived_at IS NULL",
            {"name": name, "but": but},
        )
        if taken:
            raise Conflict(f"There is a dataset named {name!r} already.", hint="Choose another.")


def checked_name(name: str) -> str:
    """A dataset's name with its spaces in order; Invalid where it cannot be one."""
    name = " ".join(name.split())
    if not 1 <= len(name) <= 120 or "@" in name:
        raise Invalid(
            "A dataset needs a name of 1 to 120 characters without @.",
            field="name",
            hint="The @ is kept for versions, as in 'tickets@2'.",
        )
    return name


def present(version: Row) -> Path:
    """The Parquet file of a version; NotFound when it is gone."""
    path = Path(version["path"])
    if not path.exists():
        raise NotFound(
            f"The file of {version['label']} is missing: {path.name}.",
            hint="Import the same file again: the same content brings the version back.",
        )
    return path


def _keep(written: Written, folder: Path) -> Path:
    """Move the file to the name that its content gives it; a second time it is there already."""
    final = folder / f"{written.content_hash}.parquet"
    if not written.path.exists():
        if final.exists():
            return final
        raise NotFound(
            f"The file that was written is gone: {written.path.name}.", hint="Start the job again."
        )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(written.path, final)
    except OSError:  # another file system: first whole under a name that is swept after a crash
        part = folder / f"{UNFINISHED}{written.content_hash}.parquet"
        shutil.copyfile(written.path, part)
        os.replace(part, final)
        written.path.unlink()
    with contextlib.suppress(OSError):
        written.path.parent.rmdir()  # where nothing else is: another import made the dataset
    return final


def _drop(folder: Path, written: Written) -> None:
    final = folder / f"{written.content_hash}.parquet"
    for path in (final, final.with_suffix(".json")):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _manifest(version: Row, sha256: str | None) -> dict[str, Any]:
    """What stands beside the Parquet file, so that the folder can be understood on its own."""
    plain = {name: version[name] for name in ("columns", "recipe", "report")}
    return {
        **version,
        **{name: json.loads(value) if value else None for name, value in plain.items()},
        "created_at": iso(version["created_at"]),
        "sha256": sha256,
    }
