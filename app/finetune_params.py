"""The params of a new fine-tune: preset, the few that matter, the rest behind one click, sweep.

Drawn from FIELDS: labels, help, bounds, and which method each means something for. The draft holds
only what differs from the preset, so that a preset can change under it.
Knows: how a param is asked for. Does not know: what it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app import text
from core.errors import Invalid
from core.store.database import Row
from core.training.config import MOST_COMBINATIONS, MOST_SWEPT
from core.training.script.params import (
    FIELDS,
    METHOD_DEFAULTS,
    METHODS,
    OPTIMIZERS,
    PRESETS,
    QUANTIZATIONS,
    SWITCH,
    TOO_LONG,
    BadParam,
    Field,
    Params,
    preset,
)

PER_ROW = 4
WORDS: dict[str, Mapping[str, str]] = {
    "quantization": QUANTIZATIONS,
    "too_long": TOO_LONG,
    "optimizer": OPTIMIZERS,
    "gradient_checkpointing": SWITCH,
}
PRESET_HELP = {
    "quick look": "One epoch of a small adapter: does it learn anything at all?",
    "balanced": "Three epochs, rank 16: what most tasks want.",
    "thorough": "Five epochs, rank 32, dropout, stops early where it gets no better.",
}
ADVANCED = {
    "Adapter": ("alpha", "dropout", "target_modules"),
    "Learning": ("schedule", "warmup_share", "accumulation", "max_steps", "optimizer",
                 "weight_decay", "max_grad_norm", "neftune", "seed"),
    "Rows": ("too_long", "packing", "group_by_length", "assistant_only"),
    "While it trains": ("eval_every", "early_stop", "save_every", "sample_count",
                        "sample_tokens"),
    "Machine": ("gradient_checkpointing", "threads"),
}  # fmt: skip
"""What is behind "Advanced", in groups; a field in none of them is in the last."""


def draw(prefix: str, draft: Row) -> bool:
    """Draw it all; True where another preset was chosen, and every widget has to start anew."""
    method = str(draft["params"].get("method", "sft"))
    if _preset(prefix, draft):
        return True
    begun = values(draft)
    shown = [f for f in FIELDS.values() if method in f.methods and f.name != "method"]
    found = _grid(prefix, [f for f in shown if f.basic], begun)
    rest = [f for f in shown if not f.basic]
    own = _differing(draft, [f.name for f in rest])
    label = f"Advanced · {text.plural(own, 'setting')} changed" if own else "Advanced"
    with st.expander(label, key=f"{prefix}-advanced"):
        for title, fields in _groups(rest):
            st.caption(title)
            found |= _grid(prefix, fields, begun)
    plain = preset(draft["preset"], method).to_dict()
    kept = {name: value for name, value in found.items() if value != plain[name]}
    draft["params"] = {"method": method, **kept}
    swept = draft["sweep"]
    with st.expander(_sweep_label(swept), key=f"{prefix}-sweep"):
        draft["sweep"] = _sweep(prefix, swept, shown)
    return False


def values(draft: Row) -> dict[str, Any]:
    """Every param as the draft has it: its own over those of the preset."""
    method = str(draft["params"].get("method", "sft"))
    return {**preset(draft["preset"], method).to_dict(), **draft["params"]}


def for_method(params: Row, method: str) -> Row:
    """The draft's own params for another method: what that one sets itself, or has not, goes."""
    gone = {name for own in METHOD_DEFAULTS.values() for name in own}
    kept = {
        name: value for name, value in params.items()
        if name not in gone and name in FIELDS and method in FIELDS[name].methods
    }  # fmt: skip
    return {**kept, "method": method}


def _preset(prefix: str, draft: Row) -> bool:
    key = f"{prefix}-preset"
    st.session_state.setdefault(key, draft["preset"])
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        chosen = st.segmented_control(
            "Preset", list(PRESETS), format_func=str.capitalize, key=key, required=True,
            label_visibility="collapsed",
        )  # fmt: skip
        st.caption(PRESET_HELP.get(str(chosen), ""))
    if chosen == draft["preset"]:
        return False
    touched = {name for changes in PRESETS.values() for name in changes}
    draft["preset"] = chosen
    draft["params"] = {k: v for k, v in draft["params"].items() if k not in touched}
    return True


def _grid(prefix: str, fields: Sequence[Field], begun: Row) -> dict[str, Any]:
    found = {}
    for begin in range(0, len(fields), PER_ROW):
        columns = st.columns(PER_ROW, vertical_alignment="bottom", gap="small")
        for field, column in zip(fields[begin : begin + PER_ROW], columns, strict=False):
            with column:
                found[field.name] = widget(f"{prefix}-p-{field.name}", field, begun[field.name])
    return found


def widget(key: str, field: Field, value: Any) -> Any:
    """The widget of one param, within its bounds; what stands in it."""
    help = field.help or None
    if field.choices is not None:
        words = WORDS.get(field.name, {})
        st.session_state.setdefault(key, value)
        return st.selectbox(field.label, field.choices, key=key, help=help,
                            format_func=lambda one: words.get(one, one))  # fmt: skip
    if field.kind is bool:
        st.session_state.setdefault(key, bool(value))
        return st.checkbox(field.label, key=key, help=help)
    if field.kind is str:
        st.session_state.setdefault(key, value)
        return st.text_input(field.label, key=key, help=help).strip() or value
    return _number(key, field, value, help)


