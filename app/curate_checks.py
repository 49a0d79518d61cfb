"""The Checks area: what has to be true of every row of this dataset, and which rows fail.

Knows: the table of checks, the form of a new one. Does not know: how rows are judged.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import queries, tables, text, ui
from core.curation.checking import GUARDED_TAGS
from core.curation.checks import KINDS
from core.store.database import Row

LABELS = {
    "not_blank": "is filled in",
    "unique": "is different in every row",
    "one_of": "is one of these values",
    "matches": "matches a pattern",
    "length": "has so many characters",
    "range": "is a number between",
    "json": "is JSON",
    "roles_alternate": "is a chat whose roles alternate",
    "no_empty_turns": "is a chat without empty turns",
    "ends_with_assistant": "is a chat that ends with the assistant",
    "token_budget": "has at most so many tokens",
}
FAILURE_COLUMNS = {
    "message": tables.text("What fails", width=420),
    "row_count": tables.number("Rows", width=80),
    "first": tables.text("First rows", width=240),
}


def show(version: Row) -> None:
    """Draw the area."""
    writes = ui.may("datasets.write")
    checks = queries.read("checks", "list", version["dataset_id"])
    if not checks:
        ui.empty_state(
            "No checks yet",
            "A check says what has to be true of every row: a filled column, one of these labels, "
            "turns that alternate. Checks run on every new version, and a version that fails one "
            f"cannot be tagged {' or '.join(sorted(GUARDED_TAGS))}.",
            "Suggest checks from these rows" if writes else None,
            _suggest,
            args=(version,),
            icon=":material/rule:",
        )
    else:
        _result(version, writes)
        _listed(version, checks, writes)
    if writes:
        with st.expander("Add a check", icon=":material/add:", expanded=False):
            _form(version, checks)


def _suggest(version: Row) -> None:
    checks = ui.workbench().checks
    found = checks.suggest(ui.actor(), version["id"])
    checks.save(ui.actor(), version["dataset_id"], found)
    checks.run(ui.actor(), version["id"])
    ui.done(f"{text.plural(len(found), 'check')} that hold in these rows")


def _result(version: Row, writes: bool) -> None:
    result = ui.workbench().checks.result(ui.actor(), version["id"])
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if result["state"] == "passed":
            st.success(
                f"All {text.plural(result['check_count'], 'check')} pass.", icon=":material/check:"
            )
        elif result["state"] == "failed":
            st.error(
                f"{text.plural(len(result['failures']), 'check')} of {result['check_count']} fail.",
                icon=":material/error:",
            )
        else:
            st.info("The checks have not run on this version.", icon=":material/info:")
        if writes:
            st.button(
                "Run checks", icon=":material/play_arrow:",
                on_click=ui.guarded(_run), args=(version["id"],),
            )  # fmt: skip
    if result["failures"]:
        rows = [
            {**failure, "first": ", ".join(text.count(row + 1) for row in failure["rows"][:8])}
            for failure in result["failures"]
        ]
        tables.show(rows, FAILURE_COLUMNS, alt="Checks that fail", height="content")
        st.caption("The rows are listed under Findings too, where each can be read and mended.")


def _run(version_id: str) -> None:
    result = ui.workbench().checks.run(ui.actor(), version_id)
    ui.done("The checks run as a job" if "job_id" in result else "The checks have run")


def _listed(version: Row, checks: list[dict[str, Any]], writes: bool) -> None:
    for number, check in enumerate(checks):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"{number + 1}. {text.escape(check['sentence'])}", width="stretch")
            if writes:
                st.button(
                    "Remove", type="tertiary", icon=":material/close:", key=f"check-{number}",
                    on_click=ui.guarded(_remove), args=(version["dataset_id"], checks, number),
                )  # fmt: skip


def _remove(dataset_id: str, checks: list[dict[str, Any]], number: int) -> None:
    kept = [check for at, check in enumerate(checks) if at != number]
    ui.workbench().checks.save(ui.actor(), dataset_id, kept)
    ui.done("Check removed")


def _form(version: Row, checks: list[dict[str, Any]]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        column = st.selectbox(
            "Column", [c["name"] for c in version["columns"]], key="check-column", width=220
        )
        kind = st.selectbox(
            "Check", list(KINDS), format_func=LABELS.__getitem__, key="check-kind", width=280
        )
        given = {name: _argument(name, wanted) for name, wanted in KINDS[kind].arguments.items()}
    check = {"check": kind, "column": column, **{k: v for k, v in given.items() if v is not None}}
    st.button("Add check", type="primary", on_click=ui.guarded(_add), args=(version, checks, check))


def _argument(name: str, wanted: type) -> Any:
    """One argument; None while it is left empty."""
    if wanted is list:
        said = st.text_input("Values, with commas between", key="check-values", width=320)
        return [value.strip() for value in said.split(",") if value.strip()] or None
    if wanted is str:
        return st.text_input("Pattern", key=f"check-{name}", width=240) or None
    label = {"min": "At least", "max": "At most"}[name]
    step = 1 if wanted is int else None
    return st.number_input(label, value=None, step=step, key=f"check-{name}", width=130)


def _add(version: Row, checks: list[dict[str, Any]], check: dict[str, Any]) -> None:
    ui.workbench().checks.save(ui.actor(), version["dataset_id"], [*checks, check])
    ui.workbench().checks.run(ui.actor(), version["id"])
    ui.done("Check added and tried on this version")
