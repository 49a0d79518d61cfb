"""One row of a run, whole: every variant's answer beside what was expected, and why it passed.

    compare_drawer.show(run, rows, "row", on_step=step)

Knows: how a row is laid out, `?row=ID`. Does not know: filters, how pages of rows are found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from app import diff, queries, text, ui
from app.compare_grid import LETTERS, change, verdict
from core.errors import NotFound
from core.prompts.diff import word_diff
from core.store.database import Row

TONES = {"good": "green", "bad": "red", "quiet": "gray"}


@st.fragment
def show(run: Row, on_step: Callable[[int], None]) -> None:
    """Draw the row that `?row=` names; `on_step(1)` and `on_step(-1)` move it."""
    row_id = ui.param("row")
    if row_id is None:
        return
    cells = {variant["id"]: _cell(run["id"], variant["id"], row_id) for variant in run["variants"]}
    there = [cell for cell in cells.values() if cell is not None]
    if not there:
        st.info("No variant has answered this row yet.", icon=":material/hourglass_empty:")
        return
    _head(run, there[0]["result"], on_step)
    _inputs(there[0])
    baseline = cells.get(run["baseline_variant_id"])
    compare = st.toggle(
        "Show what differs from the baseline", key="row-diff", value=True,
        help="Struck through: only in the baseline's answer. Underlined: only in this one.",
    )  # fmt: skip
    for number, variant in enumerate(run["variants"]):
        with st.container(border=True, gap="small"):
            _variant(run, variant, number, cells[variant["id"]], baseline, compare=compare)


def _cell(run_id: str, variant_id: str, row_id: str) -> Row | None:
    try:
        found: Row = queries.read("runs", "cell", run_id, variant_id, row_id)
    except NotFound:
        return None  # not asked yet, or the run was cancelled before
    return found


def _head(run: Row, result: Row, on_step: Callable[[int], None]) -> None:
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"
    ):
        number = f"{text.count(result['row_index'] + 1)} of {text.count(run['row_count'])}"
        st.markdown(f"**Row {number}** :gray[{text.escape(run['dataset_label'])}]")
        with st.container(horizontal=True, gap="small", width="content"):
            st.button("Previous", icon=":material/chevron_left:", shortcut="k", key="row-previous",
                      on_click=on_step, args=(-1,))  # fmt: skip
            st.button("Next", icon=":material/chevron_right:", shortcut="j", key="row-next",
                      on_click=on_step, args=(1,))  # fmt: skip
    if st.session_state.pop("row-end", False):
        st.caption("There is no further row with these filters.")


def _inputs(cell: Row) -> None:
    for name, value in (cell["inputs"] or {}).items():
        st.caption(text.escape(str(name)))
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        st.code(shown or " ", language=None, wrap_lines=True,
                height=180 if len(shown) > 1200 else "content")  # fmt: skip


def _variant(
    run: Row, variant: Row, number: int, cell: Row | None, baseline: Row | None, *, compare: bool
) -> None:
    is_baseline = variant["id"] == run["baseline_variant_id"]
    name = f"**{LETTERS[number]} · {text.escape(variant['name'])}**"
    if cell is None:
        st.markdown(name)
        st.caption("No answer yet.")
        return
    result = cell["result"]
    passed = passes(run, cell)
    marks = [verdict({**result, "passed": passed})]
    if not is_baseline and baseline is not None:
        moved = change({"change": changed(passes(run, baseline), passed)})
        marks += [moved] if moved else []
    badges = " ".join(f":{TONES[tone]}-badge[{sign} {word}]" for sign, word, tone in marks)
    kept = " :gray-badge[:material/keep: baseline]" if is_baseline else ""
    st.markdown(f"{name} {badges}{kept}")
    left, right = st.columns(2, gap="small")
    with left:
        st.caption("Answer")
        _answer(result, None if is_baseline or not compare else baseline)
    with right:
        st.caption("Expected")
        st.code(_or(result["expected"], "Nothing is expected."), language=None, wrap_lines=True)
    _scores(cell["scores"])
    _numbers(result)
    _more(cell, number)


def passes(run: Row, cell: Row) -> bool | None:
    """The row's verdict by the same rule as everywhere, from the cell's own scores."""
    deciding = [score["passed"] for score in cell["scores"] if score["passed"] is not None]
    if cell["result"]["state"] == "failed":
        return False if _decides(run) else None
    return all(deciding) if deciding else None


def changed(before: bool | None, now: bool | None) -> str | None:
    """fixed, broke or same; None where one of them was not judged."""
    if before is None or now is None:
        return None
    return "same" if before == now else "fixed" if now else "broke"


def _decides(run: Row) -> bool:
    return any(variant["judged_count"] for variant in run["variants"])


def _answer(result: Row, baseline: Row | None) -> None:
    if result["state"] == "failed":
        st.error(text.escape(result["error"] or ""), icon=":material/error:")
        return
    output = result["output"] or ""
    before = baseline["result"]["output"] if baseline else None
    if before is None:
        st.code(_or(output, "(empty answer)"), language=None, wrap_lines=True)
        return
    pieces = word_diff(before, output)
    st.html(diff.markup(pieces))
    st.caption(diff.summary(pieces))


def _scores(scores: Sequence[Row]) -> None:
    lines = []
    for score in scores:
        passed = score["passed"]
        sign, tone = ("–", "gray") if passed is None else ("✓", "green") if passed else ("✗", "red")
        value = "" if passed is not None and score["value"] in (0.0, 1.0) else _value(score)
        why = f": {text.escape(score['explanation'])}" if score["explanation"] else ""
        word = "measured" if passed is None else "passed" if passed else "failed"
        lines.append(f":{tone}[{sign} {text.escape(score['name'])}] {word}{value}{why}")
    st.markdown("  \n".join(lines))


def _numbers(result: Row) -> None:
    parts = [
        f"{text.milliseconds(result['e2e_ms'])} in all",
        f"first token after {text.milliseconds(result['ttft_ms'])}",
        f"{text.count(result['prompt_token_count'])} tokens in, "
        f"{text.count(result['completion_token_count'])} out",
    ]
    if result["finish_reason"] == "length":
        parts.append(":orange[:material/content_cut: cut at the most new tokens]")
    elif result["finish_reason"]:
        parts.append(f"ended by {text.escape(result['finish_reason'])}")
    if result["attempt"] > 1:
        parts.append(f"attempt {result['attempt']}")
    if result["state"] == "ok":
        st.caption(" · ".join(parts))


def _more(cell: Row, number: int) -> None:
    trace = cell["trace"]
    with st.expander("Exact prompt", icon=":material/article:"):
        if trace is None:
            st.caption("No request was made, or its trace is gone.")
        elif trace["rendered_prompt"]:
            st.caption("What the model read, after its chat template.")
            st.code(trace["rendered_prompt"], language=None, wrap_lines=True)
        else:
            for message in trace["messages"] or []:
                st.caption(text.escape(str(message["role"])))
                st.code(str(message["content"]), language=None, wrap_lines=True)
    for attempt in cell["attempts"]:
        st.caption(f"Attempt {attempt['attempt']} failed: {text.escape(attempt['error'] or '')}")
    if trace is not None and st.button(
        "Open trace", icon=":material/timeline:", type="tertiary", key=f"trace-{number}"
    ):
        st.switch_page("../pages/traces.py", query_params={"trace": trace["id"]})


def _value(score: Row) -> str:
    return "" if score["value"] is None else f" ({text.significant(score['value'])})"


def _or(value: Any, missing: str) -> str:
    return str(value) if value not in (None, "") else missing
