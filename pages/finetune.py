"""Fine-tune: a model trained on your rows, watched live, and compared with its base at the end."""

from __future__ import annotations

import streamlit as st

from app import finetune_draft, finetune_form, finetune_list, finetune_watch, ui


def open_form() -> None:
    finetune_form.begin()
    ui.set_params(new="1", id=None)


def close_form() -> None:
    ui.set_params(new=None)


def back_to_list() -> None:
    ui.set_params(**{"id": None, "with": None})


def set_up_sample() -> None:
    finetune_form.begin(finetune_draft.sample())
    ui.set_params(new="1")


def seed_from_url() -> None:
    """Another page asked for a dataset and a prompt: once, so that a reload keeps what is typed."""
    asked = {name: ui.param(name) for name in ("dataset", "prompt", "base", "method")}
    if any(asked.values()):
        finetune_form.begin(finetune_draft.asked(**asked))
        ui.set_params(dataset=None, prompt=None, base=None, method=None)


finetune_id = ui.param("id")
wants_form = ui.param("new") is not None and ui.may("training.write")
title, sentence = "Fine-tune", "Does a model get better at your task when it learns from your rows?"
if finetune_id is not None and not wants_form:
    with ui.errors():
        title, sentence = finetune_watch.head(finetune_id)
page = ui.page(title, sentence, key="finetune")

if wants_form:
    with page.actions:
        st.button("Back to the fine-tunes", icon=":material/arrow_back:", on_click=close_form)
        st.button("Start over", on_click=finetune_form.begin_empty,
                  help="Forgets what is typed here")  # fmt: skip
    if missing := finetune_draft.missing():
        ui.empty_state(
            "Something is missing first", f"A fine-tune needs rows and a base model: "
            f"add them on the page {' and the page '.join(missing)}.",
            "Fine-tune the starter on the sample tickets", set_up_sample,
            icon=":material/model_training:",
        )  # fmt: skip
        st.stop()
    seed_from_url()
    started = finetune_form.draw()
    if started:
        ui.set_params(**{"new": None, "id": started[0], "with": ",".join(started[1:]) or None})
        ui.done("Queued" if len(started) == 1 else f"{len(started)} fine-tunes queued")
        st.rerun()
    st.stop()

if finetune_id is not None:
    with page.actions:
        st.button("All fine-tunes", icon=":material/arrow_back:", on_click=back_to_list)
    finetune_watch.show(finetune_id)
    st.stop()

with page.actions:
    if ui.may("training.write"):
        st.button("New fine-tune", type="primary", icon=":material/add:", on_click=open_form)
finetune_list.show(set_up_sample, open_form)
