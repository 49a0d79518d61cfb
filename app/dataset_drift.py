"""Drift between two versions: a line a column, and the distributions of the one selected.

Knows: how measures are shown. Does not know: how they are computed.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import charts_versions, observe, panels, tables, text
from core.store.database import Row

VERDICTS = {"drifted": "red", "shifted": "orange", "stable": "green", "not enough data": "gray"}
MEASURES = {"values": "values", "length": "length of text", "categories": "categories"}
QUESTIONS = {
    "values": "How are the values of {} distributed?",
    "length": "How many characters have the texts of {}?",
    "categories": "How often does {} have each value?",
}
COLUMNS = {
    "name": tables.text("Column", width=150),
    "what": tables.text("Compared by", width=110),
    "verdict": tables.badges("Verdict", VERDICTS, width=115),
    "psi": tables.number("PSI", decimals=3, width=75,
                         help="Population stability index: 0.1 shifted, 0.25 drifted"),
    "null_95": tables.number("By chance", decimals=3, width=95,
                             help="What PSI stays under in 95 of 100 pairs of this size when "
                                  "nothing differs"),
    "effect": tables.number("Effect", decimals=3, width=80,
                            help="Numbers: Cliff's delta, above 0 when values grew; small from "
                                 "0.147, large from 0.474. Categories: Cramér's V; small from "
                                 "0.1, large from 0.5"),
    "statistic": tables.number("Statistic", decimals=3, width=90,
                               help="Numbers: Kolmogorov-Smirnov distance. Categories: chi-square"),
    "p": tables.text("p", width=75, help="How often chance alone would look at least this far off"),
}  # fmt: skip
BIN_COLUMNS = {
    "label": tables.text("Bin", width=220),
    "old": tables.percent("Before", width=100),
    "new": tables.percent("Now", width=100),
}


def show(found: Row, older: Row, newer: Row) -> None:
    """The columns, most drifted first, and the shares of rows of the one that is selected."""
    columns = found["columns"]
    if not columns:
        st.info("The two versions have no column in common that can be compared.")
        return
    st.markdown(f"**From v{older['number']} to v{newer['number']}:** {told(columns)}.")
    picked = tables.pick(
        [_line(entry) for entry in columns],
        COLUMNS,
        key=f"drift-{older['id']}-{newer['id']}",
        alt="Columns and how far their values are from before, most drifted first",
        height="content" if len(columns) <= 10 else 400,
    )
    st.caption(
        f"{text.plural(found['old_count'], 'row')} before, {text.count(found['new_count'])} now. "
        "A column has drifted when PSI is above both its cut-off and what chance gives. Select a "
        "column to see its distribution."
    )
    entry = next((e for e in columns if picked and _key(e) == _key(picked)), columns[0])
    names = (f"v{older['number']}", f"v{newer['number']}")
    panels.chart(
        QUESTIONS[entry["measure"]].format(text.escape(entry["name"])),
        charts_versions.drift_bins(entry["bins"], names=names, theme=observe.theme()),
        rows=entry["bins"],
        columns=BIN_COLUMNS,
        key=f"drift-bins-{older['id']}-{newer['id']}-{entry['name']}-{entry['measure']}",
        note=_method(entry),
    )
    if found["mmd"]:
        _meaning(found["mmd"], found["embedded_by"])
    else:
        _unknown(found, older, newer)


def told(columns: list[Row]) -> str:
    """`2 columns drifted, 1 shifted`, or that nothing did."""
    count = {name: sum(c["verdict"] == name for c in columns) for name in VERDICTS}
    parts = [f"{text.plural(count[name], 'column')} {name}" for name in ("drifted", "shifted")
             if count[name]]  # fmt: skip
    if parts:
        return ", ".join(parts)
    if count["stable"]:
        return "no column drifted"
    return "not enough data: fewer than 50 rows on a side"


def _line(entry: Row) -> dict[str, Any]:
    return {
        **entry,
        "what": MEASURES[entry["measure"]],
        "verdict": [entry["verdict"]],
        "p": _p_value(entry["p_value"]),
    }


def _key(entry: Row) -> tuple[str, str]:
    return entry["name"], entry["measure"]


def _p_value(value: float | None) -> str:
    if value is None:
        return text.NOTHING
    return "< 0.001" if value < 0.001 else text.significant(value, 2)


def _method(entry: Row) -> str:
    if entry["psi"] is None:
        return "Fewer than 50 rows on a side, or a single value: no verdict."
    dealt = entry["method"] == "permutation"
    how = "by dealing the rows anew" if dealt else "by its chi-square limit"
    return (
        f"PSI {text.significant(entry['psi'])}; by chance it stays under "
        f"{text.significant(entry['null_95'])} in 95 of 100 pairs ({how})."
    )


def _meaning(mmd: Row, model: str | None) -> None:
    """Whether the texts' embeddings differ."""
    differs = mmd["p_value"] < 0.05
    word = "mean something else" if differs else "do not differ in meaning beyond chance"
    icon = ":orange[:material/difference:]" if differs else ":green[:material/check:]"
    p = _p_value(mmd["p_value"])
    st.markdown(f"{icon} **Meaning:** the rows {word}.")
    st.caption(
        f"Squared MMD of the embeddings {text.significant(mmd['squared'])}, "
        f"p {p if p.startswith('<') else f'= {p}'}; {text.count(mmd['n_old'])} rows before and "
        f"{text.count(mmd['n_new'])} now, embedded by {text.escape(model or 'one model')}."
    )


def _unknown(found: Row, older: Row, newer: Row) -> None:
    """Why it cannot be said whether the rows mean something else, and what to do."""
    missing = [row for row in (older, newer) if row["id"] in found["not_embedded"]]
    if missing:
        names = " and ".join(
            f"[v{row['number']}](/curate?version={row['id']}&area=Explore)" for row in missing
        )
        said = f"it is compared where both versions have a map; make that of {names}."
    elif found["embedded_by"] is None:
        said = "the two maps were made by different models; make one of them anew."
    else:
        said = "fewer than 50 rows on a side."
    st.caption(f"**Meaning:** {said}")
