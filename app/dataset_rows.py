"""The rows of a dataset's version: searched and paged by SQL, one of them in a drawer.

Knows: one version's rows. Does not know: how they came in.
"""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from app import paging, queries, tables, text, ui
from core.datasets.mapping import ROLES
from core.datasets.values import INTEGER, NUMBER, text_of
from core.store.database import Row

PER_PAGE = 50
WIDTHS = {"expected": 130, "metadata": 92}
ROOM = 780  # for the columns of a table at 1280 px


def rows(versions: list[Row], version: Row) -> None:
    """The version, the search and the page in one row; below it the table."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        _version_choice(versions, version)
        search = st.text_input(
            "Search rows",
            key="find",
            bind="query-params",
            icon=":material/search:",
            placeholder="Words anywhere in a row",
            width=320,
            on_change=_first_page,
        )
    total = queries.read("datasets", "count", version["id"], search=search)
    if not total:
        st.info("No row has all of these words.", icon=":material/filter_alt:")
        return
    what = "matching row" if search.split() else "row"
    offset = paging.bar(total, PER_PAGE, what, key="page", bind="query-params")
    found = queries.read(
        "datasets", "page", version["id"], offset=offset, limit=PER_PAGE, search=search
    )
    key = f"rows-{version['id']}-{offset}-{search}"
    picked = tables.pick(
        [_as_listed(row) for row in found],
        _columns(version),
        key=key,
        alt=f"Rows {offset + 1} to {offset + len(found)} of {version['label']}",
        height="content" if len(found) <= 12 else 460,
    )
    st.caption(f"{_parts(version)}. Select a row to read it.")
    if picked is None:
        st.session_state.pop("row-at", None)
        return
    at = next(i for i, row in enumerate(found) if row["row_id"] == picked["row_id"])
    if st.session_state.get("row-from") != (key, at):
        st.session_state["row-from"], st.session_state["row-at"] = (key, at), offset + at
    ui.drawer(text.escape(version["label"]), width="medium", clears=key)(_detail)(
        version, search, total
    )


def _version_choice(versions: list[Row], version: Row) -> None:
    by_id = {row["id"]: row for row in versions}
    key = f"version-of-{version['dataset_id']}"
    st.session_state[key] = version["id"]
    st.selectbox(
        "Version",
        list(by_id),
        format_func=lambda id_: text.version_label(by_id[id_]),
        key=key,
        width=260,
        on_change=_choose,
        args=(key,),
    )


def _choose(key: str) -> None:
    ui.set_params(version=st.session_state[key])
    _first_page()


def _first_page() -> None:
    if "page" in st.session_state:
        st.session_state["page"] = 1


def _parts(version: Row) -> str:
    """Which column plays which part, in Markdown."""
    parts = []
    for role, word in (("input", "Inputs"), ("expected", "Expected"), ("metadata", "Metadata")):
        names = [c["name"] for c in version["columns"] if c["role"] == role]
        if names:
            parts.append(f"{word} {' '.join(map(text.code, names))}")
    return " · ".join(parts)


def _columns(version: Row) -> dict[str, Any]:
    """Inputs first, and as wide as the others leave them room at 1280 px."""
    columns = sorted(version["columns"], key=lambda column: list(ROLES).index(column["role"]))
    taken = sum(WIDTHS.get(column["role"], 0) for column in columns)
    inputs = max(1, len(version["inputs"]))
    widths = {**WIDTHS, "input": min(max((ROOM - taken) // inputs, 150), 460)}
    return {
        "_number": tables.number("Row", width=56),
        **{
            c["name"]: tables.text(
                c["name"],
                width=widths[c["role"]],
                help=f"{c['role']}: {ROLES[c['role']]}",
                right=c["type"] in (INTEGER, NUMBER),
            )
            for c in columns
        },
    }


def _as_listed(row: Row) -> Row:
    shown = {name: text_of(value) for name, value in row.items() if name != "row_index"}
    return {**shown, "_number": row["row_index"] + 1}


def _move(step: int) -> None:
    st.session_state["row-at"] += step


def _detail(version: Row, search: str, total: int) -> None:
    """One row in full, and the ones before and after it."""
    at = st.session_state.get("row-at", 0)
    found = queries.read("datasets", "page", version["id"], offset=at, limit=1, search=search)
    if not found:
        st.info("This row is not there any more.")
        return
    row = found[0]
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.markdown(f"**Row {text.count(row['row_index'] + 1)}**", width="content")
        with st.container(horizontal=True, gap="small", width="content"):
            ui.neighbours(at, total, key="row", on_move=_move)
    metadata = {}
    for column in version["columns"]:
        value = row[column["name"]]
        if column["role"] == "metadata":
            metadata[column["name"]] = None if value is None else text.escape(text_of(value) or "")
            continue
        what = "input" if column["role"] == "input" else "expected answer"
        st.markdown(f"**{text.escape(column['name'])}** :gray[· {what}]")
        if value is None:
            st.caption("Blank in this row.")
        else:
            shown = value if isinstance(value, str) else json.dumps(value, indent=2)
            st.code(shown or " ", language=None, wrap_lines=True)
    ui.facts({**metadata, "Row id": f"`{row['row_id']}`"})
