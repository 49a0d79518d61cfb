"""Playground: the same values through two to six variants, side by side, token by token."""

from __future__ import annotations

import streamlit as st

from app import diff, playground, queries, text, ui
from app.playground import LETTERS, MOST_COLUMNS
from core.generation import Generation
from core.store.database import Row


def run_all() -> None:
    playground.save(draft)
    values = dict(draft["values"])
    row = draft["row"] if draft["dataset"] else None
    ui.workbench().playground.start(page.actor, playground.asked(draft), values, row=row)


def stop_all() -> None:
    ui.workbench().playground.stop(page.actor)


def begin_with_samples() -> None:
    made = ui.workbench().prompts.create_samples(page.actor)
    versions = made or queries.read("prompts", "versions", queries.read("prompts", "list")[0]["id"])
    models = queries.read("models", "list", kind="chat")
    model_id = models[0]["id"] if models else None
    draft["columns"] = [
        playground.new_column(
            version=queries.read("prompts", "version", v["id"]), model_id=model_id
        )
        for v in versions[:2]
    ]
    data = ui.workbench().datasets.import_sample(page.actor, "support-tickets")
    draft["dataset"], draft["row"] = data["id"], 0
    playground.save(draft)


def begin_empty() -> None:
    draft["columns"] = [playground.new_column(), playground.new_column()]
    playground.save(draft)


def values_form(names: list[str]) -> None:
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


def save_version(row: Row, name: str, message: str) -> None:
    asked = row["asked"]
    prompts = ui.workbench().prompts
    prompt_id = asked["prompt_id"] or prompts.create(page.actor, name)
    version = prompts.save_version(
        page.actor,
        prompt_id,
        system_template=asked["system_template"],
        user_template=asked["user_template"],
        generation=Generation.from_dict(asked["generation"]),
        message=message,
    )
    ui.done(f"Saved as version {version['number']}")


def details(row: Row, letter: str) -> None:
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
                    on_click=ui.guarded(save_version),
                    args=(row, name, message),
                )


def answers() -> None:
    rows = ui.workbench().playground.columns(page.actor)
    for column, row, letter in zip(st.columns(max(2, len(rows))), rows, LETTERS, strict=False):
        with column.container(border=True):
            playground.answer(row, letter)
            if row["state"] in playground.ENDED:
                details(row, letter)
    if live and not playground.running(rows):
        st.rerun()  # the clock of this fragment stops, the buttons change


page = ui.page(
    "Playground", "The same input through two to six variants, side by side.", key="playground"
)
draft = playground.load()
if not draft["columns"]:
    ui.empty_state(
        "Compare two prompts on a local model",
        "Each column is a prompt, a model, a quantization and how answers are drawn. "
        "They answer the same input at once, token by token, with time to first token and speed.",
        "Begin with the sample prompts and tickets",
        begin_with_samples,
        icon=":material/science:",
    )
    st.button("Begin with empty columns", on_click=begin_empty, type="tertiary")
    st.stop()

live = playground.running(ui.workbench().playground.columns(page.actor))
with page.actions:
    st.button(
        "Add column",
        icon=":material/add:",
        on_click=playground.add_column,
        args=(draft,),
        disabled=len(draft["columns"]) >= MOST_COLUMNS,
    )
    if live:
        st.button("Stop all", icon=":material/stop:", on_click=ui.guarded(stop_all), shortcut="Esc")
    else:
        st.button(
            f"Run {len(draft['columns'])} columns",
            type="primary",
            icon=":material/play_arrow:",
            on_click=ui.guarded(run_all),
            shortcut="Ctrl+Enter",
        )

versions = {
    version["id"]: f"{prompt['name']} v{version['number']}"
    for prompt in queries.read("prompts", "list")
    for version in queries.read("prompts", "versions", prompt["id"])
}
with st.expander("Prompts and models", expanded=True):
    for column, slot, letter in zip(
        draft["columns"], st.columns(max(2, len(draft["columns"]))), LETTERS, strict=False
    ):
        with slot:
            playground.column_form(draft, column, letter, versions)
playground.save(draft)
with ui.errors():
    values_form(playground.variables(draft))
playground.save(draft)

st.fragment(answers, run_every=0.15 if live else None)()

finished = [r for r in ui.workbench().playground.columns(page.actor) if r["text"]]
if len(finished) > 1 and not live:
    st.subheader("Word by word", anchor=False)
    pair = st.segmented_control(
        "Compare with A", list(LETTERS[1 : len(finished)]), default="B", key="diff-with"
    )
    if pair:
        other = finished[LETTERS.index(pair)]
        diff.show(finished[0]["text"], other["text"], sides=("A", pair))
