"""Checks of datasets: declared once, tried on every version, in the way of tags such as `approved`.

Knows: the table dataset_checks, results beside a version. Does not know: how a row is judged
(`checks`), pages.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.clock import utc_iso, utc_now
from core.curation.checks import Check, parse_checks, run_checks
from core.curation.findings import Finding, findings_folder, write_findings
from core.curation.planning import TOKENIZER
from core.curation.service import Curation
from core.curation.tools import Tools
from core.datasets.service import Datasets
from core.datasets.table import Table
from core.errors import NotFound
from core.governance.audit import record
from core.governance.permissions import OWNER, Actor, action
from core.ids import content_hash
from core.models import starter
from core.settings import Settings
from core.store.database import Row, Store
from core.store.files import read_json, write_json

GUARDED_TAGS = frozenset({"approved", "production"})
"""Tags that a version whose checks fail may not carry."""
MOST_VALUES = 20
"""Columns with at most so many distinct values are taken for labels."""
MOST_ROWS_AT_ONCE = 100_000
"""Versions of more rows are checked by a job."""
log = logging.getLogger(__name__)
Rows = list[Row]
Parsed = list[Check]
Reasons = list[str]
Found = list[Finding]


def detect(table: Table, tools: Tools) -> list[Finding]:
    """The checks in the options, as a part of an analysis; writes the result beside the version."""
    checks = parse_checks(tools.options.get("checks", ()))
    found = run_checks(table, checks, tools)
    write_json(findings_folder(table.path) / "checks.json", _result(checks, found))
    return found


class Checks:
    """The checks of datasets."""

    noun = "checks"

    def __init__(
        self, store: Store, settings: Settings, datasets: Datasets, curation: Curation
    ) -> None:
        self._store = store
        self._settings = settings
        self._datasets = datasets
        self._curation = curation

    @action
    def list(self, actor: Actor, dataset_id: str) -> Rows:
        """The checks of a dataset, in order, as JSON, each with its `sentence`."""
        return [{**check.to_dict(), "sentence": check.sentence} for check in self._of(dataset_id)]

    @action
    def save(self, actor: Actor, dataset_id: str, checks: Sequence[Mapping[str, Any]]) -> None:
        """Replace the checks of a dataset; Invalid names the number and field of a wrong one."""
        self._datasets.get(actor, dataset_id)
        plain = [{k: v for k, v in check.items() if k != "sentence"} for check in checks]
        parsed = [check.to_dict() for check in parse_checks(plain)]
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO dataset_checks VALUES ($id, $checks, $by, $at)",
                {"id": dataset_id, "checks": json.dumps(parsed), "by": actor.id, "at": utc_now()},
            )
        record(self._store, actor, "checks.save", dataset_id, checks=parsed)

    @action
    def suggest(self, actor: Actor, version_id: str) -> Rows:
        """Checks that hold in a version and say something: filled columns, labels, chats."""
        version = self._datasets.version(actor, version_id)
        table = Table.of(version)
        found = [check for check in _suggested(table) if not self._failing(table, [check])]
        return [{**check.to_dict(), "sentence": check.sentence} for check in found]

    @action
    def run(self, actor: Actor, version_id: str) -> Row:
        """Try the checks of the version's dataset on it; see `result`. Of a large version a job
        does it: `state` is then `not run`, with the job's id under `job_id`."""
        version = self._datasets.version(actor, version_id)
        if version["row_count"] <= MOST_ROWS_AT_ONCE or not self._of(version["dataset_id"]):
            return self._run(version)
        return {**self._nothing(version), "job_id": self._start(actor, version)}

    @action
    def result(self, actor: Actor, version_id: str) -> Row:
        """`state` (passed, failed, not run, no checks), `checked_at`, `check_count`, and
        `failures`: message, column, row_count and the first 100 `rows` of each."""
        version = self._datasets.version(actor, version_id)
        return self._known(version) or self._nothing(version)

    def _gate(self, version: Row, tag: str) -> Reasons:
        """Why a version may not carry a tag: for `Versions`."""
        if tag not in GUARDED_TAGS or not self._of(version["dataset_id"]):
            return []
        result = self._known(version) or self._run(version)
        return [failure["message"] for failure in result["failures"]]

    def _on_version(self, version: Row) -> None:
        """Try the checks on a version that has just been made, and is one whatever they raise."""
        try:
            if not self._of(version["dataset_id"]) or self._known(version) is not None:
                return
            if version["row_count"] <= MOST_ROWS_AT_ONCE:
                self._run(version)
            else:
                self._start(OWNER, version)
        except Exception:
            log.exception("the checks of %s were not tried", version["label"])

    def _start(self, actor: Actor, version: Row) -> str:
        checks = [check.to_dict() for check in self._of(version["dataset_id"])]
        options = {"checks": {"checks": checks, **self._options()}}
        return self._curation.analyse(
            actor, version["id"], detectors=["checks"], options=options, others=[]
        )

    def _of(self, dataset_id: str) -> Parsed:
        row = self._store.row(
            "SELECT checks FROM dataset_checks WHERE dataset_id = $id", {"id": dataset_id}
        )
        return parse_checks(json.loads(row["checks"])) if row else []

    def _run(self, version: Row) -> Row:
        checks = self._of(version["dataset_id"])
        if not checks:
            return self._nothing(version)
        path = Path(version["path"])
        if not path.exists():
            raise NotFound(f"The file of {version['label']} is missing: {path.name}.")
        found = self._failing(Table.of(version), checks)
        folder = findings_folder(path)
        write_findings(folder / "checks.parquet", found)
        result = _result(checks, found)
        write_json(folder / "checks.json", result)
        return result

    def _failing(self, table: Table, checks: Sequence[Check]) -> Found:
        cache = self._store.home / "cache"
        return run_checks(table, checks, Tools(cache=cache, options=self._options()))

    def _options(self) -> dict[str, str]:
        """The tokenizer that token budgets are counted with, where there is one."""
        folder = starter.available(self._store.home, self._settings.cache, TOKENIZER)
        path = folder / starter.CONVERTED / "tokenizer.json" if folder else None
        return {"tokenizer": str(path)} if path and path.exists() else {}

    def _known(self, version: Row) -> Row | None:
        """The result for the checks as they are now."""
        found: Row | None = read_json(findings_folder(Path(version["path"])) / "checks.json")
        if found and found["key"] == _key(self._of(version["dataset_id"])):
            return found
        return None

    def _nothing(self, version: Row) -> Row:
        count = len(self._of(version["dataset_id"]))
        state = "not run" if count else "no checks"
        return {"state": state, "checked_at": None, "check_count": count, "failures": []}


