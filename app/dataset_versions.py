"""The versions of a dataset: who made which when, their tags, and any two beside each other.

    ?version=  the one that is looked at      ?against=  the one it is compared with
    ?part=     Changes, Drift or Lineage

Knows: the list, tags, the way back. Does not know: rows of one version, imports, how a difference
is drawn.
"""

from __future__ import annotations

import functools

import streamlit as st

from app import dataset_diff, dataset_drift, dataset_lineage, queries, tables, tag_form, text, ui
from core.datasets.lineage import step_count
from core.store.database import Row

SUGGESTED = ("approved", "production")
PARTS = ["Changes", "Drift", "Lineage"]
COLUMNS = {
    "label": tables.text("Version", width=62),
    "tags": tables.badges("Tags", width=90),
    "message": tables.text("Message", width=170),
    "row_count": tables.number("Rows", width=72),
    "steps": tables.number("Steps", width=58, help="Steps of the recipe that made it"),
    "source": tables.text("From", width=190),
    "author": tables.text("Author", width=90),
    "created_at": tables.time("Made", width=105),
}


def show(dataset: Row, versions: list[Row]) -> None:
    """The list; below it the version that is selected, by a click or by `?version=`."""
    version = _pick(dataset, versions)
    _head(dataset, version, versions)
    others = [row for row in versions if row["id"] != version["id"]]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        part = st.segmented_control(
            "Show", PARTS, default=PARTS[0], required=True, key="part", bind="query-params"
        )
        against = None
        if part != "Lineage" and others:
            against = _against(version, others)
    if part == "Lineage":
        dataset_lineage.show(dataset, version)
    elif against is None:
        st.info(
            "This is the only version. Import the file again or curate it, and what changed "
            "stands here.",
            icon=":material/difference:",
        )
    else:
        older, newer = sorted([against, version], key=lambda row: row["number"])
        _compare(part or PARTS[0], older, newer)


def _pick(dataset: Row, versions: list[Row]) -> Row:
    names = queries.read("users", "names")
    rows = [
        {
            **row,
            "label": f"v{row['number']}",
            "steps": step_count(row) or None,
            "author": names.get(row["created_by"], text.NOTHING),
        }
        for row in versions
    ]
    key = f"versions-{dataset['id']}-{len(versions)}"
    asked = ui.param("version")
    if key not in st.session_state and any(row["id"] == asked for row in rows):
        place = next(n for n, row in enumerate(rows) if row["id"] == asked)
        st.session_state[key] = {"selection": {"rows": [place], "columns": [], "cells": []}}
    picked = tables.pick(
        rows,
        COLUMNS,
        key=key,
        alt="Versions, newest first",
        height="content" if len(rows) <= 7 else 300,
    )
    ui.set_params(version=picked["id"] if picked else None, dataset=dataset["id"])
    chosen = picked["id"] if picked else versions[0]["id"]
    return next(row for row in versions if row["id"] == chosen)


def _head(dataset: Row, version: Row, versions: list[Row]) -> None:
    names = queries.read("users", "names")
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        tags = tag_form.badges(version)
        st.markdown(f"### v{version['number']} {tags}", width="content")
        if ui.may("datasets.write") and dataset["archived_at"] is None:
            with st.container(horizontal=True, gap="small", width="content"):
                tag_form.draw(
                    version, versions, suggested=SUGGESTED,
                    tag=functools.partial(_tag, version["id"]),
                    untag=functools.partial(_untag, dataset["id"]),
                )  # fmt: skip
                _way_back(version, versions[0])
    author = names.get(version["created_by"], text.NOTHING)
    said = text.escape(version["message"] or "No message")
    st.caption(
        f"{said} · {text.escape(author)} · {text.relative(version['created_at'])}",
        help=f"{text.absolute(version['created_at'])}  \nsha256 `{version['content_hash']}`",
    )


def _way_back(version: Row, newest: Row) -> None:
    """A button that makes this version's content the newest again, and says what that means."""
    if version["content_hash"] == newest["content_hash"]:
        return
    number, next_number = version["number"], newest["number"] + 1
    with st.popover(f"Roll back to v{number}", icon=":material/history:", width="content"):
        st.markdown(
            f"This makes **v{next_number}** with the {text.plural(version['row_count'], 'row')} "
            f"of v{number}. v{newest['number']} and all others stay as they are, and tags stay "
            "where they point."
        )
        key = f"rollback-{version['id']}"
        st.text_input("Why", key=key, max_chars=200, placeholder=f"Back to v{number}")
        st.button(
            f"Make v{next_number} from v{number}",
            type="primary",
            key="roll-back",
            on_click=ui.guarded(_roll_back),
            args=(version, key),
        )


def _roll_back(version: Row, key: str) -> None:
    message = st.session_state.get(key, "")
    made = ui.workbench().versions.rollback(ui.actor(), version["id"], message)
    ui.set_params(version=made["id"], against=None)
    ui.done(f"v{made['number']} has the rows of v{version['number']}")


def _tag(version_id: str, name: str) -> None:
    ui.workbench().versions.tag(ui.actor(), version_id, name)


def _untag(dataset_id: str, name: str) -> None:
    ui.workbench().versions.untag(ui.actor(), dataset_id, name)


def _against(version: Row, others: list[Row]) -> Row:
    """The other version: by `?against=`, else the one it was made from, else the one before."""
    by_id = {row["id"]: row for row in others}
    earlier = [row["id"] for row in others if row["number"] < version["number"]]
    asked, parent = ui.param("against"), version["parent_id"]
    chosen = next((id_ for id_ in (asked, parent, *earlier[:1]) if id_ in by_id), next(iter(by_id)))
    key = f"against-{version['id']}"
    st.session_state[key] = chosen
    st.selectbox(
        "Compared with",
        list(by_id),
        format_func=lambda id_: " · ".join(
            part for part in (f"v{by_id[id_]['number']}", by_id[id_]["message"]) if part
        )[:60],
        key=key,
        width=300,
        on_change=_choose_against,
        args=(key,),
    )
    return by_id[chosen]


def _choose_against(key: str) -> None:
    ui.set_params(against=st.session_state[key])


def _compare(part: str, older: Row, newer: Row) -> None:
    ids = (older["id"], newer["id"])
    with ui.errors():
        with st.spinner(f"Comparing v{older['number']} with v{newer['number']}"):
            if part == "Drift":
                found = queries.read("versions", "drift", *ids)
            else:
                found = queries.read("versions", "diff", *ids)
        if part == "Drift":
            dataset_drift.show(found, older, newer)
            return
        st.markdown(
            f"**From v{older['number']} to v{newer['number']}:** {dataset_diff.told(found)}."
        )
        dataset_diff.show(found, lambda **page: queries.read("versions", "diff_rows", *ids, **page))
