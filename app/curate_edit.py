"""The Edit area: cells by hand, steps by a form, rows put back, and the recipe as text.

Knows: its views. Does not know: how a step is done.
"""

from __future__ import annotations

import streamlit as st

from app import curate_forms, curate_grid, curate_recipe, queries, tables, text, ui
from core.store.database import Row

VIEWS = ("Rows", "Transform", "Removed rows", "Recipe")
MOST_REMOVED = 500


def show(version: Row) -> None:
    """Draw the area; the view is in the URL."""
    view = st.segmented_control(
        "View", VIEWS, key="edit", default=VIEWS[0], required=True, bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    if view == "Transform":
        curate_forms.show(version)
    elif view == "Removed rows":
        _removed(version)
    elif view == "Recipe":
        _recipe(version)
    else:
        curate_grid.show(version)


def _removed(version: Row) -> None:
    """Rows that the version before had: picked ones come back by a step."""
    found = queries.read("recipes", "removed", version["id"], limit=MOST_REMOVED)
    if not found:
        st.info("This version has every row of the one before it.", icon=":material/history:")
        return
    names = [column["name"] for column in version["columns"]]
    rows = [
        {"_number": row["row_index"] + 1, **{n: row["values"].get(n) for n in names}}
        for row in found
    ]
    event = st.dataframe(
        tables.frame(rows, {name: None for name in ["_number", *names]}),
        column_config={"_number": tables.number("Row", width=56, help="In the version before")},
        hide_index=True, key=f"removed-{version['id']}", on_select="rerun",
        selection_mode="multi-row", alt="Rows that the version before had",
        height="content" if len(rows) <= 12 else 400,
    )  # fmt: skip
    chosen = [found[at] for at in event["selection"]["rows"] if at < len(found)]
    st.caption(f"{text.plural(len(found), 'row')} of v{version['parent_number']} left it since.")
    if ui.may("datasets.write"):
        st.button(
            f"Restore {text.plural(len(chosen), 'row')}" if chosen else "Restore rows",
            type="primary", icon=":material/restore_from_trash:", key="restore",
            disabled=not chosen, on_click=ui.guarded(curate_recipe.add),
            args=(version, {"step": "restore_rows", "rows": chosen}),
        )  # fmt: skip


def _recipe(version: Row) -> None:
    """The whole chain as YAML, and a box that takes another recipe's steps."""
    with ui.errors(stop=True):
        shown = queries.read("recipes", "recipe_of", version["id"], include_pending=True)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.caption("Every step since the import, the pending ones too: what `lathe curate` takes.")
        st.code(shown, language="yaml", height=420, wrap_lines=True)
        st.download_button(
            "Download recipe", shown, f"{version['dataset_name']}-recipe.yaml",
            mime="application/yaml", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
    if not ui.may("datasets.write"):
        return
    with right:
        given = st.text_area(
            "Steps of another recipe", key="paste", height=220,
            placeholder="recipe: 1\nsteps:\n  - step: trim\n    columns: [question]",
        )  # fmt: skip
        file = st.file_uploader("Or a file", type=["yaml", "yml", "json"], key="paste-file")
        text_of = file.getvalue().decode("utf-8", "replace") if file else given
        st.button(
            "Add its steps", type="primary", key="paste-add", disabled=not text_of.strip(),
            on_click=ui.guarded(_paste), args=(version["id"], text_of),
        )  # fmt: skip
        st.caption("They are added to the pending steps; nothing is changed before you save.")


def _paste(version_id: str, given: str) -> None:
    count = ui.workbench().recipes.paste(ui.actor(), version_id, given)
    ui.done(f"{text.plural(count, 'step')} added")
