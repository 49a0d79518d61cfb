"""The Edit area: the rows of a version, changed by hand and by steps.

Knows: one version's rows. Does not know: how a step is done.
"""

from __future__ import annotations

import streamlit as st

from app import curate_recipe, ui
from core.store.database import Row


def show(version: Row) -> None:
    """Draw the area."""
    names = [column["name"] for column in version["columns"] if column["type"] == "text"]
    columns = st.multiselect("Columns to trim", names, default=names[:1])
    if st.button("Add to recipe", disabled=not columns):
        with ui.errors():
            curate_recipe.add(version, {"step": "trim", "columns": columns})
            st.rerun()
