"""Datasets: the rows that prompts are tried on, imported whole and kept in versions."""

from __future__ import annotations

import streamlit as st

from app import dataset_acts as acts
from app import (
    dataset_card,
    dataset_export,
    dataset_import,
    dataset_rows,
    dataset_staged,
    dataset_versions,
    queries,
    tables,
    text,
    ui,
)
from core.store.database import Row

MORE = "dataset-more"  # which of the popovers of that name: another one is closed again
COLUMNS = {
    "name": tables.text("Dataset", width=150),
    "description": tables.text("What it holds", width=205),
    "row_count": tables.number("Rows", width=66),
    "newest": tables.text("Version", width=66),
    "inputs": tables.badges("Inputs", width=145),
    "license": tables.text("Licence", width=80),
    "updated_at": tables.time("Changed", width=120),
}


def close_more() -> None:
    st.session_state[MORE] += 1


def show_actions(dataset: Row, version: Row, *, writes: bool) -> None:
    st.button("Datasets", icon=":material/arrow_back:", on_click=acts.open_dataset, args=(None,))
    if writes and dataset["archived_at"] is not None:  # reading acts stay
        if st.button("Export rows", icon=":material/download:"):
            dataset_export.show(version)
    elif writes:
        turn = st.session_state.setdefault(MORE, 0)
        with st.popover(
            "More", icon=":material/more_horiz:", width="content", key=f"{MORE}-{turn}"
        ):
            if st.button(
                "Export rows", type="tertiary", icon=":material/download:", on_click=close_more
            ):
                dataset_export.show(version)
            if st.button(
                "Rename dataset", type="tertiary", icon=":material/edit_note:",
                on_click=close_more,
            ):  # fmt: skip
                acts.rename(dataset)
            st.divider()
            st.caption(
                "Archiving takes the dataset off the list. Versions and runs stay readable, "
                "and it can be restored."
            )
            st.button(
                "Archive dataset",
                icon=":material/archive:",
                key="archive",
                on_click=ui.guarded(acts.archive),
                args=(dataset,),
            )
        if st.button("Curate", icon=":material/cleaning_services:", help="Find and mend faults"):
            st.switch_page("../pages/curate.py", query_params={"version": version["id"]})
        st.button(
            "Import version",
            type="primary",
            icon=":material/upload:",
            on_click=dataset_import.start,
        )


def show_dataset(dataset: Row) -> None:
    versions = queries.read("datasets", "versions", dataset["id"])
    asked = ui.param("version")
    version = next((row for row in versions if row["id"] == asked), versions[0])
    licence = f" Licence: {dataset['license']}." if dataset["license"] else ""
    page = ui.page(
        text.escape(dataset["name"]),
        text.escape((text.shorten(dataset["description"], 200) or "No description.") + licence),
        key="datasets",
        actions_share=0.52,  # four buttons in a row at 1280 px
    )
    writes = ui.may("datasets.write")
    with page.actions:
        show_actions(dataset, version, writes=writes)
    dataset_import.show(dataset)
    dataset_staged.waiting(dataset, lambda row: acts.open_dataset(dataset["id"], row["id"]))
    if dataset["archived_at"] is not None:
        st.info("This dataset is archived: it can be read, not changed.", icon=":material/archive:")
        if writes:
            st.button("Restore dataset", on_click=ui.guarded(acts.restore), args=(dataset,))
    tabs = st.tabs(["Rows", "Versions", "Card"], key="view", bind="query-params")
    if tabs[0].open:
        with tabs[0]:
            dataset_rows.rows(versions, version)
    elif tabs[2].open:
        with tabs[2]:
            dataset_card.show(dataset, version)
    else:
        with tabs[1]:
            dataset_versions.show(dataset, versions)


def show_empty(writes: bool) -> None:
    samples = queries.read("datasets", "samples")
    total = sum(sample["row_count"] for sample in samples)
    titles = " and ".join(sample["title"].lower() for sample in samples)
    ui.empty_state(
        "No datasets yet",
        "A dataset is a table of rows: inputs for the prompt and, where there is one, the "
        f"expected answer. The samples are {titles}, written for this project "
        f"({samples[0]['license']}).",
        f"Import {text.count(total)} sample rows" if writes else None,
        acts.add_samples,
        icon=":material/dataset:",
    )


def show_list() -> None:
    page = ui.page(
        "Datasets", "The rows that prompts are tried on, kept in versions.", key="datasets"
    )
    writes = ui.may("datasets.write")
    if writes:
        with page.actions:
            st.button(
                "Import dataset",
                type="primary",
                icon=":material/upload:",
                shortcut="N",
                on_click=dataset_import.start,
            )
        dataset_import.show()
    every = queries.read("datasets", "list")
    archived = queries.read("datasets", "list", archived=True)
    if not every and not archived:
        show_empty(writes)
        return
    dataset_card.overdue()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        search = st.text_input(
            "Search",
            key="q",
            bind="query-params",
            icon=":material/search:",
            placeholder="Words in the name or description",
            width=320,
        )
        old = st.toggle("Archived", key="archived", bind="query-params") if archived else False
    found = queries.read("datasets", "list", search=search, archived=old)
    if not found:
        st.info("No dataset matches these filters.", icon=":material/filter_alt:")
        return
    rows = [
        {
            **row,
            "newest": f"v{row['version_count']}",
            "inputs": [c["name"] for c in row["columns"] if c["role"] == "input"],
        }
        for row in found
    ]
    picked = tables.pick(
        rows, COLUMNS, key="datasets-list", alt="Datasets, last changed first", height="content"
    )
    st.caption(f"{text.plural(len(rows), 'dataset')}. Select one to read and search its rows.")
    if picked is not None:
        acts.open_dataset(picked["id"])
        st.rerun()


dataset = acts.asked_for()
if dataset is None:
    show_list()
else:
    show_dataset(dataset)
