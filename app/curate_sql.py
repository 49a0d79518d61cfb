"""SQL over a version: one SELECT, its answer, and what to do with the rows that it names.

Knows: the editor and the answer. Does not know: which queries are let through.
"""

from __future__ import annotations

import csv
import io
from typing import Any

import streamlit as st

from app import curate_recipe, queries, tables, text, ui
from core.curation.console import MOST_CELL
from core.datasets.table import quoted
from core.datasets.values import escape_formula
from core.store.database import Row

ANSWER = "sql-answer"


def show(version: Row) -> None:
    """Draw the view; the query is in the URL once it was run."""
    known = queries.read("explore", "tables", version["id"])
    for name, columns in known.items():
        st.caption(f"{text.code(name)}: {', '.join(map(text.code, columns))}")
    with st.form("sql", border=False):
        sql = st.text_area(
            "One SELECT",
            ui.param("sql") or _example(version),
            height=150,
            key=f"mono-sql-{version['id']}",
        )
        asked = st.form_submit_button("Run query", type="primary", shortcut="Mod+Enter")
    if asked:
        ui.set_params(sql=sql)
        _run(version, sql)
    kept = st.session_state.get(ANSWER)
    if kept is None or kept["version_id"] != version["id"]:
        st.caption(
            "Only SELECT runs, over these tables alone, at most 1,000 rows and 10 s; nothing "
            "outside can be read and nothing is changed."
        )
        return
    _answer(version, kept)


def _run(version: Row, sql: str) -> None:
    st.session_state.pop(ANSWER, None)
    with ui.errors():
        answer = ui.workbench().explore.query(ui.actor(), version["id"], sql)
        st.session_state[ANSWER] = {**answer, "version_id": version["id"], "sql": sql}


def _answer(version: Row, kept: dict[str, Any]) -> None:
    rows = kept["rows"]
    first = "The first " if kept["truncated"] else ""
    st.markdown(
        f"**{first}{text.plural(len(rows), 'row')}** in {text.milliseconds(kept['elapsed_ms'])}"
    )
    if kept["cut"]:
        rows_cut = text.plural(kept["cut"], "row")
        st.caption(
            f"{rows_cut} with cells of more than {text.count(MOST_CELL)} characters: texts are"
            " cut, lists and objects left out."
        )
    columns = {name: _column(name, rows) for name in kept["columns"]}
    tables.show(rows, columns, alt="What the query gave", height=400 if len(rows) > 10 else "auto")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.download_button(
            "Download CSV", _as_csv(kept), f"{version['dataset_name']}-query.csv", "text/csv",
            icon=":material/download:",
        )  # fmt: skip
        if ui.may("datasets.write") and {"row_id", "row_index"} & set(kept["columns"]):
            for mode, label in (("keep", "Keep only these rows"), ("drop", "Drop these rows")):
                st.button(
                    label, on_click=ui.guarded(curate_recipe.add), key=f"sql-{mode}",
                    args=(version, {"step": "query", "sql": kept["sql"], "mode": mode}),
                    help="Goes onto the recipe as this query, and replays on new data",
                )  # fmt: skip
    if not {"row_id", "row_index"} & set(kept["columns"]):
        st.caption("Select `row_id` too, and the rows can be kept, dropped or tagged.")


def _column(name: str, rows: list[dict[str, Any]]) -> Any:
    value = next((row[name] for row in rows if row[name] is not None), None)
    if isinstance(value, int) and not isinstance(value, bool):
        return tables.number(name)
    if isinstance(value, float):
        return tables.number(name, decimals=3)
    return tables.text(name)


def _as_csv(kept: dict[str, Any]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(kept["columns"])
    for row in kept["rows"]:
        writer.writerow([escape_formula(row[name]) for name in kept["columns"]])
    return out.getvalue()


def _example(version: Row) -> str:
    expected = version["expected"]
    if expected:
        counted = f"SELECT {quoted(expected)}, count(*) AS row_count"
        return f"{counted}\nFROM rows GROUP BY ALL ORDER BY 2 DESC"
    return "SELECT row_id, *\nFROM rows LIMIT 20"
