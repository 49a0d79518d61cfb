"""Curation: what is wrong with a version, looked for once by a job and read from its files.

Knows: what an analysis is asked, how far it is, findings, profile, signals. Does not know: how
anything is found, what is decided about a finding (`reviews`), what mends it (`steps`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.curation import analysis, reading
from core.curation.analysis import PARTS
from core.curation.detectors import DETECTORS
from core.curation.findings import KINDS, SEVERITIES, findings_folder
from core.curation.planning import Planning, tokenizer_of
from core.curation.reviews import decided_findings
from core.datasets.commits import present
from core.datasets.service import Datasets
from core.datasets.values import loaded
from core.errors import Invalid, NotFound
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.jobs.folder import JobFolder
from core.jobs.service import Jobs
from core.models.service import Models
from core.settings import Settings
from core.store.database import Row, Store
from core.store.files import read_json

KIND = "dataset.analyse"
Rows = list[Row]


class Curation:
    """Analyses of dataset versions and what they found."""

    noun = "curation"

    def __init__(
        self, store: Store, settings: Settings, jobs: Jobs, datasets: Datasets, models: Models
    ) -> None:
        self._store = store
        self.planning = Planning(store, settings, datasets, models)
        self._jobs = jobs
        self._datasets = datasets
        self._models = models

    @action
    def analyse(
        self,
        actor: Actor,
        version_id: str,
        *,
        detectors: Sequence[str] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        others: Sequence[str] | None = None,
        again: bool = False,
    ) -> str:
        """Start looking for faults as a job; its id, or the id of one that does the same already.

        `detectors` are names of PARTS, all but the map by default; `options` has settings by part,
        for `profile` and `signals` also `model_id`, whose tokenizer counts; `others` are the
        versions that leakage is looked for in, by default the newest of the other datasets. Parts
        that are done for the same options are not done again, unless `again`. Invalid names a part
        that does not exist.
        """
        payload = self.planning.payload(actor, version_id, detectors, options or {}, others)
        version = self._datasets.version(actor, version_id)
        for job in self._running(version_id):
            if self._job_folder(job["id"]).spec().payload == payload:
                return str(job["id"])
        for name in payload["parts"] if again else ():
            analysis.record_path(self._findings(version), name).unlink(missing_ok=True)
        job_id = self._jobs.start(
            actor, KIND, f"Faults in {version['label']}", payload, subject_id=version_id
        )
        record(self._store, actor, "curation.analyse", version_id, job_id=job_id,
               parts=payload["parts"])  # fmt: skip
        return job_id

    @action
    def estimate(
        self,
        actor: Actor,
        version_id: str,
        *,
        detectors: Sequence[str] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """What `analyse` would do now: `parts` that are left, `row_count`, about `seconds`."""
        version = self._datasets.version(actor, version_id)
        payload = self.planning.payload(actor, version_id, detectors, options or {}, None)
        folder = self._findings(version)
        left = [
            name
            for name in payload["parts"]
            if not analysis.is_done(folder, name, analysis.key_of(name, payload))
        ]
        seconds = analysis.estimate_s(
            left, version["row_count"], _bytes_per_row(version), payload["options"]
        )
        return {"parts": left, "row_count": version["row_count"], "seconds": seconds}

    @action
    def status(self, actor: Actor, version_id: str) -> dict[str, Any]:
        """What has been looked for: `parts`, `analysed`, and the newest `job` or None.

        A part has `name`, `label`, `kinds`, `state` (none, running, done, failed), `at`,
        `seconds`, `count` of findings, `notes`, the `options` that it was looked for with, and
        `error` (title, message, hint).
        """
        version = self._datasets.version(actor, version_id)
        folder = self._findings(version)
        job = self._newest_job(version_id)
        working = job is not None and job["state"] in ("queued", "running")
        parts = [_part(folder, name, working=working) for name in PARTS]
        done = any(part["state"] in ("done", "failed") for part in parts)
        return {"parts": parts, "analysed": done, "job": job}

    @action
    def tokenizers(self, actor: Actor) -> Rows:
        """The registered models whose tokenizer can count, by name: `model_id`, `name`, and
        `perplexity`: whether the model beside it can be asked how surprised it is."""
        found = []
        for row in self._models.list(actor):
            path = tokenizer_of(Path(row["path"]) if row["path"] else None)
            if path is not None:
                speaks = row["kind"] == "chat" and (path.parent / "config.json").exists()
                found.append({"model_id": row["id"], "name": row["name"], "perplexity": speaks})
        return found

    @action
    def findings(
        self,
        actor: Actor,
        version_id: str,
        *,
        kind: str | None = None,
        severity: str | None = None,
        search: str = "",
        detectors: Sequence[str] | None = None,
        offset: int = 0,
        limit: int | None = 50,
        include_decided: bool = True,
        whole: bool = False,
    ) -> Rows:
        """Findings worst first: id, kind, severity, message, rows, column, detail, detector,
        row_count.

        `rows` has the first 100 row numbers of a group unless `whole`; `search` takes words, all
        of which have to be in the message; without `include_decided` those that somebody has
        decided about are left out.
        """
        version = self._datasets.version(actor, version_id)
        return reading.findings(
            self._store,
            self._findings(version),
            **_filters(kind, severity, search, detectors),
            without=() if include_decided else decided_findings(self._store, version),
            offset=offset,
            limit=limit,
            whole=whole,
        )

    @action
    def count(
        self,
        actor: Actor,
        version_id: str,
        *,
        kind: str | None = None,
        severity: str | None = None,
        search: str = "",
        detectors: Sequence[str] | None = None,
        include_decided: bool = True,
    ) -> int:
        """How many `findings` has for these filters."""
        version = self._datasets.version(actor, version_id)
        return reading.count(
            self._store,
            self._findings(version),
            **_filters(kind, severity, search, detectors),
            without=() if include_decided else decided_findings(self._store, version),
        )

    @action
    def finding(self, actor: Actor, version_id: str, finding_id: str) -> Row:
        """One finding with all of its rows; NotFound when an analysis since has not found it."""
        found = reading.finding(self._store, self._folder(actor, version_id), finding_id)
        if found is None:
            raise NotFound(
                f"There is no finding {finding_id!r} in this version.",
                hint="It may have gone when the version was looked at again: reload the list.",
            )
        return found

    @action
    def finding_counts(
        self, actor: Actor, version_id: str, *, include_decided: bool = True
    ) -> dict[str, Any]:
        """How many: `total`, `kinds` and `severities` (name -> count, worst first), and `rows`
        (kind, severity, finding_count, row_count)."""
        version = self._datasets.version(actor, version_id)
        rows = reading.counts(
            self._store,
            self._findings(version),
            without=() if include_decided else decided_findings(self._store, version),
        )
        return {
            "total": sum(row["finding_count"] for row in rows),
            "kinds": _summed(rows, "kind", KINDS),
            "severities": _summed(rows, "severity", SEVERITIES),
            "rows": rows,
        }

    @action
    def rows_at(self, actor: Actor, version_id: str, indexes: Sequence[int]) -> Rows:
        """The rows with these numbers, as `Datasets.page` gives them."""
        version = self._datasets.version(actor, version_id)
        return _loaded(reading.rows_at(self._store, present(version), indexes), version)

    @action
    def profile(self, actor: Actor, version_id: str) -> dict[str, Any] | None:
        """The profile as `profile.profile_of` makes it, or None before an analysis."""
        return self._told(actor, version_id, "profile")

    @action
    def signals(self, actor: Actor, version_id: str) -> dict[str, Any] | None:
        """How the signals of the rows are spread, as `signals.summary` has it; None before."""
        return self._told(actor, version_id, "signals")

    @action
    def worst_by(
        self,
        actor: Actor,
        version_id: str,
        signal: str,
        *,
        descending: bool = True,
        limit: int = 20,
    ) -> Rows:
        """The rows with the largest (or smallest) value of a signal, whole, with `_signal`."""
        from core.curation.signals import SIGNALS

        version = self._datasets.version(actor, version_id)
        path = self._findings(version) / "signals.parquet"
        if signal not in SIGNALS:
            raise Invalid(f"There is no signal {signal!r}.", field="signal",
                          hint=f"There are {', '.join(SIGNALS)}.")  # fmt: skip
        if not path.exists() or analysis.is_outdated(path.parent, "signals"):
            raise NotFound("The signals of this version have not been computed yet.",
                           hint="Look for faults in it first.")  # fmt: skip
        found = reading.worst(
            self._store, path, present(version), signal, descending=descending, limit=limit
        )
        return _loaded(found, version)

    def _told(self, actor: Actor, version_id: str, name: str) -> dict[str, Any] | None:
        """The JSON that a part has written; None where there is none, or an outdated one."""
        folder = self._folder(actor, version_id)
        if analysis.is_outdated(folder, name):
            return None
        found: dict[str, Any] | None = read_json(folder / f"{name}.json")
        return found

    def _folder(self, actor: Actor, version_id: str) -> Path:
        return self._findings(self._datasets.version(actor, version_id))

    def _findings(self, version: Row) -> Path:
        return findings_folder(Path(version["path"]))

    def _running(self, version_id: str) -> Rows:
        return self._store.rows(
            "SELECT id FROM jobs WHERE kind = $kind AND subject_id = $id"
            " AND state IN ('queued', 'running') ORDER BY id",
            {"kind": KIND, "id": version_id},
        )

    def _newest_job(self, version_id: str) -> Row | None:
        row = self._store.row(
            "SELECT * FROM jobs WHERE kind = $kind AND subject_id = $id ORDER BY id DESC LIMIT 1",
            {"kind": KIND, "id": version_id},
        )
        if row is not None:
            row["eta_s"] = self._job_folder(row["id"]).progress().get("eta_s")
        return row

    def _job_folder(self, job_id: str) -> JobFolder:
        return JobFolder(self._store.home / "jobs" / job_id)


def _part(folder: Path, name: str, *, working: bool) -> dict[str, Any]:
    """A part's record as `status` gives it.

    One cut off by a kill counts as not done, and so does one of a part that has changed since.
    """
    outdated = analysis.is_outdated(folder, name)
    record = {} if outdated else read_json(analysis.record_path(folder, name)) or {}
    state = record.get("state", "none")
    if state == "running" and not working:
        state = "none"
    kinds = DETECTORS[name].kinds if name in DETECTORS else ()
    return {
        "name": name,
        "label": PARTS[name].label,
        "kinds": list(kinds),
        "state": state,
        **{key: record.get(key) for key in ("at", "seconds", "count", "notes", "options", "error")},
    }


def _filters(
    kind: str | None, severity: str | None, search: str, detectors: Sequence[str] | None
) -> dict[str, Any]:
    for name, value, known in (("kind", kind, KINDS), ("severity", severity, SEVERITIES)):
        if value is not None and value not in known:
            raise Invalid(
                f"There is no {name} {value!r}.", field=name, hint=f"There are {', '.join(known)}."
            )
    return {"kind": kind, "severity": severity, "search": search, "detectors": detectors}


def _summed(rows: Rows, key: str, order: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in order:
        total = sum(row["finding_count"] for row in rows if row[key] == name)
        if total:
            found[name] = total
    return found


def _loaded(rows: Rows, version: Row) -> Rows:
    kinds = {column["name"]: column["type"] for column in version["columns"]}
    return [{k: loaded(value, kinds.get(k, "")) for k, value in row.items()} for row in rows]


def _bytes_per_row(version: Row) -> float:
    import pyarrow.parquet as pq

    footer = pq.read_metadata(present(version))
    groups = [footer.row_group(at).total_byte_size for at in range(footer.num_row_groups)]
    return float(sum(groups) / max(1, footer.num_rows))
