"""Datasets and their versions: imported whole or not at all, immutable, addressed by content.

Knows: the tables datasets and dataset_versions. Does not know: prompts, models, runs, Streamlit.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from core.clock import utc_now
from core.datasets import examples as rows_of
from core.datasets.batches import size_of
from core.datasets.commits import VERSION, Commits, checked_name, present
from core.datasets.examples import Example
from core.datasets.files import Column
from core.datasets.formats.chat import detect_chat
from core.datasets.hints import hints
from core.datasets.importing import format_options, import_source
from core.datasets.locations import is_location, location_of, open_location
from core.datasets.mapping import ColumnMapping, fields_of, guess
from core.datasets.readers import Source, open_source
from core.datasets.samples import all_samples, sample
from core.datasets.scan import head, scan
from core.datasets.staging import Staging
from core.datasets.uploads import ANYWHERE, keep_upload, readable
from core.datasets.values import TEXT, shown
from core.errors import NotFound
from core.governance.audit import record
from core.governance.permissions import OWNER, PAGES, Actor, action, permits
from core.ids import new_id
from core.jobs.service import Jobs
from core.store.database import Row, Store

Rows = list[Row]  # inside the class `list` is the method
Examples = list[Example]
Columns = list[Column]
Texts = list[str]
Options = Mapping[str, Any] | None


class Datasets(Commits):
    """The datasets of a workspace; versions live under `home/datasets`."""

    noun = "datasets"

    def __init__(
        self, store: Store, jobs: Jobs | None = None, *, import_folders: Sequence[Path] = ()
    ) -> None:
        super().__init__(store)
        self._import_folders = tuple(import_folders)
        self._jobs = jobs or Jobs(store)
        self._staging = Staging(store, self, self._jobs)

    @contextlib.contextmanager
    def _making(self) -> Iterator[None]:
        """Hold off every new version and every job that has not begun while the block runs."""
        with self._jobs._held(), super()._making():
            yield

    @action
    def list(
        self, actor: Actor, *, search: str = "", archived: bool = False, limit: int = 500
    ) -> Rows:
        """Last changed first, with `version_count`, `newest_version_id`, `row_count`, `columns`.

        `search` takes words, all of which have to be in the name or the description.
        """
        found = self._store.rows(
            """
            WITH newest AS (
                SELECT * FROM dataset_versions
                QUALIFY row_number() OVER (PARTITION BY dataset_id ORDER BY number DESC) = 1
            )
            SELECT d.*, n.number AS version_count, n.id AS newest_version_id, n.row_count,
                n.columns, n.created_at AS updated_at
            FROM datasets d JOIN newest n ON n.dataset_id = d.id
            WHERE (d.archived_at IS NOT NULL) = $archived
              AND len(list_filter($words::VARCHAR[],
                  lambda w: NOT contains(lower(d.name || chr(10) || d.description), w))) = 0
            ORDER BY updated_at DESC, d.id DESC LIMIT $limit
            """,
            {"archived": archived, "words": search.lower().split(), "limit": limit},
        )
        return [{**row, "columns": json.loads(row["columns"])} for row in found]

    @action
    def get(self, actor: Actor, dataset_id: str) -> Row:
        """One dataset, with `version_count` and `newest_version_id`."""
        row = self._store.get("datasets", dataset_id, noun="dataset")
        newest = self._newest(dataset_id)
        row["version_count"] = newest["number"] if newest else 0
        row["newest_version_id"] = newest["id"] if newest else None
        return row

    @action
    def preview(
        self,
        actor: Actor,
        filename: str,
        data: bytes | Path | str,
        *,
        mapping: ColumnMapping | None = None,
        options: Options = None,
        most_bytes: int = 0,
        password: str | None = None,
    ) -> dict[str, Any]:
        """What an import would do, changing nothing.

        Returns `filename`, `format`, `columns` (name and type), `rows` (the first 50 good ones),
        `row_count`, `mapping` (the one given, or a guess: column -> role, name, optional),
        `errors` (Fault records of the whole file, the first 10,000) and `error_count`; `notes`
        and `choices` of the format, `bytes`; `hints` (column -> what its values suggest) and
        `chat` (the ChatFormat that the rows seem to be in, for the option `chat`). With
        `most_bytes` a larger file is looked into that far only: then `complete` is False, and the
        counts are of that part. `options` as for `import_rows`; `data` that is text is a path or
        an address as for `start_import`. Raises Invalid where the file as a whole cannot be read.
        """
        source = self._opened(actor, filename, data, options, password)
        seen, rows = head(source)
        chosen = guess(seen, rows) if mapping is None and seen else mapping or {}
        fields = fields_of(chosen) if chosen else ()
        found, complete = scan(source, fields, most_bytes=most_bytes)
        columns = list(dict.fromkeys([*seen, *found.columns]))
        if mapping is None:  # JSONL: keys that the first rows did not have come as metadata
            names = guess(columns, []) if columns else {}
            late = {name: {**names[name], "role": "metadata"} for name in columns}
            chosen = {**late, **chosen}
        return {
            "filename": source.filename,
            "format": source.format,
            "columns": [{"name": name, "type": found.kinds.get(name, TEXT)} for name in columns],
            "rows": [{name: shown(row.get(name)) for name in columns} for row in rows],
            "row_count": found.row_count,
            "complete": complete,
            "bytes": size_of(source),
            "mapping": chosen,
            "errors": found.faults.listed,
            "error_count": found.faults.count,
            "notes": list(source.notes),
            "choices": {name: list(values) for name, values in source.choices.items()},
            "hints": hints(columns, rows),
            "chat": detect_chat(columns, rows) if "chat" not in source.details else None,
        }

    @action
    def import_rows(
        self,
        actor: Actor,
        *,
        name: str,
        filename: str,
        data: bytes | Path | str,
        mapping: ColumnMapping,
        options: Options = None,
        description: str = "",
        license: str = "",
        message: str = "",
        password: str | None = None,
    ) -> Row:
        """Import a file as a new version of the dataset of that name, which is made if need be.

        All rows or none: BadRows (an Invalid) carries `errors` for every bad row. Content that is
        a version of the dataset already adds nothing: that version comes back, `is_new` false.
        `data` is bytes, the path of a file, which is never held as a whole, or text as for
        `start_import`. `options` are those of `core.datasets.formats.OPTIONS`, and
        `repair_encoding`.
        """
        name = checked_name(name)
        source = self._opened(actor, filename, data, options, password)
        dataset = self._named(name)
        folder = self._folder(dataset["id"] if dataset else new_id("dataset"))
        try:
            found = import_source(source, mapping, folder, options=options)
        except BaseException:
            with contextlib.suppress(OSError):
                folder.parent.rmdir()  # the first import of a workspace: leave nothing of it
            raise
        return self.commit_written(
            actor,
            name,
            found.written,
            found.columns,
            source=found.source,
            message=message,
            recipe=found.recipe,
            report=found.report,
            description=description,
            license=license,
        )

    @action
    def keep_upload(self, actor: Actor, filename: str, file: BinaryIO | bytes) -> str:
        """Put an upload down on this machine, block by block, for `start_import`; its path."""
        return str(keep_upload(self._store.home, filename, file))

    @action
    def start_import(
        self,
        actor: Actor,
        path: str,
        *,
        dataset: str,
        mapping: ColumnMapping,
        options: Options = None,
        accept: bool = False,
        description: str = "",
        license: str = "",
        message: str = "",
        password: str | None = None,
    ) -> str:
        """Import a file or folder on the machine that Lathe runs on, as a job; the job's id.

        `path` is whole, and in one of `import_folders` or what `keep_upload` gave; the workspace,
        hidden files and files that do not end as data does are refused. Or it is an address:
        `postgresql://user@host/database`, of which the option `sql` gives the rows, and whose
        `password` is never written down; or `hf://owner/name`, a dataset on the hub. `dataset` is
        an id or a name. The first version of a new dataset is there when the job has succeeded; a
        further one waits with its diff for `accept` or `discard`, unless `accept` is given. A file
        is read in place and has to stay as it is until then.
        """
        words = {"description": description, "license": license, "message": message}
        return self._staging.start(
            actor, path, folders=self._folders(actor), dataset=dataset, mapping=mapping,
            options=options, accept=accept, words=words, password=password,
        )  # fmt: skip

    @action
    def import_folders(self, actor: Actor) -> Texts:
        """The folders whose files may be imported by their path; for admins, who set them, the
        root of this machine."""
        return [str(folder) for folder in self._folders(actor)]

    @action
    def import_outcome(self, actor: Actor, job_id: str) -> dict[str, Any]:
        """What came of an import job: `staged` (see there) or `version`, or both None."""
        return self._staging.outcome(job_id)

    @action
    def staged(self, actor: Actor, dataset_id: str) -> Rows:
        """New versions that wait to be accepted, oldest first: `job_id`, `created_by`,
        `created_at`, `row_count`, `columns`, `source`, `message`, and `diff`: what
        `core.datasets.diff.Diff.to_dict` has, and `against` (id, label, number of the version);
        None where that version's file is gone."""
        self._store.get("datasets", dataset_id, noun="dataset")
        return self._staging.waiting(dataset_id)

    @action
    def staged_rows(
        self,
        actor: Actor,
        job_id: str,
        *,
        kind: str | None = None,
        column: str | None = None,
        offset: int = 0,
        limit: int = 20,
    ) -> Rows:
        """A page of the rows in which staged rows differ, as `core.datasets.diff.Diff.rows`."""
        page = {"kind": kind, "column": column, "offset": offset, "limit": limit}
        return self._staging.rows(job_id, page)

    @action
    def accept(self, actor: Actor, job_id: str) -> Row:
        """Make the staged rows of an import the newest version; it comes back."""
        return self._staging.accept(actor, job_id)

    @action
    def discard(self, actor: Actor, job_id: str) -> None:
        """Remove the staged rows of an import; the versions stay as they are."""
        self._staging.discard(actor, job_id)

    def _finish(self, job_id: str, value: dict[str, Any], user_id: str) -> None:
        """After the job of an import: for the supervisor."""
        self._staging.finish(job_id, value, user_id)

    @action
    def import_sample(self, actor: Actor, sample_name: str) -> Row:
        """Import one of `samples`; a second time gives the version that is there."""
        chosen = sample(sample_name)
        return self.import_rows(
            actor,
            name=chosen.title,
            filename=chosen.path.name,
            data=chosen.path,
            mapping=chosen.mapping,
            description=chosen.description,
            license=chosen.license,
            message="The sample that comes with Lathe",
        )

    @action
    def samples(self, actor: Actor) -> Rows:
        """The samples: name, title, task, description, license, row_count, mapping, prompt."""
        return [item.to_dict() for item in all_samples()]

    @action
    def rename(
        self, actor: Actor, dataset_id: str, name: str, *, description: str | None = None
    ) -> None:
        """Change the name and, when given, the description; versions keep their ids."""
        self._store.get("datasets", dataset_id, noun="dataset")
        name = checked_name(name)
        with self._importing, self._store.transaction() as connection:
            self._refuse_taken(name, but=dataset_id)
            connection.execute(
                "UPDATE datasets SET name = $name,"
                " description = coalesce($description, description) WHERE id = $id",
                {"name": name, "description": description, "id": dataset_id},
            )
        record(self._store, actor, "datasets.rename", dataset_id, name=name)

    @action
    def archive(self, actor: Actor, dataset_id: str) -> None:
        """Take a dataset off the list; versions stay readable and it can be restored."""
        self._set_archived(dataset_id, archived=True)
        record(self._store, actor, "datasets.archive", dataset_id)

    @action
    def restore(self, actor: Actor, dataset_id: str) -> None:
        """Undo `archive`; Conflict when the name has been taken since."""
        self._set_archived(dataset_id, archived=False)
        record(self._store, actor, "datasets.restore", dataset_id)

    @action
    def versions(self, actor: Actor, dataset_id: str) -> Rows:
        """Every version of a dataset, newest first, as `version` gives them."""
        self._store.get("datasets", dataset_id, noun="dataset")
        found = self._store.rows(
            VERSION + " WHERE v.dataset_id = $id ORDER BY v.number DESC", {"id": dataset_id}
        )
        return [self._version(row) for row in found]

    @action
    def version(self, actor: Actor, version_id: str) -> Row:
        """One version with `dataset_name`, `label` ('Tickets v2'), `columns` as a list of name,
        role and type, `inputs` (names), `expected` (name or None), `parent_number`, `tags`, and
        `path`, the Parquet file."""
        return self._one(version_id)

    @action
    def find(self, actor: Actor, reference: str) -> Row:
        """The version that `name`, `name@2` or `name@approved` means: newest, number or tag."""
        name, _, which = reference.partition("@")
        dataset = self._named(name.strip())
        if dataset is None:
            raise NotFound(f"There is no dataset named {name.strip()!r}.")
        versions: Rows = self.versions(actor, dataset["id"])
        for version in versions:
            if which in ("", str(version["number"]), *version["tags"]):
                return version
        raise NotFound(f"The dataset {name.strip()!r} has no version {which!r}.")

    @action
    def page(
        self, actor: Actor, version_id: str, *, offset: int = 0, limit: int = 50, search: str = ""
    ) -> Rows:
        """Rows in order with `row_id`, `row_index` and the columns by name; nested values as
        lists and dicts. `search` takes words, all of which have to be somewhere in the row."""
        version = self.version(actor, version_id)
        path, columns = _file(version)
        return rows_of.page(self._store, path, columns, offset=offset, limit=limit, search=search)

    @action
    def count(self, actor: Actor, version_id: str, *, search: str = "") -> int:
        """How many rows `page` has for this search."""
        version = self.version(actor, version_id)
        if not search.split():
            return int(version["row_count"])
        path, columns = _file(version)
        return rows_of.count(self._store, path, columns, search=search)

    @action
    def examples(self, actor: Actor, version_id: str, *, limit: int | None = None) -> Examples:
        """The first `limit` rows, or all of them, sorted into inputs, expected and metadata."""
        path, columns = _file(self.version(actor, version_id))
        return rows_of.examples(self._store, path, columns, limit=limit)

    def _opened(
        self, actor: Actor, filename: str, data: Any, options: Options, password: str | None
    ) -> Source:
        """Bytes, a path, or what text means: an address, or a path that may be read."""
        asked, trusted = format_options(options), actor == OWNER
        if is_location(data):
            return open_location(location_of(data, password=password, trusted=trusted), asked)
        if isinstance(data, str):
            data = readable(self._store.home, data, self._folders(actor), trusted=trusted)
        return open_source(filename, data, options=asked)

    def _folders(self, actor: Actor) -> Sequence[Path]:
        return ANYWHERE if permits(actor.role, PAGES["settings"]) else self._import_folders

    def _set_archived(self, dataset_id: str, *, archived: bool) -> None:
        name = self._store.get("datasets", dataset_id, noun="dataset")["name"]
        with self._importing, self._store.transaction() as connection:
            if not archived:
                self._refuse_taken(name, but=dataset_id)
            connection.execute(
                "UPDATE datasets SET archived_at = $at WHERE id = $id",
                {"at": utc_now() if archived else None, "id": dataset_id},
            )


def _file(version: Row) -> tuple[Path, Columns]:
    """The Parquet file of a version and its columns; NotFound when the file is gone."""
    return present(version), [Column(**column) for column in version["columns"]]
