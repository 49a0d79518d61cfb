"""The drawer of one model: every way to load it, what that takes, how fast it is here.

Knows: how a model is laid out, `?model=ID`. Does not know: which list led here.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import adapter_panel, text, ui
from core.errors import LatheError
from core.models.choices import TOO_BUSY_PERCENT, Choice
from core.models.spec import WorkerSpec
from core.store.database import Row

LIVE = ("starting", "loading", "ready")
WORDS = {"starter": "comes with Lathe", "directory": "folder of safetensors", "gguf": "GGUF file",
         "hub": "model hub", "endpoint": "OpenAI-compatible endpoint",
         "scripted": "written answers", "adapter": "adapter"}  # fmt: skip


def opened() -> str | None:
    """The model that the URL names."""
    return ui.param("model")


def close() -> None:
    """Forget the model in the URL and the selection in the list."""
    ui.set_params(model=None)
    st.session_state["model-closed"] = st.session_state.get("model-closed", 0) + 1


@ui.drawer("Model", width=860, on_dismiss=close)
def drawer(model_id: str) -> None:
    """Head, ways to load, address and key, facts."""
    with ui.errors(stop=True):
        model = ui.workbench().models.get(ui.actor(), model_id)
    st.header(text.escape(model["name"]), anchor=False)
    st.caption(text.escape(_summary(model)))
    adapter_panel.show(model)
    live(model_id)
    if model["source"] == "endpoint" and ui.may("models.write"):
        address(model)
    _facts(model)
    if ui.may("models.write"):
        ui.confirm(
            "Archive model",
            f"**{text.escape(model['name'])}** leaves the list, is unloaded and loses its key. "
            "Runs and traces keep its name; its files stay.",
            archive,
            key="archive",
            args=(model_id,),
        )


@st.fragment(run_every=1.5)
def live(model_id: str) -> None:
    """What follows events: preparing, loading, measuring, dying."""
    models, actor = ui.workbench().models, ui.actor()
    with ui.errors(stop=True):
        model = models.get(actor, model_id)
        states = models.states(actor, model_id=model_id)
    if (error := st.session_state.pop("_error", None)) is not None:
        ui.show_error(error)  # of a button in here: a fragment's run does not reach the page's top
    _preparation(model, states)
    if model["source"] != "endpoint":
        _auto(model)
        _ways(model, states)
        _measuring(model)


def archive(model_id: str) -> None:
    """Put the model away and close the drawer."""
    ui.workbench().models.archive(ui.actor(), model_id)
    close()
    ui.done("Model archived")


def load(spec: WorkerSpec) -> None:
    """Begin loading; the drawer shows how far it is."""
    ui.workbench().models.start(ui.actor(), spec)


def unload(key: str) -> None:
    """Free a worker's memory."""
    ui.workbench().models.unload(ui.actor(), key)
    ui.done("Unloaded")


def _summary(model: Row) -> str:
    parts = [WORDS.get(model["source"], model["source"])]
    if model["parameter_count"]:
        parts.append(f"{text.significant(model['parameter_count'] / 1e6)} M parameters")
    if model["context_length"]:
        parts.append(f"{text.count(model['context_length'])} tokens of context")
    if model["license"]:
        parts.append(model["license"])
    return ", ".join(parts)


def _preparation(model: Row, states: list[Row]) -> None:
    """Downloading or converting, the offer to, or why it went wrong."""
    job = next((state for state in states if state["job_id"]), None)
    if job is not None and job["state"] != "failed":
        st.progress(min(1.0, job["progress"]), f"{job['state']}: {text.escape(job['message'])}")
        return
    if job is not None:
        _trouble(job)
    if model["path"] is None and model["source"] in ("hub", "gguf") and ui.may("models.write"):
        what = "Convert to safetensors" if model["source"] == "gguf" else "Download"
        st.button(
            what,
            key="prepare",
            on_click=ui.guarded(prepare),
            args=(model["id"],),
            help="Needs four bytes of disk for each parameter; transformers can then load it."
            if model["source"] == "gguf"
            else None,
        )


