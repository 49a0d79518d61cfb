"""Runs: variants over a dataset, as jobs: start one, watch it, go on after a stop, read it."""

from __future__ import annotations

import streamlit as st

from app import queries, run_drawer, run_form, tables, text, ui
from core.jobs.folder import ENDED, STATES
from core.store.database import Row

PER_PAGE = 50
COLOURS = {name: text.STATES[name][1] for name in STATES}
COLUMNS = {
    "name": tables.text("Run", width=150),
    "dataset_label": tables.text("Dataset", width=115),
    "state": tables.badges("State", COLOURS, width=92),
    "share": tables.progress("Answers", width=85),
    "left": tables.text("Left", width=55, help="Time that is left, where it can be told"),
    "rates": tables.text("Pass rates, %", width=115, help="Of its variants, in their order"),
    "failed_count": tables.number("Failed", width=50, help="Answers that ended in an error"),
    "created_at": tables.time("Started", width=85),
    "by": tables.text("By", width=88),
}


def as_shown(run: Row) -> Row:
    total = run["row_count"] * len(run["variant_names"])
    return {
        **run,
        "state": [run["state"] or "queued"],
        "share": min(1.0, run["result_count"] / total) if total else None,
        "left": text.seconds(run["eta_s"]) if run["state"] == "running" else text.NOTHING,
        "rates": pass_rates(run["pass_rates"]),
        "by": run_drawer.who(run),
    }


def pass_rates(shares: list[float | None]) -> str | None:
    if all(share is None for share in shares):
        return None
    decimals = 1 if len(shares) <= 3 else 0
    return " · ".join(text.NOTHING if s is None else f"{s * 100:.{decimals}f}" for s in shares)


def open_form() -> None:
    run_form.begin()
    ui.set_params(new="1", run=None)


def close_form() -> None:
    ui.set_params(new=None)


def clone(run_id: str) -> None:
    run_form.begin(run_form.clone(ui.workbench().runs.get(ui.actor(), run_id)))
    close_drawer()
    ui.set_params(new="1")


def add_samples() -> None:
    for sample in ui.workbench().datasets.samples(page.actor):
        ui.workbench().datasets.import_sample(page.actor, sample["name"])
    ui.workbench().prompts.create_samples(page.actor)
    ui.done("Sample datasets and prompts added")


def close_drawer() -> None:
    ui.set_params(run=None)
    st.session_state["runs-closed"] = st.session_state.get("runs-closed", 0) + 1


def nothing_yet() -> None:
    missing = run_form.missing()
    sentence = (
        "A run asks every row of a dataset of two to six variants (a prompt version on a model), "
        "scores the answers and shows side by side which variant is better, and by how much."
    )
    if {"Datasets", "Prompts"} & {*missing}:
        ui.empty_state("No runs yet", sentence, "Add sample data and prompts", add_samples,
                       icon=":material/play_circle:")  # fmt: skip
    else:
        ui.empty_state("No runs yet", sentence, "Set up a run", open_form,
                       icon=":material/play_circle:")  # fmt: skip
    if "Models" in missing:
        st.info("There is no chat model yet: add one on the Models page.",
                icon=":material/deployed_code:")  # fmt: skip


def wants_form() -> bool:
    asked = ui.may("runs.write") and ui.param("new") is not None
    return asked and not run_form.missing()


def show_list() -> None:
    if wants_form():
        st.rerun()  # a button in this fragment asked for it, and the form belongs to the page
    search = st.text_input(
        "Search", key="q", bind="query-params", placeholder="Name or dataset", width=300
    )
    rows = queries.read("runs", "list", search=search, limit=PER_PAGE)
    if not rows and not search:
        nothing_yet()
        return
    if not rows:
        st.info("No run matches.", icon=":material/filter_alt:")
        return
    over = all(row["state"] in ENDED for row in rows)
    if going and over and not search:
        st.rerun()  # nothing is left to watch
    columns = {name: column for name, column in COLUMNS.items() if name != "left" or not over}
    key = f"runs-{st.session_state.get('runs-closed', 0)}"
    picked = tables.pick([as_shown(row) for row in rows], columns, key=key, height="content",
                         alt="Runs, newest first")  # fmt: skip
    if len(rows) == PER_PAGE:
        st.caption(f"The newest {PER_PAGE}. Search to see others.")
    if picked is not None and ui.param("run") != picked["id"]:
        ui.set_params(run=picked["id"])
        st.rerun()  # the drawer belongs to the page, not to a fragment that runs by the clock


page = ui.page("Runs", "Variants over a dataset: which is better, and is it sure?", key="runs")
if wants_form():
    with page.actions:
        st.button("Back to the runs", icon=":material/arrow_back:", on_click=close_form)
        st.button("Start over", on_click=run_form.begin_empty, help="Forgets what is typed here")
    started = run_form.draw()
    if started is not None:
        ui.set_params(new=None, run=started)
        st.rerun()
    st.stop()

with page.actions:
    if ui.may("runs.write") and not run_form.missing():
        st.button("New run", type="primary", icon=":material/add:", on_click=open_form)
going = any(row["state"] not in ENDED for row in queries.read("runs", "list", limit=PER_PAGE))
st.fragment(show_list, run_every=2 if going else None)()

run_id = ui.param("run")
if run_id is not None:
    with ui.errors(stop=True):
        name = ui.workbench().runs.get(page.actor, run_id)["name"]
    ui.drawer(text.escape(name), width=820, on_dismiss=close_drawer)(run_drawer.show)(run_id, clone)
