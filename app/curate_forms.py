"""The Transform view: a step chosen, its arguments in a form, and what it would do, live.

Knows: kinds of arguments. Does not know: any single step, but for the words of its list.
"""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from app import curate_filter, curate_recipe, curate_try, queries, ui
from core.curation.arguments import Argument, arguments_of, check_step
from core.curation.steps import STEPS
from core.datasets.values import JSON, TEXT
from core.errors import Invalid
from core.store.database import Row

BY_HAND = {"drop_rows", "restore_rows", "edit_cells"}
"""What is done in the grid, not by a form."""
RULE = {"pattern": "", "with": "", "regex": False, "ignore_case": False}
LACKING = {
    ("replace", "rules"): "Type what to find, and what to put in its place.",
    ("template", "column"): "Name the column to write into.",
    ("prompt", "column"): "Name the column to write into.",
}
"""What a form says before it is filled in, where the error would be in the words of a recipe."""
LEFT_OUT = {"rows"}
"""Kinds of arguments that no form takes: row ids come from the grid."""


def show(version: Row) -> None:
    """Draw the view."""
    if not ui.may("datasets.write"):
        st.info("Your role reads recipes and does not write them.", icon=":material/lock:")
        return
    names = [name for name in STEPS if name not in BY_HAND and arguments_of(name) is not None]
    left, right = st.columns([5, 6], gap="medium")
    with left:
        name = st.selectbox(
            "Step", names, format_func=lambda n: STEPS[n].label, key="form-step",
            bind="query-params",
        )  # fmt: skip
        st.caption(STEPS[name].summary)
        step = {"step": name, **_arguments(version, name)}
        wrong = _wrong(step)
        if wrong is None:
            st.button(
                "Add to recipe", type="primary", icon=":material/playlist_add:", key="form-add",
                on_click=ui.guarded(curate_recipe.add), args=(version, step),
            )  # fmt: skip
    with right:
        if wrong is not None:
            lacks = LACKING.get((name, wrong.field), wrong.message)
            st.info(lacks, icon=":material/edit_note:")
        else:
            curate_try.live(version, step)


def _wrong(step: dict[str, Any]) -> Invalid | None:
    """What the form still lacks."""
    try:
        check_step(step)
    except Invalid as error:
        return error
    return None


def _arguments(version: Row, name: str) -> dict[str, Any]:
    found = {}
    for argument in arguments_of(name) or ():
        if argument.kind in LEFT_OUT:
            continue
        value = _draw(version, name, argument)
        if value is not None and value != [] and (value != "" or argument.required):
            found[argument.name] = value
    return found


def _draw(version: Row, step: str, argument: Argument) -> Any:
    """One widget by the argument's kind; its value, None where nothing is given."""
    key = f"form-{step}-{argument.name}"
    label, said = argument.label, argument.help or None
    names = [column["name"] for column in version["columns"]]
    if argument.name == "model":
        models = [row["name"] for row in queries.read("models", "list", kind="chat")]
        return st.selectbox(label, models, key=key, help=said)
    if argument.kind == "records":
        return _records(argument, key)
    if argument.kind == "columns":
        textual = [c["name"] for c in version["columns"] if c["type"] in (TEXT, JSON)]
        first = [n for n in textual if n in version["inputs"]][:1] if argument.required else []
        return st.multiselect(label, names, default=first, key=key, help=said)
    if argument.kind == "column":
        return st.selectbox(label, names, key=key, help=said)
    if argument.kind == "choice":
        at = argument.choices.index(argument.default) if argument.default else 0
        return st.selectbox(label, argument.choices, index=at, key=key, help=said)
    if argument.kind == "flag":
        return st.toggle(label, bool(argument.default), key=key, help=said)
    if argument.kind in ("integer", "number"):
        return _number(argument, key)
    if argument.kind == "words":
        return st.multiselect(label, argument.choices, accept_new_options=True, key=key, help=said)
    if argument.kind == "object":
        tokens = st.number_input("Most new tokens", 1, 4096, 64, key=key)
        return {"max_tokens": tokens}
    if argument.kind == "long_text":
        shown = (said or "") + " Columns: " + ", ".join(names)
        return st.text_area(label, argument.default or "", key=key, help=shown.strip())
    value = st.text_input(label, argument.default or "", key=key, help=said)
    return _any(value) if argument.kind == "any" else value


def _records(argument: Argument, key: str) -> Any:
    """Rules as a small table; conditions as the filter that the URL holds."""
    if argument.name == "where":
        found = curate_filter.conditions()
        if found:
            st.markdown(f"Where {curate_filter.said(found)}")
        else:
            st.caption("Set the conditions in the view Rows; they stay in the address.")
        return found or None
    if argument.name != "rules":
        return None
    edited = st.data_editor(
        [dict(RULE)], num_rows="dynamic", key=key, hide_index=True,
        column_config={
            "pattern": st.column_config.TextColumn("Find", width=118),
            "with": st.column_config.TextColumn("Put in place", width=118),
            "regex": st.column_config.CheckboxColumn("Regex", width=58,
                                                     help="A regular expression"),
            "ignore_case": st.column_config.CheckboxColumn("Any case", width=76),
        },
    )  # fmt: skip
    return [
        {
            "pattern": rule["pattern"],
            "with": rule.get("with") or "",
            **{flag: True for flag in ("regex", "ignore_case") if rule.get(flag) is True},
        }
        for rule in edited
        if rule.get("pattern")
    ]


def _number(argument: Argument, key: str) -> Any:
    whole = argument.kind == "integer"
    kind: Any = int if whole else float
    low = None if argument.least is None else kind(argument.least)
    high = None if argument.most is None else kind(argument.most)
    value = None if argument.default is None else kind(argument.default)
    return st.number_input(
        argument.label, low, high, value, key=key, help=argument.help or None,
        placeholder="not set",
    )  # fmt: skip


def _any(value: str) -> Any:
    if not value:
        return None
    try:
        return json.loads(value)
    except ValueError:
        return value
