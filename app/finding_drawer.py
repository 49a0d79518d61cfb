"""One finding in full: its rows with the places marked, and the steps that would mend it.

Knows: how each kind is shown, which steps go with it (`finding_steps`). Does not know: the list.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from app import (
    curate_recipe,
    diff,
    finding_steps,
    highlight,
    paging,
    queries,
    tables,
    text,
    ui,
)
from core.curation.findings import KINDS
from core.prompts.diff import word_diff
from core.store.database import Row

ROWS_PER_PAGE = 5
DIFFED = 4_000
"""Characters up to which a row of a group is compared with its first row word by word."""
ICONS = {"high": ":red[:material/error:]", "medium": ":orange[:material/warning:]",
         "low": ":gray[:material/info:]"}  # fmt: skip


def show(version: Row, filters: dict[str, Any], total: int, key: str) -> None:
    """The finding that the list's selection, or the arrows since, point at."""
    at = st.session_state.get("finding-at", 0)
    listed = queries.read("curation", "findings", version["id"], offset=at, limit=1, **filters)
    if not listed:
        st.info("This finding is not there any more.")
        return
    finding = listed[0]
    if finding["row_count"] > len(finding["rows"]):
        finding = queries.read("curation", "finding", version["id"], finding["id"])
    _head(finding, at, total)
    _actions(version, finding, key)
    _rows(version, finding)


def _head(finding: Row, at: int, total: int) -> None:
    with st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.markdown(
            f"{ICONS[finding['severity']]} **{finding['severity'].capitalize()}** · "
            f"{text.escape(KINDS[finding['kind']])}",
            width="content",
        )
        with st.container(horizontal=True, gap="small", width="content"):
            ui.neighbours(at, total, key="finding", on_move=_move)
    st.markdown(text.escape(finding["message"]))


def _actions(version: Row, finding: Row, key: str) -> None:
    """A button for each step that would do something about it; the step goes onto the recipe."""
    if not ui.may("datasets.write"):
        return
    if finding["row_count"] > finding_steps.MOST_ROWS:
        st.caption(
            f"{text.plural(finding['row_count'], 'row')}: too many to name one by one in a step. "
            "The Duplicates and Edit areas have rules for such groups."
        )
        return
    keep = None
    if finding["kind"] in finding_steps.GROUPS:
        keep = st.selectbox(
            "Row to keep", finding["rows"], format_func=lambda row: f"Row {text.count(row + 1)}",
            key=f"keep-{finding['id']}", width=200,
        )  # fmt: skip
    rows = queries.read("curation", "rows_at", version["id"], tuple(finding["rows"]))
    with st.container(horizontal=True, gap="small"):
        for at, act in enumerate(finding_steps.acts(version, finding, rows, keep=keep)):
            if st.button(
                act.label, icon=act.icon, key=f"act-{finding['id']}-{at}",
                help=act.help, on_click=ui.guarded(_add), args=(version, act.step, key),
            ):  # fmt: skip
                st.rerun()
    st.caption("A button puts a step on the pending recipe. Nothing changes before it is applied.")


def _rows(version: Row, finding: Row) -> None:
    """The rows in full, a few at a time; of a group each beside the first one."""
    numbers = finding["rows"]
    offset = 0
    if len(numbers) > ROWS_PER_PAGE:
        offset = paging.bar(len(numbers), ROWS_PER_PAGE, "row", key=f"rows-of-{finding['id']}")
    chosen = numbers[offset : offset + ROWS_PER_PAGE]
    rows = queries.read("curation", "rows_at", version["id"], tuple(chosen))
    first = None
    if finding["kind"] in finding_steps.GROUPS and finding["kind"] != "exact_duplicate":
        (first,) = queries.read("curation", "rows_at", version["id"], (numbers[0],))
    for row in rows:
        st.markdown(f"**Row {text.count(row['row_index'] + 1)}**")
        other = first if first is not None and row["row_id"] != first["row_id"] else None
        _row(version, finding, row, other)


def _row(version: Row, finding: Row, row: Row, first: Row | None) -> None:
    rest = {}
    for column in _ordered(version["columns"], finding["column"]):
        name = column["name"]
        value = row[name]
        long = column["role"] != "metadata" or name == finding["column"]
        if not long or value is None:
            rest[name] = None if value is None else text.escape(text.shorten(_text(value), 200))
            continue
        st.caption(text.escape(name))
        shown = _text(value)
        if first is not None and first[name] is not None:
            other = _text(first[name])
            if max(len(shown), len(other)) <= DIFFED:
                st.html(diff.markup(word_diff(other, shown), max_height=340))
                continue
        _marked(finding, name, value, shown)
    if rest:
        ui.facts(rest)


def _marked(finding: Row, name: str, value: Any, shown: str) -> None:
    """A cell with its places marked; places in nested values are marked in their own string."""
    spans = [s for s in finding["detail"].get("spans", ()) if s.get("column", name) == name]
    flat = [(span["start"], span["end"]) for span in spans if not span.get("path")]
    piece = finding["detail"].get("piece")
    if piece and name == finding["column"]:
        begin = shown.find(piece)
        flat += [(begin, begin + len(piece))] if begin >= 0 else []
    nested: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for span in spans:
        if span.get("path"):
            nested.setdefault(tuple(span["path"]), []).append((span["start"], span["end"]))
    if not nested:
        st.html(highlight.markup(shown, flat))
    for path, places in nested.items():
        st.caption(text.escape(" › ".join(str(step) for step in path)))
        st.html(highlight.markup(_text(at_path(value, path)), places))


def at_path(value: Any, path: Sequence[Any]) -> Any:
    """What a nested value holds at a path of keys and places; the value where it leads nowhere."""
    for step in path:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and str(step).isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return value
    return value


def _ordered(columns: Sequence[Row], first: str | None) -> list[Row]:
    return sorted(columns, key=lambda column: (column["name"] != first, column["role"] != "input"))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def _add(version: Row, step: dict[str, Any], key: str) -> None:
    curate_recipe.add(version, step)
    tables.unpick(key)


def _move(by: int) -> None:
    st.session_state["finding-at"] += by
