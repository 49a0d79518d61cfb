"""Choosing scorers: what each answer is checked for, as the dicts that core.evals.scorers reads.

    scorers = scorer_form.scorers("run", start=draft["scorers"], on_change=keep)

Knows: a widget for each option of each kind. Does not know: how an answer is judged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

import streamlit as st

from app import queries, ui
from core.errors import LatheError
from core.evals.scorers import KINDS, parse
from core.store.database import Row

LABELS = {
    "exact_match": ("Exact match", "The answer is the expected answer."),
    "contains": ("Contains", "The answer contains the expected answer, or a text given here."),
    "regex": ("Regular expression", "A pattern matches somewhere in the answer."),
    "is_json": ("Is JSON", "The answer is one JSON value and nothing else."),
    "json_schema": ("JSON schema", "The answer is JSON that follows a schema."),
    "length": ("Length", "Words or characters; with limits it also decides."),
    "embedding_similarity": (
        "Similarity",
        "The answer means what the expected answer means, by an embedding model.",
    ),
    "latency": ("Latency", "The whole request, waiting included; with a limit it also decides."),
}
NEEDS_EXPECTED = ("exact_match", "embedding_similarity")

TOGGLES = {
    "ignore_case": "Ignore case",
    "ignore_punctuation": "Ignore punctuation",
    "ignore_whitespace": "Blanks alike",
    "absent": "Must be absent",
    "whole": "Whole answer",
    "fenced": "Allow ``` fences",
}
FEW_LABELS = 0.3
LOOKED_AT = 100


def defaults(version: Row) -> list[Row]:
    """What suits a dataset version: few different answers are labels, to be hit exactly; free
    answers need to be contained. Without expected answers only the length is measured."""
    if version["expected"] is None:
        return [{"kind": "length"}]
    name = version["expected"]
    rows = queries.read("datasets", "page", version["id"], offset=0, limit=LOOKED_AT)
    answers = [row[name] for row in rows if row[name]]
    if answers and len({str(answer) for answer in answers}) <= max(2, FEW_LABELS * len(answers)):
        return [{"kind": "exact_match", "ignore_case": True, "ignore_punctuation": True}]
    return [{"kind": "contains"}]


def default_name(kind: str) -> str:
    """The name that a scorer of the kind has when nobody gave it another."""
    return str(_blank(kind)["name"])


def scorers(
    prefix: str,
    start: Sequence[Row],
    *,
    has_expected: bool,
    on_add: Callable[[str], None],
    on_remove: Callable[[int], None],
) -> list[Row] | None:
    """Draw one line for each scorer of `start` and return them; None when one is not right."""
    found: list[Row] = []
    for number, spec in enumerate(start):
        drawn = _line(f"{prefix}-{number}", spec, functools.partial(on_remove, number))
        if drawn is not None:
            found.append(drawn)
        if spec["kind"] in NEEDS_EXPECTED and not has_expected:
            st.warning(
                "This dataset has no expected answers: there is nothing to compare with.",
                icon=":material/info:",
            )
    if not start:
        st.caption("No scorer: answers are kept and timed, and nothing passes or fails.")
    key = f"{prefix}-add"
    with st.popover("Add a scorer", icon=":material/add:"):
        for kind in KINDS:
            label, sentence = LABELS[kind]
            st.button(
                label, key=f"{key}-{kind}", help=sentence, on_click=on_add, args=(kind,),
                type="tertiary",
            )  # fmt: skip
    return found if len(found) == len(start) else None


def _line(prefix: str, spec: Row, remove: Callable[[], None]) -> Row | None:
    kind = spec["kind"]
    label, sentence = LABELS[kind]
    values = {**_blank(kind), **spec}
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom", border=True):
        name = _text(
            "Scorer", "name", prefix, values["name"], help=f"{label}: {sentence}", width=150
        )
        options = _options(kind, prefix, values)
        st.button(
            "Remove",
            key=f"{prefix}-remove",
            icon=":material/close:",
            type="tertiary",
            on_click=remove,
            help=f"Remove {label}",
        )
    if options.get("pattern") == "":
        st.caption(":material/info: Type the pattern to look for.")
        return None
    asked = {"kind": kind, **options, "name": name or values["name"]}
    try:
        parse(asked)
    except LatheError as error:
        ui.show_error(error)
        return None
    return asked


def _options(kind: str, prefix: str, values: Row) -> Row:
    """The widgets of one kind, and what they hold."""
    found: Row = {}
    if kind == "contains":
        found["text"] = (
            _text("Text", "text", prefix, values["text"], hint="The expected answer", width=220)
            or None
        )
    elif kind == "regex":
        found["pattern"] = _text(
            "Pattern", "pattern", prefix, values["pattern"], hint=r"\d+", width=260
        )
    elif kind == "length":
        found["unit"] = _select("Unit", "unit", prefix, ["words", "chars"], values["unit"])
        for option, shown in (("min", "At least"), ("max", "At most")):
            number = _number(shown, option, prefix, values[option], step=1)
            found[option] = None if number is None else int(number)
    elif kind == "embedding_similarity":
        found["threshold"] = _number(
            "Passes from", "threshold", prefix, values["threshold"], step=0.05
        )
        models = {
            row["id"]: row["name"] for row in queries.read("models", "list", kind="embedding")
        }
        found["model_id"] = _select(
            "Embedding model", "model_id", prefix, list(models), values["model_id"],
            shown=lambda one: models.get(one, "None yet"), width=200,
        )  # fmt: skip
    elif kind == "latency":
        found["max_ms"] = _number("At most, in ms", "max_ms", prefix, values["max_ms"], step=100.0)
    for option in (name for name in TOGGLES if name in values):
        key = f"{prefix}-{option}"
        st.session_state.setdefault(key, values[option])
        found[option] = st.checkbox(TOGGLES[option], key=key)
    if kind == "json_schema":
        key = f"{prefix}-schema"
        st.session_state.setdefault(key, values["schema"])
        found["schema"] = st.text_area("Schema", key=key, height=120, width=320)
    return found


def _blank(kind: str) -> Row:
    """Every option with its default; not made by the scorer itself: a regex without a pattern
    cannot be made."""
    made = fields(KINDS[kind])  # type: ignore[arg-type]
    return {option.name: option.default for option in made}


def _text(
    label: str, option: str, prefix: str, value: str | None, *, hint: str = "", **more: Any
) -> str:
    key = f"{prefix}-{option}"
    st.session_state.setdefault(key, value or "")
    return st.text_input(label, key=key, placeholder=hint, **more)


def _number(label: str, option: str, prefix: str, value: Any, *, step: Any) -> float | None:
    key = f"{prefix}-{option}"
    st.session_state.setdefault(key, None if value is None else type(step)(value))
    return st.number_input(label, key=key, step=step, placeholder="No limit", width=130)


def _select(
    label: str, option: str, prefix: str, options: Sequence[str], value: str | None, **more: Any
) -> str | None:
    key = f"{prefix}-{option}"
    if st.session_state.get(key, value) in options:
        st.session_state.setdefault(key, value)
    else:
        st.session_state.pop(key, None)
    shown = more.pop("shown", str)
    more.setdefault("width", 100)
    return st.selectbox(label, options, key=key, format_func=shown, disabled=not options, **more)
