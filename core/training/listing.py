"""Fine-tunes as lists and pages show them: the row with its job, its losses, its comparison.

Knows: the table finetunes, what job, folder and run say of a row. Does not know: who may see it,
how any of it came to be.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.errors import NotFound
from core.governance.permissions import Actor
from core.jobs.columns import job_columns
from core.jobs.service import Jobs
from core.store.database import Row, Store
from core.training.comparing import complete, outcome
from core.training.curves import partial_result
from core.training.folder import RunFolder

if TYPE_CHECKING:
    from core.datasets.service import Datasets
    from core.evals.service import Runs
    from core.models.service import Models

Rows = list[Row]


class Listing:
    """Reads the table; everything that comes out is complete."""

    def __init__(
        self, store: Store, jobs: Jobs, datasets: Datasets, models: Models, runs: Runs
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._datasets = datasets
        self._models = models
        self._runs = runs
        self._compared: dict[str, Row] = {}
        """Comparisons that are over, by their run: figures that do not change any more."""

    def rows(
        self,
        actor: Actor,
        *,
        search: str,
        base_model_id: str | None,
        dataset_id: str | None,
        archived: bool,
        limit: int,
    ) -> Rows:
        """Newest first; see `Finetunes.list`."""
        found = self._store.rows(
            """
            SELECT f.*, u.name AS created_by_name
            FROM finetunes f
                LEFT JOIN dataset_versions v ON v.id = f.dataset_version_id
                LEFT JOIN users u ON u.id = f.created_by
            WHERE ($archived OR f.archived_at IS NULL)
              AND ($search = '' OR contains(lower(f.name), lower($search)))
              AND ($base IS NULL OR f.base_model_id = $base)
              AND ($dataset IS NULL OR v.dataset_id = $dataset)
            ORDER BY f.id DESC LIMIT $limit
            """,
            {"archived": archived, "search": search.strip(), "base": base_model_id,
             "dataset": dataset_id, "limit": limit},
        )  # fmt: skip
        names = {row["id"]: row["name"] for row in self._models.list(actor, archived=True)}
        return [self._told(actor, row, names) for row in found]

    def one(self, actor: Actor, finetune_id: str) -> Row:
        """One as `rows` gives it; NotFound where there is none."""
        row = self.row(finetune_id)
        base = self._models.get(actor, row["base_model_id"])
        return self._told(actor, row, {base["id"]: base["name"]})

    def row(self, finetune_id: str) -> Row:
        """The plain row, with `created_by_name`."""
        row = self._store.get("finetunes", finetune_id, noun="fine-tune")
        found = self._store.row("SELECT name FROM users WHERE id = $id", {"id": row["created_by"]})
        return {**row, "created_by_name": found["name"] if found else None}

    def members(self, sweep_id: str | None) -> Rows:
        """Id and name of each fine-tune of a sweep."""
        return self._store.rows(
            "SELECT id, name FROM finetunes WHERE sweep_id = $sweep ORDER BY id",
            {"sweep": sweep_id},
        )

    def state(self, actor: Actor, row: Row) -> Row:
        """Its job's state and progress; interrupted where a crash came before its job."""
        told = job_columns(self._jobs, actor, row["job_id"])
        return told if row["job_id"] is not None else {**told, "state": "interrupted"}

    def comparison(self, actor: Actor, run_id: str | None) -> Row | None:
        """The figures of a comparison, None until it is over."""
        if run_id is None:
            return None
        if run_id not in self._compared:
            try:
                if self._runs.get(actor, run_id)["state"] != "succeeded":
                    return None
                summary = self._runs.summary(actor, run_id)
            except NotFound:
                return None  # its id is written down first
            if not complete(summary):
                return None
            self._compared[run_id] = outcome(summary)
        return self._compared[run_id]

    def folder(self, finetune_id: str) -> RunFolder:
        """Its run folder."""
        return RunFolder(self._store.home / "training" / finetune_id)

    def _told(self, actor: Actor, row: Row, names: dict[str, str]) -> Row:
        version = self._datasets.version(actor, row["dataset_version_id"])
        state = self.state(actor, row)
        result: Any = json.loads(row["result"]) if row["result"] else None
        if result is None and state["state"] != "queued":
            events = self.folder(row["id"]).every_event("step", "eval")
            result = partial_result(events) or None
        return {
            **row,
            **state,
            "config": json.loads(row["config"]),
            "result": result,
            "dataset_id": version["dataset_id"],
            "dataset_name": version["dataset_name"],
            "dataset_label": version["label"],
            "base_name": names.get(row["base_model_id"], row["base_model_id"]),
            "comparison": self.comparison(actor, row["run_id"]),
        }
