"""The view of one fine-tune: how far it is, whether it learns, what to do about it.

    finetune_watch.show(finetune_id)

Drawn by the clock only while it trains or is being compared; a chart keeps its zoom meanwhile.
Knows: states and what can be done in each. Does not know: the list, what comes out of it in the
end (`finetune_result`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app import (
    charts_training,
    finetune_draft,
    finetune_form,
    finetune_list,
    finetune_params,
    finetune_result,
    finetune_samples,
    observe,
    panels,
    tables,
    text,
    ui,
)
from core.jobs.folder import ENDED
from core.store.database import Row
from core.training.script.params import FIELDS

EVERY_S = 2
DOING = {
    "starting": "Loading the model.",
    "begun": "The base answers first: its loss is the one to get below.",
}
"""What the job's words mean, where they are short."""
MOST_WITH = 7
TAIL = 6_000
CURVE_COLUMNS = {
    "name": tables.text("Fine-tune", width=230),
    "metric": tables.text("Measure", width=130),
    "step": tables.number("Step", width=80),
    "epoch": tables.number("Epoch", decimals=2, width=80),
    "value": tables.number("Value", decimals=6, width=120),
}
SMALL = (
    ("learning_rate", "Learning rate", None),
    ("grad_norm", "Gradient norm", None),
    ("tokens_per_s", "Tokens per second", None),
)
PREFERENCES = (
    ("margin", "Does the chosen answer gain on the rejected one?", "eval_margin"),
    ("accuracy", "How often is the chosen answer the likelier?", "eval_accuracy"),
)


def head(finetune_id: str) -> tuple[str, str]:
    """Title and sentence of its page."""
    row = ui.workbench().finetunes.get(ui.actor(), finetune_id)
    method = finetune_list.METHODS.get(row["method"], row["method"])
    parts = [
        f"{method} of {row['base_name']}", f"on {row['dataset_label']}",
        f"started {text.relative(row['created_at'])} by {finetune_list.who(row)}",
    ]  # fmt: skip
    return text.escape(row["name"]), text.escape(", ".join(parts))


def show(finetune_id: str) -> None:
    """Draw it; by the clock while there is something to follow."""
    with ui.errors(stop=True):
        going = is_going(ui.workbench().finetunes.get(ui.actor(), finetune_id))
    st.fragment(_draw, run_every=EVERY_S if going else None)(finetune_id, going)


def is_going(row: Row) -> bool:
    """Whether it trains, waits, or is being compared with its base."""
    return row["state"] not in ENDED or finetune_result.is_comparing(row)


def _draw(finetune_id: str, going: bool) -> None:
    with ui.errors(stop=True):
        row = ui.workbench().finetunes.get(ui.actor(), finetune_id)
    if going != is_going(row) or ui.param("id") != finetune_id:
        # the page's: its clock, which Resume starts and the end stops; what another button opened
        st.rerun()
    ui.tell()
    _status(row)
    _trouble(row)
    if row["state"] == "succeeded":
        finetune_result.show(row)
    others = [one for one in ui.workbench().finetunes.list(ui.actor()) if one["id"] != finetune_id]
    ids = [finetune_id, *beside(others)]
    rows = ui.workbench().finetunes.curves(ui.actor(), ids)
    mine = [one for one in rows if one["finetune_id"] == row["id"]]
    if row["state"] != "succeeded" or mine:
        ui.metric_strip(tiles(row, mine))
    _charts(row, rows, others, ids)
    finetune_samples.show(row["id"], going=row["state"] not in ENDED)
    _details(row)


def _status(row: Row) -> None:
    """State, bar, time left, and what can be done."""
    going = row["state"] not in ENDED
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(_state(row), width="stretch")
            _buttons(row)
        total, done = row["progress_total"] or 0, row["progress_done"] or 0
        if going and total > 1:
            left = f" · {text.about(row['eta_s'])} left" if row.get("eta_s") else ""
            st.progress(min(1.0, done / total),
                        f"Step {text.count(done)} of {text.count(total)}{left}")  # fmt: skip


