"""The playground's parts: the draft a person edits, a column's form, and a column's answer.

Knows: the draft's shape and which widget holds which part of it. Does not know: how columns run
(`core.evals.playground`). The draft is kept in the database, so a reload loses nothing.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app import queries, text, ui
from core.errors import Invalid
from core.evals.playground import ENDED, MOST_COLUMNS
from core.generation import Generation
from core.ids import new_id
from core.prompts.template import parse
from core.store.database import Row

DRAFT = "playground"
FIELDS = ("version", "system", "user", "model", "way", "max_tokens", "temperature", "top_p",
          "seed", "stop")  # fmt: skip
LETTERS = "ABCDEF"
NO_VERSION = ""
AUTO = "auto|auto"

Draft = dict[str, Any]


# the draft


def load() -> Draft:
    """The draft of this session; from the database at a page's first run."""
    if DRAFT not in st.session_state:
        kept = ui.workbench().drafts.get(ui.actor(), DRAFT)
        st.session_state[DRAFT] = kept or {"columns": [], "values": {}, "row": 0, "dataset": None}
    draft: Draft = st.session_state[DRAFT]
    return draft


def save(draft: Draft) -> None:
    """Keep what the widgets hold now."""
    for column in draft["columns"]:
        for name in FIELDS:
            key = widget(column, name)
            if key in st.session_state:
                column[name] = st.session_state[key]
    ui.workbench().drafts.put(ui.actor(), DRAFT, draft)


def new_column(*, version: Row | None = None, model_id: str | None = None) -> Draft:
    """A column from a prompt version, or an empty one."""
    column = {
        "id": new_id("col"), "version": NO_VERSION, "system": "", "user": "",
        "model": model_id, "way": AUTO, **_generation_fields(Generation()),
    }  # fmt: skip
    return _filled(column, version) if version else column


def add_column(draft: Draft) -> None:
    """A copy of the last column: what people change is one thing at a time."""
    if len(draft["columns"]) < MOST_COLUMNS:
        save(draft)
        draft["columns"].append({**draft["columns"][-1], "id": new_id("col")})
        save(draft)


def remove_column(draft: Draft, column_id: str) -> None:
    """Take a column away; its text stays in the prompt version it came from, if any."""
    draft["columns"] = [c for c in draft["columns"] if c["id"] != column_id]
    save(draft)


def widget(column: Mapping[str, Any], name: str) -> str:
    """The key of the widget that holds one part of a column."""
    return f"{column['id']}-{name}"


def variables(draft: Draft) -> builtins.list[str]:
    """Every variable of every column's templates, in order; a broken template has none."""
    found: dict[str, None] = {}
    for column in draft["columns"]:
        for part in (column["system"], column["user"]):
            try:
                found.update(dict.fromkeys(parse(part or "").variables))
            except Invalid:
                continue  # said where it is run
    return builtins.list(found)


def asked(draft: Draft) -> builtins.list[dict[str, Any]]:
    """The columns as `Playground.start` takes them; an edited version is a draft again."""
    return [_asked(column) for column in draft["columns"]]


def _asked(column: Mapping[str, Any]) -> dict[str, Any]:
    engine, quantization = (column["way"] or AUTO).split("|")
    version = _version(column)
    unchanged = version is not None and _filled(dict(column), version) == column
    named = f"{version['prompt_name']} v{version['number']}" if version else ""
    return {
        "id": column["id"],
        "system_template": column["system"] or "",
        "user_template": column["user"] or "",
        "model_id": column["model"],
        "engine": engine,
        "quantization": quantization,
        "generation": generation_of(column),
        "prompt_id": version["prompt_id"] if version else None,
        "prompt_version_id": version["id"] if version and unchanged else None,
        "prompt_label": (named if unchanged else f"draft of {named}") if version else "draft",
    }


def generation_of(column: Mapping[str, Any]) -> dict[str, Any]:
    """The generation parameters that a column's widgets hold."""
    stop = [line for line in str(column["stop"] or "").splitlines() if line]
    return {
        "max_tokens": int(column["max_tokens"]),
        "temperature": float(column["temperature"]),
        "top_p": float(column["top_p"]),
        "seed": None if column["seed"] is None else int(column["seed"]),
        "stop": stop,
    }


def _version(column: Mapping[str, Any]) -> Row | None:
    if not column.get("version"):
        return None
    found: Row = queries.read("prompts", "version", column["version"])
    return found


def _filled(column: Draft, version: Row) -> Draft:
    generation = Generation.from_dict(version["generation"])
    return {
        **column,
        "version": version["id"],
        "system": version["system_template"],
        "user": version["user_template"],
        **_generation_fields(generation),
    }


def _generation_fields(generation: Generation) -> Draft:
    return {
        "max_tokens": generation.max_tokens,
        "temperature": float(generation.temperature),
        "top_p": float(generation.top_p),
        "seed": generation.seed,
        "stop": "\n".join(generation.stop),
    }


# a column's form


