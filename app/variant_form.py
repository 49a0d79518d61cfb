"""Choosing a variant: prompt version x model x engine and quantization x generation parameters.

    asked = variant_form.variant("run-0", start=draft)     # what core.evals.variants reads, or None
    way = variant_form.model_way("column-1", purpose="interactive")     # only the model's part

Every widget's key begins with the prefix, so that a page may have as many as it likes. `start`
fills widgets that hold nothing yet: a draft, or a variant to clone. None is returned while
something is missing or impossible; the form then says what.
Knows: the widgets of one variant. Does not know: how many there are, what they are for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import streamlit as st

from app import prompt_form, queries, text, ui
from core.errors import NotFound
from core.generation import Generation
from core.store.database import Row

AUTO = "auto"
T = TypeVar("T")


def variant(
    prefix: str, *, start: Row | None = None, purpose: str = "batch", label: str = ""
) -> Row | None:
    """Draw the whole form and return what was chosen, as `core.evals.variants.Variant` reads it."""
    start = start or {}
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        version_id = prompt_version(prefix, start=start.get("prompt_version_id"))
        way = model_way(prefix, start=start, purpose=purpose)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        _seed(f"{prefix}-name", start.get("name", ""))
        name = st.text_input(
            f"Name of {label}" if label else "Name",
            key=f"{prefix}-name",
            placeholder="Name: made of prompt and model when empty",
            label_visibility="collapsed",
            width=300,
        )
        own = own_generation(prefix, version_id, start=start.get("generation"))
    _explain(way, purpose)
    if version_id is None or way is None or way.get("why_not"):
        return None
    return {
        "prompt_version_id": version_id,
        "model_id": way["model_id"],
        "engine": way["engine"],
        "quantization": way["quantization"],
        "generation": own,
        "name": name.strip(),
    }


def prompt_version(prefix: str, *, start: str | None = None) -> str | None:
    """Two boxes side by side: the prompt, then its version; the version's id."""
    prompts = [row for row in queries.read("prompts", "list") if row["version_count"]]
    names = {row["id"]: row["name"] for row in prompts}
    begun = _version(start)
    if begun is not None:
        names.setdefault(begun["prompt_id"], begun["prompt_name"])  # an archived one, cloned
    prompt_id = choose(
        "Prompt",
        list(names),
        names.__getitem__,
        key=f"{prefix}-prompt",
        start=begun["prompt_id"] if begun else None,
        placeholder="No prompt yet",
        width=195,
    )
    if prompt_id is None:
        return None
    versions = {row["id"]: row for row in queries.read("prompts", "versions", prompt_id)}
    return choose(
        "Version",
        list(versions),
        lambda version_id: _version_label(versions[version_id]),
        key=f"{prefix}-version",
        start=start,
        placeholder="No version yet",
        width=195,
    )


def model_way(prefix: str, *, start: Row | None = None, purpose: str = "interactive") -> Row | None:
    """Two boxes: the model, then engine and quantization.

    Returns `model_id`, `engine`, `quantization` and `why`: auto's reason, or what to know of the
    choice. `why_not` is set, with the reason, where the model cannot be loaded that way.
    """
    start = start or {}
    models = {row["id"]: row for row in queries.read("models", "list", kind="chat")}
    model_id = choose(
        "Model",
        list(models),
        lambda one: model_name(models[one]),
        key=f"{prefix}-model",
        start=start.get("model_id"),
        placeholder="No model yet",
        width=195,
    )
    if model_id is None:
        return None
    choices = queries.read("models", "choices", model_id)
    ways = {AUTO: None, **{f"{c['engine']}/{c['quantization']}": c for c in choices}}
    asked = AUTO
    if start.get("engine", AUTO) != AUTO and start.get("quantization", AUTO) != AUTO:
        asked = f"{start['engine']}/{start['quantization']}"
    chosen = choose(
        "Engine and quantization",
        list(ways),
        lambda way: _way_label(ways[way]),
        key=f"{prefix}-way",
        start=asked,
        width=195,
        help="Auto takes what is fastest on this machine and says why.",
    )
    choice = ways[chosen or AUTO]
    if choice is None:
        return {"model_id": model_id, "engine": AUTO, "quantization": AUTO, "why_not": None}
    return {
        "model_id": model_id,
        "engine": choice["engine"],
        "quantization": choice["quantization"],
        "why": choice["note"],
        "why_not": choice["why_not"],
    }


