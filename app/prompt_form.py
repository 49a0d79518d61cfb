"""The form part for a prompt's text and generation parameters, wherever one is written.

    if not prompt_form.loaded("draft"):
        prompt_form.load("draft", saved)           # {"system_template", "user_template",
    prompt_form.templates("draft")                 #  "generation"}: what versions and drafts hold
    prompt_form.generation("draft")
    text = prompt_form.read("draft")               # the same dict, of what stands in the form
    found = prompt_form.check(text)                # its variables, and what is wrong with it

Every widget's key begins with the form's, so that a page can have many forms. The page decides
where the text is kept: session state forgets a form that is not drawn.

Knows: widgets, how stop texts are typed. Does not know: prompts as stored things, models.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import text
from core.errors import Invalid
from core.generation import Generation
from core.prompts.template import parse

Content = dict[str, Any]

SYNTAX = (
    "`{{name}}` takes the value of a column. `{{#name}}…{{/name}}` stands only where there is a "
    "value, once for each item of a list; `{{^name}}…{{/name}}` only where there is none. "
    r"`{{.}}` is the item at hand, `{{! note }}` is left out, `\{{` is two literal braces."
)
_WIDGETS = (
    "system", "user", "max_tokens", "temperature", "top_p", "seed", "stop", "json_schema",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What a form's templates and parameters amount to."""

    variables: tuple[str, ...]
    """Names that have to be given, of both templates."""
    inner_variables: tuple[str, ...]
    """Names used only inside sections, where an item may bring them along."""
    mistakes: tuple[Invalid, ...]
    """What is wrong, in the order of the form."""

    @property
    def ok(self) -> bool:
        return not self.mistakes


def empty() -> Content:
    """A form with nothing in it."""
    return {"system_template": "", "user_template": "", "generation": Generation().to_dict()}


def loaded(key: str) -> bool:
    """Whether the form's text is in the session already."""
    return f"{key}-user" in st.session_state


def load(key: str, content: Mapping[str, Any]) -> None:
    """Put a text into the form: before it is drawn, or in a callback."""
    load_into(st.session_state, key, content)


def load_into(state: MutableMapping[Any, Any], key: str, content: Mapping[str, Any]) -> None:
    """`load`, into any state."""
    drawn = {**Generation().to_dict(), **(content.get("generation") or {})}
    values = {
        "system": content.get("system_template") or "",
        "user": content.get("user_template") or "",
        "max_tokens": int(drawn["max_tokens"]),
        "temperature": float(drawn["temperature"]),
        "top_p": float(drawn["top_p"]),
        "seed": drawn["seed"],
        "stop": "\n".join(map(_typed, drawn["stop"])),
        "json_schema": drawn["json_schema"] or "",
    }
    for name, value in values.items():
        state[f"{key}-{name}"] = value


def unload(key: str) -> None:
    """Forget the form's text, so that the next run loads it anew."""
    for name in _WIDGETS:
        st.session_state.pop(f"{key}-{name}", None)