def _number(key: str, field: Field, value: Any, help: str | None) -> Any:
    cast = field.kind
    low = None if field.low is None else cast(field.low)
    high = None if field.high is None else cast(field.high)
    st.session_state.setdefault(key, cast(value))
    if cast is int:
        return st.number_input(field.label, low, high, step=1, key=key, help=help)
    if field.name == "learning_rate":
        step, shape = 1e-5, "%.2e"
    else:
        step, shape = (1.0, "%g") if field.name == "epochs" else (0.01, "%g")
    return st.number_input(field.label, low, high, step=step, format=shape, key=key, help=help)


def _groups(fields: Sequence[Field]) -> list[tuple[str, list[Field]]]:
    by_name = {field.name: field for field in fields}
    found = [
        (title, [by_name.pop(name) for name in names if name in by_name])
        for title, names in ADVANCED.items()
    ]
    found[-1][1].extend(by_name.values())
    return [(title, group) for title, group in found if group]


def _differing(draft: Row, names: Sequence[str]) -> int:
    return sum(name in draft["params"] for name in names)


def _sweep_label(swept: Mapping[str, Sequence[Any]]) -> str:
    if not swept:
        return "Sweep: try several values"
    count = 1
    for tried in swept.values():
        count *= max(1, len(tried))
    names = ", ".join(FIELDS[name].label.lower() for name in swept)
    return f"Sweep over {names}: {text.plural(count, 'fine-tune')}"


def _sweep(prefix: str, swept: Row, shown: Sequence[Field]) -> dict[str, list[Any]]:
    """Up to three params with the values to try; one fine-tune for each combination."""
    labels = {field.name: field.label for field in shown}
    key = f"{prefix}-swept"
    st.session_state.setdefault(key, [name for name in swept if name in labels])
    names = st.multiselect(
        "Try several values of", list(labels), format_func=labels.__getitem__, key=key,
        max_selections=MOST_SWEPT, placeholder="Up to three settings",
        help=f"One fine-tune for each combination, {MOST_COMBINATIONS} at most.",
    )  # fmt: skip
    found: dict[str, list[Any]] = {}
    for name, column in zip(names, st.columns(MOST_SWEPT), strict=False):
        with column:
            tried = _tried(f"{prefix}-try-{name}", FIELDS[name], swept.get(name) or [])
        if tried:
            found[name] = tried
    return found


def _tried(key: str, field: Field, begun: Sequence[Any]) -> list[Any]:
    if field.choices is not None or field.kind is bool:
        options = list(field.choices or (True, False))
        st.session_state.setdefault(key, [value for value in begun if value in options])
        words = {**WORDS.get(field.name, {}), True: "on", False: "off"}
        return list(st.multiselect(field.label, options, key=key,
                                   format_func=lambda one: words.get(one, one)))  # fmt: skip
    st.session_state.setdefault(key, ", ".join(f"{v:g}" if v != "" else "" for v in begun))
    typed = st.text_input(f"{field.label}: values, with commas between", key=key,
                          placeholder="1e-4, 3e-4")  # fmt: skip
    try:
        return parsed(field, typed)
    except Invalid as error:
        st.caption(f":red[:material/error: {text.escape(error.message)}]")
        return []


def parsed(field: Field, typed: str) -> list[Any]:
    """The values that somebody typed for a sweep, each once; Invalid names the one that cannot
    be."""
    found = []
    for word in filter(None, (part.strip() for part in typed.split(","))):
        try:
            made = Params.from_dict({field.name: word})
        except BadParam as error:
            raise Invalid(str(error), field=field.name) from None
        found.append(getattr(made, field.name))
    return list(dict.fromkeys(found))


def reduced(draft: Row) -> Row:
    """The draft with the preset that says most of its params, and only those that differ."""
    method = str(draft["params"].get("method", "sft"))
    own: dict[str, dict[str, Any]] = {}
    for name in PRESETS:
        plain = preset(name, method).to_dict()
        asked = draft["params"].items()
        own[name] = {k: v for k, v in asked if k in plain and v != plain[k]}
    best = min(own, key=lambda name: (len(own[name]), name != "balanced"))
    return {**draft, "preset": best, "params": {**own[best], "method": method}}


def told(params: Mapping[str, Any]) -> dict[str, str]:
    """Params as names and values that people read; what means nothing for the method is left
    out."""
    method = str(params.get("method", "sft"))
    return {
        field.label: _told(field, params[name])
        for name, field in FIELDS.items()
        if name in params and method in field.methods
    }


def _told(field: Field, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field.choices is not None:
        words = METHODS if field.name == "method" else WORDS.get(field.name, {})
        return text.escape(words.get(value, str(value)))
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else text.count(value)
    return text.escape(str(value))