def model_name(model: Row) -> str:
    """A model's name where one is chosen; an adapter says what it is laid over."""
    if model["source"] == "adapter" and model.get("base_name"):
        return f"{model['name']} · over {model['base_name']}"
    return str(model["name"])


def own_generation(prefix: str, version_id: str | None, *, start: Row | None = None) -> Row | None:
    """The prompt version's parameters, or others in their place; None takes the version's."""
    version = _version(version_id)
    saved = Generation.from_dict(version["generation"]) if version else Generation()
    key, fields = f"{prefix}-own", f"{prefix}-generation"
    _seed(key, start is not None)
    if f"{fields}-max_tokens" not in st.session_state:
        prompt_form.load(fields, {"generation": start or saved.to_dict()})
    own = bool(st.session_state[key])
    asked = saved
    with ui.errors():
        asked = Generation.from_dict(prompt_form.read(fields)["generation"]) if own else saved
    label = f"Parameters: {generation_label(asked)}"
    with st.popover(label, icon=":material/tune:", width="content"):
        st.toggle(
            "Other parameters than the prompt version's",
            key=key,
            help="Off: the parameters that were saved with the prompt version.",
        )
        if own:
            prompt_form.generation(fields, per_row=2)
        else:
            st.caption(f"{generation_label(saved, whole=True)}.")
    return asked.to_dict() if own else None


def generation_label(generation: Generation, *, whole: bool = False) -> str:
    """`greedy, 256 tokens`, or `temperature 0.7, 256 tokens`; `whole` names all that is set."""
    drawn = f"temperature {generation.temperature:g}" if generation.temperature else "greedy"
    parts = [drawn, text.plural(generation.max_tokens, "token")]
    if generation.top_p < 1 and (whole or generation.temperature):
        parts.append(f"top p {generation.top_p:g}")
    if whole and generation.seed is not None:
        parts.append(f"seed {generation.seed}")
    if whole and generation.stop:
        parts.append(f"stops at {text.escape(', '.join(map(repr, generation.stop)))}")
    if generation.json_schema:
        parts.append("JSON schema")
    return ", ".join(parts)


def _explain(way: Row | None, purpose: str) -> None:
    """One line under the form: why auto chose what, what to know, or why it cannot be."""
    if way is None:
        st.warning("Add a chat model on the Models page first.", icon=":material/deployed_code:")
    elif way["why_not"]:
        st.warning(
            f"It cannot be loaded this way: {text.escape(way['why_not'])}", icon=":material/block:"
        )
    elif way["engine"] == AUTO:
        with ui.errors():
            spec = ui.workbench().models.resolve(ui.actor(), way["model_id"], purpose=purpose)
            st.caption(f":material/bolt: Auto: {text.escape(spec.why)}")
    elif way.get("why"):
        st.caption(f":material/info: {text.escape(way['why'])}")


def _version(version_id: str | None) -> Row | None:
    if not version_id:
        return None
    try:
        found: Row = queries.read("prompts", "version", version_id)
    except NotFound:
        return None  # a draft may be older than what it names
    return found


def _version_label(row: Row) -> str:
    tags = "".join(f" [{tag}]" for tag in row["tags"])
    message = f" · {text.shorten(row['message'], 40)}" if row["message"] else ""
    return f"v{row['number']}{tags}{message}"


def _way_label(choice: Row | None) -> str:
    if choice is None:
        return "Auto"
    return f"{choice['label']} (not possible)" if choice["why_not"] else str(choice["label"])


def choose(
    label: str,
    options: Sequence[T],
    shown: Callable[[T], str],
    *,
    key: str,
    start: T | None,
    placeholder: str | None = None,
    **more: Any,
) -> T | None:
    """A selectbox that begins with `start`, and never holds what is no option any more."""
    if key not in st.session_state and start in options:
        st.session_state[key] = start
    if key in st.session_state and st.session_state[key] not in options:
        del st.session_state[key]
    return st.selectbox(
        label, options, format_func=shown, key=key, placeholder=placeholder, disabled=not options,
        **more,
    )  # fmt: skip


def _seed(key: str, value: Any) -> None:
    if key not in st.session_state:
        st.session_state[key] = value