def _key(checks: Sequence[Check]) -> str:
    return content_hash([check.to_dict() for check in checks])


def _result(checks: Sequence[Check], found: Sequence[Finding]) -> Row:
    return {
        "state": "failed" if found else "passed",
        "checked_at": utc_iso(),
        "key": _key(checks),
        "check_count": len(checks),
        "failures": [_told(finding) for finding in found],
    }


def _told(finding: Finding) -> Row:
    return {
        "message": finding.message,
        "column": finding.column,
        "check": finding.detail["check"],
        "row_count": len(finding.rows),
        "rows": list(finding.rows[:100]),
    }


def _suggested(table: Table) -> list[Check]:
    """Candidates by the columns' roles and contents; whether they hold is tried after."""
    from core.curation.chats import turns_of
    from core.datasets.table import quoted

    found = []
    with table.connect() as connection:
        for column in table.columns:
            if column.role in ("input", "expected"):
                found.append(Check("not_blank", column.name))
            name = quoted(column.name)
            row = connection.execute(
                f"SELECT count(DISTINCT {name}), count({name}), any_value({name}) FROM rows"
            ).fetchone()
            distinct, filled, sample = row if row else (0, 0, None)
            if column.role == "expected" and 1 < distinct <= MOST_VALUES and filled > 5 * distinct:
                values = connection.execute(
                    f"SELECT DISTINCT {name} FROM rows WHERE {name} IS NOT NULL ORDER BY 1"
                ).fetchall()
                found.append(Check("one_of", column.name, {"values": [v for (v,) in values]}))
            if column.type == "json" and turns_of(sample):
                found += [
                    Check(kind, column.name)
                    for kind in ("roles_alternate", "no_empty_turns", "ends_with_assistant")
                ]
            if column.role == "metadata" and column.name == "id":
                found.append(Check("unique", column.name))
    return found
