"""Loop: a task from comparison to votes to fine-tune and back, and the step that is missing."""

from __future__ import annotations

import streamlit as st

from app import charts_loop, loop_entries, observe, panels, queries, tables, text, ui
from core.store.database import Row
from core.training.next_step import next_step

RATES = {
    "comparison": tables.text("Comparison", width=220),
    "at": tables.time("When", width=110),
    "name": tables.text("Variant", width=220),
    "rate": tables.percent("Pass rate"),
    "low": tables.percent("From", help="95% interval (Wilson)"),
    "high": tables.percent("To"),
    "n": tables.number("n"),
}


def add_sample() -> None:
    version = ui.workbench().datasets.import_sample(page.actor, SAMPLE)
    ui.workbench().prompts.create_samples(page.actor)
    ui.set_params(dataset=version["dataset_id"])
    ui.done("Sample tickets and prompts added")


def choose() -> None:
    ui.set_params(dataset=st.session_state["loop-dataset"])


def strip(entries: list[Row], compared: list[Row]) -> None:
    votes = [entry["numbers"] for entry in entries if entry["kind"] == "vote"]
    tunes = [entry for entry in entries if entry["kind"] == "fine_tune"]
    done = sum(entry["numbers"]["adapter_model_id"] is not None for entry in tunes)
    best = [max(v["rate"] for v in one["variants"]) for one in compared]
    ui.metric_strip(
        [
            ui.Metric("Comparisons", text.count(len(compared))),
            ui.Metric(
                "Blind votes", text.count(sum(vote["vote_count"] for vote in votes)),
                help="The newest of each person on each row and pair",
            ),
            ui.Metric("Fine-tunes", text.count(len(tunes)),
                      help=f"{text.count(done)} gave an adapter"),
            ui.Metric(
                "Best pass rate", text.percent(best[-1] if best else None),
                delta=change(best) if len(best) > 1 else None,
                delta_note="than the first" if len(best) > 1 and change(best) else None,
                series=best if len(best) > 2 else None,
                help="Of the best variant of the last comparison. Comparisons may be over other "
                "rows: see their intervals below.",
            ),
        ]
    )  # fmt: skip


def change(best: list[float]) -> str | None:
    points = (best[-1] - best[0]) * 100
    return None if round(points, 1) == 0 else f"{points:+.1f} points"


def as_rows(compared: list[Row]) -> list[Row]:
    return [
        {"comparison": one["title"], "at": one["at"], **variant}
        for one in compared
        for variant in one["variants"]
    ]


SAMPLE = "support-tickets"
page = ui.page(
    "Loop",
    "How far has a task come, from comparison to votes to fine-tune, and what is next?",
    key="loop",
)
datasets = {row["id"]: row["name"] for row in queries.read("datasets", "list")}
if not datasets:
    ui.empty_state(
        "No task yet",
        "A task is a dataset. This page shows what happened with it as one line: two variants "
        "are compared, people vote blind on their answers, a model learns from the votes, and is "
        "compared with its base, with the pass rate at each turn.",
        "Add the sample tickets" if ui.may("datasets.write") else None,
        add_sample,
        icon=":material/autorenew:",
    )
    st.stop()
dataset_id = ui.param("dataset") or next(iter(datasets))
with ui.errors(stop=True):
    entries = queries.read("finetunes", "timeline", dataset_id)
    datasets.setdefault(dataset_id, queries.read("datasets", "get", dataset_id)["name"])
st.session_state["loop-dataset"] = dataset_id
st.selectbox(
    "Task", list(datasets), format_func=datasets.__getitem__, key="loop-dataset", width=420,
    on_change=choose, help="A dataset, with what was made of the votes on its runs",
)  # fmt: skip
compared = [
    {
        "title": entry["title"], "at": entry["at"],
        "variants": [v for v in entry["numbers"]["variants"] if v["rate"] is not None],
    }
    for entry in entries
    if entry["kind"] == "comparison"
]  # fmt: skip
compared = [one for one in compared if one["variants"]]
strip(entries, compared)
loop_entries.missing(next_step(entries))
if compared:
    panels.chart(
        "Pass rate at each comparison, 95 % intervals",
        charts_loop.loop(compared, colours=observe.model_colours(), theme=observe.theme()),
        rows=as_rows(compared), columns=RATES, key="loop-rates",
        alt="Pass rates of every variant at each comparison, oldest first",
    )  # fmt: skip
st.markdown("**What happened**, newest first")
steps_only = st.toggle(
    "Steps of the loop alone", key="loop-steps", bind="query-params",
    help="Leaves out rows, versions, tags and runs of one variant",
)  # fmt: skip
loop_entries.show([e for e in entries if not steps_only or e["kind"] in loop_entries.STEPS])