def _state(row: Row) -> str:
    state = row["state"] or "queued"
    message = DOING.get(row["progress_message"] or "", row["progress_message"] or "")
    message = text.escape(message.capitalize()) if state not in ENDED else ""
    if state == "cancelled":
        steps = row.get("checkpoint_steps") or []
        kept = f"Step {text.count(max(steps))} is kept." if steps else "No step is kept."
        return f":gray-badge[:material/pause_circle: stopped] {kept}"
    if state == "succeeded":
        takes = (row.get("result") or {}).get("train_seconds")
        message = f"Trained in {text.seconds(takes)}." if takes else ""
    if state == "queued" and not message:
        message = "Waits for the device: one trains at a time."
    return f"{text.state_badge(state)} {message}"


def _buttons(row: Row) -> None:
    if not ui.may("training.write"):
        return
    state, one = row["state"], row["id"]
    if state == "running":
        _button("Pause", "pause", _stop, one, "Saves a checkpoint and stops; Resume goes on there")
    elif state not in ENDED:
        _button("Cancel", "close", _stop, one, "It leaves the queue. Resume puts it back.")
    elif state != "succeeded":
        steps = row.get("checkpoint_steps") or []
        from_where = f"Goes on from step {text.count(max(steps))}" if steps else "Starts anew"
        _button("Resume", "play_arrow", _resume, one, from_where)
    else:
        with st.popover("Continue with more epochs", icon=":material/forward:"):
            epochs = st.number_input("Epochs more", 0.1, 100.0, 1.0, 1.0, format="%g",
                                     key=f"more-{one}")  # fmt: skip
            st.button("Continue", type="primary", key=f"extend-{one}",
                      on_click=ui.guarded(_extend), args=(one, epochs),
                      help="A new fine-tune that starts from this one's adapter")  # fmt: skip
    if st.button("Clone with changes", icon=":material/content_copy:", key=f"clone-{one}",
                 help="The form, filled in as this one was started"):  # fmt: skip
        with ui.errors():
            clone(one)
            st.rerun()
    if state in ENDED:
        ui.confirm(
            "Archive", "It leaves the list. Its adapter and comparison stay.", _archive,
            key=f"archive-{one}", args=(one,),
        )  # fmt: skip


def _button(label: str, icon: str, act: Any, one: str, help: str) -> None:
    st.button(label, icon=f":material/{icon}:", key=f"{label.lower()}-{one}", help=help,
              on_click=ui.guarded(act), args=(one,))  # fmt: skip


def _stop(finetune_id: str) -> None:
    ui.workbench().finetunes.stop(ui.actor(), finetune_id)
    ui.done("Asked to stop: it ends after the step it is at")


def _resume(finetune_id: str) -> None:
    ui.workbench().finetunes.resume(ui.actor(), finetune_id)
    ui.done("Queued: it goes on from its last checkpoint")


def _extend(finetune_id: str, epochs: float) -> None:
    made = ui.workbench().finetunes.extend(ui.actor(), finetune_id, epochs)
    ui.set_params(id=made)
    ui.done("Queued: it starts from this one's adapter")


def _archive(finetune_id: str) -> None:
    ui.workbench().finetunes.archive(ui.actor(), finetune_id)
    ui.set_params(**{"id": None, "with": None})
    ui.done("Fine-tune archived")


def clone(finetune_id: str, changes: Row | None = None) -> None:
    """Open the form with a fine-tune's values, and with other params where they are given."""
    config = ui.workbench().finetunes.clone_config(ui.actor(), finetune_id)
    draft = {**finetune_draft.defaults(), **config, "check": None}
    draft["params"] = {**draft["params"], **(changes or {})}
    finetune_form.begin(finetune_params.reduced(draft))
    ui.set_params(**{"new": "1", "id": None, "with": None})


