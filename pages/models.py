"""Models: what can be loaded and how, what is in memory now, how fast it is here."""

from __future__ import annotations

import streamlit as st

from app import model_drawer, model_form, tables, text, ui
from core.errors import Invalid
from core.models import devices
from core.store.database import Row

COLOURS = {name: colour for name, (_, colour) in text.STATES.items()}
COLUMNS = {
    "name": tables.text("Model", width=185, pinned=True),
    "from": tables.text("Source", width=125),
    "parameters": tables.text("Parameters", width=90),
    "license": tables.text("Licence", width=85),
    "state": tables.badges("State", COLOURS, width=105),
    "now": tables.text("Loaded as", width=95),
    "memory": tables.text("Memory", width=75, help="Resident, all its workers together"),
    "speed": tables.text("Best speed", width=85, help="Measured here, many requests at once"),
}


def as_shown(model: Row, states: list[Row], calibrations: list[Row]) -> Row:
    mine = [s for s in states if s["model_id"] == model["id"] and s["state"] != "unloaded"]
    alive = [s for s in mine if s["resident_bytes"]]
    rates = [c["decode_tokens_per_s"] for c in calibrations if c["decode_tokens_per_s"]]
    count = model["parameter_count"]
    return {
        **model,
        "from": from_words(model),
        "parameters": f"{text.significant(count / 1e6)} M" if count else text.NOTHING,
        "state": sorted({s["state"] for s in mine}) or None,
        "now": ", ".join(doing(model, s) for s in mine) or text.NOTHING,
        "memory": text.size(sum(s["resident_bytes"] for s in alive)) if alive else text.NOTHING,
        "speed": text.rate(max(rates)) if rates else text.NOTHING,
    }


def from_words(model: Row) -> str:
    if model["source"] == "adapter":
        return f"adapter of {model.get('base_name') or 'a base'}"
    return f"{model['source']}, {model['kind']}"


def doing(model: Row, state: Row) -> str:
    gguf = model["details"].get("gguf_type", "GGUF")
    name = gguf if state["quantization"] == "gguf" else state["label"]
    if state["state"] == "ready" and name:
        return str(name)
    share = f" {state['progress']:.0%}" if state["progress"] else ""
    return f"{name}: {state['state']}{share}" if name else f"{state['message']}{share}"


def strip(states: list[Row]) -> None:
    device = devices.pick(ui.workbench().settings.device)
    alive = [s for s in states if s["resident_bytes"]]
    held = sum(s["resident_bytes"] for s in alive)
    units = "bf16 units" if device.bf16 else "no bf16 units: bf16 is slow here"
    ui.metric_strip(
        [
            ui.Metric("Loaded now", text.count(len(alive)), help="Model workers in memory"),
            ui.Metric("Memory they hold", text.size(held), help="Resident, measured"),
            ui.Metric(
                "Free for models",
                text.size(device.free_bytes),
                help=f"Of {text.size(device.total_bytes)} on {device.name}, half a GB kept back",
            ),
            ui.Metric(
                "Device",
                device.name if device.is_gpu else text.plural(device.cores, "CPU core"),
                help=f"{device.label}; {units}",
            ),
        ]
    )


@st.fragment(run_every=2)
def live_list() -> None:
    models, actor = ui.workbench().models, ui.actor()
    ui.tell()
    states = models.states(actor)
    strip(states)
    found = models.list(actor)
    if not found:
        ui.empty_state(
            "No models yet",
            "A model comes from a folder of safetensors, a GGUF file, the model hub or any "
            "OpenAI-compatible address. The starter is a small one that runs on any machine.",
            "Register the starter models" if ui.may("models.write") else None,
            register,
            icon=":material/deployed_code:",
        )
        return
    search = st.text_input(
        "Search", key="q", bind="query-params", placeholder="Search by name",
        label_visibility="collapsed", width=320,
    )  # fmt: skip
    rows = [
        as_shown(model, states, models.calibration(actor, model["id"]))
        for model in found
        if search.casefold() in model["name"].casefold()
    ]
    if not rows:
        st.info("No model has that in its name.", icon=":material/filter_alt:")
        return
    key = f"models-{st.session_state.get('model-closed', 0)}"
    picked = tables.pick(rows, COLUMNS, key=key, alt="Models by name", height="content")
    if picked is not None and ui.param("model") != picked["id"]:
        ui.set_params(model=picked["id"], add=None)
        st.rerun()


def register() -> None:
    if not ui.workbench().models.register_starter(ui.actor()):
        raise Invalid(
            "The starter models are not in this workspace.",
            title="Nothing to register",
            hint="Run `lathe models fetch` in a terminal: it downloads 177 MB once.",
        )
    ui.done("Starter models registered")


page = ui.page(
    "Models",
    "What can be loaded and how, what is in memory now, how fast it is here.",
    key="models",
)
if ui.may("models.write"):
    with page.actions:
        if st.button("Add model", type="primary", icon=":material/add:"):
            ui.set_params(model=None, add="yes")
live_list()
if ui.param("add") and ui.may("models.write"):
    model_form.drawer()
elif (shown := model_drawer.opened()) is not None:
    model_drawer.drawer(shown)
