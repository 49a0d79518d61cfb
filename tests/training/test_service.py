"""Fine-tunes as a whole: asked for, trained by a real job, registered, compared with the base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from core.errors import Conflict, Invalid, NotFound
from core.settings import Settings
from core.training.script.rows import compare_templates
from core.workbench import OWNER, Workbench
from tests.training.finetuning import LABELS, Tuning, ticket_rows, wait_for

pytestmark = pytest.mark.timeout(900)


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


def test_its_lineage_says_what_it_came_from(done: tuple[Tuning, str]) -> None:
    tuning, finetune_id = done
    row = tuning.get(finetune_id)
    model = tuning.workbench.models.get(OWNER, row["adapter_model_id"])
    lineage = model["details"]["lineage"]
    base = tuning.workbench.models.get(OWNER, tuning.base_id)
    assert model["details"]["finetune_id"] == finetune_id
    assert lineage["base"]["sha256"] == base["sha256"]
    assert lineage["dataset"]["label"] == "tickets v1"
    assert lineage["prompt"]["label"] == "label it v1"
    assert lineage["params"]["rank"] == 4
    assert lineage["metrics"]["eval_loss_base"] > 0
    assert lineage["cost"]["hardware"]
    card = (Path(model["adapter_path"]) / "README.md").read_text()
    assert "tickets v1" in card


def test_curves_samples_log_and_list_say_what_happened(done: tuple[Tuning, str]) -> None:
    tuning, finetune_id = done
    rows = tuning.finetunes.curves(OWNER, [finetune_id])
    assert {"loss", "eval_loss", "learning_rate", "grad_norm"} <= {r["metric"] for r in rows}
    assert [r["step"] for r in rows if r["metric"] == "loss"] == [1, 2, 3, 4, 5]
    assert rows[0]["name"] == "a tune"
    base = [r for r in rows if r["metric"] == "eval_loss" and r["step"] == 0]
    assert base[0]["value"] == pytest.approx(tuning.get(finetune_id)["result"]["eval_loss_base"])
    samples = tuning.finetunes.samples(OWNER, finetune_id)
    assert {s["base"] for s in samples} == {True, False}
    assert samples[0]["expected"] in LABELS
    assert "18 rows, 5 steps on cpu" in tuning.finetunes.log(OWNER, finetune_id)
    [listed] = tuning.finetunes.list(OWNER, search="A TU", base_model_id=tuning.base_id)
    assert (listed["progress_done"], listed["progress_total"]) == (5, 5)
    assert listed["dataset_label"] == "tickets v1"
    assert tuning.finetunes.list(OWNER, search="none such") == []


def test_the_rows_held_out_are_the_rows_compared_and_are_not_trained_on(
    done: tuple[Tuning, str],
) -> None:
    tuning, finetune_id = done
    folder = tuning.folder(finetune_id)
    held, train = folder.row_ids("eval"), folder.row_ids("train")
    assert (len(held), len(train)) == (6, 18)
    assert not set(held) & set(train)
    run_id = tuning.get(finetune_id)["run_id"]
    grid = tuning.workbench.runs.grid(OWNER, run_id)["rows"]
    assert {row["row_id"] for row in grid} == set(held)
    base, adapter = tuning.workbench.runs.get(OWNER, run_id)["variants"]
    for name in ("engine", "quantization", "device", "generation", "prompt_version_id"):
        assert base[name] == adapter[name], "both sides are asked alike"
    assert (base["name"], adapter["name"]) == ("base", "adapter")


def test_trained_rows_are_what_a_run_sends(done: tuple[Tuning, str]) -> None:
    tuning, finetune_id = done
    row = next(tuning.folder(finetune_id).rows("eval"))
    runs = tuning.workbench.runs
    run_id = tuning.get(finetune_id)["run_id"]
    variant = runs.get(OWNER, run_id)["variants"][-1]
    tuning.workbench.ingest.drain()
    trace = runs.cell(OWNER, run_id, variant["id"], row["id"])["trace"]
    assert trace["messages"] == row["messages"][:-1]
    base = tuning.workbench.models.get(OWNER, tuning.base_id)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base["path"])
    compared = compare_templates(tokenizer, row["messages"])
    assert compared["same"]
    assert trace["rendered_prompt"] == compared["training"], "character by character"


def test_finishing_again_after_a_crash_doubles_nothing(done: tuple[Tuning, str]) -> None:
    tuning, finetune_id = done
    row = tuning.get(finetune_id)
    models = len(tuning.workbench.models.list(OWNER))
    runs = len(tuning.workbench.runs.list(OWNER))
    value = {"finetune_id": finetune_id, "result": row["result"]}
    tuning.finetunes._finish(row["job_id"], value, OWNER.id)
    for lost in ("adapter_model_id", "run_id"):  # as if the crash came before it was noted
        if lost == "adapter_model_id":
            tuning.finetunes._update(finetune_id, adapter_model_id=None)
        tuning.finetunes._finish(row["job_id"], value, OWNER.id)
    after = tuning.get(finetune_id)
    assert (after["adapter_model_id"], after["run_id"]) == (row["adapter_model_id"], row["run_id"])
    assert len(tuning.workbench.models.list(OWNER)) == models
    assert len(tuning.workbench.runs.list(OWNER)) == runs
    assert tuning.finetunes.compare(OWNER, finetune_id) == row["run_id"]


def test_the_file_of_a_fine_tune_names_what_it_was_made_from(done: tuple[Tuning, str]) -> None:
    tuning, finetune_id = done
    told = yaml.safe_load(tuning.finetunes.config_yaml(OWNER, finetune_id))
    assert (told["base"], told["dataset"], told["prompt"]) == ("tiny", "tickets@1", "label it@1")
    assert told["hold_out"] == {"share": 0.25}
    assert told["params"]["rank"] == 4
    assert tuning.finetunes.clone_config(OWNER, finetune_id)["base_model_id"] == tuning.base_id
    same = yaml.safe_load(tuning.finetunes.config_yaml(OWNER, tuning.config()))
    assert same == told


def test_what_cannot_start_says_why(done: tuple[Tuning, str]) -> None:
    tuning, _ = done
    start = tuning.finetunes.start
    with pytest.raises(NotFound, match="model"):
        start(OWNER, tuning.config(base_model_id="model_none"))
    with pytest.raises(Invalid, match="not split") as raised:
        start(OWNER, tuning.config(hold_out={"split": "test"}))
    assert raised.value.field == "hold_out"
    with pytest.raises(Invalid, match="method"):
        start(OWNER, tuning.config(params={"method": "magic"}))
    with pytest.raises(Invalid, match="by DPO"):
        start(OWNER, tuning.config(params={"method": "dpo"}))
    elsewhere = tuning.workbench.models.add(
        OWNER, "elsewhere", "endpoint", "http://127.0.0.1:9/v1", revision="m"
    )
    with pytest.raises(Invalid, match="its weights are elsewhere"):
        start(OWNER, tuning.config(base_model_id=elsewhere))


def test_an_empty_split_names_the_splits_there_are(done: tuple[Tuning, str]) -> None:
    tuning, _ = done
    rows = [{**row, "split": "train"} for row in ticket_rows(8)]
    version_id = tuning.import_rows(rows, name="split", split="metadata")
    config = tuning.config(dataset_version_id=version_id, hold_out={"split": "test"})
    with pytest.raises(Invalid, match="the split 'test' has none") as raised:
        tuning.finetunes.start(OWNER, config)
    assert "train (8)" in str(raised.value.hint)
    assert "'test'" in tuning.finetunes.outline(OWNER, config)["why_not"]
    trained = tuning.config(dataset_version_id=version_id, train_split="dev")
    assert (
        "No row can be trained on in the split 'dev'"
        in (tuning.finetunes.outline(OWNER, trained)["why_not"])
    )


def test_a_sweep_makes_one_of_each_and_names_taken_get_a_number(done: tuple[Tuning, str]) -> None:
    tuning, _ = done
    ids = tuning.finetunes.start(OWNER, tuning.config(sweep={"rank": [2, 4]}))
    rows = [tuning.get(one) for one in ids]
    assert [row["name"] for row in rows] == ["a tune · lora rank 2", "a tune · lora rank 4"]
    assert rows[0]["sweep_id"] == rows[1]["sweep_id"]
    assert [one["id"] for one in rows[0]["sweep"]] == ids
    again = tuning.start()
    assert tuning.get(again)["name"] == "a tune (2)"
    for one in [*ids, again]:
        if tuning.get(one)["state"] in ("queued", "running"):
            tuning.finetunes.stop(OWNER, one)
    for one in [*ids, again]:
        wait_for(lambda one=one: tuning.get(one)["state"] in ("cancelled", "succeeded"))
        tuning.finetunes.archive(OWNER, one)
    assert len(tuning.finetunes.list(OWNER)) == 1


def test_a_base_in_training_is_not_archived(done: tuple[Tuning, str]) -> None:
    tuning, _ = done
    finetune_id = tuning.start(params={"epochs": 200.0})
    with pytest.raises(Conflict, match="in use"):
        tuning.workbench.models.archive(OWNER, tuning.base_id)
    tuning.finetunes.stop(OWNER, finetune_id)
    wait_for(lambda: tuning.get(finetune_id)["state"] == "cancelled")
    tuning.finetunes.archive(OWNER, finetune_id)


@pytest.mark.slow
def test_more_epochs_go_on_from_the_adapter(done: tuple[Tuning, str]) -> None:
    tuning, finetune_id = done
    more = tuning.finetunes.extend(OWNER, finetune_id, 1)
    row = tuning.finish(more)
    first = tuning.get(finetune_id)["result"]
    assert row["parent_id"] == finetune_id
    assert row["name"] == "a tune, 1 epoch more"
    assert row["result"]["eval_loss_last"] < first["eval_loss_last"]
    assert row["result"]["loss_first"] < first["loss_first"]
    assert tuning.folder(more).row_ids("eval") == tuning.folder(finetune_id).row_ids("eval")
