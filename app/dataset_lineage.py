"""The lineage of a dataset: files, versions and what used them, as a figure one can click.

Knows: the figure, the table behind it, where a node leads. Does not know: how it comes about.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import charts_versions, observe, panels, queries, tables, text, ui
from core.store.database import Row

COLUMNS = {
    "from": tables.text("From", width=220),
    "how": tables.text("How", width=170),
    "to": tables.text("To", width=220),
    "detail": tables.text("Detail", width=150),
    "at": tables.time("When", width=120),
    "link": st.column_config.LinkColumn("Open", display_text="Open", width=70),
}
HOW = {
    "imported": "imported as",
    "derived": "made into",
    "restored": "brought back as",
    "follows": "replaced by",
    "used": "used by",
}

LINES = {
    "derived": "A solid line: a recipe with its steps.",
    "follows": "A dotted line: an import that replaced what was there.",
    "restored": "A dashed line: a rollback.",
}
CLICK = "Click a version or a run to open it."


def show(dataset: Row, version: Row) -> None:
    """The figure; a click on a version selects it, a click on a run opens it."""
    graph = queries.read("versions", "lineage", dataset["id"])
    rows = _rows(dataset, graph)
    st.markdown("**Where do the versions come from, and what used them?**")
    event = st.plotly_chart(
        charts_versions.lineage(graph, selected=version["id"], theme=observe.theme()),
        theme=None,
        key=f"lineage-{dataset['id']}-{version['id']}",
        config=panels.CONFIG,
        on_select="rerun",
        selection_mode="points",
        alt=". ".join(f"{row['from']} {row['how']} {row['to']}" for row in rows[:40]),
    )
    _follow(event, graph, version)
    st.caption(_legend(graph))
    with st.expander(f"The same as a table, {text.plural(len(rows), 'line')}"):
        tables.show(rows, COLUMNS, alt="Lineage, oldest first",
                    height="content" if len(rows) <= 12 else 400)  # fmt: skip


def _follow(event: Any, graph: Row, version: Row) -> None:
    """Go where the clicked point leads."""
    points = event["selection"]["points"] if event else []
    clicked = next((p["customdata"][0] for p in points if p.get("customdata")), None)
    node = next((n for n in graph["nodes"] if n["id"] == clicked), None)
    if node is None or node["id"] == version["id"]:
        return
    if node["kind"] == "run":
        st.switch_page("../pages/compare.py", query_params={"run": node["id"]})
    elif node["kind"] == "version":
        for key in [key for key in st.session_state if str(key).startswith("versions-")]:
            del st.session_state[key]
        ui.set_params(version=node["id"])
        st.rerun()


def _rows(dataset: Row, graph: Row) -> list[dict[str, Any]]:
    nodes = {node["id"]: node for node in graph["nodes"]}
    found = []
    for edge in graph["edges"]:
        start, end = nodes[edge["from"]], nodes[edge["to"]]
        title = f" ({edge['title']})" if edge["title"] and edge["kind"] == "derived" else ""
        found.append(
            {
                "from": start["title"],
                "how": HOW.get(edge["kind"], edge["kind"]) + title,
                "to": end["title"],
                "detail": end["detail"],
                "at": end["at"],
                "link": link(dataset, end),
            }
        )
    return found


def link(dataset: Row, node: Row) -> str | None:
    """The page that shows a node."""
    if node["kind"] == "version":
        return f"/datasets?dataset={dataset['id']}&version={node['id']}&view=Versions"
    return f"/compare?run={node['id']}" if node["kind"] == "run" else None


def _legend(graph: Row) -> str:
    kinds = {edge["kind"] for edge in graph["edges"]}
    said = [sentence for kind, sentence in LINES.items() if kind in kinds]
    left_out = {n["version_id"]: n.get("left_out") or 0 for n in graph["nodes"]}
    hidden = sum(left_out.values())
    if hidden:
        said.append(f"{text.plural(hidden, 'older run')} left out.")
    return " ".join(["Sources stand above the versions, runs below.", *said, CLICK])
