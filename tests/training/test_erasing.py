"""A person's rows in the folders of fine-tunes go with the others; so do those of a dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from core.training.data import Asked, divide, records
from core.training.folder import RunFolder
from core.workbench import OWNER, Workbench
from tests.training.finetuning import Tuning

EMAIL = "zelda.quince@example.org"


@pytest.fixture
def tuning(tmp_path: Path) -> Iterator[Tuning]:
    """No thread starts a job: its folder is filled by hand, as the job would."""
    settings = Settings(home=tmp_path / "home")
    with Workbench.open(settings, background=False) as workbench:
        yield Tuning.make(workbench, tmp_path)


def filled(tuning: Tuning, version_id: str) -> tuple[str, RunFolder]:
    """A fine-tune that was trained on these rows, and cancelled."""
    finetune_id = tuning.start(dataset_version_id=version_id)
    row = tuning.get(finetune_id)
    spec = json.loads(
        (tuning.settings.home / "jobs" / row["job_id"] / "spec.json").read_text()
    )["payload"]  # fmt: skip
    folder, asked = tuning.folder(finetune_id), Asked.of(spec["rows"])
    folder.write(spec["config"], records(asked, divide(asked)))
    sample = {"kind": "sample", "at": "now", "step": 1, "text": f"from {EMAIL}", "row_id": "r"}
    told: list[dict[str, Any]] = [{"kind": "step", "at": "now", "step": 1, "loss": 1.0}, sample]
    folder.events_path.write_text("".join(json.dumps(one) + "\n" for one in told))
    tuning.finetunes.stop(OWNER, finetune_id)
    tuning.workbench.supervisor.step()
    return finetune_id, folder


def test_a_persons_rows_leave_the_folders_of_fine_tunes(tuning: Tuning) -> None:
    rows = [{"text": f"note {i}", "label": "bug"} for i in range(8)]
    version_id = tuning.import_rows([*rows, {"text": f"ask {EMAIL}", "label": "bug"}], name="mail")
    _, folder = filled(tuning, version_id)
    before = len(folder.row_ids("train")) + len(folder.row_ids("eval"))
    assert before == 9
    made = tuning.workbench.erasure.erase(OWNER, EMAIL)
    assert made["verification"]["found"] == {}
    assert made["verification"]["raw_files"] == []
    assert len(folder.row_ids("train")) + len(folder.row_ids("eval")) == 8
    assert [event["kind"] for event in folder.events()[0]] == ["step"]
    assert folder.ready(), "the rest of it can be trained still"


def test_a_deleted_datasets_rows_leave_the_folders_of_fine_tunes(tuning: Tuning) -> None:
    version_id = tuning.import_rows([{"text": f"n {i}", "label": "bug"} for i in range(8)], "mail")
    finetune_id, folder = filled(tuning, version_id)
    dataset_id = tuning.workbench.datasets.version(OWNER, version_id)["dataset_id"]
    tuning.workbench.erasure.delete_dataset(OWNER, dataset_id)
    assert list(folder.rows("train")) == []
    assert [event["kind"] for event in folder.events()[0]] == ["step"]
    assert tuning.get(finetune_id)["dataset_name"] == "mail", "the record of it stays"
