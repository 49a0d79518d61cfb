"""A small world for runs: tickets, two prompts, and models that answer from a script."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from core.evals.variants import Variant
from core.generation import Generation
from core.models.pool import WorkerPool
from core.models.spec import WorkerSpec
from core.settings import Settings
from core.store.database import Row
from core.workbench import OWNER, Workbench

LABELS = ("billing", "shipping", "account", "bug")


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


@dataclass
class World:
    """A workbench with something in it; `workbench` is replaced when a test reopens the home."""

    workbench: Workbench
    prompt_ids: list[str]

    @property
    def home(self) -> Any:
        return self.workbench.settings.home

    @property
    def runs(self) -> Any:
        return self.workbench.runs

    def import_rows(self, rows: list[dict[str, Any]], name: str = "tickets") -> str:
        """A dataset with `text` as input and `label` as expected; the version's id."""
        data = "\n".join(json.dumps(row) for row in rows).encode()
        version = self.workbench.datasets.import_rows(
            OWNER,
            name=name,
            filename="rows.jsonl",
            data=data,
            mapping={"text": {"role": "input", "optional": True}, "label": "expected"},
        )
        return str(version["id"])

    def tickets(self, count: int = 12) -> str:
        return self.import_rows(
            [{"text": f"ticket {i}", "label": LABELS[i % 4]} for i in range(count)]
        )

    def variant(
        self, prompt: int = 0, *, name: str = "", model: str = "echo", **more: Any
    ) -> Variant:
        """A variant on a scripted model: `more` is its script, and `slots`."""
        slots = more.pop("slots", 8)
        spec = WorkerSpec(
            model_id=f"model_{model}",
            model_name=model,
            engine="scripted",
            quantization="fp32",
            slots=slots,
            script=json.dumps(more),
        )
        return Variant(
            prompt_version_id=self.prompt_ids[prompt],
            model_id=spec.model_id,
            name=name,
            spec=spec,
            generation=Generation(max_tokens=16),
        )

    def start(self, *variants: Variant, rows: int = 12, **more: Any) -> str:
        scorers = more.pop("scorers", [{"kind": "exact_match", "name": "label"}])
        version_id = more.pop("version_id", None) or self.tickets(rows)
        return str(self.runs.create(OWNER, "a run", version_id, list(variants), scorers, **more))

    def state(self, run_id: str) -> str:
        return str(self.runs.get(OWNER, run_id)["state"])

    def finish(self, run_id: str, state: str = "succeeded", seconds: float = 60) -> Row:
        """Wait until the run has ended so and every row is in the database; its summary."""
        ended = ("succeeded", "failed", "cancelled", "interrupted")
        wait_for(lambda: self.state(run_id) in ended, seconds)
        run = self.runs.get(OWNER, run_id)
        job_id = run["job_id"]
        assert run["state"] == state, (run["error"], self.workbench.jobs.log(OWNER, job_id))
        self.workbench.ingest.drain()
        found: Row = self.runs.summary(OWNER, run_id)
        return found

    def results(self, run_id: str) -> list[Row]:
        """Every result, earlier attempts too."""
        self.workbench.ingest.drain()
        return self.workbench.store.rows(
            "SELECT * FROM results WHERE run_id = $run ORDER BY variant_id, row_index, attempt",
            {"run": run_id},
        )

    def job_id(self, run_id: str) -> str:
        return str(self.runs.get(OWNER, run_id)["job_id"])


@contextlib.contextmanager
def open_world(settings: Settings) -> Iterator[World]:
    with Workbench.open(settings) as workbench:
        prompt_ids = []
        for name, template in (("plain", "{{text}}"), ("polite", "Please label: {{text}}")):
            prompt_id = workbench.prompts.create(OWNER, name)
            version = workbench.prompts.save_version(
                OWNER, prompt_id, system_template="", user_template=template
            )
            prompt_ids.append(version["id"])
        yield World(workbench, prompt_ids)
        WorkerPool(settings.home).stop_all()


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    with open_world(settings) as made:
        yield made
