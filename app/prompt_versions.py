"""The versions of a prompt: who saved what when, their tags, and what differs between any two.

Knows: one prompt's versions. Does not know: the draft, the list of prompts.
"""

from __future__ import annotations

import functools

import streamlit as st

from app import prompt_editor, queries, tables, tag_form, text, ui
from core.store.database import Row

SUGGESTED = ("production", "staging")
COLUMNS = {
    "label": tables.text("Version", width=66),
    "message": tables.text("What changed", width=300),
    "tags": tables.badges("Tags", width=130),
    "author": tables.text("Author", width=95),
    "created_at": tables.time("Saved", width=122),
    "hash": tables.text("Hash", width=85, help="The first figures of the content's sha256"),
}


def history(prompt: Row, versions: list[Row]) -> None:
    """The list, and below it the version that is selected: by a click, or by `?version=`."""
    names = queries.read("users", "names")
    rows = [
        {
            **row,
            "label": f"v{row['number']}",
            "author": names.get(row["created_by"], text.NOTHING),
            "hash": row["content_hash"][:8],
        }
        for row in versions
    ]
    key = f"versions-{prompt['id']}"
    asked = ui.param("version")
    if key not in st.session_state and any(row["id"] == asked for row in rows):
        place = next(i for i, row in enumerate(rows) if row["id"] == asked)
        st.session_state[key] = {"selection": {"rows": [place], "columns": [], "cells": []}}
    height = "content" if len(rows) <= 8 else 320
    picked = tables.pick(rows, COLUMNS, key=key, alt="Versions, newest first", height=height)
    ui.set_params(version=picked["id"] if picked else None)
    version = picked or rows[0]
    _head(prompt, version, rows)
    _body(version, rows)


def _head(prompt: Row, version: Row, rows: list[Row]) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        tags = tag_form.badges(version)
        st.markdown(f"### v{version['number']} {tags}", width="content")
        if ui.may("prompts.write") and prompt["archived_at"] is None:
            with st.container(horizontal=True, gap="small", width="content"):
                tag_form.draw(
                    version, rows, suggested=SUGGESTED,
                    tag=functools.partial(_tag, prompt["id"], version["id"]),
                    untag=functools.partial(_untag, prompt["id"]),
                )  # fmt: skip
                st.button(
                    f"Write from v{version['number']}",
                    icon=":material/edit:",
                    key="write-from",
                    on_click=ui.guarded(prompt_editor.start_from),
                    args=(version,),
                    help="Puts this text into the editor. A draft that is there is replaced.",
                )
    said = text.escape(version["message"] or "No message")
    st.caption(
        f"{said} · {text.escape(version['author'])} · {text.relative(version['created_at'])}",
        help=f"{text.absolute(version['created_at'])}  \nsha256 `{version['content_hash']}`",
    )


def _tag(prompt_id: str, version_id: str, name: str) -> None:
    ui.workbench().prompts.tag(ui.actor(), prompt_id, name, version_id)


def _untag(prompt_id: str, name: str) -> None:
    ui.workbench().prompts.untag(ui.actor(), prompt_id, name)


def _body(version: Row, rows: list[Row]) -> None:
    """The text, or its difference to another version."""
    others = {row["number"]: row for row in rows if row["id"] != version["id"]}
    earlier = [number for number in others if number < version["number"]]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        view = st.segmented_control(
            "Show",
            ["Text", "Changes"],
            default="Changes" if earlier else "Text",
            required=True,
            key=f"show-{version['id']}",
            disabled=not others,
        )
        if view == "Changes" and others:
            other = st.selectbox(
                "Compared with",
                list(others),
                index=list(others).index(earlier[0]) if earlier else 0,
                format_func=lambda number: f"v{number} · {others[number]['message']}"[:60],
                key=f"against-{version['id']}",
                width=320,
            )
            beside = st.toggle("Side by side", key="beside", persist_state="session")
            whitespace = st.toggle("White space", key="whitespace", persist_state="session")
    if view == "Changes" and others:
        older, newer = sorted([others[other], version], key=lambda row: row["number"])
        prompt_editor.changes(
            prompt_editor.content_of(older),
            prompt_editor.content_of(newer),
            sides=(older["label"], newer["label"]) if beside else None,
            whitespace=whitespace,
        )
    else:
        _text(version)


def _text(version: Row) -> None:
    for name in prompt_editor.TEXT_FIELDS:
        st.markdown(f"**{name.split('_')[0].capitalize()}**")
        if version[name]:
            lines = version[name].count("\n") > 8
            st.code(version[name], language=None, wrap_lines=True, line_numbers=lines)
        else:
            st.caption("Empty: no system message is sent.")
    given = {
        name: value for name, value in version["generation"].items() if value not in (None, [])
    }
    st.markdown("**Generation** " + " · ".join(f"{k} `{v}`" for k, v in given.items()))
    names = [*version["variables"], *version["inner_variables"]]
    shown = " ".join(f":blue-badge[{text.escape(name)}]" for name in names)
    st.markdown(f"**Variables** {shown or ':gray[none]'}")
