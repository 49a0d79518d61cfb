"""Erasure: a person taken out of a whole workspace, and datasets deleted whose time is over.

    1  what is still on its way into the database is read in
    2  every place is looked through; a job that holds it and runs: refused
    3  certificates/.pending-*: which rows go, so that a second attempt after a crash knows
    4  tables, then embeddings and pseudonyms, then the versions' files, then all other files
    5  the database is written anew: freed blocks keep nothing
    6  everything is looked through again; the certificate

Each step finds what it has to do by looking: killed in the middle, a second call completes it.

Knows: the order, certificates, who may. Does not know: how a place is searched or cleared.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.clock import utc_iso
from core.curation.pseudonyms import forget_people, people_like
from core.datasets.service import Datasets
from core.erasure import certificate as certificates
from core.erasure import files, snapshots, tables
from core.erasure.files import Held
from core.erasure.identifier import Identifier
from core.erasure.snapshots import Snapshot
from core.erasure.tables import TEXTS, Found, Gone
from core.errors import Conflict
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.ids import new_id
from core.jobs.folder import JobFolder
from core.store.database import Row, Store
from core.store.files import read_json, write_json
from core.store.ingest import Ingest
from core.store.spool import SpoolWriter
from core.training.folder import RunFolder

ROWS, MANIFESTS, PSEUDONYMS = "Dataset rows", "Manifests of versions", "Pseudonyms"
PLACES = (
    ROWS, MANIFESTS, *dict.fromkeys(place for place, _ in TEXTS.values()), PSEUDONYMS, "Jobs",
    "Exports", "Uploads", "Imports that wait", "Findings and comparisons", "Caches",
    "Logs and other files",
)  # fmt: skip
Rows = list[Row]


@dataclass(slots=True)
class Survey:
    """What was found where."""

    found: dict[str, Found] = field(default_factory=lambda: {name: Found() for name in PLACES})
    rows: dict[str, tuple[Snapshot, list[str]]] = field(default_factory=dict)
    """Content hash and dataset -> the file and the row ids in it."""
    held: list[Held] = field(default_factory=list)
    orphans: list[Path] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """By place; those that have something."""
        return {name: found.count for name, found in self.found.items() if found.count}


class Erasure:
    """For admins; everything here is in the audit log, the identifier itself nowhere."""

    noun = "erasure"

    def __init__(
        self, store: Store, datasets: Datasets, ingest: Ingest, spool: SpoolWriter
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._ingest = ingest
        self._spool = spool
        self._erasing = threading.Lock()

    @action
    def find(self, actor: Actor, identifier: str) -> dict[str, Any]:
        """Where the identifier is, changing nothing: `kind`, `total`, `places` (place, count, and
        masked `examples`), `versions` (label, version_ids, rows) and `running`: jobs that have to
        end first (id, title). Invalid when it is too short to mean one person."""
        wanted = Identifier.parse(identifier)
        self._read_in()
        survey = self._survey(wanted)
        hashed = certificates.keyed_hash(self._store.home, wanted)
        record(self._store, actor, "erasure.find", hashed)
        return {
            "kind": wanted.kind,
            "total": sum(survey.counts().values()),
            "places": [
                {"place": name, "count": found.count, "examples": found.examples}
                for name, found in survey.found.items()
                if found.count
            ],
            "versions": _versions(survey),
            "running": self._running(survey),
            "begun": certificates.pending_path(self._store.home, hashed).exists(),
        }

    @action
    def erase(self, actor: Actor, identifier: str, reason: str = "") -> dict[str, Any]:
        """Take the identifier and every row that has it out of the workspace; the certificate.

        Conflict while a job runs that reads or holds it. A second call after a crash completes the
        first. There is no way back.
        """
        wanted = Identifier.parse(identifier)
        with self._erasing, self._datasets._making():
            self._read_in()
            survey = self._survey(wanted)
            if running := self._running(survey):
                titles = ", ".join(f"{job['title']!r}" for job in running[:5])
                raise Conflict(
                    f"A job that runs reads or holds what is to be erased: {titles}.",
                    hint="Cancel it on the Jobs page or wait for its end, then erase.",
                )
            hashed = certificates.keyed_hash(self._store.home, wanted)
            begun = self._begin(hashed, survey)
            self._clear(wanted, survey, begun)
            made = self._certificate(
                actor,
                begun,
                {
                    "kind": "person",
                    "identifier_kind": wanted.kind,
                    "identifier_hash": hashed,
                    "reason": wanted.mask(reason.strip()),
                },
                self._verified(wanted),
            )
            certificates.pending_path(self._store.home, hashed).unlink(missing_ok=True)
        record(self._store, actor, "erasure.erase", made["id"], found=made["found"],
               identifier_hash=hashed, reason=made["reason"])  # fmt: skip
        return made

    @action
    def delete_dataset(self, actor: Actor, dataset_id: str, reason: str = "") -> dict[str, Any]:
        """Delete the rows of every version of a dataset, and archive it; the certificate.

        What was computed of them and exported goes too, and the texts of runs over them; versions,
        runs, scores and timings stay as a record. Conflict while a job works on it.
        """
        dataset = self._datasets.get(actor, dataset_id)
        with self._erasing, self._datasets._making():
            self._read_in()
            ids = [row["id"] for row in self._datasets.versions(actor, dataset_id)]
            survey = Survey()
            for snapshot in snapshots.snapshots(self._store):
                if snapshot.dataset_id == dataset_id:
                    survey.rows[snapshot.content_hash] = (snapshot, [])
                    survey.found[ROWS].count += snapshot.table.count()
            if running := self._running(survey):
                raise Conflict(
                    f"A job works on this dataset: {running[0]['title']!r}.",
                    hint="Cancel it on the Jobs page or wait for its end.",
                )
            begun = {"at": utc_iso(), "found": survey.counts(), "versions": [
                {"label": s.label, "version_ids": list(s.version_ids), "rows": s.table.count()}
                for s, _ in survey.rows.values()
            ]}  # fmt: skip
            made = {"id": new_id("certificate")}
            self._delete(dataset_id, ids, survey, made["id"])
            checked = {"checked_at": utc_iso(), "found": self._left(dataset_id, ids)}
            told = {"kind": "dataset", "dataset_id": dataset_id, "dataset": dataset["name"],
                    "reason": reason.strip()}  # fmt: skip
            made = self._certificate(actor, begun, {**made, **told}, checked)
        if dataset["archived_at"] is None:
            self._datasets.archive(actor, dataset_id)
        record(self._store, actor, "erasure.delete_dataset", dataset_id, certificate=made["id"],
               reason=reason.strip())  # fmt: skip
        return made

    @action
    def certificates(self, actor: Actor) -> Rows:
        """Every certificate, newest first."""
        return certificates.listed(self._store.home)

    @action
    def certificate(self, actor: Actor, certificate_id: str) -> Row:
        """One certificate with its `markdown`."""
        return certificates.read(self._store.home, certificate_id)

    def _read_in(self) -> None:
        self._spool.close()  # the next write begins a new segment; the old one is read and removed
        self._ingest.drain()

    def _survey(self, wanted: Identifier) -> Survey:
        survey = Survey()
        for snapshot in snapshots.snapshots(self._store):
            ids, label = [], wanted.mask(snapshot.label)
            for hit in snapshots.hits(snapshot.table, wanted):
                ids.append(hit.row_id)
                survey.found[ROWS].add(f"{label}: {wanted.example(hit.text)}")
            if ids:
                key = f"{snapshot.dataset_id}/{snapshot.content_hash}"
                survey.rows[key] = (replace(snapshot, label=label), ids)
            if files.has(snapshot.path.with_suffix(".json"), wanted):
                survey.found[MANIFESTS].add(f"The manifest of {label}")
        for path in snapshots.orphans(self._store):
            if files.has(path, wanted):
                survey.orphans.append(path)
                survey.found[ROWS].add("A file that no version has any more")
        tables.look(self._store, wanted, survey.found)
        for text in people_like(self._store.home, wanted.found):
            survey.found[PSEUDONYMS].add(wanted.example(text))
        survey.held = list(files.held(self._store.home, wanted))
        for held in survey.held:
            name = held.unit.relative_to(self._store.home).as_posix()
            survey.found[held.place].add(wanted.mask(name))
        return survey

    def _running(self, survey: Survey) -> Rows:
        """Jobs that have not ended and hold it, or work on a version that has it."""
        rows = self._store.rows(
            "SELECT id, title FROM jobs WHERE state IN ('queued', 'running', 'interrupted')"
        )
        holding = {held.unit.name for held in survey.held if held.place == "Jobs"}
        names = _names(survey)
        uploads = {held.unit.name for held in survey.held if held.place == "Uploads"}
        found = []
        for row in rows:
            folder = JobFolder(self._store.home / "jobs" / row["id"])
            if not (folder.path / "spec.json").exists() or not self._lives(row["id"], folder):
                continue
            payload = json.dumps(folder.spec().payload)
            if row["id"] in holding or any(name in payload for name in names | uploads):
                found.append(row)
        return found

    def _lives(self, job_id: str, folder: JobFolder) -> bool:
        if folder.alive():
            return True
        row = self._store.get("jobs", job_id, noun="job")
        return row["state"] in ("queued", "running")

    def _begin(self, hashed: str, survey: Survey) -> dict[str, Any]:
        """Note which rows go, with what an attempt before this one has noted."""
        path = certificates.pending_path(self._store.home, hashed)
        before = read_json(path) or {"at": utc_iso(), "found": {}, "rows": {}, "versions": []}
        rows = {key: set(ids) for key, ids in before["rows"].items()}
        for snapshot, ids in survey.rows.values():
            rows.setdefault(snapshot.dataset_id, set()).update(ids)
        counts = survey.counts()
        begun = {
            "at": before["at"],
            "found": {
                place: max(counts.get(place, 0), before["found"].get(place, 0))
                for place in PLACES
                if place in counts or place in before["found"]
            },
            "rows": {key: sorted(ids) for key, ids in rows.items()},
            "versions": _merged(before["versions"], _versions(survey)),
        }
        write_json(path, begun, mode=0o600)
        return begun

    def _clear(self, wanted: Identifier, survey: Survey, begun: Mapping[str, Any]) -> None:
        home = self._store.home
        tables.clear(self._store, wanted, Gone(begun["rows"]))
        for snapshot, ids in survey.rows.values():
            snapshots.forget_embeddings(home, snapshots.texts_of(snapshot.table, ids))
        forget_people(home, wanted.found)
        names = _names(survey) | {
            version_id for row in begun["versions"] for version_id in row["version_ids"]
        }
        for snapshot, ids in survey.rows.values():
            snapshots.rewrite(
                self._store, self._datasets, snapshot, ids, {"reason": "a person was erased"}
            )
        for path in survey.orphans:
            snapshots.drop(path)
        for snapshot in snapshots.snapshots(self._store):
            manifest = snapshot.path.with_suffix(".json")
            if snapshot.dataset_id in begun["rows"] or files.has(manifest, wanted):
                sha256 = (read_json(manifest) or {}).get("sha256")
                for version_id in snapshot.version_ids:
                    self._datasets.describe(version_id, sha256)
        self._clear_files(wanted, survey.held, names)
        self._store.compact()

    def _clear_files(self, wanted: Identifier | None, found: list[Held], names: set[str]) -> None:
        home = self._store.home
        for held in found:
            if wanted is not None and held.unit.suffix in (".ndjson", ".jsonl", ".csv"):
                files.drop_lines(held.unit, wanted)
            else:
                files.clear(home, held)
        for export in files.exports_of(home, names):
            files.clear(home, Held("Exports", export, export))
        for spec in (home / "jobs").glob("*/spec.json"):
            folder = JobFolder(spec.parent)
            if not folder.alive() and any(name in spec.read_text() for name in names):
                files.clear(home, Held("Jobs", spec.parent, spec))

    def _delete(self, dataset_id: str, ids: list[str], survey: Survey, made: str) -> None:
        """Texts of runs first, then the files: what is left after a crash is found again."""
        tables.clear_runs(self._store, ids)
        for snapshot, _ in survey.rows.values():
            texts = snapshots.texts_of(snapshot.table, None)
            snapshots.forget_embeddings(self._store.home, texts)
        for snapshot, _ in survey.rows.values():
            snapshots.drop(snapshot.path)
        folder = self._store.home / "datasets" / dataset_id
        staged = [Held("Imports that wait", path, path) for path in folder.glob(".staged-*.json")]
        self._clear_files(None, staged, {*ids, *(s.content_hash for s, _ in survey.rows.values())})
        for row in self._store.rows(
            "SELECT id FROM finetunes WHERE list_contains($ids::VARCHAR[], dataset_version_id)",
            {"ids": ids},
        ):
            RunFolder(self._store.home / "training" / row["id"]).forget_rows()
        told = {"deleted": {"at": utc_iso(), "certificate": made}}
        given = {"id": dataset_id, "report": json.dumps(told)}
        with self._store.transaction() as connection:  # last: until then the dataset is overdue
            connection.execute(
                "UPDATE dataset_versions SET recipe = NULL, report = $report"
                " WHERE dataset_id = $id",
                given,
            )
            connection.execute(
                "DELETE FROM finding_reviews WHERE dataset_id = $id", {"id": dataset_id}
            )
            connection.execute(
                "DELETE FROM pending_recipes WHERE list_contains($ids::VARCHAR[], version_id)",
                {"ids": ids},
            )
        self._store.compact()

    def _left(self, dataset_id: str, ids: list[str]) -> dict[str, int]:
        """What is there still of a dataset that was deleted, by place."""
        there = [s for s in snapshots.snapshots(self._store) if s.dataset_id == dataset_id]
        counts = {
            ROWS: sum(snapshot.table.count() for snapshot in there),
            tables.RESULTS: tables.uncleared(self._store, ids),
            "Exports": len(files.exports_of(self._store.home, set(ids))),
        }
        return {place: count for place, count in counts.items() if count}

    def _verified(self, wanted: Identifier) -> dict[str, Any]:
        counts = self._survey(wanted).counts()
        return {
            "checked_at": utc_iso(),
            "found": counts,
            "raw_files": [wanted.mask(name) for name in files.raw(self._store.home, wanted)],
        }

    def _certificate(
        self,
        actor: Actor,
        begun: Mapping[str, Any],
        told: Mapping[str, Any],
        checked: Mapping[str, Any],
    ) -> dict[str, Any]:
        made = {
            "id": new_id("certificate"),
            **told,
            "actor": {"id": actor.id, "name": actor.name},
            "begun_at": begun["at"],
            "completed_at": utc_iso(),
            "found": begun["found"],
            "versions": begun["versions"],
            "verification": dict(checked),
        }
        certificates.write(self._store.home, made)
        return made


def _names(survey: Survey) -> set[str]:
    """What a job's payload calls the versions that have it."""
    return {
        name
        for snapshot, _ in survey.rows.values()
        for name in (snapshot.content_hash, *snapshot.version_ids)
    }


def _versions(survey: Survey) -> Rows:
    return [
        {"label": snapshot.label, "version_ids": list(snapshot.version_ids), "rows": len(ids)}
        for snapshot, ids in survey.rows.values()
    ]


def _merged(before: Rows, now: Rows) -> Rows:
    """By versions; what an attempt that was cut off has noted stays."""
    found = {tuple(row["version_ids"]): row for row in [*now, *before]}
    return list(found.values())
