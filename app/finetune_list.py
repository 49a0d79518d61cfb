"""The list of fine-tunes: state, time left, how far the loss fell, whether it beats its base.

Knows: the columns, the filters in the URL. Does not know: what a fine-tune's own view shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from app import compare_head, finetune_result, queries, tables, text, ui
from core.governance.permissions import OWNER
from core.jobs.folder import ENDED, STATES
from core.store.database import Row

PER_PAGE = 100
SENTENCE = (
    "A fine-tune trains a small adapter over a model on your rows, keeps some rows aside, and "
    "ends with base and adapter compared on those: pass rates with intervals, what was fixed and "
    "what broke. The adapter is then a model like any other."
)
METHODS = {"sft": "SFT", "dpo": "DPO", "orpo": "ORPO", "kto": "KTO"}
COLOURS = {name: text.STATES[name][1] for name in STATES}
COLUMNS = {
    "name": tables.text("Fine-tune", width=135),
    "state": tables.badges("State", COLOURS, width=92),
    "share": tables.progress("Steps", width=72),
    "left": tables.text("Left", width=60, help="Time that is left, where it can be told"),
    "base_label": tables.text("Method, base", width=100),
    "dataset_label": tables.text("Dataset", width=90),
    "losses": tables.text("Held-out loss", width=88, right=True,
                          help="Of the base before the first step, then of the last evaluation"),
    "verdict": tables.text("Over base, points", width=108, right=True,
                           help="Pass rate of the adapter less the base's on the held-out rows, "
                           "with its 95% interval"),
    "created_at": tables.time("Started", width=95),
    "by": tables.text("By", width=62),
}  # fmt: skip


def show(on_sample: Callable[[], None], on_new: Callable[[], None]) -> None:
    """Filters and the table; by the clock while one of them trains."""
    every = queries.read("finetunes", "list", limit=PER_PAGE)
    going = any(row["state"] not in ENDED for row in every)
    st.fragment(_draw, run_every=2 if going else None)(going, on_sample, on_new)


def _draw(going: bool, on_sample: Callable[[], None], on_new: Callable[[], None]) -> None:
    if ui.param("new") is not None and ui.may("training.write"):
        st.rerun()  # a button in this fragment asked for the form, and that belongs to the page
    ui.tell()
    every = ui.workbench().finetunes.list(ui.actor(), limit=PER_PAGE)
    if not every:
        nothing_yet(on_sample, on_new)
        return
    if going and all(row["state"] in ENDED for row in every):
        st.rerun()  # nothing is left to watch
    search, asked = _filters(every)
    rows = every
    if search or any(asked.values()):
        rows = ui.workbench().finetunes.list(ui.actor(), search=search, limit=PER_PAGE, **asked)
    if not rows:
        st.info("No fine-tune matches.", icon=":material/filter_alt:")
        return
    over = all(row["state"] in ENDED for row in rows)
    hidden = "left" if over else "by"  # room for one of them at 1280 pixels
    columns = {name: column for name, column in COLUMNS.items() if name != hidden}
    key = f"finetunes-{st.session_state.get('finetunes-closed', 0)}"
    picked = tables.pick([as_shown(row) for row in rows], columns, key=key, height="content",
                         alt="Fine-tunes, newest first")  # fmt: skip
    if len(rows) == PER_PAGE:
        st.caption(f"The newest {PER_PAGE}. Search to see others.")
    if picked is not None:
        open_one(picked["id"])
        st.rerun()


def open_one(finetune_id: str) -> None:
    """Lead to the view of one; the selection in the list is forgotten."""
    st.session_state["finetunes-closed"] = st.session_state.get("finetunes-closed", 0) + 1
    ui.set_params(id=finetune_id, new=None)


def nothing_yet(on_sample: Callable[[], None], on_new: Callable[[], None]) -> None:
    """What a fine-tune is, and the one click that sets one up."""
    may = ui.may("training.write")
    ui.empty_state(
        "No fine-tunes yet", SENTENCE,
        "Fine-tune the starter on the sample tickets" if may else None,
        on_sample, icon=":material/model_training:",
    )  # fmt: skip
    if may:
        with st.container(horizontal=True, horizontal_alignment="center"):
            st.button("Set one up from your own rows", type="tertiary", key="first-own",
                      on_click=ui.guarded(on_new))  # fmt: skip


def as_shown(row: Row) -> Row:
    """A fine-tune as the table's columns have it."""
    total = row.get("progress_total")
    running = row["state"] == "running"
    return {
        **row,
        "state": [row["state"] or "queued"],
        "share": 1.0
        if row["state"] == "succeeded"
        else min(1.0, (row.get("progress_done") or 0) / total) if total else None,
        "left": text.seconds(row["eta_s"]) if running and row.get("eta_s") else text.NOTHING,
        "base_label": f"{METHODS.get(row['method'], row['method'])}, {row['base_name']}",
        "losses": losses(row),
        "verdict": verdict(row),
        "by": who(row),
    }  # fmt: skip


def losses(row: Row) -> str:
    """`2.31 → 0.84`: of the base, and of the last evaluation."""
    first, last = first_loss(row), last_loss(row)
    if first is None and last is None:
        return text.NOTHING
    return f"{text.significant(first)} → {text.significant(last)}"


def first_loss(row: Row) -> float | None:
    """The base's loss on the held-out rows; of the first evaluation where that is not known."""
    result = row.get("result") or {}
    found = result.get("eval_loss_base")
    return result.get("eval_loss_first") if found is None else found


def last_loss(row: Row) -> float | None:
    """The last evaluation's loss."""
    value: float | None = (row.get("result") or {}).get("eval_loss_last")
    return value


def verdict(row: Row) -> str:
    """`+42.5 [31, 53]`, once base and adapter were compared."""
    found = (row["comparison"] or {}).get("versus")
    if found and found["difference"] is not None:
        return compare_head.points(found).replace(" points", "")
    return "comparing" if finetune_result.is_comparing(row) else text.NOTHING


def who(row: Row) -> str:
    """Who started it, as people say it."""
    if row["created_by"] == OWNER.id:
        return OWNER.name
    return str(row.get("created_by_name") or text.NOTHING)


def _filters(rows: Sequence[Row]) -> tuple[str, dict[str, Any]]:
    """The search box and a filter for the base and one for the dataset, in one row."""
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        search = st.text_input(
            "Search", key="q", bind="query-params", placeholder="Name", width=260
        )
        bases = {row["base_model_id"]: str(row["base_name"]) for row in rows}
        data = {
            row["dataset_id"]: str(row["dataset_name"]) for row in rows if row.get("dataset_id")
        }
        asked = {
            "base_model_id": _filter("Base model", "base_is", bases),
            "dataset_id": _filter("Dataset", "data_is", data),
        }
    return search, asked


def _filter(label: str, name: str, options: dict[str, str]) -> str | None:
    """A filter whose URL holds an id, not a label."""
    current = ui.param(name)
    if current is not None:
        options = {**options, current: options.get(current, "archived")}
    st.session_state[f"filter-{name}"] = current
    return st.selectbox(
        label, list(options), format_func=options.__getitem__, key=f"filter-{name}",
        index=None, placeholder="All", width=200, disabled=len(options) < 2 and current is None,
        on_change=lambda: ui.set_params(**{name: st.session_state[f"filter-{name}"]}),
    )  # fmt: skip
