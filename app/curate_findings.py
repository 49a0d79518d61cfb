"""The Findings area: what is wrong with a version's rows, worst first, each a click from its rows.

Knows: the strip, the filters, the list. Does not know: what one finding looks like in full
(`finding_drawer`), how anything is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import curate_job, curate_options, finding_drawer, paging, queries, tables, text, ui
from core.curation.analysis import USUAL
from core.curation.detectors import DETECTORS
from core.curation.findings import KINDS, SEVERITIES
from core.store.database import Row

PER_PAGE = 50
COLOURS = {"high": "red", "medium": "orange", "low": "gray"}
COLUMNS = {
    "severity": tables.badges("Severity", COLOURS, width=88),
    "kind": tables.text("Kind", width=135),
    "message": tables.text("What", width=425),
    "column": tables.text("Column", width=90),
    "numbers": tables.text("Rows", width=100),
}
SHOWN_NUMBERS = 3
DETECTING = tuple(name for name in USUAL if name in DETECTORS)


def show(version: Row) -> None:
    """Draw the area."""
    status = curate_job.status(version)
    if curate_job.is_running(status):
        curate_job.progress(version["id"])
    elif not status["analysed"]:
        curate_job.first(version, "findings-first")
        return
    curate_job.notes(version, status, DETECTING)
    every = queries.read("curation", "finding_counts", version["id"])
    counts = queries.read("curation", "finding_counts", version["id"], include_decided=False)
    decided = every["total"] - counts["total"]
    if not every["total"]:
        if not curate_job.is_running(status):
            parts = [part for part in status["parts"] if part["name"] in DETECTING]
            looked = sum(part["state"] == "done" for part in parts)
            st.success(
                f"Nothing was found by {text.plural(looked, 'look')} at "
                f"{text.plural(version['row_count'], 'row')}.",
                icon=":material/check_circle:",
            )
            _options(version, status)
        return
    _strip(counts, status, decided)
    _list(version, every, decided, status)


def kind_name(kind: str) -> str:
    """`near_duplicate` as people read it."""
    return kind.replace("_", " ").capitalize()


def _strip(counts: Mapping[str, Any], status: Mapping[str, Any], decided: int) -> None:
    rows = {name: 0 for name in SEVERITIES}
    for row in counts["rows"]:
        rows[row["severity"]] += row["row_count"]
    helps = {
        "high": "Keys, personal data, leakage and other things that should not stay",
        "medium": "Likely faults",
        "low": "Worth a look",
    }
    done = [p for p in status["parts"] if p["state"] == "done" and p["name"] in DETECTING]
    took = sum(part["seconds"] or 0 for part in done)
    ui.metric_strip(
        [
            ui.Metric(
                "Open findings" if decided else "Findings", text.count(counts["total"]),
                help=f"{len(done)} looks at the rows in {text.seconds(took)}"
                + (f"; {text.count(decided)} more are decided" if decided else ""),
            ),
            *(
                ui.Metric(
                    f"{name.capitalize()} severity",
                    text.count(counts["severities"].get(name, 0)),
                    help=f"{helps[name]}; {text.plural(rows[name], 'row')} in all",
                )
                for name in SEVERITIES
            ),
        ]
    )  # fmt: skip


def _list(version: Row, counts: Mapping[str, Any], decided: int, status: Mapping[str, Any]) -> None:
    filters = _filters(counts, decided, version, status)
    total = queries.read("curation", "count", version["id"], **filters)
    if not total:
        st.info("No finding matches these filters.", icon=":material/filter_alt:")
        return
    offset = paging.bar(total, PER_PAGE, "finding", key="findings-page", note=", worst first")
    found = queries.read(
        "curation", "findings", version["id"], offset=offset, limit=PER_PAGE, **filters
    )
    key = f"findings-{version['id']}-{offset}-{sorted(filters.items())}"
    picked = tables.pick(
        [as_listed(row) for row in found],
        COLUMNS,
        key=key,
        alt=f"Findings {offset + 1} to {offset + len(found)} in {version['label']}, worst first",
        height="content" if len(found) <= 12 else 460,
    )
    st.caption("Select a finding to see its rows and what can be done about it.")
    if picked is None:
        st.session_state.pop("finding-from", None)
        return
    at = next(i for i, row in enumerate(found) if row["id"] == picked["id"])
    if st.session_state.get("finding-from") != (key, at):
        st.session_state["finding-from"] = (key, at)
        st.session_state["finding-at"] = offset + at
    ui.drawer("Finding", clears=key)(finding_drawer.show)(version, filters, total, key)


def _filters(
    counts: Mapping[str, Any], decided: int, version: Row, status: Mapping[str, Any]
) -> dict[str, Any]:
    kinds = [kind for kind in KINDS if kind in counts["kinds"]]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        kind = st.selectbox(
            "Kind", kinds, index=None, placeholder="All kinds", key="kind", bind="query-params",
            format_func=kind_name, width=220, on_change=_first_page,
        )  # fmt: skip
        severity = st.selectbox(
            "Severity", [name for name in SEVERITIES if name in counts["severities"]], index=None,
            placeholder="All", key="severity", bind="query-params", width=130,
            format_func=str.capitalize, on_change=_first_page,
        )  # fmt: skip
        search = st.text_input(
            "Search", key="said", bind="query-params", icon=":material/search:",
            placeholder="Words in the message", width=260, on_change=_first_page,
        )  # fmt: skip
        too = False
        if decided:
            too = st.toggle(
                f"{text.count(decided)} decided too", key="decided", bind="query-params",
                on_change=_first_page,
                help="Hits that somebody accepted, rejected or edited under Personal data",
            )  # fmt: skip
        _options(version, status)
    if kind:
        st.caption(f"{text.count(counts['kinds'][kind])} of this kind: {KINDS[kind].lower()}.")
    return {"kind": kind, "severity": severity, "search": search or "", "include_decided": too}


def as_listed(row: Row) -> Row:
    """A finding as the table shows it; rows are numbered from 1 on pages."""
    numbers = ", ".join(text.count(number + 1) for number in row["rows"][:SHOWN_NUMBERS])
    more = row["row_count"] - SHOWN_NUMBERS
    return {
        **row,
        "severity": [row["severity"]],
        "kind": kind_name(row["kind"]),
        "numbers": f"{numbers} +{text.count(more)}" if more > 0 else numbers,
    }


def _options(version: Row, status: Mapping[str, Any]) -> None:
    """How it was looked, and the way to look otherwise."""
    if ui.may("datasets.write") and not curate_job.is_running(status):
        curate_options.popover(version, status)


def _first_page() -> None:
    if "findings-page" in st.session_state:
        st.session_state["findings-page"] = 1
