"""Playground: the same values through two to six variants, side by side, token by token."""

from __future__ import annotations

import time

import streamlit as st

from app import diff, queries, text, ui
from app import playground_draft as drafts
from app import playground_parts as parts
from app.playground_draft import LETTERS
from core.evals.playground import MOST_COLUMNS
from core.store.database import Row

LOOK_S = 0.04  # between looks for new tokens: faster than people read


def run_all() -> None:
    drafts.save(draft)
    values = dict(draft["values"])
    row = draft["row"] if draft["dataset"] else None
    ui.workbench().playground.start(page.actor, drafts.asked(draft), values, row=row)


def stop_all() -> None:
    ui.workbench().playground.stop(page.actor)


def begin_with_samples() -> None:
    ui.workbench().prompts.create_samples(page.actor)
    (prompt, *_) = ui.workbench().prompts.list(page.actor, search="Answer from context")
    versions = ui.workbench().prompts.versions(page.actor, prompt["id"])
    draft["columns"] = [drafts.new_column(version) for version in reversed(versions[:2])]
    data = ui.workbench().datasets.import_sample(page.actor, "short-answers")
    draft["dataset"], draft["row"] = data["id"], 0
    drafts.save(draft)


def begin_empty() -> None:
    draft["columns"] = [drafts.new_column(), drafts.new_column()]
    drafts.save(draft)


def answers() -> None:
    rows = ui.workbench().playground.columns(page.actor)
    for column, row, letter in zip(st.columns(max(2, len(rows))), rows, LETTERS, strict=False):
        with column.container(border=True):
            parts.answer(row, letter)
            parts.details(row)


def stream() -> None:
    """Draw what is new until every column has ended; a click elsewhere interrupts it."""
    rows = ui.workbench().playground.columns(page.actor)
    columns = st.columns(max(2, len(rows)))
    places = [column.container(border=True).empty() for column in columns[: len(rows)]]
    drawn: list[Row | None] = [None] * len(rows)
    pulse = st.empty()
    while True:
        pulse.empty()  # a click waits for the next thing that is drawn
        for number, row in enumerate(rows):
            if row != drawn[number]:
                drawn[number] = row
                with places[number].container():
                    parts.answer(row, LETTERS[number])
        if not parts.running(rows):
            st.rerun()
        time.sleep(LOOK_S)
        rows = ui.workbench().playground.columns(page.actor)


page = ui.page(
    "Playground", "The same input through two to six variants, side by side.", key="playground"
)
draft = drafts.load()
if not draft["columns"]:
    ui.empty_state(
        "Compare two prompts on a local model",
        "Each column is a prompt, a model, a quantization and how answers are drawn. "
        "They answer the same input at once, token by token, with time to first token and speed.",
        "Begin with the sample prompts and questions",
        begin_with_samples,
        icon=":material/science:",
    )
    st.button("Begin with empty columns", on_click=begin_empty, type="tertiary")
    st.stop()

live = parts.running(ui.workbench().playground.columns(page.actor))
with page.actions:
    st.button(
        "Add column",
        icon=":material/add:",
        on_click=drafts.add_column,
        args=(draft,),
        disabled=len(draft["columns"]) >= MOST_COLUMNS,
    )
    if live:
        st.button("Stop all", icon=":material/stop:", on_click=ui.guarded(stop_all), shortcut="Esc")
    else:
        st.button(
            f"Run {text.plural(len(draft['columns']), 'column')}",
            type="primary",
            icon=":material/play_arrow:",
            on_click=ui.guarded(run_all),
            shortcut="Ctrl+Enter",
        )

versions = {
    version["id"]: f"{prompt['name']} v{version['number']}"
    for prompt in queries.read("prompts", "list")
    for version in queries.read("prompts", "versions", prompt["id"])
}
with st.expander("Prompts and models", expanded=True):
    for column, slot, letter in zip(
        draft["columns"], st.columns(max(2, len(draft["columns"]))), LETTERS, strict=False
    ):
        with slot.container(key=f"form-{column['id']}"):
            parts.column_form(draft, column, letter, versions)
drafts.save(draft)
with ui.errors():
    parts.values_form(draft, drafts.variables(draft))
drafts.save(draft)

if live:
    stream()  # until the answers have ended, or somebody clicks
answers()

finished = [r for r in ui.workbench().playground.columns(page.actor) if r["text"]]
if len(finished) > 1 and not live:
    st.subheader("Word by word", anchor=False)
    pair = st.segmented_control(
        "Compare with A", list(LETTERS[1 : len(finished)]), default="B", key="diff-with"
    )
    if pair:
        other = finished[LETTERS.index(pair)]
        diff.show(finished[0]["text"], other["text"], sides=("A", pair))
