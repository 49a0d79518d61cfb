"""The pending recipe of a version: the bar above the areas, and how a step gets onto it.

    curate_recipe.add(version, {"step": "trim", "columns": ["question"]})
    st.rerun()

Knows: pending steps, the job that saves them. Does not know: what a step does.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import curate_try, curate_versions, job_progress, queries, text, ui
from core.curation.arguments import arguments_of
from core.curation.steps import STEPS
from core.errors import from_dict
from core.store.database import Row

SAVING = "curate-job"
"""Session state: the job that saves; when it has ended well, its version is opened."""
SHOWN_STEPS = 8
COUNTED = {
    "only": ("only", "hit"), "leave": ("but for", "hit"), "replacements": ("own texts for", "hit"),
}  # fmt: skip
"""Arguments that are counted, where the label does not say it."""


def add(version: Row, step: dict[str, Any]) -> None:
    """Put a step on the actor's pending recipe for this version; the caller reruns.

    Raises Invalid when the step could not run: call it within `ui.errors()` or a guarded callback.
    """
    ui.workbench().recipes.add(ui.actor(), version["id"], step)
    ui.done(f"{STEPS[step['step']].label} is on the recipe")


def describe(step: dict[str, Any]) -> str:
    """A step's arguments in a few words, in Markdown."""
    labels = {a.name: a.label.lower() for a in arguments_of(str(step.get("step"))) or ()}
    said = [
        _argument(name, labels.get(name, name.replace("_", " ")), value)
        for name, value in step.items()
        if name not in ("step", "note", "match") and value not in (None, "", [], {}, False)
    ]
    return " · ".join(said)


def _argument(name: str, label: str, value: Any) -> str:
    if value is True:
        return label
    if name == "fractions" and isinstance(value, dict):
        return ", ".join(f"{text.escape(str(k))} {share:.4g} %" for k, share in _shares(value))
    if isinstance(value, dict):
        shown = ", ".join(f"{key} {one}" for key, one in value.items())
    elif isinstance(value, list):
        if len(value) > 3 or not all(isinstance(one, str) for one in value):
            before, noun = COUNTED.get(name, ("", label.rstrip("s")))
            return f"{before} {text.plural(len(value), noun)}".strip()
        shown = ", ".join(value)
    else:
        shown = str(value)
    return f"{label} {text.escape(text.shorten(shown, 60))}"


def _shares(fractions: dict[str, float]) -> list[tuple[str, float]]:
    return [(name, 100 * share) for name, share in fractions.items()]


def bar(version: Row) -> None:
    """What is pending, with its buttons; nothing where nothing is."""
    _saving(version)
    steps = queries.read("recipes", "pending", version["id"])
    may = ui.may("datasets.write")
    if not steps:
        if may and queries.read("recipes", "can_undo", version["id"]):
            st.button(
                "Undo", icon=":material/undo:", type="tertiary", key="recipe-undo",
                help="Bring back the steps that were taken out last",
                on_click=ui.guarded(_do), args=("undo", version["id"]),
            )  # fmt: skip
        return
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{text.plural(len(steps), 'pending step')}**", width="stretch")
            st.button("Undo", icon=":material/undo:", key="recipe-undo", shortcut="Mod+Z",
                      on_click=ui.guarded(_do), args=("undo", version["id"]))  # fmt: skip
            if st.button("Preview", icon=":material/visibility:", key="recipe-preview"):
                curate_try.drawer(version)
            with st.popover(f"Save as {_next(version)}", type="primary", icon=":material/save:"):
                _save(version, steps)
        told = curate_try.counts(version, steps)
        shown = steps[-SHOWN_STEPS:]
        if len(shown) < len(steps):
            st.caption(f"And {text.plural(len(steps) - len(shown), 'step')} before these.")
        for row in shown:
            _step(version, row, len(steps), told.get(row["index"], ""))


def _step(version: Row, row: Row, count: int, does: str) -> None:
    """One line: what it is and does, earlier, out."""
    at = row["index"]
    said, acts = st.columns([5, 3], vertical_alignment="center", gap="small")
    said.markdown(f"{at + 1}. **{text.escape(row['label'])}** :gray[{describe(row['step'])}]")
    with acts.container(
        horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"
    ):
        if does:
            st.markdown(f":gray[{does}]", width="content")
        if count > 1:
            st.button(
                "Earlier", icon=":material/arrow_upward:", type="tertiary", disabled=at == 0,
                key=f"recipe-up-{at}", on_click=ui.guarded(_do),
                args=("move", version["id"], at, at - 1),
            )  # fmt: skip
        st.button(
            "Remove", icon=":material/close:", type="tertiary", key=f"recipe-remove-{at}",
            on_click=ui.guarded(_do), args=("remove", version["id"], at),
        )  # fmt: skip


def _save(version: Row, steps: list[Row]) -> None:
    """A message, and the button that starts the job."""
    st.text_input(
        "Message", key="recipe-message", placeholder="What changed, and why", max_chars=500
    )
    st.caption(
        f"{text.plural(len(steps), 'step')} on {text.plural(version['row_count'], 'row')} of "
        f"{text.escape(version['label'])}, which stays as it is."
    )
    st.button(
        f"Save as {_next(version)}", type="primary", key="recipe-start",
        on_click=ui.guarded(_start), args=(version["id"],),
    )  # fmt: skip


def _start(version_id: str) -> None:
    message = st.session_state.pop("recipe-message", "")
    st.session_state[SAVING] = ui.workbench().recipes.apply(ui.actor(), version_id, message)


def _saving(version: Row) -> None:
    """The job that saves, while it runs and where it failed."""
    job = ui.workbench().recipes.running(ui.actor(), version["id"])
    if job is None:
        return
    mine = st.session_state.get(SAVING) == job["id"]
    if job_progress.is_going(job):
        st.session_state[SAVING] = job["id"]
        _progress(version["id"])
    elif mine and job["state"] == "succeeded":
        st.session_state.pop(SAVING)
        made = ui.workbench().recipes.result(ui.actor(), job["id"])
        if made is not None:
            ui.done(
                f"Saved as v{made['number']}" if made["is_new"]
                else f"Nothing changed: these are the rows of v{made['number']}"
            )  # fmt: skip
            curate_versions.open_version(made["id"])
            st.rerun()
    elif mine:
        error = job["error"] or {"title": f"Saving was {job['state']}"}
        ui.show_error(from_dict(error))


@st.fragment(run_every=1)
def _progress(version_id: str) -> None:
    """How far it is; when it has ended the page is drawn anew."""
    job = ui.workbench().recipes.running(ui.actor(), version_id)
    if job is None or not job_progress.is_going(job):
        st.rerun()
    job_progress.bar(job, "Waiting to start", key="recipe-stop")


def _next(version: Row) -> str:
    """The name that the next version will have."""
    versions = queries.read("datasets", "versions", version["dataset_id"])
    return f"v{versions[0]['number'] + 1}"


def _do(verb: str, *arguments: Any) -> None:
    getattr(ui.workbench().recipes, verb)(ui.actor(), *arguments)
    st.session_state["grid-turn"] = st.session_state.get("grid-turn", 0) + 1