def _trouble(row: Row) -> None:
    """Why it failed and what could be tried; what to know of one that goes on."""
    error = row.get("error")
    if error:
        ui.error_box(error["title"], error["message"], error.get("hint"))
        changes = error.get("changes")
        if changes and ui.may("training.write"):
            said = ", ".join(_change(name, value) for name, value in changes.items())
            if st.button(f"Try again with {said}", type="primary", icon=":material/replay:",
                         key=f"again-{row['id']}"):  # fmt: skip
                with ui.errors():
                    clone(row["id"], changes)
                    st.rerun()
    for warning in (row.get("warnings") or [])[-3:]:
        step = f" :gray[step {text.count(warning['step'])}]" if warning.get("step") else ""
        st.warning(f"{text.escape(warning['message'])}{step}  \n"
                   f"{text.escape(warning.get('advice') or '')}",
                   icon=":material/warning:")  # fmt: skip


def _change(name: str, value: Any) -> str:
    label = FIELDS[name].label.lower() if name in FIELDS else name
    return f"{label} {value:g}" if isinstance(value, int | float) else f"{label} {value}"


def beside(others: Sequence[Row]) -> list[str]:
    """Those of the other fine-tunes that the URL names."""
    named = (ui.param("with") or "").split(",")
    known = {row["id"] for row in others}
    return [one for one in dict.fromkeys(named) if one in known][:MOST_WITH]


def tiles(row: Row, rows: Sequence[Row]) -> list[ui.Metric]:
    """Loss now, held-out loss against the base's, tokens per second, memory, steps."""
    series = {name: _series(rows, name) for name in ("loss", "eval_loss", "tokens_per_s")}
    base = charts_training.base_loss(rows)
    evals = [one["value"] for one in rows if one["metric"] == "eval_loss" and one["step"] > 0]
    now = evals[-1] if evals else None
    result = row.get("result") or {}
    memory = _series(rows, "memory_bytes")
    most = result.get("peak_memory_bytes") or (max(memory) if memory else None)
    steps = max((one["step"] for one in rows), default=0)
    total = result.get("steps") if row["state"] == "succeeded" else row["progress_total"]
    total = total if (total or 0) > 1 else None  # a job that has not begun counts to one
    return [
        ui.Metric("Loss now", text.significant(_last(series["loss"])), series=series["loss"],
                  help="On the rows it is trained on, at the last step"),
        ui.Metric(
            "Held-out loss", text.significant(now if now is not None else base),
            delta=None if now is None or base is None else f"{now - base:+.3g}",
            delta_note=None if now is None or base is None else f"base {text.significant(base)}",
            good="down", help="On the rows that are never trained on",
        ),
        ui.Metric("Speed", text.rate(_last(series["tokens_per_s"])),
                  series=series["tokens_per_s"], help="Tokens trained on per second"),
        ui.Metric("Memory, at most", text.size(most), help="Of the training process"),
        ui.Metric(
            "Steps", f"{text.count(steps)} of {text.count(total)}" if total else text.count(steps)
        ),
    ]  # fmt: skip


def _series(rows: Sequence[Row], metric: str) -> list[float]:
    found = [row for row in rows if row["metric"] == metric and row["value"] is not None]
    return [float(row["value"]) for row in charts_training.thinned(found, 60)]


def _last(values: Sequence[float]) -> float | None:
    return values[-1] if values else None


def _charts(row: Row, rows: Sequence[Row], others: Sequence[Row], ids: Sequence[str]) -> None:
    """The loss large, the rest small beside it; other fine-tunes on the same axes."""
    names = {one["id"]: f"{one['name']} · {text.relative(one['created_at'])}" for one in others}
    axes = {"step": "Step", "epoch": "Epoch"}
    if any(one.get("seconds") is not None for one in rows):
        axes["seconds"] = "Time"
    sweep = [one["id"] for one in row["sweep"] if one["id"] != row["id"]]
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        st.session_state["curves-with"] = list(ids[1:])
        st.multiselect(
            "Compare with", list(names), format_func=lambda one: names.get(one, one),
            key="curves-with", max_selections=MOST_WITH, width=520, disabled=not names,
            placeholder="Other fine-tunes on the same chart" if names else "No other fine-tune",
            on_change=lambda: ui.set_params(
                **{"with": ",".join(st.session_state["curves-with"]) or None}
            ),
        )  # fmt: skip
        x = st.segmented_control("By", list(axes), format_func=axes.__getitem__, default="step",
                                 required=True, key="curves-by")  # fmt: skip
        if sweep and set(sweep[:MOST_WITH]) - {*ids}:
            st.button("Show the whole sweep", icon=":material/stacked_line_chart:", key="sweep-all",
                      on_click=lambda: ui.set_params(**{"with": ",".join(sweep[:MOST_WITH])}),
                      )  # fmt: skip
    x = str(x or "step")
    theme = observe.theme()
    drawn = {"colours": charts_training.run_colours(ids, theme), "theme": theme, "x": x}
    panels.chart(
        "Does the loss fall below the base's?", charts_training.loss(rows, **drawn),
        rows=[r for r in rows if r["metric"] in ("loss", "eval_loss")], columns=CURVE_COLUMNS,
        key=f"loss-{row['id']}", alt=_alt(row, rows),
        note=None if rows else "The first step brings the first point.",
    )  # fmt: skip
    there = {one["metric"] for one in rows}
    for group in (PREFERENCES, SMALL):
        shown = [panel for panel in group if panel[0] in there]
        if shown:
            for column, panel in zip(st.columns(len(shown), gap="small"), shown, strict=True):
                with column:
                    _small(row, rows, *panel, drawn)


