"""Writing a prompt: the draft, its variables, how it reads on a row, and saving it as a version.

The draft lives in `workbench.drafts` from the first change on, so a reload, another page or
another machine finds it again; saving or discarding it ends it.

Knows: one prompt being written. Does not know: the list, the older versions.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import diff, prompt_form, queries, text, ui
from core.datasets.examples import Example, example_of
from core.datasets.files import Column
from core.errors import Invalid
from core.generation import Generation
from core.prompts.diff import word_diff
from core.prompts.template import render
from core.store.database import Row

Content = prompt_form.Content

TEXT_FIELDS = ("system_template", "user_template")


def write(prompt: Row, newest: Row | None) -> None:
    """The editor on the left, variables and preview on the right."""
    key = form_key(prompt["id"])
    if not prompt_form.loaded(key):
        kept = ui.workbench().drafts.get(ui.actor(), draft_key(prompt["id"])) or {}
        prompt_form.load(key, kept.get("content") or content_of(newest))
        st.session_state[f"{key}-message"] = kept.get("message", "")
    fixed = not ui.may("prompts.write") or prompt["archived_at"] is not None
    left, right = st.columns([7, 5], gap="medium")
    with left:
        head = st.container()
        prompt_form.templates(key, disabled=fixed)
        prompt_form.generation(key, disabled=fixed)
        content = prompt_form.read(key)
        found = prompt_form.check(content)
        if not fixed:
            _save_row(prompt, newest, content, found)
        with head:
            _state(prompt, newest, content, fixed=fixed)
    if not fixed:
        _keep(prompt["id"], newest, content)
    with right:
        preview(content, found, key=key)


def form_key(prompt_id: str) -> str:
    """The form of a prompt in this session."""
    return f"write-{prompt_id}"


def draft_key(prompt_id: str) -> str:
    """The draft of a prompt among the actor's drafts."""
    return f"prompt:{prompt_id}"


def content_of(version: Row | None) -> Content:
    """What the form holds of a version; an empty form for none."""
    if version is None:
        return prompt_form.empty()
    return {name: version[name] for name in (*TEXT_FIELDS, "generation")}


def start_from(version: Row) -> None:
    """Callback: put an older version's text into the editor and open it."""
    key = form_key(version["prompt_id"])
    draft = {"content": content_of(version), "message": f"As v{version['number']}"}
    ui.workbench().drafts.put(ui.actor(), draft_key(version["prompt_id"]), draft)
    prompt_form.unload(key)
    st.session_state["view"] = "Write"


def changes(old: Content, new: Content, *, sides: tuple[str, str] | None, whitespace: bool) -> None:
    """Both templates and the parameters, with their differences marked."""
    for name in TEXT_FIELDS:
        pieces = word_diff(old[name], new[name])
        st.markdown(f"**{name.split('_')[0].capitalize()}** :gray[· {diff.summary(pieces)}]")
        if old[name] or new[name]:
            diff.show(old[name], new[name], sides=sides, whitespace=whitespace, max_height=520)
    moved = [
        f"`{name}` {_shown(old['generation'].get(name))} → **{_shown(value)}**"
        for name, value in new["generation"].items()
        if value != old["generation"].get(name)
    ]
    st.markdown("**Generation** :gray[·] " + (", ".join(moved) or ":gray[No difference]"))


def preview(content: Content, found: prompt_form.Found, *, key: str) -> None:
    """The variables, and the messages as one row of a dataset makes them."""
    place = st.container(gap="xsmall")
    example = _pick_row(found, key)
    with place:
        st.markdown("**Variables**")
        given = None if example is None else frozenset(example.inputs)
        st.markdown(prompt_form.variables(found, given))
    for mistake in found.mistakes:
        _warn(mistake)
    if example is None:
        return
    names = " ".join(f"`{{{{{name}}}}}`" for name in example.inputs)
    st.caption(f"This dataset gives {names}")
    if not found.mistakes and content["user_template"].strip():
        _messages(content, example)
    if example.expected is not None:
        st.caption("Expected")
        st.code(example.expected, language=None, wrap_lines=True)


def _state(prompt: Row, newest: Row | None, content: Content, *, fixed: bool) -> None:
    """What stands in the form, in a line of one height, so that nothing below it jumps."""
    number = newest["number"] if newest else 0
    is_draft = content != content_of(newest)
    with st.container(
        horizontal=True,
        vertical_alignment="center",
        horizontal_alignment="distribute",
        height=40,
        border=False,
    ):
        if fixed or not is_draft:
            said = f"v{number}, the newest version" if newest else "No version yet"
            st.markdown(f":gray[{said}]", width="content")
            return
        st.markdown(
            ":orange-badge[:material/edit: Draft] :gray[kept as you write]",
            width="content",
        )
        with st.container(horizontal=True, gap="small", width="content"):
            if newest is not None:
                with st.popover("Changes", icon=":material/difference:", width="content"):
                    st.caption(f"From v{number} to this draft")
                    changes(content_of(newest), content, sides=None, whitespace=False)
            st.button(
                "Discard draft",
                icon=":material/undo:",
                key="discard",
                on_click=ui.guarded(_discard),
                args=(prompt["id"],),
                help=f"Go back to v{number}" if newest else "Empty the form",
            )