def prepare(model_id: str) -> None:
    """Start the download or the conversion."""
    ui.workbench().models.prepare(ui.actor(), model_id)


def _auto(model: Row) -> None:
    models, actor = ui.workbench().models, ui.actor()
    try:
        one = models.resolve(actor, model["id"]).why
        many = models.resolve(actor, model["id"], purpose="batch").why
    except LatheError as error:
        st.info(text.escape(error.message), icon=":material/auto_awesome:")
        return
    lines = [f"**Auto** takes {text.escape(one)}"]
    if many != one:
        lines = [f"**Auto** for one reader: {text.escape(one)}"]
        lines.append(f"**Auto** for runs: {text.escape(many)}")
    st.info("  \n".join(lines), icon=":material/auto_awesome:")


def _ways(model: Row, states: list[Row]) -> None:
    models, actor = ui.workbench().models, ui.actor()
    speeds = {
        (row["engine"], row["quantization"], row["device"]): row
        for row in models.calibration(actor, model["id"])
    }
    by_way = {(s["engine"], s["quantization"]): s for s in states if s["key"]}
    st.markdown("**Ways to load it**")
    for choice in models.choices(actor, model["id"]):
        way = Choice(**choice)
        state = by_way.get((way.engine, way.quantization))
        speed = speeds.get((way.engine, way.quantization, way.device))
        _way(model, way, state, speed)


def _way(model: Row, way: Choice, state: Row | None, speed: Row | None) -> None:
    live_now = state is not None and state["state"] in LIVE
    with st.container(border=True, gap="xsmall"):
        left, middle, right = st.columns([5, 6, 2], vertical_alignment="center", gap="small")
        with left:
            badge = text.state_badge(state["state"]) if state and live_now else ""
            note = text.escape(way.why_not or way.note or f"on {way.device}")
            st.markdown(f"**{text.escape(way.label)}** {badge}  \n:small[:gray[{note}]]")
        with middle:
            st.markdown(f"{_memory(model, way, state)}  \n:small[:gray[{_speed(speed)}]]")
        with right:
            _button(model, way, state)
        if state is not None and state["state"] in ("starting", "loading"):
            st.progress(state["progress"] or 0.0, text.escape(state["message"] or "starting"))
        if state is not None and state["state"] in ("failed", "crashed"):
            _trouble(state)


def _memory(model: Row, way: Choice, state: Row | None) -> str:
    if state is not None and state["resident_bytes"]:
        took = f", loaded in {text.milliseconds(state['load_ms'])}" if state["load_ms"] else ""
        return f"**{text.size(state['resident_bytes'])}** in memory{took}"
    if way.why_not:
        return text.NOTHING
    made = ui.workbench().models.forecast(ui.actor(), model["id"], way.engine, way.quantization)
    fits = "" if made.fits else " :red-badge[:material/memory_alt: does not fit]"
    return f"up to **{text.size(made.total_bytes)}** of {text.size(made.free_bytes)} free{fits}"


def _speed(row: Row | None) -> str:
    if row is None:
        return "not measured here"
    busy = ", while others used the CPU" if (row["busy_percent"] or 0) > TOO_BUSY_PERCENT else ""
    return (
        f"{text.rate(row['single_tokens_per_s'])} alone, "
        f"{text.rate(row['decode_tokens_per_s'])} with {row['concurrency']} at once, "
        f"reads {text.rate(row['prefill_tokens_per_s'])}{busy}"
    )


def _button(model: Row, way: Choice, state: Row | None) -> None:
    if not ui.may("models.use"):
        return
    key = f"{way.engine}-{way.quantization}"
    if state is not None and state["state"] in LIVE:
        st.button(
            "Unload", key=f"unload-{key}", width="stretch",
            on_click=ui.guarded(unload), args=(state["key"],),
        )  # fmt: skip
        return
    st.button(
        "Load",
        key=f"load-{key}",
        width="stretch",
        disabled=way.why_not is not None,
        on_click=ui.guarded(load_way),
        args=(model["id"], way.engine, way.quantization),
    )


