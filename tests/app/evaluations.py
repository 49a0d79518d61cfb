"""A finished run on a scripted model, quickly: what the pages of runs are tested with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from core.evals.variants import Variant
from core.generation import Generation
from core.models.pool import WorkerPool
from core.workbench import OWNER, Workbench

LABELS = ("billing", "shipping", "account", "bug")


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def tickets(workbench: Workbench, count: int = 6) -> str:
    """A dataset of tickets with one of four labels each; the version's id."""
    rows = [
        {"text": f"ticket {i} <b>bold</b>", "label": LABELS[i % len(LABELS)]} for i in range(count)
    ]
    version = workbench.datasets.import_rows(
        OWNER,
        name="tickets",
        filename="rows.jsonl",
        data="\n".join(map(json.dumps, rows)).encode(),
        mapping={"text": "input", "label": "expected"},
    )
    return str(version["id"])


def prompts(workbench: Workbench) -> list[str]:
    """One prompt in two versions; their ids, older first."""
    prompt_id = workbench.prompts.create(OWNER, "triage")
    return [
        str(
            workbench.prompts.save_version(
                OWNER,
                prompt_id,
                system_template="",
                user_template=template,
                generation=Generation(max_tokens=16),
                message=message,
            )["id"]
        )
        for template, message in (("{{text}}", "bare"), ("Label: {{text}}", "asks for a label"))
    ]


def model(workbench: Workbench, name: str = "parrot", **script: object) -> str:
    """A model that answers from a script, in the registry; its id."""
    return workbench.models.add(OWNER, name, "scripted", json.dumps(script))


def finished_run(workbench: Workbench, rows: int = 6) -> str:
    """Two variants over tickets, scored and in the database; 'lists' is right more often."""
    version_id, (bare, asks) = tickets(workbench, rows), prompts(workbench)
    right = {f"ticket {i} <b>": LABELS[i % len(LABELS)] for i in range(rows)}
    right["ticket 0 <b>"] = "<script>alert(1)</script> it is not billing"
    run_id = workbench.runs.create(
        OWNER,
        "labels",
        version_id,
        [
            Variant(bare, model(workbench, "parrot", default="billing"), name="guesses"),
            Variant(asks, model(workbench, "clerk", replies=right), name="lists"),
        ],
        [{"kind": "exact_match", "name": "label"}],
    )
    finish(workbench, run_id)
    return str(run_id)


def finish(workbench: Workbench, run_id: str) -> None:
    """Wait for the run's end and for its rows to be in the database."""
    wait_for(lambda: workbench.runs.get(OWNER, run_id)["state"] in ("succeeded", "failed"))
    run = workbench.runs.get(OWNER, run_id)
    assert run["state"] == "succeeded", workbench.jobs.log(OWNER, run["job_id"])
    workbench.ingest.drain()
    WorkerPool(workbench.settings.home).stop_all()
