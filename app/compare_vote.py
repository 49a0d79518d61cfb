"""Voting blind in Compare: one row at a time, two answers without names, keys to choose.

    1 left   2 right   3 tie   4 both bad   S skip   U undo

    compare_vote.show(run)          # draws everything below the title when `?vote=A,B` is there

Only this part is run again between two rows, so that the next one is there at once. Who may not
vote, or has voted on everything, sees the tally (`vote_tally`).

Knows: `?vote=A,B&rows=losses&tally=1`, the desk, its keys. Does not know: order, sides, figures.
"""

from __future__ import annotations

import json
import time
from typing import Any

import streamlit as st

from app import queries, text, ui, vote_tally
from core.evals.cast_votes import SKIP
from core.store.database import Row

QUEUES = {"all": "All rows", "losses": "Lost rows"}
KEYS = {
    # choice: (label, key, what it says)
    "left": ("Left is better", "1", "The left answer is better"),
    "right": ("Right is better", "2", "The right answer is better"),
    "tie": ("Tie", "3", "Both are equally good"),
    "both_bad": ("Both bad", "4", "Neither is acceptable"),
}
TOO_QUICK_S = 0.25
"""A key pressed twice, not a second choice: nobody has read the next row by then."""
TALL = 1_500  # characters from which an answer scrolls
HEIGHT = 420
ROW, SHOWN, SKIPPED, REASON = "vote-row", "vote-shown", "vote-skipped", "vote-reason"
OF = "vote-of"
"""Session state: the run and pair that the row and the skipping are of."""


def asked(run: Row) -> tuple[str, str] | None:
    """The pair that the URL names, the second one being what is measured; None: nobody votes."""
    ids = (ui.param("vote") or "").split(",")
    there = {variant["id"] for variant in run["variants"]}
    return (ids[0], ids[1]) if len(ids) == 2 and len({*ids} & there) == 2 else None


def begin(run: Row, lost_by: str | None = None) -> None:
    """Open the desk for the baseline and the first other variant; with `lost_by`, for that variant
    and the rows that it did not pass. For a callback."""
    ids = [variant["id"] for variant in run["variants"]]
    first = run["baseline_variant_id"] if run["baseline_variant_id"] in ids else ids[0]
    other = lost_by or next(variant_id for variant_id in ids if variant_id != first)
    _open(f"{first},{other}")
    ui.set_params(rows="losses" if lost_by else None)


def leave() -> None:
    """Back to the comparison; for a callback."""
    ui.set_params(vote=None, rows=None, tally=None)


def show(run: Row, pair: tuple[str, str]) -> None:
    """Draw the desk, or the tally."""
    if st.session_state.get(OF) != (run["id"], *pair):  # a link led here
        _forget()
    st.session_state[OF] = (run["id"], *pair)
    queue = "losses" if ui.param("rows") == "losses" else "all"
    wants_tally = ui.param("tally") is not None or not ui.may("votes.write")
    with ui.errors(stop=True):
        ballot = None if wants_tally else _next(run, pair, queue)
        progress = (
            ballot["progress"]
            if ballot is not None
            else queries.read("votes", "progress", run["id"], pair, queue=queue)
        )
    _choices(run, pair, queue, progress)
    if ballot is None:
        if not wants_tally and not progress["row_count"]:
            _nothing_to_vote_on(progress, queue)
        vote_tally.show(run, pair, progress, on_vote=_again)
        return
    _desk(run, pair, queue)


def _choices(run: Row, pair: tuple[str, str], queue: str, progress: Row) -> None:
    """Which two variants, and which rows."""
    names = {variant["id"]: variant["name"] for variant in run["variants"]}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        if len(names) > 2:
            st.session_state["vote-first"], st.session_state["vote-second"] = pair
            for key, label in (("vote-first", "Baseline"), ("vote-second", "Against it")):
                st.selectbox(label, list(names), format_func=names.__getitem__, key=key, width=260,
                             on_change=_choose, args=(pair,))  # fmt: skip
        if ui.param("tally") is None and ui.may("votes.write"):
            st.session_state["vote-queue"] = queue
            labels = {"all": "All rows that differ", "losses": f"Lost {progress['lost_count']}"}
            st.segmented_control(
                "Rows", list(QUEUES), format_func=labels.__getitem__, required=True,
                key="vote-queue", on_change=_choose_queue,
                help=f"Lost: the rows that {names[pair[1]]} did not pass. Votes on them alone are "
                "no fair sample of the run, and the tally says so.",
            )  # fmt: skip
            st.button("Show the tally", icon=":material/bar_chart:", key="vote-tally",
                      on_click=_open, args=(None, "1"), type="tertiary")  # fmt: skip


