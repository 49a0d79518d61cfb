"""The filter builder: conditions on rows, kept in the URL.

Knows: conditions as JSON in the query parameter `where`. Does not know: what is done with the rows.
"""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from app import text, ui
from core.curation.conditions import OPERATORS, check_conditions
from core.errors import Invalid
from core.store.database import Row

Condition = dict[str, Any]
PARAM, MATCH = "where", "match"
MOST = 10


def conditions() -> list[Condition]:
    """What the URL says; nothing where that is no filter."""
    try:
        found = json.loads(ui.param(PARAM) or "[]")
        if found:
            check_conditions(found)
    except (ValueError, Invalid):
        return []
    return list(found)


def match() -> str:
    """Whether rows have to meet all or any of them."""
    return "any" if ui.param(MATCH) == "any" else "all"


def said(found: list[Condition]) -> str:
    """The conditions in words, in Markdown."""
    parts = []
    for condition in found:
        operator = OPERATORS[condition["op"]]
        value = condition.get("value")
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        words = f"{text.code(condition['column'])} {operator.label}"
        if operator.takes != "nothing":
            words += f" **{text.escape(text.shorten(shown, 40))}**"
        parts.append(words)
    return (" or " if match() == "any" else " and ").join(parts)


def draw(version: Row, key: str = "filter") -> None:
    """The conditions there are, each with its button, and the row that adds one."""
    found = conditions()
    names = [column["name"] for column in version["columns"]]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        first = names.index(version["inputs"][0]) if version["inputs"] else 0
        column = st.selectbox("Where", names, first, key=f"{key}-column", width=190)
        op = st.selectbox(
            "Operator", list(OPERATORS), format_func=lambda name: OPERATORS[name].label,
            key=f"{key}-op", width=190, label_visibility="hidden",
        )  # fmt: skip
        takes = OPERATORS[op].takes
        value: Any = None
        if takes == "number":
            value = st.number_input("Number", key=f"{key}-number", width=150)
        elif takes == "list":
            value = st.text_input("Values", key=f"{key}-list", placeholder="one, two", width=210)
        elif takes != "nothing":
            value = st.text_input("Value", key=f"{key}-value", width=210)
        st.button(
            "Add condition", icon=":material/filter_alt:", key=f"{key}-add",
            disabled=len(found) >= MOST,
            on_click=ui.guarded(_add), args=(column, op, value, key),
        )  # fmt: skip
    if not found:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for number, condition in enumerate(found):
            st.button(
                f"{said([condition])} :material/close:", key=f"{key}-remove-{number}",
                help="Take this condition away", on_click=_remove, args=(number,),
            )  # fmt: skip
        if len(found) > 1:
            st.segmented_control(
                "Rows that meet", ["all", "any"], key=f"{key}-match", required=True,
                default=match(), label_visibility="collapsed",
                on_change=_set_match, args=(f"{key}-match",),
            )  # fmt: skip


def _add(column: str, op: str, value: Any, key: str) -> None:
    takes = OPERATORS[op].takes
    condition: Condition = {"column": column, "op": op}
    if takes == "list":
        condition["value"] = [part.strip() for part in str(value).split(",") if part.strip()]
    elif takes == "number":
        condition["value"] = int(value) if float(value).is_integer() else value
    elif takes != "nothing":
        if not value:
            raise Invalid("Type the value to compare with.", field="value")
        condition["value"] = value
    check_conditions([condition])
    _put([*conditions(), condition])
    st.session_state.pop(f"{key}-value", None)


def _remove(number: int) -> None:
    _put([c for n, c in enumerate(conditions()) if n != number])


def _put(found: list[Condition]) -> None:
    value = json.dumps(found, ensure_ascii=False, separators=(",", ":")) if found else None
    ui.set_params(**{PARAM: value})
    if "rows-page" in st.session_state:
        st.session_state["rows-page"] = 1


def _set_match(key: str) -> None:
    ui.set_params(**{MATCH: st.session_state[key]})
