"""The registry's tables: models as rows with their facts, and what was measured of them.

Knows: the tables models and calibrations, finished preparations. Does not know: who may see
them, workers.
"""

from __future__ import annotations

import json
from pathlib import Path

from core.errors import Conflict, NotFound
from core.models import gguf_file, prepare, secrets
from core.store.database import Row, Store

FACTS = (
    "architecture", "license", "context_length", "parameter_count", "sha256",
)  # fmt: skip
"""What a preparation may tell of a model whose source did not."""

_SELECT = """
SELECT m.*, b.name AS base_name, b.archived_at AS base_archived_at
FROM models m LEFT JOIN models b ON b.id = m.base_model_id
"""


class Registry:
    """Reads and writes rows; every row that comes out is complete."""

    def __init__(self, store: Store, home: Path) -> None:
        self._store = store
        self._home = home

    def rows(self, *, kind: str | None, archived: bool) -> list[Row]:
        """Models by name."""
        found = self._store.rows(
            f"""
            {_SELECT}
            WHERE ($kind IS NULL OR m.kind = $kind) AND ($archived OR m.archived_at IS NULL)
            ORDER BY lower(m.name), m.id
            """,
            {"kind": kind, "archived": archived},
        )
        return [self._filled(row) for row in found]

    def get(self, model_id: str) -> Row:
        """One model, an adapter with its `base_name`; NotFound when there is none."""
        found = self._store.row(f"{_SELECT} WHERE m.id = $id", {"id": model_id})
        if found is None:
            raise NotFound(f"There is no model with the id {model_id!r}.")
        return self._filled(found)

    def has(self, model_id: str) -> bool:
        """Whether there is such a model, archived or not."""
        return self._store.row("SELECT 1 FROM models WHERE id = $id", {"id": model_id}) is not None

    def adapters_of(self, model_id: str) -> list[Row]:
        """The adapters in use that are laid over a model."""
        return self._store.rows(
            "SELECT id, name FROM models WHERE base_model_id = $id AND archived_at IS NULL"
            " ORDER BY lower(name), id",
            {"id": model_id},
        )

    def endpoint(self, model_id: str) -> Row:
        """One model that is an endpoint; Conflict when it is another kind of source."""
        row = self.get(model_id)
        if row["source"] != "endpoint":
            raise Conflict(f"{row['name']} is not an endpoint: it has no address and no key.")
        return row

    def add(self, row: Row) -> None:
        """One new model; Conflict when its name is taken."""
        self.require_free(row["name"])
        self._store.insert("models", {**row, "details": json.dumps(row["details"])})

    def require_free(self, name: str) -> None:
        """Conflict when a model that is in use has the name."""
        taken = self._store.row(
            "SELECT id FROM models WHERE lower(name) = lower($name) AND archived_at IS NULL",
            {"name": name},
        )
        if taken is not None:
            raise Conflict(f"There is a model named {name} already.", hint="Take another name.")

    def set_gguf(self, model_id: str, gguf_path: Path) -> None:
        """Keep where an adapter's GGUF export is, with its type and size for forecasts."""
        header = gguf_file.read(gguf_path)
        details = {
            **self.get(model_id)["details"],
            "gguf_type": header.file_type,
            "gguf_bytes": header.weight_bytes,
        }
        self._store.execute(
            "UPDATE models SET gguf_path = $path, details = $details WHERE id = $id",
            {"path": str(gguf_path), "details": json.dumps(details), "id": model_id},
        )

    def prepared_folder(self, model_id: str) -> Path:
        """Where a preparation leaves its folder of safetensors."""
        return self._home / "models" / model_id

    def calibrations(self, model_id: str) -> list[Row]:
        """The newest measurement of each engine, quantization and device."""
        return self._store.rows(
            """
            SELECT * FROM calibrations WHERE model_id = $id
            QUALIFY row_number() OVER (
                PARTITION BY engine, quantization, device ORDER BY measured_at DESC, id DESC
            ) = 1
            ORDER BY engine, quantization, device
            """,
            {"id": model_id},
        )

    def preparations(self) -> list[Row]:
        """Models whose download or conversion is on its way or went wrong last."""
        jobs = self._store.rows(
            """
            SELECT j.*, m.name AS model_name, m.source, m.kind AS model_kind
            FROM jobs j JOIN models m ON m.id = j.subject_id
            WHERE j.kind = 'model.prepare' AND m.archived_at IS NULL
            QUALIFY row_number() OVER (PARTITION BY j.subject_id ORDER BY j.id DESC) = 1
            """
        )
        words = {"hub": "downloading", "gguf": "converting"}
        return [
            {**job, "error": json.loads(job["error"]) if job["error"] else None, "state": state}
            for job in jobs
            if (state := _preparing(job["state"], words.get(job["source"], "preparing")))
        ]

    def _filled(self, row: Row) -> Row:
        """The row with its JSON parsed, its key's existence, and a finished preparation adopted."""
        row["details"] = json.loads(row["details"] or "{}")
        row["has_key"] = row["source"] == "endpoint" and secrets.has(self._home, row["id"])
        if row["path"] is None and row["source"] in ("hub", "gguf"):
            self._adopt(row)
        return row

    def _adopt(self, row: Row) -> None:
        """Take a finished preparation into the registry: its folder is its completion mark."""
        folder = self.prepared_folder(row["id"])
        facts = prepare.manifest(folder)
        if facts is None:
            return
        row["path"] = str(folder)
        row["details"] = {**row["details"], **facts["details"]}
        for name in FACTS:
            row[name] = row[name] or facts[name]
        if row["source"] == "hub":
            row["weight_bytes"] = facts["weight_bytes"]
        changed = {name: row[name] for name in ("id", "path", "weight_bytes", *FACTS)}
        self._store.execute(
            """
            UPDATE models SET path = $path, details = $details, architecture = $architecture,
                license = $license, context_length = $context_length, sha256 = $sha256,
                parameter_count = $parameter_count, weight_bytes = $weight_bytes
            WHERE id = $id
            """,
            {**changed, "details": json.dumps(row["details"])},
        )


def _preparing(job_state: str, word: str) -> str | None:
    if job_state == "succeeded":
        return None
    return word if job_state in ("queued", "running") else "failed"
