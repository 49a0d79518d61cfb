"""Fine-tunes as a whole: asked for, trained by a real job, registered, compared with the base."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.settings import Settings
from core.workbench import OWNER, Workbench
from tests.training.finetuning import Tuning


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tuning, str]]:
    """One fine-tune of a tiny model, over and compared. Read by many tests."""
    folder = tmp_path_factory.mktemp("tuned")
    with Workbench.open(Settings(home=folder / "home", threads=1)) as workbench:
        tuning = Tuning.make(workbench, folder)
        finetune_id = tuning.start()
        tuning.finish(finetune_id)
        tuning.compared(finetune_id)
        yield tuning, finetune_id
        tuning.close()


def test_a_fine_tune_ends_in_an_adapter_and_a_comparison_with_its_base(
    done: tuple[Tuning, str],
) -> None:
    tuning, finetune_id = done
    row = tuning.get(finetune_id)
    assert row["state"] == "succeeded"
    assert row["result"]["steps"] == 5
    model = tuning.workbench.models.get(OWNER, row["adapter_model_id"])
    assert (model["source"], model["base_model_id"]) == ("adapter", tuning.base_id)
    found = row["comparison"]
    assert found["rows"] == 6
    assert found["versus"]["fixed"] + found["versus"]["broke"] + found["versus"]["same"] == 6
