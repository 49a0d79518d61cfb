"""The playground's draft: what a person has typed and chosen, column by column.

Knows: the draft's shape and which widget holds which part of it. Does not know: how columns run
(`core.evals.playground`). The draft is kept in the database, so a reload loses nothing.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import queries, ui
from core.errors import Invalid
from core.evals.playground import MOST_COLUMNS
from core.generation import Generation
from core.ids import new_id
from core.prompts.template import parse
from core.store.database import Row

DRAFT = "playground"
FIELDS = ("version", "system", "user", "model", "way", "max_tokens", "temperature", "top_p",
          "seed", "stop")  # fmt: skip
LETTERS = "ABCDEF"
NO_VERSION = ""
AUTO = "auto|auto"

Draft = dict[str, Any]


# the draft


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
        for name in FIELDS:
            key = widget(column, name)
            if key in st.session_state:
                column[name] = st.session_state[key]
    ui.workbench().drafts.put(ui.actor(), DRAFT, draft)


def new_column(*, version: Row | None = None, model_id: str | None = None) -> Draft:
    """A column from a prompt version, or an empty one."""
    column = {
        "id": new_id("col"), "version": NO_VERSION, "system": "", "user": "",
        "model": model_id, "way": AUTO, **_generation_fields(Generation()),
    }  # fmt: skip
    return filled(column, version) if version else column


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


def widget(column: Mapping[str, Any], name: str) -> str:
    """The key of the widget that holds one part of a column."""
    return f"{column['id']}-{name}"


def variables(draft: Draft) -> builtins.list[str]:
    """Every variable of every column's templates, in order; a broken template has none."""
    found: dict[str, None] = {}
    for column in draft["columns"]:
        for part in (column["system"], column["user"]):
            try:
                found.update(dict.fromkeys(parse(part or "").variables))
            except Invalid:
                continue  # said where it is run
    return builtins.list(found)


def asked(draft: Draft) -> builtins.list[dict[str, Any]]:
    """The columns as `Playground.start` takes them; an edited version is a draft again."""
    return [_asked(column) for column in draft["columns"]]


def _asked(column: Mapping[str, Any]) -> dict[str, Any]:
    engine, quantization = (column["way"] or AUTO).split("|")
    version = _version(column)
    unchanged = version is not None and filled(dict(column), version) == column
    named = f"{version['prompt_name']} v{version['number']}" if version else ""
    return {
        "id": column["id"],
        "system_template": column["system"] or "",
        "user_template": column["user"] or "",
        "model_id": column["model"],
        "engine": engine,
        "quantization": quantization,
        "generation": generation_of(column),
        "prompt_id": version["prompt_id"] if version else None,
        "prompt_version_id": version["id"] if version and unchanged else None,
        "prompt_label": (named if unchanged else f"draft of {named}") if version else "draft",
    }


def generation_of(column: Mapping[str, Any]) -> dict[str, Any]:
    """The generation parameters that a column's widgets hold."""
    stop = [line for line in str(column["stop"] or "").splitlines() if line]
    return {
        "max_tokens": int(column["max_tokens"]),
        "temperature": float(column["temperature"]),
        "top_p": float(column["top_p"]),
        "seed": None if column["seed"] is None else int(column["seed"]),
        "stop": stop,
    }


def _version(column: Mapping[str, Any]) -> Row | None:
    if not column.get("version"):
        return None
    found: Row = queries.read("prompts", "version", column["version"])
    return found


def filled(column: Draft, version: Row) -> Draft:
    generation = Generation.from_dict(version["generation"])
    return {
        **column,
        "version": version["id"],
        "system": version["system_template"],
        "user": version["user_template"],
        **_generation_fields(generation),
    }


def _generation_fields(generation: Generation) -> Draft:
    return {
        "max_tokens": generation.max_tokens,
        "temperature": float(generation.temperature),
        "top_p": float(generation.top_p),
        "seed": generation.seed,
        "stop": "\n".join(generation.stop),
    }
