"""A small world for fine-tunes: a tiny base, tickets with labels, a prompt, real jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.generation import Generation
from core.models.pool import WorkerPool
from core.settings import Settings
from core.store.database import Row
from core.training.folder import RunFolder
from core.workbench import OWNER, Workbench
from tests.models.tiny import save_tiny_model

LABELS = ("billing", "shipping", "account", "bug")
QUICK = {
    "rank": 4, "alpha": 8, "epochs": 1.0, "batch_size": 4, "max_length": 128, "sample_count": 1,
    "sample_tokens": 4, "threads": 1, "learning_rate": 1e-3,
}  # fmt: skip
ENDED = ("succeeded", "failed", "cancelled", "interrupted")


def wait_for(condition: Callable[[], object], seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def ticket_rows(count: int) -> list[dict[str, Any]]:
    return [{"text": f"ticket {i} the fox", "label": LABELS[i % 4]} for i in range(count)]


@dataclass
class Tuning:
    """A workbench with a tiny model, a prompt and tickets in it."""

    workbench: Workbench
    base_id: str
    prompt_version_id: str
    version_id: str

    @classmethod
    def make(cls, workbench: Workbench, folder: Path, *, rows: int = 24) -> Tuning:
        path = save_tiny_model(folder / "tiny")
        base_id = workbench.models.add(OWNER, "tiny", "directory", str(path))
        prompt_id = workbench.prompts.create(OWNER, "label it")
        prompt = workbench.prompts.save_version(
            OWNER, prompt_id, system_template="Say the label.", user_template="{{text}}",
            generation=Generation(max_tokens=4),
        )  # fmt: skip
        made = cls(workbench, base_id, prompt["id"], "")
        made.version_id = made.import_rows(ticket_rows(rows))
        return made

    @property
    def finetunes(self) -> Any:
        return self.workbench.finetunes

    @property
    def settings(self) -> Settings:
        return self.workbench.settings

    def import_rows(self, rows: list[dict[str, Any]], name: str = "tickets", **roles: str) -> str:
        data = "\n".join(json.dumps(row) for row in rows).encode()
        mapping: dict[str, Any] = {"text": "input", "label": "expected", **roles}
        named = {column for row in rows for column in row}
        version = self.workbench.datasets.import_rows(
            OWNER, name=name, filename="rows.jsonl", data=data,
            mapping={k: v for k, v in mapping.items() if k in named},
        )  # fmt: skip
        return str(version["id"])

    def config(self, **changes: Any) -> dict[str, Any]:
        params = {**QUICK, **changes.pop("params", {})}
        return {
            "name": "a tune",
            "base_model_id": self.base_id,
            "dataset_version_id": self.version_id,
            "prompt_version_id": self.prompt_version_id,
            "hold_out": {"share": 0.25},
            "params": params,
            **changes,
        }

    def start(self, **changes: Any) -> str:
        [made] = self.finetunes.start(OWNER, self.config(**changes))
        return str(made)

    def get(self, finetune_id: str) -> Row:
        return dict(self.finetunes.get(OWNER, finetune_id))

    def finish(self, finetune_id: str, state: str = "succeeded", seconds: float = 400) -> Row:
        wait_for(lambda: self.get(finetune_id)["state"] in ENDED, seconds)
        row = self.get(finetune_id)
        assert row["state"] == state, (row["error"], self.finetunes.log(OWNER, finetune_id))
        return row

    def compared(self, finetune_id: str, seconds: float = 400) -> Row:
        """Wait for the comparison too."""
        wait_for(lambda: self.get(finetune_id)["comparison"], seconds)
        return dict(self.get(finetune_id)["comparison"])

    def folder(self, finetune_id: str) -> RunFolder:
        return RunFolder(self.settings.home / "training" / finetune_id)

    def close(self) -> None:
        WorkerPool(self.settings.home).stop_all()
