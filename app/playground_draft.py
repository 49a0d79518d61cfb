"""The playground's draft: what a person has typed and chosen, column by column.

Knows: the draft's shape, and that it is kept in the database, so that a reload loses nothing.
Does not know: how a column looks (`playground_parts`) or runs (`core.evals.playground`).
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import prompt_form, queries, ui
from core.errors import NotFound
from core.evals.playground import MOST_COLUMNS
from core.ids import new_id
from core.store.database import Row

DRAFT = "playground"
LETTERS = "ABCDEF"
WAY = ("model_id", "engine", "quantization")

Draft = dict[str, Any]


def load() -> Draft:
    """The draft of this session; from the database at a page's first run."""
    if DRAFT not in st.session_state:
        kept = ui.workbench().drafts.get(ui.actor(), DRAFT)
        st.session_state[DRAFT] = kept or {"columns": [], "values": {}, "row": 0, "dataset": None}
    draft: Draft = st.session_state[DRAFT]
    return draft


def save(draft: Draft) -> None:
    """Keep what the widgets hold now."""
    for column in draft["columns"]:
        if prompt_form.loaded(column["id"]):
            column["content"] = prompt_form.read(column["id"])
    ui.workbench().drafts.put(ui.actor(), DRAFT, draft)


def new_column(version: Row | None = None) -> Draft:
    """A column from a prompt version, or an empty one."""
    return {
        "id": new_id("col"),
        "version": version["id"] if version else None,
        "content": content_of(version) if version else prompt_form.empty(),
        "model_id": None,
        "engine": "auto",
        "quantization": "auto",
    }


def add_column(draft: Draft) -> None:
    """A copy of the last column: what people change is one thing at a time."""
    if len(draft["columns"]) < MOST_COLUMNS:
        save(draft)
        draft["columns"].append({**draft["columns"][-1], "id": new_id("col")})
        save(draft)


def remove_column(draft: Draft, column_id: str) -> None:
    """Take a column away; its text stays in the prompt version it came from, if any."""
    draft["columns"] = [c for c in draft["columns"] if c["id"] != column_id]
    save(draft)


def variables(draft: Draft) -> builtins.list[str]:
    """Every variable of every column's templates, in order; a broken template has none."""
    found: dict[str, None] = {}
    for column in draft["columns"]:
        found |= dict.fromkeys(prompt_form.check(column["content"]).variables)
    return builtins.list(found)


def asked(draft: Draft) -> builtins.list[dict[str, Any]]:
    """The columns as `Playground.start` takes them; an edited version is a draft again."""
    return [_asked(column) for column in draft["columns"]]


def content_of(version: Row) -> prompt_form.Content:
    """What a prompt version holds, as the form reads it."""
    return {name: version[name] for name in ("system_template", "user_template", "generation")}


def version_of(column: Mapping[str, Any]) -> Row | None:
    """The prompt version a column began with."""
    if not column["version"]:
        return None
    try:
        found: Row = queries.read("prompts", "version", column["version"])
    except NotFound:
        return None  # a draft may be older than what it names
    return found


def _asked(column: Mapping[str, Any]) -> dict[str, Any]:
    version = version_of(column)
    unchanged = version is not None and content_of(version) == column["content"]
    label = f"{version['prompt_name']} v{version['number']}" if version else ""
    return {
        "id": column["id"],
        **column["content"],
        **{name: column[name] for name in WAY},
        "prompt_id": version["prompt_id"] if version else None,
        "prompt_version_id": version["id"] if version and unchanged else None,
        "prompt_label": (label if unchanged else f"draft of {label}") if version else "draft",
    }
