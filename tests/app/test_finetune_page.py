"""The Fine-tune page: list, form, check, watch and result, as each role meets them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import finetune_check, finetune_form, finetune_params, finetune_watch
from core.errors import Invalid
from core.settings import Settings
from core.training.script.params import FIELDS
from core.workbench import OWNER, Workbench
from tests.app.test_runs_page import button, labels
from tests.pages_runner import Pages
from tests.training.finetuning import QUICK, Tuning, wait_for


@pytest.fixture
def tuning(workbench: Workbench, tmp_path: Path) -> Iterator[Tuning]:
    """A tiny base, tickets and a prompt; nothing trained yet."""
    made = Tuning.make(workbench, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tuning, str]]:
    """One fine-tune, over and compared. Read by many tests."""
    folder = tmp_path_factory.mktemp("tuned")
    with Workbench.open(Settings(home=folder / "home", threads=1)) as workbench:
        tuning = Tuning.make(workbench, folder)
        finetune_id = tuning.start(params={"eval_every": 2})
        tuning.finish(finetune_id)
        tuning.compared(finetune_id)
        yield tuning, finetune_id
        tuning.close()


@pytest.fixture(scope="module")
def over(done: tuple[Tuning, str]) -> Iterator[Pages]:
    """Pages over the workbench of `done`."""
    with pytest.MonkeyPatch.context() as patch:
        opener = Pages(done[0].workbench, patch)
        yield opener
        opener.close()


def said(page: AppTest) -> str:
    """Every text on a page."""
    parts = [*page.title, *page.markdown, *page.caption, *page.info, *page.warning, *page.error]
    return "\n".join(str(one.value) for one in [*parts, *page.success])


def tiles(page: AppTest) -> dict[str, str]:
    return {one.label: one.value for one in page.metric}


def test_an_empty_list_sets_up_the_sample_in_one_click(
    pages: Pages, workbench: Workbench, tmp_path: Path
) -> None:
    from tests.models.tiny import save_tiny_model

    workbench.models.add(OWNER, "tiny", "directory", str(save_tiny_model(tmp_path / "tiny")))
    page = pages.open("finetune")
    assert not page.exception
    assert "No fine-tunes yet" in said(page)
    button(page, "Fine-tune the starter on the sample tickets").click().run()
    assert not page.exception
    assert not page.error
    chosen = {one.label: one.value for one in page.selectbox}
    version = workbench.datasets.find(OWNER, "Support tickets")
    assert chosen["Version"] == version["id"]
    assert chosen["Prompt version"] == workbench.prompts.find(OWNER, "Triage a ticket@1")["id"]
    assert tiles(page)["Rows: trained on / held out"] == "95 / 32"
    assert "Start 36 steps" in labels(page)


def test_a_lead_reads_fine_tunes_and_starts_none(pages: Pages, tuning: Tuning) -> None:
    page = pages.open("finetune", role="lead", new="1")
    assert not page.exception
    assert not {"New fine-tune", "Check and measure"} & labels(page)


def test_the_form_starts_what_it_shows_and_leads_to_it(pages: Pages, tuning: Tuning) -> None:
    page = pages.open("finetune", new="1")
    assert not page.exception
    assert not page.error
    epochs = next(one for one in page.number_input if one.label == "Epochs")
    epochs.set_value(1.0).run()
    next(one for one in page.number_input if one.label == "Batch").set_value(4).run()
    assert tiles(page)["Steps"] == "5"
    yaml = next(one.value for one in page.code if "base: tiny" in one.value)
    assert "epochs: 1.0" in yaml
    button(page, "Start 5 steps").click().run()
    assert not page.exception
    [row] = tuning.finetunes.list(OWNER)
    assert row["name"] == "tickets on tiny"
    assert (row["config"]["params"]["epochs"], row["config"]["params"]["batch_size"]) == (1.0, 4)
    assert page.query_params["id"] in (row["id"], [row["id"]])
    assert "new" not in page.query_params
    tuning.finetunes.stop(OWNER, row["id"])
    tuning.finish(row["id"], "cancelled")


def test_a_reload_loses_nothing_and_start_over_forgets(pages: Pages, tuning: Tuning) -> None:
    page = pages.open("finetune", new="1")
    next(one for one in page.number_input if one.label == "LoRA rank").set_value(64).run()
    next(one for one in page.text_input if one.label == "Name").set_value("my tune").run()
    again = pages.open("finetune", new="1")
    assert next(one for one in again.number_input if one.label == "LoRA rank").value == 64
    assert next(one for one in again.text_input if one.label == "Name").value == "my tune"
    button(again, "Start over").click().run()
    assert next(one for one in again.number_input if one.label == "LoRA rank").value == 16


def test_a_method_shows_its_own_settings_alone(pages: Pages, tuning: Tuning) -> None:
    page = pages.open("finetune", new="1")
    shown = {one.label for one in [*page.number_input, *page.checkbox]}
    assert "Beta" not in shown
    assert "Packing" in shown
    next(one for one in page.selectbox if one.label == "Method").set_value("dpo").run()
    assert not page.exception
    shown = {one.label for one in [*page.number_input, *page.checkbox]}
    assert "Beta" in shown
    assert "Packing" not in shown
    assert next(one for one in page.number_input if one.label == "Learning rate").value == 5e-5


def test_a_preset_sets_what_it_names_and_keeps_the_rest(pages: Pages, tuning: Tuning) -> None:
    page = pages.open("finetune", new="1")
    next(one for one in page.number_input if one.label == "Batch").set_value(4).run()
    page.segmented_control[0].set_value("thorough").run()
    assert not page.exception
    values = {one.label: one.value for one in page.number_input}
    assert (values["Epochs"], values["LoRA rank"], values["Batch"]) == (5.0, 32, 4)


def test_a_lever_changes_the_form(pages: Pages, tuning: Tuning) -> None:
    page = pages.open("finetune", new="1")
    next(one for one in page.number_input if one.label == "Batch").set_value(64).run()
    draft = page.session_state[finetune_form.FORM]["draft"]
    [lever, *_] = tuning.finetunes.forecast(OWNER, finetune_form.config_of(draft))["levers"]
    page.button(key="lever-0").click().run()
    assert not page.exception
    values = finetune_params.values(page.session_state[finetune_form.FORM]["draft"])
    assert {name: values[name] for name in lever["changes"]} == lever["changes"]


def test_another_page_opens_the_form_for_its_rows(pages: Pages, tuning: Tuning) -> None:
    other = tuning.import_rows([{"text": f"t {n}", "label": "x"} for n in range(9)], name="others")
    page = pages.open("finetune", new="1", dataset=other, prompt=tuning.prompt_version_id)
    assert not page.exception
    chosen = {one.label: one.value for one in page.selectbox}
    assert (chosen["Version"], chosen["Prompt version"]) == (other, tuning.prompt_version_id)
    assert "dataset" not in page.query_params


def test_a_check_shows_template_lengths_and_what_is_trained(pages: Pages, tuning: Tuning) -> None:
    page = pages.open("finetune", new="1")
    config = finetune_form.config_of(page.session_state[finetune_form.FORM]["draft"] | {
        "name": "tickets on tiny"
    })  # fmt: skip
    job_id = tuning.finetunes.check(OWNER, config)
    wait_for(lambda: tuning.finetunes.report(OWNER, job_id) is not None)
    draft = page.session_state[finetune_form.FORM]["draft"]
    draft["check"] = {"job_id": job_id, "key": finetune_check.key_of(config)}
    page.run()
    assert not page.exception
    assert "The same up to the answer" in said(page)
    assert [one.label for one in page.tabs] == ["Template", "Rows", "5 examples as trained"]
    marked = [one.proto.body for one in page.get("html") if "<mark" in one.proto.body]
    assert len(marked) == 5
    next(one for one in page.number_input if one.label == "Batch").set_value(2).run()
    assert "The settings changed since this check" in said(page)


def test_a_finished_one_tells_whether_it_beats_its_base(
    over: Pages, done: tuple[Tuning, str]
) -> None:
    tuning, finetune_id = done
    page = over.open("finetune", id=finetune_id)
    assert not page.exception
    words = said(page)
    assert "Is it better than its base?" in words
    assert "held-out rows pass" in words
    assert {"Open the comparison", "Try in the playground", "Open in Models"} <= labels(page)
    row = tuning.get(finetune_id)
    assert tiles(page)["Steps"] == f"5 of {row['result']['steps']}"
    assert len(page.get("plotly_chart")) == 4
    assert "What does it answer now, beside its base?" in words


def test_the_list_shows_losses_and_the_difference(over: Pages, done: tuple[Tuning, str]) -> None:
    page = over.open("finetune")
    assert not page.exception
    shown = page.dataframe[0].value.iloc[0]
    assert shown["name"] == "a tune"
    assert "→" in shown["losses"]
    assert "[" in shown["verdict"]
    page.text_input[0].set_value("nothing like it").run()
    assert "No fine-tune matches." in said(page)


def test_a_clone_opens_the_form_with_the_same_settings(
    over: Pages, done: tuple[Tuning, str]
) -> None:
    page = over.open("finetune", id=done[1])
    button(page, "Clone with changes").click().run()
    assert not page.exception
    values = {one.label: one.value for one in page.number_input}
    assert values["LoRA rank"] == QUICK["rank"]
    assert values["Longest row, tokens"] == QUICK["max_length"]


def test_the_playground_gets_base_and_adapter_side_by_side(
    over: Pages, done: tuple[Tuning, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning, finetune_id = done
    led: list[Any] = []
    monkeypatch.setattr("streamlit.switch_page", lambda target, **_: led.append(target))
    page = over.open("finetune", id=finetune_id)
    button(page, "Try in the playground").click().run()
    assert led == ["../pages/playground.py"]
    columns = page.session_state["playground"]["columns"]
    row = tuning.get(finetune_id)
    assert [c["model_id"] for c in columns] == [tuning.base_id, row["adapter_model_id"]]
    assert {c["version"] for c in columns} == {tuning.prompt_version_id}


def test_an_adapter_says_on_models_what_it_is_laid_over(
    over: Pages, done: tuple[Tuning, str]
) -> None:
    tuning, finetune_id = done
    adapter_id = tuning.get(finetune_id)["adapter_model_id"]
    page = over.open("models", model=adapter_id)
    assert not page.exception
    assert "Laid over **tiny**" in said(page)
    assert {"Open its fine-tune", "Compare with base"} <= labels(page)


def test_a_failed_one_offers_what_would_mend_it(pages: Pages, tuning: Tuning) -> None:
    finetune_id = tuning.start(params={"max_length": 16})
    tuning.finish(finetune_id, "failed")
    changes = {"batch_size": 2, "accumulation": 2}
    tuning.folder(finetune_id).write_failure(
        {"code": "out_of_memory", "title": "It was killed", "message": "Probably out of memory.",
         "hint": "Use a smaller batch.", "changes": changes}
    )  # fmt: skip
    page = pages.open("finetune", id=finetune_id)
    assert not page.exception
    [again] = [one for one in page.button if one.label.startswith("Try again with")]
    again.click().run()
    assert not page.exception
    draft = page.session_state[finetune_form.FORM]["draft"]
    assert {k: finetune_params.values(draft)[k] for k in changes} == changes


@pytest.mark.parametrize("opened", [None, "another"])
def test_what_a_button_of_the_view_opens_is_drawn_by_the_page(
    done: tuple[Tuning, str], monkeypatch: pytest.MonkeyPatch, opened: str | None
) -> None:
    """Archive and Continue change the URL in a fragment, whose own run would draw the old one."""

    class RunAgainError(Exception):
        pass

    def rerun() -> None:
        raise RunAgainError

    monkeypatch.setattr("streamlit.rerun", rerun)
    monkeypatch.setattr(finetune_watch.ui, "workbench", lambda: done[0].workbench)
    monkeypatch.setattr(finetune_watch.ui, "actor", lambda: OWNER)
    monkeypatch.setattr(finetune_watch.ui, "param", lambda name: opened)
    with pytest.raises(RunAgainError):
        finetune_watch._draw(done[1], False)


@pytest.mark.parametrize("what", ["list", "exports", "bar"])
def test_a_fragment_shows_what_its_buttons_met(pages: Pages, tuning: Tuning, what: str) -> None:
    def script(what: str, model_id: str) -> None:
        import streamlit as st

        from app import finetune_list, finetune_result, job_progress
        from core.errors import Conflict

        st.session_state["_error"] = Conflict("It is taken.")
        st.session_state["_done"] = ["Asked to stop"]
        if what == "list":
            finetune_list._draw(False, lambda: None, lambda: None)
        elif what == "exports":
            finetune_result.exports(model_id, key="x")
        else:
            job = {"id": "job_1", "state": "running", "progress_done": 1, "progress_total": 2,
                   "message": None, "eta_s": None}  # fmt: skip
            job_progress.bar(job, "Waits", key="x")

    pages.open("account")  # signs in for the script
    page = AppTest.from_function(
        script, kwargs={"what": what, "model_id": tuning.base_id}, default_timeout=30
    ).run()
    assert not page.exception
    assert "It is taken" in page.error[0].value
    assert page.toast[0].value == "Asked to stop"


@pytest.mark.parametrize(
    ("name", "typed", "found"),
    [
        ("learning_rate", "1e-4, 3e-4, 1e-4", [1e-4, 3e-4]),
        ("rank", " 8,16 ,", [8, 16]),
        ("epochs", "", []),
    ],
)
def test_values_of_a_sweep_are_read_once_each(name: str, typed: str, found: list[Any]) -> None:
    assert finetune_params.parsed(FIELDS[name], typed) == found


def test_a_value_that_cannot_be_is_named() -> None:
    with pytest.raises(Invalid, match="many"):
        finetune_params.parsed(FIELDS["rank"], "8, many")


def test_every_setting_is_in_the_form_and_told_afterwards() -> None:
    from core.training.script.params import preset

    told = finetune_params.told(preset("balanced").to_dict())
    assert set(told) == {f.label for f in FIELDS.values() if "sft" in f.methods}
    assert all(told.values())
