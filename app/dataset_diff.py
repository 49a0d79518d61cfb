"""What differs between two tables of rows: counts, columns, and the rows word by word.

    dataset_diff.show(summary, read)     # as `versions.diff` gives it; read(**page) -> rows

Knows: how a difference of rows looks. Does not know: versions, an import that is only staged: both
are shown by it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

import streamlit as st

from app import diff, paging, tables, text, ui
from core.datasets.mapping import ROLES
from core.store.database import Row

Read = Callable[..., list[Row]]
"""Called with kind, column, offset and limit; rows as `Diff.rows` has them."""

PER_PAGE = {"changed": 10, "added": 50, "removed": 50}
KINDS = {"Changed": "changed", "Added": "added", "Removed": "removed"}
ANY = "Any column"
MOST_SHOWN = 4_000  # of a cell's characters: from a little before the first difference on
AROUND = 300
COLUMN_COLUMNS = {
    "name": tables.text("Column", width=170),
    "state": tables.text("What changed", width=300),
    "rows": tables.number("Rows", width=90, help="Rows whose cell differs, or has a value"),
}
STATES = {
    "added": "New column, {role}, {type}",
    "removed": "Column is gone",
    "retyped": "Type: {old_type} before, {type} now",
    "role": "Role: {old_role} before, {role} now",
    "same": "Values",
}


def show(summary: Row, read: Read, *, key: str = "diff", linked: bool = True) -> None:
    """The counts, the columns that differ, then a page of rows of one kind.

    `linked` keeps kind, column and page in the URL; off in a dialog, which has no URL of its own.
    """
    _strip(summary)
    for note in _notes(summary):
        st.caption(note)
    counts = summary["counts"]
    _columns(summary)
    there = [label for label, kind in KINDS.items() if counts[kind]]
    if not there:
        if not any(column["state"] != "same" for column in summary["columns"]):
            st.info("Every row is the same in both.", icon=":material/check:")
        return
    bind: Literal["query-params"] | None = "query-params" if linked else None
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        label = st.segmented_control(
            "Rows", there, default=there[0], required=True, key=f"{key}_rows", bind=bind,
            on_change=_first_page, args=(key,),
        )  # fmt: skip
        kind = KINDS[label or there[0]]
        column, beside, whitespace = None, False, False
        if kind == "changed":
            column = _column_choice(summary, key, bind)
            beside = st.toggle("Side by side", key=f"{key}-beside", persist_state="session")
            whitespace = st.toggle("White space", key=f"{key}-space", persist_state="session")
    total = counts[kind] if column is None else _changed(summary, column)
    offset, limit = _page(total, kind, key, bind)
    rows = read(kind=kind, column=column, offset=offset, limit=limit)
    if kind == "changed":
        sides = _sides(summary) if beside else None
        for row in rows:
            _card(row, summary, sides=sides, whitespace=whitespace)
    else:
        _table(rows, kind, summary, offset)


def told(summary: Row) -> str:
    """`3 rows added, 1 removed, 12 changed`, or that all rows are the same."""
    counts = summary["counts"]
    parts = [f"{text.count(counts[kind])} {kind}" for kind in ("added", "removed", "changed")
             if counts[kind]]  # fmt: skip
    if not parts:
        return "Every row is the same"
    first, *rest = parts
    amount, _, word = first.partition(" ")
    return ", ".join([f"{amount} {'row' if amount == '1' else 'rows'} {word}", *rest])


def _strip(summary: Row) -> None:
    counts = summary["counts"]
    metrics = [
        ui.Metric("Added", text.count(counts["added"])),
        ui.Metric("Removed", text.count(counts["removed"])),
        ui.Metric("Changed", text.count(counts["changed"]), help=_rewritten(summary)),
        ui.Metric("The same", text.count(counts["same"])),
    ]
    ui.metric_strip(metrics)


def _rewritten(summary: Row) -> str | None:
    count = summary["rewritten_count"]
    if not count:
        return None
    return (
        f"{text.count(count)} of them have another id, as an import names a row by its inputs. "
        "They were found by their place and their words."
    )


def _notes(summary: Row) -> list[str]:
    """What the counts leave unsaid."""
    notes = []
    if summary["reordered"]:
        notes.append("Rows that are in both stand in another order. That changes no row.")
    if summary["note"]:
        notes.append(summary["note"])
    if summary["key"] != "row_id":
        notes.append(f"Rows are matched by the column {text.code(summary['key'])}.")
    return notes


def _columns(summary: Row) -> None:
    """The columns that differ; nothing where none does."""
    found = [c for c in summary["columns"] if c["state"] != "same" or c["changed_count"]]
    if not found:
        return
    rows = [{"name": c["name"], "state": _state(c), "rows": c["changed_count"]} for c in found]
    tables.show(
        rows, COLUMN_COLUMNS, alt="Columns that differ and in how many rows",
        height="content" if len(rows) <= 6 else 240,
    )  # fmt: skip


def _state(column: Row) -> str:
    before, after = column["before"] or {}, column["after"] or {}
    return STATES[column["state"]].format(
        role=after.get("role"), type=after.get("type"),
        old_role=before.get("role"), old_type=before.get("type"),
    )  # fmt: skip


def _changed(summary: Row, column: str) -> int:
    return next(int(c["changed_count"]) for c in summary["columns"] if c["name"] == column)


def _column_choice(summary: Row, key: str, bind: Literal["query-params"] | None) -> str | None:
    names = [
        c["name"] for c in summary["columns"] if c["before"] and c["after"] and c["changed_count"]
    ]
    if len(names) < 2:
        return None
    chosen = st.selectbox(
        "Changed in", [ANY, *names], key=f"{key}_column", bind=bind, width=200,
        on_change=_first_page, args=(key,),
    )  # fmt: skip
    return None if chosen == ANY else chosen


def _first_page(key: str) -> None:
    if f"{key}_page" in st.session_state:
        st.session_state[f"{key}_page"] = 1


def _page(total: int, kind: str, key: str, bind: Literal["query-params"] | None) -> tuple[int, int]:
    """Where the page begins, and how many rows it has at most."""
    limit = PER_PAGE[kind]
    return paging.bar(total, limit, f"{kind} row", key=f"{key}_page", bind=bind), limit


def _sides(summary: Row) -> tuple[str, str]:
    return _side(summary, "old"), _side(summary, "new")


def _side(summary: Row, name: str) -> str:
    found = summary.get(name) or {}
    number = found.get("number")
    return f"v{number}" if number else {"old": "Before", "new": "Now"}[name]


def _card(row: Row, summary: Row, *, sides: tuple[str, str] | None, whitespace: bool) -> None:
    """One changed row: where it stands, and each cell that differs."""
    with st.container(border=True, gap="xsmall"):
        place = f"**Row {text.count(row['row_index'] + 1)}**"
        if row["old_row_index"] != row["row_index"]:
            place += f" :gray[row {text.count(row['old_row_index'] + 1)} before]"
        if row["similarity"] is not None:
            place += (
                " :gray-badge[:material/edit: input edited, "
                f"{round(row['similarity'] * 100)} % of the words shared, new id]"
            )
        context = _context(row, summary)
        st.markdown(f"{place}{f' :gray[· {text.escape(context)}]' if context else ''}")
        for name in row["changed"]:
            old, new, cut = around(shown(row["before"][name]), shown(row["after"][name]))
            blank = " :gray[· blank before]" if row["before"][name] is None else ""
            blank += " :gray[· blank now]" if row["after"][name] is None else ""
            st.caption(f"{text.escape(name)}{blank}{f' · {cut}' if cut else ''}")
            if sides is None and _is_exchange(old, new):
                pieces = [("delete", old), ("equal", " → "), ("insert", new)]
                st.html(diff.markup(pieces, whitespace=whitespace))
            else:
                diff.show(old, new, sides=sides, whitespace=whitespace, max_height=320)


def _is_exchange(old: str, new: str) -> bool:
    """One short value instead of another, such as a label: no word of it is kept."""
    both = set(old.lower().split()) & set(new.lower().split())
    return bool(old.strip() and new.strip()) and max(len(old), len(new)) <= 60 and not both


def _context(row: Row, summary: Row) -> str:
    """A line to know the row by: an input that did not change."""
    for column in summary["columns"]:
        name, after = column["name"], column["after"]
        if after and after["role"] == "input" and name not in row["changed"]:
            return text.shorten(shown(row["after"].get(name)), 100)
    return ""


def shown(value: Any) -> str:
    """A cell as text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def around(old: str, new: str) -> tuple[str, str, str]:
    """Long cells from a little before the first difference on, and a note on what is left out.

    A comparison by words takes the square of their number: a whole document would hold the page.
    """
    if max(len(old), len(new)) <= MOST_SHOWN:
        return old, new, ""
    first = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b),
                 min(len(old), len(new)))  # fmt: skip
    start = max(0, first - AROUND)
    before = f"after {text.count(start)} characters that are the same" if start else ""
    longest = max(len(old), len(new)) - start
    rest = f"{text.count(longest - MOST_SHOWN)} more not shown" if longest > MOST_SHOWN else ""
    end = start + MOST_SHOWN
    return old[start:end], new[start:end], ", ".join(part for part in (before, rest) if part)


def _table(rows: list[Row], kind: str, summary: Row, offset: int) -> None:
    """Added or removed rows, whole."""
    side = "before" if kind == "removed" else "after"
    columns = sorted(
        (c[side] for c in summary["columns"] if c[side]),
        key=lambda column: list(ROLES).index(column["role"]),
    )
    listed = [
        {"_number": row["row_index"] + 1, **{n: shown(v) for n, v in row[side].items()}}
        for row in rows
    ]
    tables.show(listed, _widths(columns), alt=f"{kind.capitalize()} rows from {offset + 1}",
                height="content" if len(listed) <= 12 else 460)  # fmt: skip


def _widths(columns: list[Mapping[str, Any]]) -> dict[str, Any]:
    room = {"input": 300, "expected": 130, "metadata": 100}
    return {
        "_number": tables.number("Row", width=60),
        **{c["name"]: tables.text(c["name"], width=room[c["role"]]) for c in columns},
    }
