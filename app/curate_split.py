"""The Split area: how the rows are dealt out now, what leaks, and the form of a new split.

Knows: the form, the table of splits, the leakage list. Does not know: how rows are dealt out.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import curate_job, curate_recipe, queries, tables, text, ui
from core.curation.splits import DEFAULT_FRACTIONS
from core.datasets.table import quoted
from core.store.database import Row

SPLIT = "split"
MOST_LABELS = 5  # rows for each value of a column that is a label
MOST_COLUMNS = 10  # labels that are counted by split
TOGETHER = {
    "exact": "Exact duplicates",
    "near": "Near duplicates",
    "semantic": "Rows of the same meaning",
}
LEAK_COLUMNS = {
    "message": tables.text("What leaks", width=520),
    "severity": tables.text("Severity", width=90),
    "row_count": tables.number("Rows", width=80),
}


def show(version: Row) -> None:
    """Draw the area."""
    names = [column["name"] for column in version["columns"]]
    if SPLIT in names:
        _counts(version)
        _leakage(version)
    else:
        st.info(
            "These rows are not split yet. A split is a column of the version: train, validation, "
            "test, or any name of yours. Rows that belong together are never parted.",
            icon=":material/call_split:",
        )
    if ui.may("datasets.write"):
        st.markdown("**Split again**" if SPLIT in names else "**Split the rows**")
        _form(version, names)


def _counts(version: Row) -> None:
    """Rows by split, and by the expected answer where it is a label."""
    label = version["expected"] if 1 < _answer_count(version) <= MOST_COLUMNS else None
    extra = f", {quoted(label)} AS label" if label else ""
    with ui.errors():
        sql = f"SELECT split{extra}, count(*) AS n FROM rows GROUP BY ALL ORDER BY ALL"  # noqa: S608
        found = queries.read("explore", "query", version["id"], sql)["rows"]
        total = max(1, sum(row["n"] for row in found))
        labels = list(dict.fromkeys(row.get("label") for row in found))
        by_split: dict[Any, dict[str, Any]] = {}
        for row in found:
            name = row["split"] or "no split"
            told = by_split.setdefault(name, {"split": name, "row_count": 0})
            told["row_count"] += row["n"]
            told[f"label {row.get('label')}"] = row["n"]
        columns = {
            "split": tables.text("Split", width=140),
            "row_count": tables.number("Rows", width=80),
            "share": tables.percent("Share", width=80),
        }
        if label:
            columns |= {
                f"label {name}": tables.number(
                    {None: "no value", "": "blank"}.get(name, str(name)), width=90
                )
                for name in labels
            }
        usual = list(DEFAULT_FRACTIONS)
        order = sorted(by_split, key=lambda one: usual.index(one) if one in usual else len(usual))
        rows = [{**by_split[one], "share": by_split[one]["row_count"] / total} for one in order]
        tables.show(rows, columns, alt="Rows by split", height="content")


def _label(version: Row) -> str | None:
    """The expected column where it is a label: few values for many rows."""
    is_label = 1 < _answer_count(version) <= version["row_count"] / MOST_LABELS
    return str(version["expected"]) if is_label else None


def _answer_count(version: Row) -> int:
    """How many different expected answers there are; 0 where there is no such column."""
    if version["expected"] is None:
        return 0
    sql = f"SELECT count(DISTINCT {quoted(version['expected'])}) AS n FROM rows"  # noqa: S608
    with ui.errors():
        (row,) = queries.read("explore", "query", version["id"], sql)["rows"]
        return int(row["n"])
    return 0


def _leakage(version: Row) -> None:
    status = curate_job.status(version)
    part = next(part for part in status["parts"] if part["name"] == "leakage")
    if part["state"] == "running":
        curate_job.progress(version["id"])
        return
    if part["state"] != "done":
        st.button(
            "Look for leakage", icon=":material/water_drop:",
            on_click=ui.guarded(_look), args=(version["id"],),
            help="The same or nearly the same text in two splits, or in another dataset",
        )  # fmt: skip
        return
    found = queries.read("curation", "findings", version["id"], kind="leakage", limit=200)
    if not found:
        st.success(
            "Nothing leaks: no text stands in two splits, nor in another dataset here.",
            icon=":material/check:",
        )
    else:
        st.warning(f"{text.plural(len(found), 'leak')} found.", icon=":material/water_drop:")
        tables.show(found, LEAK_COLUMNS, alt="Leaks, worst first", height="content")
        st.caption("A new split that keeps duplicates together removes leaks between splits.")


def _look(version_id: str) -> None:
    ui.workbench().curation.analyse(ui.actor(), version_id, detectors=["leakage"])


def _form(version: Row, names: list[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        shares = {
            name: st.number_input(
                f"{name.capitalize()} %", 0, 100, round(share * 100), key=f"share-{name}", width=130
            )
            for name, share in DEFAULT_FRACTIONS.items()
        }
        seed = st.number_input("Seed", 0, value=0, key="split-seed", width=110)
        texts = [None, *(name for name in names if name != SPLIT)]
        stratify = st.selectbox(
            "Keep the shares of", texts, key="split-by", width=220,
            index=texts.index(_label(version)),
            format_func=lambda name: name or "nothing",
        )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        together = st.pills(
            "Never part", list(TOGETHER), format_func=TOGETHER.__getitem__,
            selection_mode="multi", default=["exact", "near"], key="split-together",
        )  # fmt: skip
        group_by = st.multiselect(
            "Nor rows with the same", [name for name in names if name != SPLIT],
            key="split-groups", width=320, placeholder="such as a conversation's id",
        )  # fmt: skip
    keep = SPLIT in names and st.checkbox("Rows that have a split stay in it", key="split-keep")
    total = sum(shares.values())
    if total != 100:
        st.warning(f"The shares sum to {total} %, not to 100 %.", icon=":material/percent:")
    step: dict[str, Any] = {
        "step": "split",
        "fractions": {name: share / 100 for name, share in shares.items() if share},
        "together": together,
        "seed": int(seed),
        **({"stratify": stratify} if stratify else {}),
        **({"group_by": group_by} if group_by else {}),
        **({"keep": True} if keep else {}),
    }
    st.button(
        "Add split to the recipe", type="primary", disabled=total != 100,
        on_click=ui.guarded(curate_recipe.add), args=(version, step),
        help="Nothing changes before the recipe is saved as a new version",
    )  # fmt: skip
