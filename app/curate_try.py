"""What steps would do: counts by rule, and the first cells before and after, word by word.

Knows: previews. Does not know: how they are computed.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import diff, queries, text, ui
from core.curation.steps.personal import TYPES
from core.errors import LatheError
from core.store.database import Row

ON_CLICK = ("prompt", "deduplicate", "redact", "mask", "pseudonymise")
"""Steps that take more than a moment, or write: they are tried when somebody asks."""
EXAMPLES = 4
COUNTED_ROWS = 5_000
"""Up to here the pending steps are counted at every change."""


def live(version: Row, step: dict[str, Any]) -> None:
    """The preview of one step after the pending ones; at once where that is quick."""
    pending = [row["step"] for row in queries.read("recipes", "pending", version["id"])]
    steps = [*pending, step]
    slow = any(one["step"] in ON_CLICK for one in steps)
    asked = json.dumps(steps, sort_keys=True)
    if slow:
        if st.button("Try it", icon=":material/play_arrow:", key="try"):
            st.session_state["tried"] = asked
        if st.session_state.get("tried") != asked:
            st.caption("This step takes a moment: try it to see what it would do.")
            return
    with ui.errors(stop=True), st.spinner("Trying it", show_time=True):
        found = queries.read("recipes", "preview", version["id"], steps)
    scope(found)
    report(found["steps"][-1])


@ui.drawer("What the pending steps do", width="medium")
def drawer(version: Row) -> None:
    """Every pending step with its counts and first examples."""
    with ui.errors(stop=True), st.spinner("Trying the steps", show_time=True):
        found = queries.read("recipes", "preview", version["id"])
    scope(found)
    for number, step in enumerate(found["steps"]):
        st.markdown(f"**{number + 1}. {text.escape(step['label'])}**")
        report(step, most=2)


def counts(version: Row, steps: list[Row]) -> dict[int, str]:
    """What each pending step does in a few words, where that is known in a moment."""
    slow = any(row["step"]["step"] in ON_CLICK for row in steps)
    if slow or version["row_count"] > COUNTED_ROWS or not ui.may("datasets.write"):
        return {}
    with contextlib.suppress(LatheError):  # a step that cannot run says so in the preview
        found = queries.read("recipes", "preview", version["id"])["steps"]
        return {number: sentence(step, strong=False) for number, step in enumerate(found)}
    return {}


def scope(found: Mapping[str, Any]) -> None:
    """On which rows it was tried, where those are not all."""
    if found["tried_count"] < found["row_count"]:
        st.caption(
            f":material/info: Tried on {text.count(found['tried_count'])} of "
            f"{text.plural(found['row_count'], 'row')}: counts are of those."
        )


def report(step: Mapping[str, Any], *, most: int = EXAMPLES) -> None:
    """One step's counts and examples."""
    st.markdown(f"{sentence(step)} :gray[{text.plural(step['rows'], 'row')} after it.]")
    if step["counts"]:
        st.dataframe(
            [
                {"What": TYPES.get(name, name), "How often": count}
                for name, count in step["counts"].items()
            ],
            hide_index=True, alt="How often each rule applied", height="content",
            column_config={"How often": st.column_config.NumberColumn(format="localized",
                                                                      width=110)},
        )  # fmt: skip
    for example in step["examples"][:most]:
        st.caption(f"Row {text.count(example['row_index'] + 1)}, {text.escape(example['column'])}")
        diff.show(_text(example["before"]), _text(example["after"]), max_height=150)


def sentence(step: Mapping[str, Any], *, strong: bool = True) -> str:
    """`12 cells changed, 3 rows dropped.`"""
    parts = []
    if step["changed"]:
        parts.append(f"{text.plural(step['changed'], 'cell')} changed")
    if not step["changed"] and "columns" in step["counts"]:
        parts.append(f"{text.plural(step['counts']['columns'], 'column')} changed")
    if not step["changed"] and step["counts"].get("moved"):
        parts.append(f"{text.plural(step['counts']['moved'], 'row')} moved")
    if step["removed"]:
        parts.append(f"{text.plural(step['removed'], 'row')} dropped")
    said = ", ".join(parts) or "Nothing changes"
    return f"**{said}.**" if strong else said


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