def _save_row(prompt: Row, newest: Row | None, content: Content, found: prompt_form.Found) -> None:
    """The message and the button that says which version it makes."""
    number = newest["number"] + 1 if newest else 1
    blank = not content["user_template"].strip()
    if blank:
        why = "The user template is empty"
    elif found.mistakes:
        why = "Mend what is marked first"
    elif content == content_of(newest):
        why = f"Nothing has changed since v{number - 1}"
    else:
        why = None
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input(
            "What changed",
            key=f"{form_key(prompt['id'])}-message",
            max_chars=200,
            placeholder="Says what each label means",
        )
        st.button(
            f"Save as v{number}",
            type="primary",
            icon=":material/save:",
            key="save",
            disabled=why is not None,
            help=why or "Versions never change: this adds one",
            on_click=ui.guarded(_save),
            args=(prompt["id"],),
        )


def _save(prompt_id: str) -> None:
    key = form_key(prompt_id)
    content = prompt_form.read(key)
    version = ui.workbench().prompts.save_version(
        ui.actor(),
        prompt_id,
        system_template=content["system_template"],
        user_template=content["user_template"],
        generation=Generation.from_dict(content["generation"]),
        message=st.session_state.get(f"{key}-message", ""),
    )
    _forget(prompt_id)
    saved = f"Saved as v{version['number']}"
    ui.done(saved if version["is_new"] else f"Nothing had changed since v{version['number']}")


def _discard(prompt_id: str) -> None:
    _forget(prompt_id)
    ui.done("Draft discarded")


def _forget(prompt_id: str) -> None:
    ui.workbench().drafts.put(ui.actor(), draft_key(prompt_id), None)
    prompt_form.unload(form_key(prompt_id))


def _keep(prompt_id: str, newest: Row | None, content: Content) -> None:
    """Put what differs from the newest version among the drafts, and take away what does not."""
    message = st.session_state.get(f"{form_key(prompt_id)}-message", "")
    changed = content != content_of(newest)
    draft = {"content": content, "message": message} if changed or message else None
    with ui.errors():
        ui.workbench().drafts.put(ui.actor(), draft_key(prompt_id), draft)


def _pick_row(found: prompt_form.Found, key: str) -> Example | None:
    """A dataset and a row of it; the dataset that has most of the variables comes first."""
    datasets = {row["id"]: row for row in queries.read("datasets", "list")}
    if not datasets:
        st.caption("Import a dataset to see here how its rows read in this prompt.")
        return None

    def fit(row: Row) -> int:
        inputs = {column["name"] for column in row["columns"] if column["role"] == "input"}
        return len(inputs.intersection(found.variables))

    options = sorted(datasets, key=lambda id_: -fit(datasets[id_]))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        chosen = st.selectbox(
            "Preview with",
            options,
            format_func=lambda id_: f"{datasets[id_]['name']} v{datasets[id_]['version_count']}",
            key=f"{key}-dataset",
        )
        dataset = datasets[chosen]
        row = st.number_input(
            f"Row of {text.count(dataset['row_count'])}",
            min_value=1,
            max_value=dataset["row_count"],
            key=f"{key}-row-{chosen}",
            width=130,
        )
    rows = queries.read(
        "datasets", "page", dataset["newest_version_id"], offset=int(row) - 1, limit=1
    )
    return example_of(rows[0], [Column(**column) for column in dataset["columns"]])


def _messages(content: Content, example: Example) -> None:
    templates = (content["system_template"], content["user_template"])
    try:
        messages = render(*templates, example.inputs, row=example.row_index + 1)
    except Invalid as error:
        _warn(error)
        return
    for message in messages:
        size = text.plural(len(message["content"]), "character")
        st.caption(f"{message['role'].capitalize()} · {size}")
        st.code(message["content"] or " ", language=None, wrap_lines=True)


def _warn(error: Invalid) -> None:
    lines = [f"**{text.escape(error.title)}**", text.escape(error.message)]
    lines += [text.escape(error.hint)] if error.hint else []
    st.warning("  \n".join(lines), icon=":material/warning:")


def _shown(value: Any) -> str:
    return "none" if value in (None, [], "") else f"`{value}`"