@st.fragment
def _desk(run: Row, pair: tuple[str, str], queue: str) -> None:
    with ui.errors(stop=True):
        ballot = _next(run, pair, queue)
    if ballot is None:
        st.rerun()  # all is done: the tally belongs to the page
    progress = ballot["progress"]
    if st.session_state.get(SHOWN, (None,))[0] != ballot["token"]:
        st.session_state[SHOWN] = (ballot["token"], time.monotonic())
    ui.tell()
    _progress(progress)
    _buttons(run, pair, queue, ballot, can_undo=progress["can_undo"])
    _inputs(ballot["inputs"])
    for column, side, name in zip(
        st.columns(2, gap="small"), ("left", "right"), ("Left", "Right"), strict=True
    ):
        with column, st.container(border=True, gap="xsmall", height="stretch"):
            st.markdown(f"**{name}**")
            _text(ballot[side] or "(empty answer)")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.text_input(
            "Why, if you like", key=f"{REASON}-{ballot['token']}", max_chars=2_000, width=520,
            placeholder="Kept with the vote",
        )  # fmt: skip
        if ballot["expected"]:
            st.toggle("Show what was expected", key="vote-expected")
    if ballot["expected"] and st.session_state.get("vote-expected"):
        _text(ballot["expected"])


def _progress(progress: Row) -> None:
    done, total = progress["voted_count"], progress["row_count"]
    parts = [f"**{text.count(done)}** of {text.plural(total, 'row')} voted on"]
    if progress["skipped_count"]:
        parts.append(f"{text.count(progress['skipped_count'])} skipped")
    if st.session_state.get(SKIPPED):
        parts.append("these were skipped")
    if st.session_state.get(ROW):
        parts.append(":material/undo: your last one again")
    st.progress(done / total if total else 0.0, text=" · ".join(parts))


def _buttons(run: Row, pair: tuple[str, str], queue: str, ballot: Row, *, can_undo: bool) -> None:
    with st.container(horizontal=True, gap="small"):
        for choice, (label, key, words) in KEYS.items():
            st.button(
                label, key=f"vote-{choice}", shortcut=key, help=words, width="stretch",
                on_click=ui.guarded(_cast), args=(run["id"], pair, queue, ballot, choice),
            )  # fmt: skip
        st.button(
            "Skip", key="vote-skip", shortcut="S", type="tertiary", icon=":material/skip_next:",
            on_click=ui.guarded(_cast), args=(run["id"], pair, queue, ballot, SKIP),
            help="Sets the row aside; it comes again at the end",
        )  # fmt: skip
        st.button(
            "Undo", key="vote-undo", shortcut="U", type="tertiary", icon=":material/undo:",
            on_click=ui.guarded(_undo), args=(run["id"], pair), disabled=not can_undo,
            help="Takes back your last vote and shows its row again",
        )  # fmt: skip


def _inputs(inputs: dict[str, Any]) -> None:
    for name, value in inputs.items():
        with st.container(gap="xxsmall"):
            st.caption(text.escape(str(name)))
            _text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _text(shown: str) -> None:
    st.code(
        shown or " ", language=None, wrap_lines=True,
        height=HEIGHT if len(shown) > TALL else "content",
    )  # fmt: skip


def _nothing_to_vote_on(progress: Row, queue: str) -> None:
    same = text.plural(progress["same_count"], "row")
    words = (
        "No row is lost: the second variant passed wherever the two answers differ."
        if queue == "losses"
        else f"The two answers are the same on all {same}: there is nothing to choose between."
    )
    st.info(words, icon=":material/how_to_vote:")


def _next(run: Row, pair: tuple[str, str], queue: str) -> Row | None:
    """The row that is up: the one that was undone, else the next that is open."""
    found: Row | None = ui.workbench().votes.next(
        ui.actor(), run["id"], pair, queue=queue,
        skipped=st.session_state.get(SKIPPED, False), row_id=st.session_state.get(ROW),
    )  # fmt: skip
    return found


def _cast(run_id: str, pair: tuple[str, str], queue: str, ballot: Row, choice: str) -> None:
    token = ballot["token"]
    seen, since = st.session_state.get(SHOWN, (token, 0.0))
    seconds = time.monotonic() - since
    if seen != token or seconds < TOO_QUICK_S:
        return
    votes = ui.workbench().votes
    asked = (ui.actor(), run_id, pair, ballot["row_id"])
    if choice == SKIP:
        votes.skip(*asked, token, seconds=seconds, queue=queue)
    else:
        reason = st.session_state.get(f"{REASON}-{token}", "")
        votes.cast(*asked, choice, token, seconds=seconds, reason=reason, queue=queue)
    st.session_state.pop(ROW, None)


def _undo(run_id: str, pair: tuple[str, str]) -> None:
    taken = ui.workbench().votes.undo(ui.actor(), run_id, pair)
    if taken is not None:
        st.session_state[ROW] = taken["row_id"]


def _again(skipped: bool) -> None:
    """From the tally back to the desk."""
    st.session_state[SKIPPED] = skipped
    _open(None)


def _choose(pair: tuple[str, str]) -> None:
    first, second = st.session_state["vote-first"], st.session_state["vote-second"]
    if first == second:  # the two change places
        first, second = pair[::-1]
    _open(f"{first},{second}", ui.param("tally"))


def _choose_queue() -> None:
    _forget()
    ui.set_params(rows="losses" if st.session_state["vote-queue"] == "losses" else None)


def _open(pair: str | None, tally: str | None = None) -> None:
    _forget(keep_skipped=pair is None)
    ui.set_params(tally=tally, row=None)
    if pair is not None:
        ui.set_params(vote=pair)


def _forget(*, keep_skipped: bool = False) -> None:
    st.session_state.pop(ROW, None)
    if not keep_skipped:
        st.session_state.pop(SKIPPED, None)
