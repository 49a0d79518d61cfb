"""One group of duplicates: its rows beside each other, what stays, and the decision about it.

Knows: how a group looks, the decision as a recipe step. Does not know: which groups there are.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import curate_recipe, diff, tables, text, ui
from core.curation.groups import keeper_of
from core.curation.shingles import likeness, plain_form
from core.datasets import values
from core.datasets.table import Table
from core.prompts.diff import word_diff
from core.store.database import Row

SHOWN = 6
"""Rows of a group that are drawn; the others are named by number."""
ACROSS = 3
HEIGHT = 230
LONGEST = 20_000  # characters of a text that are drawn


def show(
    version: Row,
    finding: Row,
    members: list[Row],
    *,
    rule: str,
    column: str | None,
    kind: str,
    on_recipe: str | None,
) -> None:
    """Draw a group. `members` are its first rows at least; `on_recipe` says what is pending."""
    records = [_record(version, row, column) for row in members]
    keeper = members[keeper_of(records, rule)]
    with st.container(border=True):
        _head(finding, kind, on_recipe)
        numbers = [row["row_index"] for row in _first(members, keeper)]
        key = f"{finding['id']}-{rule}-{column}"
        keep = st.segmented_control(
            "What stays", numbers, default=keeper["row_index"], key=f"dup-keep-{key}",
            format_func=lambda row: f"Row {text.count(row + 1)}", required=True,
        )  # fmt: skip
        kept = next(row for row in members if row["row_index"] == keep)
        others = [row for row in members if row is not kept]
        if kind == "exact":
            _same(version, [kept, *others])
        else:
            _beside(version, finding, kind, kept, others[: SHOWN - 1])
        _rest(finding, len(members), kind)
        if ui.may("datasets.write"):
            _decide(version, finding, kind, kept, disabled=on_recipe is not None)


def _head(finding: Row, kind: str, on_recipe: str | None) -> None:
    detail = finding["detail"]
    said = [f"**{text.plural(finding['row_count'], 'row')}**"]
    if weakest := detail.get("weakest"):
        said.append(
            f":gray-badge[weakest link {weakest['similarity']:.2f}, rows {_pair(weakest['rows'])}]"
        )
    if detail.get("chain"):
        far = detail["farthest"]
        said.append(
            f":orange-badge[:material/link: chain: rows {_pair(far['rows'])} are only "
            f"{far['similarity']:.2f} alike]"
        )
    if labels := detail.get("labels"):
        told = ", ".join(
            f"{text.escape(text.shorten(name, 30))} ({text.count(len(rows))})"
            for name, rows in list(labels.items())[:4]
        )
        said.append(f":red-badge[:material/error: labels disagree: {told}]")
    if on_recipe:
        said.append(f":green-badge[:material/check: {on_recipe}]")
    st.markdown(" ".join(said))


def _same(version: Row, members: list[Row]) -> None:
    """Rows with one text: the text once, and what else they have."""
    shown = text_of(version, members[0])[:LONGEST]
    st.html(diff.markup([("equal", shown)], max_height=HEIGHT))
    names = [c["name"] for c in version["columns"] if c["name"] not in _texts(version)]
    if not names:
        return
    tables.show(
        [
            {"_row": row["row_index"] + 1, **{name: values.text_of(row[name]) for name in names}}
            for row in members[:50]
        ],
        {"_row": tables.number("Row", width=60), **{name: tables.text(name) for name in names}},
        alt="The other columns of these rows, the one that stays first",
        height="content" if len(members) <= 5 else 215,
    )


def _beside(version: Row, finding: Row, kind: str, kept: Row, others: list[Row]) -> None:
    """The row that stays, and each other one with its differences to it."""
    base = text_of(version, kept)
    drawn = [kept, *others]
    for start in range(0, len(drawn), ACROSS):
        columns = st.columns(min(ACROSS, len(drawn)), gap="small")
        for column, row in zip(columns, drawn[start : start + ACROSS], strict=False):
            with column:
                if row is kept:
                    st.caption(f"**Row {text.count(row['row_index'] + 1)}** stays"
                               + _expected(version, row))  # fmt: skip
                    st.html(diff.markup([("equal", base[:LONGEST])], max_height=HEIGHT))
                    continue
                other = text_of(version, row)
                alike = similarity(finding, kind, (kept, base), (row, other), version)
                st.caption(f"Row {text.count(row['row_index'] + 1)} · {alike}"
                           + _expected(version, row))  # fmt: skip
                pieces = word_diff(base[:LONGEST], other[:LONGEST])
                st.html(diff.markup(pieces, side="new" if kind == "semantic" else "both",
                                    max_height=HEIGHT))  # fmt: skip


def similarity(
    finding: Row, kind: str, one: tuple[Row, str], other: tuple[Row, str], version: Row
) -> str:
    """How alike two rows are, in words: measured for near duplicates, as it was found for the
    same meaning, where links are told by the first row of each text."""
    if plain_form(one[1]) == plain_form(other[1]):
        return "the same words"
    if kind == "near":
        return f"{likeness(one[1], other[1]):.2f} alike"
    wanted = {one[0]["row_index"], other[0]["row_index"]}
    for a, b, cosine in finding["detail"].get("links", []):
        if {a, b} == wanted:
            return f"{cosine:.2f} alike"
    nearly = likeness(one[1], other[1])
    return f"{nearly:.2f} alike in words" if nearly >= 0.5 else "alike by way of other rows"


def _rest(finding: Row, count: int, kind: str) -> None:
    total = finding["row_count"]
    if total > count:
        st.caption(
            f"{text.plural(total - count, 'row')} more are not read here; they go with the others."
        )
    elif kind != "exact" and total > SHOWN:
        st.caption(
            f"{text.plural(total - SHOWN, 'row')} more: "
            + ", ".join(text.count(row + 1) for row in finding["rows"][SHOWN : SHOWN + 20])
        )


def _decide(version: Row, finding: Row, kind: str, kept: Row, *, disabled: bool) -> None:
    going = finding["row_count"] - 1
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        reason = st.text_input(
            "Reason", key=f"dup-why-{finding['id']}", placeholder="Reason, kept in the recipe",
            label_visibility="collapsed", width=360, disabled=disabled,
        )  # fmt: skip
        st.button(
            f"Drop {text.plural(going, 'row')} of this group",
            key=f"dup-drop-{finding['id']}",
            icon=":material/delete_sweep:",
            disabled=disabled,
            help=f"Row {text.count(kept['row_index'] + 1)} stays. Nothing is deleted before the "
            "recipe is applied, and this version stays as it is.",
            on_click=ui.guarded(_drop),
            args=(version, finding["id"], kind, kept["row_id"], reason),
        )


def _drop(version: Row, finding_id: str, kind: str, keep: str, reason: str) -> None:
    """Put the decision on the pending recipe, with those about other groups of that kind."""
    bench, actor = ui.workbench(), ui.actor()
    finding = bench.curation.finding(actor, version["id"], finding_id)
    rows = bench.curation.rows_at(actor, version["id"], finding["rows"])
    drop = [row["row_id"] for row in rows if row["row_id"] != keep]
    decision = {"keep": keep, "drop": drop, "reason": reason.strip()}
    pending = bench.recipes.pending(actor, version["id"])
    last: dict[str, Any] = pending[-1]["step"] if pending else {}
    if last.get("step") == "deduplicate" and last.get("kind") == kind and last.get("groups"):
        step = {**last, "groups": [*last["groups"], decision]}
        bench.recipes.change(actor, version["id"], pending[-1]["index"], step)
        ui.done(f"{text.plural(len(step['groups']), 'group')} decided on the recipe")
        return
    curate_recipe.add(version, {"step": "deduplicate", "kind": kind, "groups": [decision]})


def text_of(version: Row, row: Row) -> str:
    """The text that the row was compared by."""
    return "\n".join(values.text_of(row[n]) or "" for n in _texts(version) if row[n] is not None)


def _texts(version: Row) -> list[str]:
    return Table.of(version).text_columns()


def _expected(version: Row, row: Row) -> str:
    name = version["expected"]
    if not name or row[name] is None:
        return ""
    return f" · {text.escape(text.shorten(values.text_of(row[name]), 60))}"


def _first(members: list[Row], keeper: Row) -> list[Row]:
    shown = members[:SHOWN]
    return shown if keeper in shown else [keeper, *shown[: SHOWN - 1]]


def _record(version: Row, row: Row, column: str | None) -> dict[str, Any]:
    """What the rules look at, see `keeper_of`."""
    return {
        "length": sum(len(values.text_of(row[n]) or "") for n in _texts(version)),
        "filled": sum(not values.is_blank(row[c["name"]]) for c in version["columns"]),
        "label": row[version["expected"]] if version["expected"] else None,
        "newest": row[column] if column else None,
    }


def _pair(rows: list[int]) -> str:
    return " and ".join(text.count(row + 1) for row in rows)
