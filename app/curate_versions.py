"""Which version the Curate page is about, and which areas it has.

Knows: the URL, the areas' modules by name. Does not know: what an area shows.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from app import queries, text, ui
from core.store.database import Row


@dataclass(frozen=True, slots=True)
class Area:
    """One tab: its module is imported when it is opened."""

    title: str
    module: str

    def show(self, version: Row) -> None:
        """Draw it."""
        importlib.import_module(self.module).show(version)


AREAS = (
    Area("Findings", "app.curate_findings"),
    Area("Profile", "app.curate_profile"),
    Area("Duplicates", "app.curate_duplicates"),
    Area("Personal data", "app.curate_personal"),
    Area("Explore", "app.curate_explore"),
    Area("Edit", "app.curate_edit"),
    Area("Checks", "app.curate_checks"),
    Area("Split", "app.curate_split"),
)


def choose(datasets: Sequence[Row]) -> Row:
    """Draw the choice of dataset and version; the version that is chosen, the URL says which."""
    version = _asked_for(datasets)
    found = queries.read("datasets", "versions", version["dataset_id"])
    versions = {row["id"]: row for row in found}
    names = {row["id"]: row["name"] for row in datasets}
    if version["dataset_id"] not in names:  # an archived one is opened by its link alone
        names = {version["dataset_id"]: version["dataset_name"], **names}
    st.session_state["curate-dataset"] = version["dataset_id"]
    st.session_state["curate-version"] = version["id"]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.selectbox(
            "Dataset", list(names), format_func=names.__getitem__, key="curate-dataset", width=320,
            on_change=_choose_dataset,
        )  # fmt: skip
        st.selectbox(
            "Version",
            list(versions),
            format_func=lambda id_: text.version_label(versions[id_]),
            key="curate-version",
            width=280,
            on_change=_choose_version,
        )
    return version


def open_version(version_id: str) -> None:
    """Go to another version of the same or of another dataset; before st.rerun or in a callback."""
    ui.set_params(dataset=None, version=version_id)


def _asked_for(datasets: Sequence[Row]) -> Row:
    version_id, dataset_id = ui.param("version"), ui.param("dataset")
    with ui.errors():
        if version_id is not None:
            found: Row = queries.read("datasets", "version", version_id)
            return found
        if dataset_id is not None:
            version_id = queries.read("datasets", "get", dataset_id)["newest_version_id"]
            found = queries.read("datasets", "version", version_id)
            ui.set_params(dataset=None, version=found["id"])
            return found
    newest: Row = queries.read("datasets", "version", datasets[0]["newest_version_id"])
    ui.set_params(dataset=None, version=newest["id"])
    return newest


def _choose_dataset() -> None:
    ui.set_params(version=None, dataset=st.session_state["curate-dataset"])


def _choose_version() -> None:
    open_version(st.session_state["curate-version"])
