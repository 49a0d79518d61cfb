"""The pending recipe of a version: the bar above the areas, and how a step gets onto it.

    curate_recipe.add(version, {"step": "trim", "columns": ["question"]})
    st.rerun()

Knows: pending steps. Does not know: what a step does.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import queries, text, ui
from core.curation.steps import STEPS
from core.store.database import Row


def add(version: Row, step: dict[str, Any]) -> None:
    """Put a step on the actor's pending recipe for this version; the caller reruns.

    Raises Invalid when the step could not run: call it within `ui.errors()` or a guarded callback.
    """
    ui.workbench().recipes.add(ui.actor(), version["id"], step)
    ui.done(f"{STEPS[step['step']].label} is on the recipe")


def describe(step: dict[str, Any]) -> str:
    """A step's arguments in a few words, in Markdown."""
    said = []
    for name, value in step.items():
        if name in ("step", "note"):
            continue
        if isinstance(value, list) and len(value) > 3:
            said.append(f"{name}: {text.count(len(value))}")
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            said.append(f"{name}: {text.escape(text.shorten(shown, 60))}")
    return " · ".join(said)


def bar(version: Row) -> None:
    """What is pending, with its buttons; nothing where nothing is."""
    steps = queries.read("recipes", "pending", version["id"])
    if not steps:
        return
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{text.plural(len(steps), 'pending step')}**", width="stretch")
            st.button(
                "Undo", icon=":material/undo:", key="recipe-undo",
                on_click=ui.guarded(_undo), args=(version["id"],),
            )  # fmt: skip
        for row in steps:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(
                    f"{row['index'] + 1}. **{text.escape(row['label'])}** "
                    f":gray[{describe(row['step'])}]",
                    width="stretch",
                )
                st.button(
                    "Remove", icon=":material/close:", type="tertiary",
                    key=f"recipe-remove-{row['index']}",
                    on_click=ui.guarded(_remove), args=(version["id"], row["index"]),
                )  # fmt: skip


def _undo(version_id: str) -> None:
    ui.workbench().recipes.undo(ui.actor(), version_id)


def _remove(version_id: str, index: int) -> None:
    ui.workbench().recipes.remove(ui.actor(), version_id, index)
