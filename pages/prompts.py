"""Prompts: every prompt, its text, its versions, and what changed between them."""

from __future__ import annotations

import streamlit as st

from app import prompt_acts as acts
from app import prompt_editor, prompt_versions, queries, tables, text, ui
from core.store.database import Row

COLUMNS = {
    "name": tables.text("Prompt", width=165),
    "description": tables.text("What it does", width=210),
    "newest": tables.text("Version", width=66),
    "variables": tables.badges("Variables", width=150),
    "tagged": tables.badges("Tags", width=125),
    "updated_at": tables.time("Changed", width=120),
}


def show_prompt(prompt: Row) -> None:
    title = text.escape(prompt["name"])
    page = ui.page(title, text.escape(prompt["description"]) or "No description.", key="prompts")
    with page.actions:
        st.button(
            "Prompts",
            icon=":material/arrow_back:",
            on_click=acts.open_prompt,
            args=(None,),
        )
        if ui.may("prompts.write") and prompt["archived_at"] is None:
            if st.button("Rename", icon=":material/edit_note:"):
                acts.rename(prompt)
            ui.confirm(
                "Archive",
                "Takes the prompt off the list. Versions and runs stay readable, and it can be "
                "restored.",
                acts.archive,
                key="archive",
                args=(prompt,),
            )
    if prompt["archived_at"] is not None:
        st.info("This prompt is archived: it can be read, not changed.", icon=":material/archive:")
        if ui.may("prompts.write"):
            st.button("Restore prompt", on_click=ui.guarded(acts.restore), args=(prompt,))
    versions = queries.read("prompts", "versions", prompt["id"])
    if not versions:
        prompt_editor.write(prompt, None)
        return
    first = "Versions" if ui.param("version") else "Write"
    tabs = st.tabs(["Write", "Versions"], default=first, key="view", bind="query-params")
    if tabs[0].open:
        with tabs[0]:
            prompt_editor.write(prompt, versions[0])
    else:
        with tabs[1]:
            prompt_versions.history(prompt, versions)


def show_list() -> None:
    page = ui.page(
        "Prompts", "Every prompt, its versions, and what changed between them.", key="prompts"
    )
    if ui.may("prompts.write"):
        with page.actions:
            if st.button("New prompt", type="primary", icon=":material/add:", shortcut="N"):
                acts.new()
    every = queries.read("prompts", "list")
    archived = queries.read("prompts", "list", archived=True)
    if not every and not archived:
        ui.empty_state(
            "No prompts yet",
            "A prompt is a text with slots for a row's values, kept in numbered versions that "
            "never change. The samples are two prompts in two versions each, ready to compare.",
            "Add the sample prompts" if ui.may("prompts.write") else None,
            acts.add_samples,
            icon=":material/edit_note:",
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        search = st.text_input(
            "Search",
            key="q",
            bind="query-params",
            icon=":material/search:",
            placeholder="Words in the name, description or text",
            width=320,
        )
        tag = st.selectbox(
            "Tag",
            sorted({tag for row in every for tag in row["tags"]}),
            index=None,
            key="tag",
            bind="query-params",
            placeholder="Any tag",
            width=180,
        )
        old = st.toggle("Archived", key="archived", bind="query-params") if archived else False
    found = queries.read("prompts", "list", search=search, tag=tag, archived=old)
    if not found:
        st.info("No prompt matches these filters.", icon=":material/filter_alt:")
        return
    rows = [
        {
            **row,
            "newest": f"v{row['version_count']}" if row["version_count"] else "draft",
            "tagged": [f"{tag} v{number}" for tag, number in row["tags"].items()],
        }
        for row in found
    ]
    picked = tables.pick(
        rows, COLUMNS, key="prompts-list", alt="Prompts, last changed first", height="content"
    )
    st.caption(f"{text.plural(len(rows), 'prompt')}. Select one to write, compare and tag it.")
    if picked is not None:
        acts.open_prompt(picked["id"])
        st.rerun()


prompt = acts.asked_for()
if prompt is None:
    show_list()
else:
    show_prompt(prompt)
