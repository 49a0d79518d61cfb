"""Sample answers at each evaluation: the base's, the one at a step, and what was expected.

Knows: the slider over evaluations, how an answer differs from the base's. Does not know: how
answers are drawn.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from app import diff, text, ui
from core.prompts.diff import word_diff
from core.store.database import Row

TALLEST = 220


def show(finetune_id: str, *, going: bool) -> None:
    """The sample answers of a fine-tune; nothing before the first evaluation."""
    rows = ui.workbench().finetunes.samples(ui.actor(), finetune_id)
    if not rows:
        return
    st.markdown("##### What does it answer now, beside its base?")
    steps = sorted({row["step"] for row in rows if not row["base"]})
    if not steps:
        st.caption("Only the base has answered so far: the first evaluation brings the next.")
        _answers(rows, None, whole=True)
        return
    step = _step(finetune_id, steps, going=going)
    _answers(rows, step, whole=False)


def _step(finetune_id: str, steps: Sequence[int], *, going: bool) -> int:
    """The evaluation to look at: the newest, until somebody moves the slider."""
    if len(steps) == 1:
        return steps[0]
    key, moved = f"samples-{finetune_id}", f"samples-moved-{finetune_id}"
    if not st.session_state.get(moved) or st.session_state.get(key) not in steps:
        st.session_state[key] = steps[-1]
    chosen: int = st.select_slider(
        "After step", steps, key=key, format_func=text.count,
        on_change=lambda: st.session_state.update(
            {moved: not going or st.session_state[key] != steps[-1]}
        ),
        help="Every evaluation so far. At the right end it follows the newest.",
    )  # fmt: skip
    return chosen


def _answers(rows: Sequence[Row], step: int | None, *, whole: bool) -> None:
    """One block for each held-out row: prompt, base, answer at the step, expected."""
    base = {row["row_id"]: row for row in rows if row["base"]}
    now = {row["row_id"]: row for row in rows if not row["base"] and row["step"] == step}
    for row_id in dict.fromkeys([*base, *now]):
        row = now.get(row_id) or base[row_id]
        before = base[row_id]["text"] if row_id in base else None
        with st.container(border=True, gap="small"):
            st.html(_prompt(row["prompt"]))
            left, middle, right = st.columns(3, gap="small")
            with left:
                st.caption("Base model" + _verdict(before, row["expected"]))
                st.html(_plain(before or ""))
            with middle:
                if row_id in now:
                    answer = now[row_id]["text"]
                    st.caption(f"After step {text.count(step)}" + _verdict(answer, row["expected"]))
                    st.html(diff.markup(
                        word_diff(before or "", answer), side="new", max_height=TALLEST
                    ))  # fmt: skip
                elif not whole:
                    st.caption("No answer at this step.")
            with right:
                st.caption("Expected")
                st.html(_plain(row["expected"] or ""))


def _plain(said: str) -> str:
    return diff.markup([("equal", said)] if said else [], max_height=TALLEST)


def _prompt(said: str) -> str:
    """The end of the prompt, where the row's own text stands; the whole scrolls."""
    return (
        '<div tabindex="0" style="font-family:\'JetBrains Mono\',ui-monospace,monospace;'
        "font-size:0.84rem;line-height:1.5;white-space:pre-wrap;overflow:auto;max-height:7.6em;"
        'display:flex;flex-direction:column-reverse;opacity:0.85">'
        f"<div>{html.escape(said.rstrip())}</div></div>"
    )


def _verdict(answer: str | None, expected: str | None) -> str:
    """Whether an answer is the expected one, word for word, with a sign and a word."""
    if answer is None or not expected:
        return ""
    same = answer.strip().casefold() == expected.strip().casefold()
    return " · :green[✓ as expected]" if same else " · :gray[✗ not as expected]"
