"""The grid of the Edit area: cells changed by hand, rows tagged and dropped, page by page.

What is typed is compared with what was shown; nothing is changed before "Stage N edits" puts it on
the recipe. Edits that are pending already are shown in their cells.

Knows: one page of rows. Does not know: how an edit is done.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import streamlit as st

from app import curate_filter, curate_recipe, paging, queries, tables, text, ui
from core.curation.steps.edit import fits
from core.datasets.values import BOOLEAN, INTEGER, JSON, NUMBER, stored
from core.errors import Invalid
from core.store.database import Row

PER_PAGE = 50
PICK = "_pick"
DTYPES = {INTEGER: "Int64", NUMBER: "Float64", BOOLEAN: "boolean"}
Cell = dict[str, Any]


def show(version: Row) -> None:
    """The filter, the page, what can be done with it."""
    curate_filter.draw(version)
    where, match = curate_filter.conditions(), curate_filter.match()
    number = _asked_page()
    with ui.errors(stop=True):
        found = _page(version, where, match, number)
        total = found["count"]
        if total and not found["rows"]:  # fewer rows than when the page was chosen
            number = st.session_state["rows-page"] = 1
            found = _page(version, where, match, number)
    if not total:
        st.info("No row meets these conditions.", icon=":material/filter_alt:")
        return
    what = "matching row" if where else "row"
    paging.bar(total, PER_PAGE, what, key="rows-page", bind="query-params")
    _grid(version, found["rows"], where, match, total)


def _asked_page() -> int:
    """The page by its widget, before that is drawn by the URL."""
    asked = str(st.session_state.get("rows-page") or ui.param("rows-page") or 1)
    return max(1, int(asked)) if asked.isdecimal() else 1


def _page(version: Row, where: list[Cell], match: str, number: int) -> Row:
    found: Row = queries.read(
        "recipes", "matching", version["id"], where, match=match,
        offset=(number - 1) * PER_PAGE, limit=PER_PAGE,
    )  # fmt: skip
    return found


def edits(before: list[Row], after: list[Row], columns: list[Row]) -> list[Cell]:
    """What differs between the rows shown and the rows as they came back, as `edit_cells` takes it.

    Raises Invalid for a cell that its column cannot hold, with its row number.
    """
    found = []
    for old, new in zip(before, after, strict=True):
        for column in columns:
            name, kind = column["name"], column["type"]
            value = _value(new[name], kind, old["row_index"], name)
            was = json.loads(old[name]) if kind == JSON and old[name] is not None else old[name]
            if stored(value, kind) == stored(was, kind):
                continue
            found.append({"row_id": old["row_id"], "column": name, "value": value, "before": was})
    return found


def _grid(version: Row, rows: list[Row], where: list[Cell], match: str, total: int) -> None:
    columns = version["columns"]
    shown = _with_pending(version, rows)
    writes = ui.may("datasets.write")
    frame = pd.DataFrame({
        PICK: [False] * len(shown),
        "_number": [row["row_index"] + 1 for row in shown],
        **{c["name"]: pd.array([row[c["name"]] for row in shown], dtype=DTYPES.get(
            c["type"], "object")) for c in columns},
    })  # fmt: skip
    turn = st.session_state.setdefault("grid-turn", 0)
    key = f"grid-{version['id']}-{turn}-{rows[0]['row_id']}-{rows[-1]['row_id']}-{len(rows)}"
    edited = st.data_editor(
        frame, key=key, hide_index=True, num_rows="fixed",
        column_config={
            PICK: st.column_config.CheckboxColumn("Pick", width=64, pinned=True),
            "_number": tables.number("Row", width=56, pinned=True),
            **{c["name"]: _column(c) for c in columns},
        },
        disabled=["_number"] if writes else True,
        height="content" if len(rows) <= 12 else 460,
    )  # fmt: skip
    if not writes:
        return
    after = [
        {name: None if pd.isna(value) else value for name, value in record.items()}
        for record in edited.to_dict("records")
    ]
    with ui.errors(stop=True):
        changed = edits(shown, after, columns)
    picked = [row["row_id"] for row, new in zip(shown, after, strict=True) if new[PICK]]
    _actions(version, changed, picked, where, match, total)


def _actions(
    version: Row, changed: list[Cell], picked: list[str], where: list[Cell], match: str, total: int
) -> None:
    """Stage the edits; tag or drop what is picked, or all that the filter leaves."""
    rows: Cell = {"row_ids": picked} if picked else {"where": where, "match": match}
    count = len(picked) if picked else total
    what = text.plural(count, "row" if picked else "matching row")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            f"Stage {text.plural(len(changed), 'edit')}" if changed else "Stage edits",
            type="primary", icon=":material/edit:", key="grid-stage", disabled=not changed,
            on_click=ui.guarded(_stage),
            args=(version, {"step": "edit_cells", "cells": changed}),
        )  # fmt: skip
        if not picked and not where:
            st.caption("Type into cells, or pick rows to tag or drop them.", width="content")
            return
        with st.popover(f"Tag {what}", icon=":material/label:"):
            tags = st.multiselect(
                "Tags", ["keep", "check", "approved"], accept_new_options=True, key="grid-tags"
            )
            st.button(
                f"Tag {what}", type="primary", key="grid-tag", disabled=not tags,
                on_click=ui.guarded(_stage), args=(version, {"step": "tag", "tags": tags, **rows}),
            )  # fmt: skip
        with st.popover(f"Drop {what}", icon=":material/delete:"):
            reason = st.text_input("Reason", key="grid-reason", help="Stays in the recipe")
            st.caption("The rows leave the next version; this one keeps them.")
            step = "drop_rows" if picked else "drop_where"
            st.button(
                f"Drop {what}", type="primary", key="grid-drop",
                on_click=ui.guarded(_stage), args=(version, {"step": step, **rows,
                                                             "reason": reason}),
            )  # fmt: skip
        if where and not picked:
            st.button(
                "Keep only these", icon=":material/filter_alt:", key="grid-keep",
                help="A step that drops all other rows", on_click=ui.guarded(_stage),
                args=(version, {"step": "filter", "where": where, "match": match}),
            )  # fmt: skip


def _stage(version: Row, step: Cell) -> None:
    curate_recipe.add(version, step)
    st.session_state["grid-turn"] = st.session_state.get("grid-turn", 0) + 1


def _with_pending(version: Row, rows: list[Row]) -> list[Row]:
    """The rows with the edits that are pending for them."""
    kinds = {column["name"]: column["type"] for column in version["columns"]}
    cells = {
        (cell["row_id"], cell["column"]): cell["value"]
        for entry in queries.read("recipes", "pending", version["id"])
        if entry["step"]["step"] == "edit_cells"
        for cell in entry["step"]["cells"]
    }
    return [
        {
            name: stored(cells[row["row_id"], name], kinds[name])
            if (row["row_id"], name) in cells and name in kinds
            else value
            for name, value in row.items()
        }
        for row in rows
    ]


def _value(value: Any, kind: str, row_index: int, name: str) -> Any:
    """A cell of the grid as the recipe keeps it."""
    if value is None:
        return None
    if kind == JSON:
        try:
            return json.loads(value)
        except ValueError:
            raise Invalid(f"{value[:60]!r} is not JSON.", row=row_index, field=name) from None
    found = value.item() if hasattr(value, "item") else value
    if kind == NUMBER:
        found = float(found)
    if not fits(found, kind):
        raise Invalid(f"{found!r} is no {kind}.", row=row_index, field=name)
    return found


def _column(column: Row) -> Any:
    label, kind = column["name"], column["type"]
    said = f"{column['role']}, {kind}"
    if kind == BOOLEAN:
        return st.column_config.CheckboxColumn(label, width=80, help=said)
    if kind in (INTEGER, NUMBER):
        step = 1 if kind == INTEGER else None
        return st.column_config.NumberColumn(label, width=90, help=said, step=step)
    width = 330 if column["role"] == "input" else 150
    return st.column_config.TextColumn(label, width=width, help=said)
