"""What people do with a dataset as a whole: open, rename, archive and restore it, add the samples.

Knows: dialogs and callbacks. Does not know: rows, imports.
"""

from __future__ import annotations

import streamlit as st

from app import queries, text, ui
from core.store.database import Row

PRACTICE = "messy-tickets"


def open_dataset(dataset_id: str | None, version_id: str | None = None) -> None:
    """Put a dataset, or the list, into the URL; a callback, or before st.rerun."""
    ui.set_params(dataset=dataset_id, version=version_id, view=None, find=None, page=None)
    for key in ("view", "find", "page"):
        st.session_state.pop(key, None)


def asked_for() -> Row | None:
    """The dataset that the URL names, by itself or by one of its versions."""
    version_id, dataset_id = ui.param("version"), ui.param("dataset")
    if not ui.may("workspace.read") or not (version_id or dataset_id):
        return None
    with ui.errors():
        if dataset_id is None:
            dataset_id = queries.read("datasets", "version", version_id)["dataset_id"]
            ui.set_params(dataset=dataset_id)
        return queries.read("datasets", "get", dataset_id)
    return None


def add_samples() -> None:
    """Every sample dataset."""
    datasets, actor = ui.workbench().datasets, ui.actor()
    made = [datasets.import_sample(actor, sample["name"]) for sample in datasets.samples(actor)]
    total = sum(version["row_count"] for version in made)
    ui.done(f"Imported {text.plural(total, 'row')} in {text.plural(len(made), 'dataset')}")


def add_practice() -> None:
    """The sample with planted faults."""
    version = ui.workbench().datasets.import_sample(ui.actor(), PRACTICE)
    ui.done(f"Imported {text.plural(version['row_count'], 'row')} to practise on")


@st.dialog("Rename dataset")
def rename(dataset: Row) -> None:
    """A dialog: another name or description."""
    name = st.text_input("Name", dataset["name"], max_chars=120)
    description = st.text_area("Description", dataset["description"], max_chars=1000)
    st.caption("Versions, runs and links stay as they are.")
    if st.button("Rename dataset", type="primary", disabled=not name.strip()):
        with ui.errors():
            ui.workbench().datasets.rename(ui.actor(), dataset["id"], name, description=description)
            ui.done("Dataset renamed")
            st.rerun()


def archive(dataset: Row) -> None:
    """Off the list; back to the list."""
    ui.workbench().datasets.archive(ui.actor(), dataset["id"])
    ui.done(f"{dataset['name']} is archived")
    open_dataset(None)


def restore(dataset: Row) -> None:
    """Back on the list."""
    ui.workbench().datasets.restore(ui.actor(), dataset["id"])
    ui.done(f"{dataset['name']} is back on the list")