def load_way(model_id: str, engine: str, quantization: str) -> None:
    """Load a model one way; refused with what would help when it cannot fit."""
    models, actor = ui.workbench().models, ui.actor()
    load(models.resolve(actor, model_id, engine=engine, quantization=quantization))


def _trouble(state: Row) -> None:
    """Why it is not there, and its last words."""
    error: dict[str, Any] = state["error"] or {
        "title": "The worker died",
        "message": f"Its process ended while {_doing(state)}.",
        "hint": "Load it again, or ask it something: it restarts on demand.",
    }
    parts = [f"**{text.escape(error['title'])}**", text.escape(error["message"])]
    parts += [text.escape(error["hint"])] if error.get("hint") else []
    st.error("  \n".join(parts), icon=":material/error:")
    if state["last_words"]:
        with st.expander("Its last words"):
            st.code(state["last_words"][-3000:], language=None, wrap_lines=True)


def _doing(state: Row) -> str:
    return text.shorten(state["message"], 60) if state["message"] else "starting"


def _measuring(model: Row) -> None:
    """The measuring job while it works, else the button that starts one."""
    if model["kind"] != "chat" or model["source"] == "endpoint":
        return
    jobs, actor = ui.workbench().jobs, ui.actor()
    mine = [j for j in jobs.list(actor, kind="model.calibrate") if j["subject_id"] == model["id"]]
    if mine and mine[0]["state"] in ("queued", "running"):
        total = mine[0]["progress_total"] or 1
        words = mine[0]["message"] or "waiting for its turn"
        st.progress(mine[0]["progress_done"] / total, text.escape(words))
        return
    if ui.may("models.use"):
        st.button(
            "Measure speed",
            icon=":material/speed:",
            key="measure",
            on_click=ui.guarded(measure),
            args=(model["id"],),
            help="Loads each way in turn and asks it for about a minute. Auto then goes by it.",
        )


def measure(model_id: str) -> None:
    """Start the measuring job."""
    ui.workbench().models.calibrate(ui.actor(), model_id)
    ui.done("Measuring: each way is loaded in turn")


@st.fragment
def address(model: Row) -> None:
    """An endpoint's address, its model's name, its key that is only ever written."""
    st.markdown("**Address and key**")
    with st.form("address", border=True):
        location = st.text_input("Address", value=model["location"], key="address-location")
        name = st.text_input("Model there", value=model["revision"], key="address-name")
        kept = "A key is kept; type another to replace it." if model["has_key"] else "No key."
        key = st.text_input(
            "Key", type="password", key="address-key", placeholder=kept,
            help="Written once, never shown. Changing the host clears it.",
        )  # fmt: skip
        with st.container(horizontal=True):
            saved = st.form_submit_button("Save", type="primary")
            asked = st.form_submit_button("Check the endpoint")
    models, actor = ui.workbench().models, ui.actor()
    with ui.errors():
        if saved:
            cleared = models.set_address(actor, model["id"], location, revision=name)
            if key:
                models.set_key(actor, model["id"], key)
            st.success("Saved." + (" The key was for another host and is gone." if cleared else ""))
        elif asked:
            found = models.check(actor, model["id"])
            names = ", ".join(found["models"][:10]) or "none"
            said = f"Answered in {text.milliseconds(found['latency_ms'])}. Models: {names}."
            (st.success if found["has_model"] else st.warning)(text.escape(said))


def _facts(model: Row) -> None:
    details = model["details"]
    shown = {
        "Location": f"`{model['location']}`",
        "Revision": f"`{model['revision']}`" if model["source"] == "hub" else None,
        "Architecture": model["architecture"],
        "Weights": text.size(model["weight_bytes"]) if model["weight_bytes"] else None,
        "GGUF": details.get("gguf_type"),
        "Layers": text.count(details["layer_count"]) if details.get("layer_count") else None,
        "sha256": f"`{model['sha256'][:16]}…`" if model["sha256"] else None,
        "Added": text.absolute(model["created_at"]),
        "Id": f"`{model['id']}`",
    }
    with st.expander("Facts"):
        ui.facts({name: value for name, value in shown.items() if value})
