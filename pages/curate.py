"""Curate: one version of a dataset, what is wrong with it, and the steps that make it good."""

from __future__ import annotations

import streamlit as st

from app import curate_recipe, curate_versions, dataset_acts, queries, text, ui
from app.curate_versions import AREAS

page = ui.page(
    "Curate", "What is wrong with these rows, and the steps that make them good.", key="curate"
)
datasets = queries.read("datasets", "list")
if not datasets:
    ui.empty_state(
        "Nothing to curate yet",
        "Here the rows of a dataset are profiled, searched for duplicates, personal data, label "
        "errors and leakage, and cleaned by steps that are recorded and can be replayed. The "
        "messy sample has 152 rows with a planted fault of every kind.",
        "Import the messy sample" if ui.may("datasets.write") else None,
        dataset_acts.add_practice,
        icon=":material/cleaning_services:",
    )
    st.stop()
version = curate_versions.choose(datasets)
with page.actions:
    if st.button(
        "Open dataset",
        icon=":material/dataset:",
        help=f"The rows and versions of {text.escape(version['dataset_name'])}",
    ):
        asked = {"dataset": version["dataset_id"], "version": version["id"]}
        st.switch_page("../pages/datasets.py", query_params=asked)
curate_recipe.bar(version)
for tab, area in zip(
    st.tabs([area.title for area in AREAS], key="area", bind="query-params"), AREAS, strict=True
):
    if tab.open:
        with tab:
            area.show(version)
