"""The map of a version: made by a job, coloured by a column, rows taken with the lasso.

Knows: the map's widgets. Does not know: how rows are laid out.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import curate_job, curate_recipe, observe, queries, tables, text, ui
from app.charts_map import dataset_map
from core.datasets.values import text_of
from core.errors import from_dict
from core.store.database import Row

CLUSTERS = "cluster"
PREVIEWED = 4_000
"""Points of a larger map say their row and no text: the page would weigh too much."""
MOST_LISTED = 200
CONFIG = {"displaylogo": False, "scrollZoom": True, "modeBarButtonsToRemove": ["toImage"]}
CLUSTER_COLUMNS = {
    "title": tables.text("Cluster", width=260),
    "size": tables.number("Rows", width=80),
    "share": tables.percent("Share", width=80),
}


def show(version: Row) -> None:
    """Draw the map, or offer to make it."""
    drawn = queries.read("explore", "map", version["id"])
    if drawn is None:
        _make(version)
        return
    columns = [CLUSTERS, *(column["name"] for column in version["columns"])]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        colour = st.selectbox(
            "Colour by", columns, key="map-colour", bind="query-params", width=240,
            format_func=lambda name: "Cluster" if name == CLUSTERS else name,
        )  # fmt: skip
        st.caption(_said(drawn))
    if colour != CLUSTERS:
        drawn = queries.read("explore", "map", version["id"], colour=colour)
    event = st.plotly_chart(
        dataset_map(drawn, theme=observe.theme(), texts=_texts(version, drawn)),
        theme=None,
        key=f"map-{version['id']}-{colour}",
        on_select="rerun",
        selection_mode=("lasso", "box"),
        config=CONFIG,
        alt=f"Map of {version['label']}: rows that mean the same lie near each other",
    )
    chosen = sorted({int(point["customdata"]) for point in event["selection"]["points"]})
    if chosen:
        _chosen(version, chosen)
    elif drawn["clusters"]:
        _clusters(drawn)


def _make(version: Row) -> None:
    estimate = queries.read("curation", "estimate", version["id"], detectors=["map"])
    status = curate_job.status(version)
    if curate_job.is_running(status):
        curate_job.progress(version["id"])
        return
    ui.empty_state(
        "No map yet",
        "Every row becomes a point; rows that mean the same lie near each other, and clusters get "
        f"a name from their words. Making it embeds {text.plural(version['row_count'], 'row')} on "
        f"this machine: about {text.seconds(estimate['seconds'])}, less for texts that were "
        "embedded before.",
        "Make the map" if ui.may("datasets.write") else None,
        _start,
        args=(version["id"],),
        icon=":material/scatter_plot:",
    )
    part = next(part for part in status["parts"] if part["name"] == "map")
    job = status["job"]
    if error := part["error"] or (job and job["error"]):
        ui.show_error(from_dict(error))


def _start(version_id: str) -> None:
    ui.workbench().curation.analyse(ui.actor(), version_id, detectors=["map"])
    ui.done("The map is being made")


def _said(drawn: dict[str, Any]) -> str:
    said = f"{text.plural(drawn['row_count'], 'row')}, "
    said += text.plural(len(drawn["clusters"]), "cluster")
    if drawn["every"] > 1:
        said += f"; every {drawn['every']}th row is drawn"
    return said + ". Draw around points to choose their rows."


def _texts(version: Row, drawn: dict[str, Any]) -> list[str]:
    """What each point says: its first words, or its number where there are very many."""
    if len(drawn["row_index"]) > PREVIEWED:
        return [f"Row {text.count(row + 1)}" for row in drawn["row_index"]]
    name = (version["inputs"] or [version["columns"][0]["name"]])[0]
    rows = queries.read("curation", "rows_at", version["id"], tuple(drawn["row_index"]))
    return [
        f"Row {text.count(row['row_index'] + 1)}\n{text.shorten(text_of(row[name]), 90)}"
        for row in rows
    ]


def _clusters(drawn: dict[str, Any]) -> None:
    total = max(drawn["row_count"], 1)
    rows = [{**cluster, "share": cluster["size"] / total} for cluster in drawn["clusters"]]
    tables.show(rows, CLUSTER_COLUMNS, alt="Clusters, largest first", height="content")
    if drawn["unsorted"]:
        st.caption(f"{text.plural(drawn['unsorted'], 'row')} in no cluster.")


def _chosen(version: Row, chosen: list[int]) -> None:
    """The rows inside the lasso, and what can be done with them."""
    rows = queries.read("curation", "rows_at", version["id"], tuple(chosen[:MOST_LISTED]))
    st.markdown(f"**{text.plural(len(chosen), 'row')}** chosen")
    if ui.may("datasets.write"):
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            tag = st.text_input("Tag", key="map-tag", width=180, placeholder="such as outliers")
            st.button(
                "Tag them", disabled=not tag.strip(), on_click=ui.guarded(_tag),
                args=(version, chosen, tag.strip()),
            )  # fmt: skip
            st.button(
                f"Drop {text.plural(len(chosen), 'row')}", icon=":material/delete:",
                on_click=ui.guarded(_act), args=(version, chosen, {"step": "drop_rows"}),
                help="Goes onto the recipe; nothing is gone before it is saved as a version",
            )  # fmt: skip
    columns = {
        "_number": tables.number("Row", width=60),
        **{c["name"]: tables.text(c["name"]) for c in version["columns"][:6]},
    }
    listed = [{**row, "_number": row["row_index"] + 1} for row in rows]
    tables.show(listed, columns, alt="The chosen rows", height=320)
    if len(chosen) > MOST_LISTED:
        st.caption(f"The first {MOST_LISTED} of {text.count(len(chosen))}.")


def _tag(version: Row, chosen: list[int], tag: str) -> None:
    _act(version, chosen, {"step": "tag", "tags": [tag]})


def _act(version: Row, chosen: list[int], step: dict[str, Any]) -> None:
    found = ui.workbench().curation.rows_at(ui.actor(), version["id"], chosen)
    reason = {"reason": "chosen on the map"} if step["step"] == "drop_rows" else {}
    curate_recipe.add(version, {**step, "row_ids": [row["row_id"] for row in found], **reason})
