"""Compare: one run's variants side by side, how sure the difference is, and every row behind it."""

from __future__ import annotations

import functools

import streamlit as st

from app import (
    compare_drawer,
    compare_grid,
    compare_head,
    compare_vote,
    finetune_draft,
    queries,
    run_drawer,
    text,
    ui,
)
from app.compare_rows import PER_PAGE, Rows
from core.jobs.folder import ENDED

SHOWN = {"all": "All", "failures": "Failures", "different": "Different"}
KINDS = {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet"}


def set_baseline(variant_id: str) -> None:
    ui.workbench().runs.set_baseline(page.actor, run["id"], variant_id)


def next_baseline() -> None:
    ids = [variant["id"] for variant in run["variants"]]
    set_baseline(ids[(ids.index(run["baseline_variant_id"]) + 1) % len(ids)])


def close_row() -> None:
    ui.set_params(row=None)


@st.fragment(run_every=2)
def watch() -> None:
    now = ui.workbench().runs.get(page.actor, run["id"])
    with st.container(border=True):
        run_drawer.progress(now)
    if now["state"] in ENDED:
        st.rerun()


def export_buttons() -> None:
    for kind, label in KINDS.items():
        st.download_button(
            label,
            functools.partial(ui.workbench().runs.export, page.actor, run["id"], kind),
            file_name=f"{run['id']}.{kind}",
            key=f"export-{kind}",
            icon=":material/download:",
            on_click="ignore",
            type="tertiary",
        )


page = ui.page(
    "Compare", "Which variant is better, on which rows, and could it be chance?", key="compare",
    actions_share=0.55,
)  # fmt: skip
runs = {row["id"]: row for row in queries.read("runs", "list", limit=200)}
run_id = ui.param("run") or next(iter(runs), None)
if run_id is None:
    ui.empty_state(
        "Nothing to compare yet",
        "A run shows here each variant's pass rate with its interval, its speed, and every row "
        "with what was fixed and what broke. Start one on the Runs page.",
        icon=":material/compare:",
    )
    st.stop()
with ui.errors(stop=True):
    run = queries.read("runs", "summary", run_id)

voting = compare_vote.asked(run)
if voting is not None:
    page.actions.button("Back to the comparison", icon=":material/arrow_back:", key="vote-leave",
                        on_click=compare_vote.leave)  # fmt: skip
    st.caption(f"**{text.escape(run['name'])}** · {text.escape(run['dataset_label'])}")
    compare_vote.show(run, voting)
    st.stop()
with page.actions:
    if len(run["variants"]) > 1 and run["state"] in ENDED:
        st.button("Vote blind", icon=":material/how_to_vote:", key="vote",
                  on_click=compare_vote.begin, args=(run,),
                  help="Two answers side by side without names: which is better?")  # fmt: skip
    if ui.may("training.write") and st.button(
        "Fine-tune", icon=":material/model_training:", key="fine-tune",
        help="The form of a fine-tune, with this run's dataset, prompt and model",
    ):  # fmt: skip
        st.switch_page("../pages/finetune.py", query_params=finetune_draft.asked_by(run))
    if len(run["variants"]) > 1 and ui.may("runs.write"):
        st.button("Next baseline", icon=":material/keep:", shortcut="b", key="next-baseline",
                  on_click=ui.guarded(next_baseline),
                  help="Measures the others against the next variant")  # fmt: skip
    with st.popover("Export", icon=":material/download:"):
        export_buttons()

names = {row["id"]: f"{row['name']} · {text.relative(row['created_at'])}" for row in runs.values()}
names.setdefault(run_id, f"{run['name']} · archived")
st.session_state["run-chosen"] = run_id
left, right = st.columns([2, 3], vertical_alignment="bottom")
left.selectbox(
    "Run", list(names), format_func=names.__getitem__, key="run-chosen",
    on_change=lambda: ui.set_params(run=st.session_state["run-chosen"], row=None),
)  # fmt: skip
right.caption(
    f"{text.escape(run['dataset_label'])}, {text.plural(run['row_count'], 'row')}, "
    f"{text.relative(run['created_at'])} by {text.escape(run_drawer.who(run))}. "
    f"{text.escape(run['hint'])}"
)
if run["state"] not in ENDED:
    watch()
elif run["state"] != "succeeded":
    st.warning(f"The run is {run['state']}: rows are missing. Resume it on the Runs page.",
               icon=":material/warning:")  # fmt: skip
compare_head.cards(run, set_baseline, on_lost=functools.partial(compare_vote.begin, run))

search_place, show_place, pages_place = st.columns([2, 3, 4], vertical_alignment="bottom")
search = search_place.text_input(
    "Search", key="q", bind="query-params", placeholder="Input, expected, answer or error"
)
shown = ui.param("show") or "all"
rows = Rows(run_id, shown if shown in SHOWN else "all", search)
counts = rows.counts()
st.session_state["shown"] = rows.show
show_place.segmented_control(
    "Rows", list(SHOWN), format_func=lambda name: f"{SHOWN[name]} {text.count(counts[name])}",
    required=True, key="shown",
    # not bound: the URL would carry the label, and with it the count
    on_change=lambda: ui.set_params(show=st.session_state["shown"]),
    help="Failures: some variant failed or did not pass. Different: the variants' verdicts "
    "differ; their answers, where nothing is judged.",
)  # fmt: skip

row_id = ui.param("row")
found = rows.page()
if row_id and row_id not in {row["row_id"] for row in found["rows"]}:
    first = run["variants"][0]["id"]
    with ui.errors():
        cell = queries.read("runs", "cell", run_id, first, row_id)
        rows.begin_at(cell["result"]["row_index"])
        found = rows.page()

if not found["rows"]:
    words = "No row has an answer yet." if not counts["all"] and not search else "No row matches."
    st.info(words, icon=":material/filter_alt:")
else:
    place = rows.place()
    with pages_place.container(
        horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"
    ):
        total = text.plural(found["total_count"], "row")
        first_row = None if place is None else place * PER_PAGE + 1
        if first_row is not None:
            last_row = first_row + len(found["rows"]) - 1
            st.markdown(f"{text.count(first_row)} to {text.count(last_row)} of {total}")
        st.button(f"Previous {PER_PAGE}", icon=":material/chevron_left:", key="page-back",
                  on_click=rows.back, disabled=place == 0)  # fmt: skip
        st.button(f"Next {PER_PAGE}", icon=":material/chevron_right:", key="page-further",
                  on_click=rows.further, disabled=found["after"] is None)  # fmt: skip
    compare_grid.show(
        found["rows"], run["variants"], run["baseline_variant_id"], key="grid",
        on_open=lambda opened: ui.set_params(row=opened),
        has_expected=any(row["expected"] is not None for row in found["rows"]),
    )  # fmt: skip
if row_id:
    title = f"{text.escape(run['name'])}"
    ui.drawer(title, width=1000, on_dismiss=close_row)(compare_drawer.show)(run, rows.step)
