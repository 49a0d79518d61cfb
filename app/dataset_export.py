"""The export dialog: a shape, a format, which rows; then the files and their manifest.

Knows: the form and the downloads. Does not know: how rows get their shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from app import queries, text, ui
from core.curation.exports import FORMATS, SPLIT
from core.store.database import Row

EVERY = "All rows"
BY_SPLIT = "A file for each split"
MOST_BYTES = 200_000_000
"""Larger files are fetched from the folder: a download passes through the page's memory."""


def show(version: Row) -> None:
    """Open the dialog for a version; a callback would close it again."""
    st.dialog(f"Export {text.escape(version['label'])}", width="medium")(_body)(version)


def _body(version: Row) -> None:
    shapes = {row["name"]: row for row in queries.read("exports", "shapes", version["id"])}
    fitting = [name for name, row in shapes.items() if row["why_not"] is None]
    shape = st.radio(
        "Shape",
        fitting,
        format_func=lambda name: shapes[name]["label"],
        captions=[shapes[name]["summary"] for name in fitting],
        key="export-shape",
    )
    for row in shapes.values():
        if row["why_not"]:
            st.caption(f"{row['label']}: not for these rows. {row['why_not']}")
    formats = [name for name in FORMATS if name != "csv" or shape == "rows"]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        format = st.selectbox(
            "Format", formats, format_func=FORMATS.__getitem__, key="export-format", width=240
        )
        which = st.selectbox("Rows", _choices(version), key="export-rows", width=220)
    prompt = _prompt() if shape in ("messages", "prompt-completion") else None
    if st.button("Write files", type="primary", icon=":material/download:"):
        with ui.errors(), st.spinner("Writing", show_time=True):
            made = ui.workbench().exports.write(
                ui.actor(),
                version["id"],
                shape=shape,
                format=format,
                by_split=which == BY_SPLIT,
                split=None if which in (EVERY, BY_SPLIT) else which,
                prompt_version_id=prompt,
            )
            st.session_state["export-made"] = made
    made = st.session_state.get("export-made")
    if made is not None and made["version_id"] == version["id"]:
        _made(made)


def _choices(version: Row) -> list[str]:
    if SPLIT not in {column["name"] for column in version["columns"]}:
        return [EVERY]
    sql = f"SELECT DISTINCT {SPLIT} AS s FROM rows WHERE {SPLIT} IS NOT NULL ORDER BY 1"  # noqa: S608
    found = queries.read("explore", "query", version["id"], sql)["rows"]
    return [EVERY, BY_SPLIT, *(str(row["s"]) for row in found)]


def _prompt() -> str | None:
    """The prompt version that words the question; none: the inputs as they are."""
    prompts = queries.read("prompts", "list")
    versions = {
        row["id"]: f"{prompt['name']} v{row['number']}"
        for prompt in prompts[:50]
        for row in queries.read("prompts", "versions", prompt["id"])
    }
    chosen: str | None = st.selectbox(
        "Prompt",
        [None, *versions],
        format_func=lambda id_: versions[id_] if id_ else "The inputs as they are",
        key="export-prompt",
    )
    return chosen


def _made(made: dict[str, Any]) -> None:
    left_out = sum(made["skipped"].values())
    st.success(f"{text.plural(made['row_count'], 'record')} written.", icon=":material/check:")
    if left_out:
        why = ", ".join(f"{reason}: {text.count(n)}" for reason, n in made["skipped"].items())
        st.warning(f"{text.plural(left_out, 'row')} left out ({why}).", icon=":material/info:")
    for warning in made.get("license_warnings") or ():
        st.warning(warning, icon=":material/copyright:")
    small = [file for file in made["files"] if file["bytes"] <= MOST_BYTES]
    if made["format"] != "hf":
        for file in small:
            path = ui.workbench().exports.path(ui.actor(), made["id"], file["name"])
            st.download_button(
                f"{file['name']} ({text.size(file['bytes'])})",
                Path(path).read_bytes,
                file["name"],
                icon=":material/download:",
                on_click="ignore",
                key=f"export-{made['id']}-{file['name']}",
            )
    st.caption("The files and `manifest.json` lie in this folder:")
    st.code(made["folder"], language=None)