def column_form(draft: Draft, column: Draft, letter: str, names: Mapping[str, str]) -> None:
    """Everything a column is asked. `names` maps prompt version ids to what people call them."""
    for name in FIELDS:
        st.session_state.setdefault(widget(column, name), column[name])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.selectbox(
            f"**{letter}** · Prompt",
            [NO_VERSION, *names],
            format_func=lambda key: names.get(key, "Not saved"),
            key=widget(column, "version"),
            on_change=_take_version,
            args=(draft, column),
        )
        _settings(draft, column)
    models = {row["id"]: row["name"] for row in queries.read("models", "list", kind="chat")}
    if st.session_state[widget(column, "model")] not in models:
        st.session_state[widget(column, "model")] = next(iter(models), None)
    with st.container(horizontal=True, gap="small"):
        model_id = st.selectbox(
            "Model", builtins.list(models), format_func=models.get, key=widget(column, "model")
        )
        _way(column, model_id)
    st.text_area("System message", key=widget(column, "system"), height=80)
    st.text_area(
        "User message",
        key=widget(column, "user"),
        height=140,
        placeholder="Write the prompt; {{name}} is filled in from the values below.",
    )


def _way(column: Draft, model_id: str | None) -> None:
    ways = {AUTO: "Auto: the fastest here"}
    for choice in queries.read("models", "choices", model_id) if model_id else ():
        if choice["why_not"] is None:
            ways[f"{choice['engine']}|{choice['quantization']}"] = choice["label"]
    key = widget(column, "way")
    if st.session_state[key] not in ways:
        st.session_state[key] = AUTO
    st.selectbox("Engine and quantization", builtins.list(ways), format_func=ways.get, key=key)


def _settings(draft: Draft, column: Draft) -> None:
    with st.popover("", icon=":material/tune:", help="How answers are drawn"):
        st.number_input(
            "Most new tokens", min_value=1, max_value=131072, key=widget(column, "max_tokens")
        )
        st.slider("Temperature", 0.0, 2.0, step=0.05, key=widget(column, "temperature"),
                  help="0 always takes the likeliest token.")  # fmt: skip
        st.slider("Top p", 0.05, 1.0, step=0.05, key=widget(column, "top_p"))
        st.number_input("Seed", min_value=0, key=widget(column, "seed"), placeholder="random")
        st.text_area("Stop texts, one a line", key=widget(column, "stop"), height=68)
        if len(draft["columns"]) > 1:
            st.button(
                "Remove this column",
                icon=":material/delete:",
                key=widget(column, "remove"),
                on_click=remove_column,
                args=(draft, column["id"]),
            )


def _take_version(draft: Draft, column: Draft) -> None:
    chosen = st.session_state[widget(column, "version")]
    if not chosen:
        return
    version = queries.read("prompts", "version", chosen)
    for name, value in _filled({}, version).items():
        st.session_state[widget(column, name)] = value
    save(draft)


# a column's answer


def answer(row: Row, letter: str) -> None:
    """One column's answer so far, its figures under it."""
    st.markdown(f"**{letter}** · {_badge(row)}")
    if row["error"]:
        error = row["error"]
        lines = [f"**{text.escape(error['title'])}**", text.escape(error["message"])]
        lines += [text.escape(error["hint"])] if error.get("hint") else []
        st.error("  \n".join(lines), icon=":material/error:")
    elif row["state"] in ("waiting", "loading"):
        said = text.escape(row["message"] or "waiting for the model")
        st.progress(row["progress"] or 0.0, said[:1].upper() + said[1:])
    st.code(row["text"] or " ", language=None, wrap_lines=True, height=220)
    st.caption(figures(row))
    if row["warning"]:
        st.warning(row["warning"], icon=":material/content_cut:")


def _badge(row: Row) -> str:
    states = {
        "waiting": ":gray-badge[:material/hourglass_empty: waiting]",
        "loading": ":gray-badge[:material/downloading: loading]",
        "running": ":blue-badge[:material/bolt: answering]",
        "done": ":green-badge[:material/check: done]",
        "failed": ":red-badge[:material/error: failed]",
        "cancelled": ":gray-badge[:material/stop: stopped]",
    }
    told = " · ".join(str(row[n]) for n in ("model_name", "engine", "quantization") if row[n])
    return f"{states[row['state']]} {text.escape(told)}"


def figures(row: Row) -> str:
    """TTFT, speed, token counts and why it ended, in one line."""
    parts = []
    if row["ttft_ms"] is not None:
        parts.append(f"first token {text.milliseconds(row['ttft_ms'])}")
    if row["tokens_per_s"] is not None:
        parts.append(text.rate(row["tokens_per_s"]))
    if row["prompt_token_count"] is not None:
        parts.append(f"{text.count(row['prompt_token_count'])} tokens in")
    if row["completion_token_count"]:
        parts.append(f"{text.count(row['completion_token_count'])} out")
    if row["finish_reason"]:
        ends = {"stop": "ended by itself", "length": "cut at the limit", "cancelled": "stopped"}
        parts.append(ends.get(row["finish_reason"], row["finish_reason"]))
    return " · ".join(parts) or "No figures yet"


def running(rows: Sequence[Row]) -> bool:
    """Whether anything is still going on."""
    return any(row["state"] not in ENDED for row in rows)