def _small(
    row: Row, rows: Sequence[Row], metric: str, title: str, also: str | None, drawn: Row
) -> None:
    panels.chart(
        title, charts_training.measure(rows, metric, eval_metric=also, **drawn),
        rows=[r for r in rows if r["metric"] in (metric, also)], columns=CURVE_COLUMNS,
        key=f"{metric}-{row['id']}", alt=f"{charts_training.LABELS.get(metric, metric)} by step",
    )  # fmt: skip


def _alt(row: Row, rows: Sequence[Row]) -> str:
    mine = [r for r in rows if r["finetune_id"] == row["id"]]
    base, evals = charts_training.base_loss(mine), _series(mine, "eval_loss")
    if not evals:
        return "Loss by step; no evaluation yet"
    return (f"Loss by step: held-out loss is {text.significant(evals[-1])}, the base's was "
            f"{text.significant(base)}")  # fmt: skip


def _details(row: Row) -> None:
    with st.expander("Log", key=f"log-{row['id']}"):
        said = ui.workbench().finetunes.log(ui.actor(), row["id"])
        st.code(said[-TAIL:] or "Nothing was printed yet.", language=None, wrap_lines=True,
                height=280)  # fmt: skip
    with st.expander("Settings and lineage", key=f"settings-{row['id']}"):
        left, right = st.columns(2, gap="medium")
        with left:
            ui.facts(finetune_params.told(row["config"].get("params") or {}))
        with right:
            ui.facts(lineage(row))
            st.caption("The same in a terminal: save it, then `lathe finetune FILE.yaml`.")
            with ui.errors():
                st.code(ui.workbench().finetunes.config_yaml(ui.actor(), row["id"]),
                        language="yaml")  # fmt: skip


def lineage(row: Row) -> dict[str, Any]:
    """What it came from and where it ran."""
    result = row.get("result") or {}
    versions = result.get("versions") or {}
    hardware = result.get("hardware") or {}
    energy = result.get("energy_wh")
    found = {
        "Base": text.escape(str(row["base_name"])),
        "Dataset": text.escape(str(row["dataset_label"])),
        "Prompt": text.escape(str(row.get("prompt_label") or "none: the rows as they are")),
        "Steps, epochs": f"{text.count(result.get('steps'))}, {result.get('epochs') or '–'}"
        if result else None,
        "Best step": text.count(result.get("best_step")) if result.get("best_step") else None,
        "Tokens": text.count(result.get("tokens")) if result.get("tokens") else None,
        "Hardware": text.escape(", ".join(str(v) for v in hardware.values() if v)) or None,
        "Energy": f"{text.significant(energy)} Wh ({text.escape(str(result['energy_basis']))})"
        if energy else None,
        "Versions": text.escape(", ".join(f"{k} {v}" for k, v in versions.items())) or None,
        "Checkpoints": ", ".join(map(text.count, row.get("checkpoint_steps") or [])) or None,
        "Job": f"`{row['job_id']}`",
        "Id": f"`{row['id']}`",
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}
