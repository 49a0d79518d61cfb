"""What people do with a prompt as a whole: make, open, rename, archive and restore it.

Knows: dialogs and callbacks. Does not know: texts and versions.
"""

from __future__ import annotations

import streamlit as st

from app import queries, ui
from core.store.database import Row


def open_prompt(prompt_id: str | None) -> None:
    """Put a prompt, or the list, into the URL; a callback, or before st.rerun."""
    ui.set_params(prompt=prompt_id, version=None, view=None)
    st.session_state.pop("view", None)


def add_samples() -> None:
    """The sample prompts, all of them."""
    made = ui.workbench().prompts.create_samples(ui.actor())
    ui.done(f"Added {len({row['prompt_id'] for row in made})} prompts in two versions each")


@st.dialog("New prompt")
def new() -> None:
    """A dialog: name and purpose; the text is written in the editor."""
    name = st.text_input("Name", placeholder="Triage a ticket", max_chars=120)
    description = st.text_input("What it does", max_chars=300, placeholder="One sentence")
    if st.button("Create prompt", type="primary", disabled=not name.strip()):
        with ui.errors():
            open_prompt(ui.workbench().prompts.create(ui.actor(), name, description=description))
            st.rerun()


@st.dialog("Rename prompt")
def rename(prompt: Row) -> None:
    """A dialog: another name or purpose."""
    name = st.text_input("Name", prompt["name"], max_chars=120)
    description = st.text_input("What it does", prompt["description"], max_chars=300)
    st.caption("Versions, runs and links stay as they are.")
    if st.button("Rename prompt", type="primary", disabled=not name.strip()):
        with ui.errors():
            ui.workbench().prompts.rename(ui.actor(), prompt["id"], name, description=description)
            ui.done("Prompt renamed")
            st.rerun()


def archive(prompt: Row) -> None:
    """Off the list; back to the list."""
    ui.workbench().prompts.archive(ui.actor(), prompt["id"])
    ui.done(f"{prompt['name']} is archived")
    open_prompt(None)


def restore(prompt: Row) -> None:
    """Back on the list."""
    ui.workbench().prompts.restore(ui.actor(), prompt["id"])
    ui.done(f"{prompt['name']} is back on the list")


def asked_for() -> Row | None:
    """The prompt that the URL names, by itself or by one of its versions."""
    version_id, prompt_id = ui.param("version"), ui.param("prompt")
    if not ui.may("workspace.read") or not (version_id or prompt_id):
        return None
    with ui.errors():
        if prompt_id is None:
            prompt_id = queries.read("prompts", "version", version_id)["prompt_id"]
            ui.set_params(prompt=prompt_id)
        return queries.read("prompts", "get", prompt_id)
    return None
