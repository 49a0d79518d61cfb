"""The playground's parts: a column's form, the values, an answer and what stands under it.

Knows: how these look. Does not know: the draft's keeping (`playground_draft`), how columns run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app import prompt_form, queries, text, ui, variant_form
from app.playground_draft import WAY, Draft, content_of, remove_column, save, version_of
from core.evals.playground import ENDED
from core.generation import Generation
from core.store.database import Row

# a column's form


def column_form(draft: Draft, column: Draft, letter: str, names: Mapping[str, str]) -> None:
    """Everything a column is asked. `names` maps prompt version ids to what people call them."""
    key = column["id"]
    if not prompt_form.loaded(key):
        prompt_form.load(key, column["content"])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        variant_form.choose(
            f"**{letter}** · Prompt",
            [None, *names],
            lambda version_id: names.get(version_id or "", "Not saved yet"),
            key=f"{key}-version",
            start=column["version"],
            on_change=_take_version,
            args=(draft, column),
        )
        with st.popover("", icon=":material/tune:", help="How answers are drawn"):
            prompt_form.generation(key, per_row=2)
            if len(draft["columns"]) > 1:
                st.button(
                    "Remove this column",
                    icon=":material/delete:",
                    key=f"{key}-remove",
                    on_click=remove_column,
                    args=(draft, key),
                )
    with st.container(horizontal=True, gap="small"):
        way = variant_form.model_way(key, start=column, purpose="interactive")
    if way is None:
        st.warning("Add a chat model on the Models page first.", icon=":material/deployed_code:")
    else:
        column.update({name: way[name] for name in WAY})
        if way["why_not"]:
            st.warning(text.escape(way["why_not"]), icon=":material/block:")
    prompt_form.templates(key, height=150)


def _take_version(draft: Draft, column: Draft) -> None:
    column["version"] = st.session_state[f"{column['id']}-version"]
    version = version_of(column)
    if version is not None:
        column["content"] = content_of(version)
        prompt_form.load(column["id"], column["content"])
    save(draft)


# a column's answer


def answer(row: Row, letter: str) -> None:
    """One column's answer so far, its figures under it.

    Always the same number of elements: while a script runs, one that is missing the next time
    would stay where it was.
    """
    st.markdown(f"**{letter}** · {_badge(row)}")
    note = st.empty()
    if row["error"]:
        error = row["error"]
        with note:
            ui.error_box(error["title"], error["message"], error.get("hint"))
    elif row["state"] in ("waiting", "loading"):
        said = text.escape(row["message"] or "waiting for the model")
        note.progress(row["progress"] or 0.0, said[:1].upper() + said[1:])
    st.code(row["text"] or " ", language=None, wrap_lines=True, height=220)
    st.caption(figures(row))
    warning = st.empty()
    if row["warning"]:
        warning.warning(row["warning"], icon=":material/content_cut:")


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


def values_form(draft: Draft, names: Sequence[str]) -> None:
    """What the variables stand for: typed, or a row of a dataset."""
    versions = {
        row["newest_version_id"]: f"{row['name']} v{row['version_count']}"
        for row in queries.read("datasets", "list")
    }
    left, right = st.columns([2, 1])
    chosen = left.selectbox(
        "Values",
        [None, *versions],
        format_func=lambda key: versions.get(key, "Type them here"),
        index=[None, *versions].index(draft["dataset"]) if draft["dataset"] in versions else 0,
        key="values-from",
    )
    draft["dataset"] = chosen
    if chosen is None:
        for name, column in zip(
            names, st.columns(max(1, min(3, len(names)))) * len(names), strict=False
        ):
            draft["values"][name] = column.text_area(
                name, draft["values"].get(name, ""), key=f"value-{name}", height=80
            )
        if not names:
            st.caption("No variables: the prompts are sent as they are.")
        return
    count = queries.read("datasets", "count", chosen)
    number = right.number_input(
        "Row", min_value=1, max_value=count, value=min(draft["row"] + 1, count), key="values-row"
    )
    draft["row"] = int(number) - 1
    row = queries.read("datasets", "page", chosen, offset=draft["row"], limit=1)[0]
    draft["values"] = {k: v for k, v in row.items() if k not in ("row_id", "row_index")}
    shown = {
        name: text.shorten(str(draft["values"].get(name, "(not in this dataset)")), 400)
        for name in names
    }
    with st.expander("The row's values", expanded=True):
        ui.facts(shown or draft["values"])


def details(row: Row) -> None:
    """What stands under a finished answer: the exact prompt, the trace, saving."""
    if row["rendered_prompt"]:
        count = text.count(row["prompt_token_count"])
        with st.expander(f"Exact prompt, {count} tokens"):
            st.code(row["rendered_prompt"], language=None, wrap_lines=True)
    with st.container(horizontal=True, gap="small"):
        if row["trace_id"]:
            st.link_button("Trace", f"/traces?trace={row['trace_id']}", icon=":material/timeline:")
        if ui.may("prompts.write"):
            with st.popover("Save version", icon=":material/bookmark_add:"):
                name = (
                    "" if row["asked"]["prompt_id"] else st.text_input("Name", key=f"n-{row['id']}")
                )
                message = st.text_input("What changed", key=f"m-{row['id']}")
                st.button(
                    "Save as new version",
                    type="primary",
                    key=f"s-{row['id']}",
                    on_click=ui.guarded(_save_version),
                    args=(row, name, message),
                )


def _save_version(row: Row, name: str, message: str) -> None:
    asked = row["asked"]
    prompts = ui.workbench().prompts
    prompt_id = asked["prompt_id"] or prompts.create(ui.actor(), name)
    version = prompts.save_version(
        ui.actor(),
        prompt_id,
        system_template=asked["system_template"],
        user_template=asked["user_template"],
        generation=Generation.from_dict(asked["generation"]),
        message=message,
    )
    ui.done(f"Saved as version {version['number']}")