def templates(key: str, *, height: int = 260, disabled: bool = False) -> None:
    """Two text areas in mono."""
    with st.container(key=f"mono-{key}", gap="small"):
        st.text_area(
            "System template",
            key=f"{key}-system",
            height=max(96, height // 2 - 20),
            disabled=disabled,
            placeholder="Who answers, and how. May stay empty.",
            help="Sent as the system message. A text that comes out blank is not sent at all.",
        )
        st.text_area(
            "User template",
            key=f"{key}-user",
            height=height,
            disabled=disabled,
            placeholder="The question, with {{variables}} where a row's values go.",
            help=SYNTAX,
        )


def generation(key: str, *, per_row: int = 4, disabled: bool = False) -> None:
    """Number inputs, and the rarer parameters one click away."""
    places: list[Any] = []
    while len(places) < 4:
        places += st.columns(per_row, gap="small")
    places[0].number_input(
        "Max tokens", min_value=1, max_value=131_072, step=16, key=f"{key}-max_tokens",
        disabled=disabled, help="Most new tokens in one answer.",
    )  # fmt: skip
    places[1].number_input(
        "Temperature", min_value=0.0, max_value=2.0, step=0.1, format="%.2f",
        key=f"{key}-temperature", disabled=disabled,
        help="0 takes the most likely token, always, so that two runs can be compared.",
    )  # fmt: skip
    places[2].number_input(
        "Top p", min_value=0.01, max_value=1.0, step=0.05, format="%.2f", key=f"{key}-top_p",
        disabled=disabled,
        help="Samples from the smallest set of tokens with this share of the probability.",
    )  # fmt: skip
    places[3].number_input(
        "Seed", min_value=0, max_value=2**31 - 1, step=1, key=f"{key}-seed", disabled=disabled,
        placeholder="none", value=None,
        help="Makes sampling repeatable on the same engine, precision and device.",
    )  # fmt: skip
    with st.expander("Stop texts and JSON schema", expanded=_has_rare(key)):
        st.text_area(
            "Stop texts, one a line", key=f"{key}-stop", height=96, disabled=disabled,
            placeholder=r"\n\n",
            help=r"Up to four texts that end the answer. `\n` is a line end, `\t` a tab.",
        )  # fmt: skip
        st.text_area(
            "JSON schema", key=f"{key}-json_schema", height=120, disabled=disabled,
            placeholder='{"type": "object"}',
            help="The answer has to follow it. llama.cpp and some endpoints can; others refuse.",
        )  # fmt: skip


def read(key: str) -> Content:
    """What stands in the form, mistakes included; JSON, as drafts keep it."""
    return read_from(st.session_state, key)


def read_from(state: Mapping[Any, Any], key: str) -> Content:
    """`read`, from any state."""
    typed = {name: state.get(f"{key}-{name}") for name in _WIDGETS}
    return {
        "system_template": typed["system"] or "",
        "user_template": typed["user"] or "",
        "generation": {
            "max_tokens": typed["max_tokens"],
            "temperature": typed["temperature"],
            "top_p": typed["top_p"],
            "seed": typed["seed"],
            "stop": [_meant(line) for line in (typed["stop"] or "").split("\n") if line],
            "json_schema": (typed["json_schema"] or "").strip() or None,
        },
    }


def check(content: Mapping[str, Any]) -> Found:
    """The variables of both templates, and everything wrong with templates and parameters."""
    names: dict[str, None] = {}
    inner: dict[str, None] = {}
    mistakes: list[Invalid] = []
    for which in ("system", "user"):
        try:
            template = parse(content[f"{which}_template"])
        except Invalid as error:
            where = f"In the {which} template: {error.message}"
            field = f"{which}_template"
            mistakes.append(Invalid(where, field=field, title=error.title, hint=error.hint))
        else:
            names |= dict.fromkeys(template.variables)
            inner |= dict.fromkeys(template.inner_variables)
    try:
        Generation.from_dict(content["generation"])
    except Invalid as error:
        mistakes.append(error)
    return Found(tuple(names), tuple(name for name in inner if name not in names), tuple(mistakes))


def variables(found: Found, given: frozenset[str] | None = None) -> str:
    """The variables as Markdown badges; with `given`, those without a value are marked."""
    parts = [_badge(name, name in given if given is not None else True) for name in found.variables]
    parts += [f":gray-badge[{text.escape(name)} in sections]" for name in found.inner_variables]
    return " ".join(parts) if parts else ":gray[No variables: every row gets the same text.]"


def _badge(name: str, known: bool) -> str:
    shown = text.escape(name)
    return f":blue-badge[{shown}]" if known else f":orange-badge[:material/warning: {shown}]"


def _has_rare(key: str) -> bool:
    return any(st.session_state.get(f"{key}-{name}") for name in ("stop", "json_schema"))


_ESCAPES = {"\\": "\\\\", "\n": r"\n", "\t": r"\t", "\r": r"\r"}


def _typed(stop: str) -> str:
    """A stop text on one line."""
    return "".join(_ESCAPES.get(character, character) for character in stop)


def _meant(line: str) -> str:
    """What a typed line means; a backslash before anything else is itself."""
    meanings = {typed: meant for meant, typed in _ESCAPES.items()}
    result, rest = "", line
    while rest:
        meant = meanings.get(rest[:2])
        result += rest[0] if meant is None else meant
        rest = rest[1 if meant is None else 2 :]
    return result
