"""The entries of a task's loop as a vertical timeline, newest first, and the step that is missing.

Knows: how an entry looks, where its link leads. Does not know: what happened, what comes next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app import text
from core.store.database import Row

KINDS = {
    # kind: (icon, word, colour)
    "imported": ("upload_file", "Rows", "gray"),
    "version": ("dataset", "Version", "gray"),
    "tagged": ("sell", "Tag", "gray"),
    "run": ("play_circle", "Run", "gray"),
    "comparison": ("compare", "Comparison", "blue"),
    "vote": ("how_to_vote", "Votes", "violet"),
    "fine_tune": ("model_training", "Fine-tune", "orange"),
    "adapter": ("deployed_code", "Adapter", "green"),
    "export": ("download", "Export", "gray"),
}
STEPS = ("comparison", "vote", "fine_tune", "adapter", "export")
"""What the loop consists of; the rest stands between them."""
OPEN = {
    "compare": "Open the comparison",
    "datasets": "Open the dataset",
    "finetune": "Open the fine-tune",
    "models": "Open the model",
    "runs": "Open the run",
}


def missing(step: dict[str, Any]) -> None:
    """The step that comes next, with its reason and its button."""
    with st.container(border=True, gap="small"):
        said, button = st.columns([5, 2], vertical_alignment="center", gap="medium")
        said.markdown(f"**What next**  \n{text.escape(step['words'])}")
        if button.button(
            step["label"], type="primary", icon=":material/arrow_forward:", key="loop-next",
            width="stretch",
        ):  # fmt: skip
            follow(step["link"])


def show(entries: Sequence[Row]) -> None:
    """Every entry, newest first, with a line for its numbers and a way to its page."""
    for place, entry in enumerate(reversed(entries)):
        icon, word, colour = KINDS[entry["kind"]]
        when, what, button = st.columns([2, 8, 2], vertical_alignment="top", gap="small")
        when.markdown(
            f":gray[{text.relative(entry['at'])}]  \n:small[:gray[{entry['at']:%d %b %Y %H:%M}]]"
        )
        with what, st.container(gap="xxsmall"):
            st.markdown(
                f":{colour}-badge[:material/{icon}: {word}] **{text.escape(entry['title'])}**"
                + (f" {state}" if (state := _state(entry)) else "")
            )
            lines = [line for line in (text.escape(entry["detail"]), _numbers(entry)) if line]
            if lines:
                st.caption("  \n".join(lines))
        page = entry["link"]["page"]
        if button.button(
            "Open", key=f"loop-open-{place}", type="tertiary", icon=":material/arrow_outward:",
            help=OPEN[page],
        ):  # fmt: skip
            follow(entry["link"])


def follow(link: dict[str, Any]) -> None:
    """Go to a page of the app."""
    st.switch_page(f"../pages/{link['page']}.py", query_params=link["params"])


def _state(entry: Row) -> str:
    state = entry["numbers"].get("state")
    return text.state_badge(state) if state and state != "succeeded" else ""


def _numbers(entry: Row) -> str:
    numbers = entry["numbers"]
    if entry["kind"] in ("run", "comparison"):
        return " · ".join(
            f"{text.escape(one['name'])} "
            + (
                "not judged"
                if one["rate"] is None
                else f"{text.percent_interval(one['rate'], one['low'], one['high'])} n = "
                + text.count(one["n"])
            )
            for one in numbers["variants"]
        ).replace("[", "\\[")
    if entry["kind"] == "vote":
        interval = numbers["win_interval"]
        if interval is None:
            return ""
        rate = text.percent_interval(numbers["win_rate"], interval["low"], interval["high"])
        decided = numbers["first_wins"] + numbers["second_wins"]
        name = text.escape(numbers["names"][1])
        return f"{name} wins {rate} of n = {text.count(decided)} decided rows".replace("[", "\\[")
    if entry["kind"] in ("imported", "version"):
        return text.plural(numbers["row_count"], "row")
    return ""
