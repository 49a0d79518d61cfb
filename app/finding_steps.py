"""Which steps of a recipe would mend a finding.

Knows: kinds of findings and the steps that go with them. Does not know: Streamlit, how a step is
done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app import text
from core.curation.steps.personal import TYPES
from core.datasets.values import BOOLEAN, INTEGER, NUMBER
from core.store.database import Row

GROUPS = ("exact_duplicate", "near_duplicate", "semantic_duplicate")
MOST_ROWS = 2_000
"""A step names its rows one by one: beyond this many a rule is the better step."""


@dataclass(frozen=True, slots=True)
class Act:
    """One button."""

    label: str
    icon: str
    help: str
    step: dict[str, Any]
    """As the recipe has it."""


def acts(version: Row, finding: Row, rows: Sequence[Row], *, keep: int | None = None) -> list[Act]:
    """What could be done about a finding, the likeliest first; `rows` are its rows, whole.

    `keep` is the row of a group that stays.
    """
    found = [_relabel(version, finding, rows), *_in_column(finding), _mend(finding, rows)]
    found += [*_drops(version, finding, rows, keep), _tag(finding, rows)]
    return [act for act in found if act is not None]


def fitting(value: Any, kind: str) -> Any:
    """A suggested value as a column of that type holds it; None where it does not fit."""
    told = str(value).strip()
    try:
        if kind == INTEGER:
            return int(told)
        if kind == NUMBER:
            return float(told)
    except ValueError:
        return None
    if kind == BOOLEAN:
        return {"true": True, "false": False}.get(told.lower())
    return value


def _relabel(version: Row, finding: Row, rows: Sequence[Row]) -> Act | None:
    """The label that the rest of the data speaks for."""
    detail, column = finding["detail"], finding["column"]
    if finding["kind"] != "label_error" or "suggested" not in detail or column is None:
        return None
    kind = next((c["type"] for c in version["columns"] if c["name"] == column), "text")
    value = fitting(detail["suggested"], kind)
    if value is None:
        return None
    cells = [
        {"row_id": row["row_id"], "column": column, "value": value, "before": row[column]}
        for row in rows
    ]
    return Act(
        f"Label it “{text.escape(text.shorten(str(value), 40))}”",
        ":material/label:",
        f"Sets {text.escape(column)} in {text.plural(len(cells), 'row')}",
        {"step": "edit_cells", "cells": cells},
    )


def _in_column(finding: Row) -> list[Act]:
    """Steps for the whole column that the finding is in."""
    column = finding["column"]
    if column is None:
        return []
    name = text.escape(column)
    if finding["kind"] == "encoding":
        return [
            Act(f"Repair all of {name}", ":material/build:",
                "Mends every cell of the column that was decoded wrongly",
                {"step": "repair_encoding", "columns": [column]})
        ]  # fmt: skip
    if finding["kind"] in ("personal_data", "secret"):
        given = {"types": [finding["detail"]["type"]]} if finding["detail"].get("type") else {}
        kind = finding["detail"].get("type")
        what = _in_a_sentence(TYPES.get(kind, "hit"))
        return [
            Act(f"Redact every {text.escape(what)} in {name}", ":material/visibility_off:",
                "Puts a word such as [EMAIL] in its place, in every row",
                {"step": "redact", "columns": [column], **given})
        ]  # fmt: skip
    return []


def _in_a_sentence(label: str) -> str:
    """A label without its capital, unless that is how the word is written: AWS, IBAN."""
    return label if label[1:2].isupper() else label[:1].lower() + label[1:]


def _mend(finding: Row, rows: Sequence[Row]) -> Act | None:
    """The one cell as it should read."""
    repaired, column = finding["detail"].get("repaired"), finding["column"]
    if finding["kind"] != "encoding" or repaired is None or column is None or len(rows) != 1:
        return None
    before = rows[0][column]
    if not isinstance(before, str):
        return None
    cell = {"row_id": rows[0]["row_id"], "column": column, "value": repaired, "before": before}
    return Act("Repair this cell", ":material/healing:",
               f"It will read: {text.escape(text.shorten(repaired, 120))}",
               {"step": "edit_cells", "cells": [cell]})  # fmt: skip


def _drops(version: Row, finding: Row, rows: Sequence[Row], keep: int | None) -> list[Act | None]:
    """One button; for what leaks between splits one a split: what stays is on one side then."""
    names = [c["name"] for c in version["columns"] if c["name"].lower() == "split"]
    if finding["kind"] != "leakage" or not names:
        return [_drop(finding, rows, keep)]
    sides: dict[str, list[Row]] = {}
    for row in rows:
        sides.setdefault(str(row[names[0]]), []).append(row)
    if len(sides) == 1:
        return [_drop(finding, rows, keep)]
    return [
        Act(
            f"Drop {text.count(len(found))} of {text.escape(side)}",
            ":material/delete:",
            "They stay in the version before",
            _dropping(finding, found),
        )
        for side, found in sides.items()
    ]


def _drop(finding: Row, rows: Sequence[Row], keep: int | None) -> Act | None:
    """The rows, or all of a group but the one that stays: a group is never dropped whole."""
    gone = [row for row in rows if row["row_index"] != keep]
    if not gone or (finding["kind"] in GROUPS and len(gone) == len(rows)):
        return None
    if keep is not None:
        label = f"Keep row {text.count(keep + 1)}, drop {text.count(len(gone))}"
    else:
        label = "Drop this row" if len(gone) == 1 else f"Drop {text.count(len(gone))} rows"
    step = _dropping(finding, gone)
    return Act(label, ":material/delete:", "They stay in the version before", step)


def _dropping(finding: Row, rows: Sequence[Row]) -> dict[str, Any]:
    ids = [row["row_id"] for row in rows]
    return {"step": "drop_rows", "row_ids": ids, "reason": finding["message"]}


def _tag(finding: Row, rows: Sequence[Row]) -> Act:
    tag = finding["kind"]
    return Act(
        f"Tag as {text.escape(tag)}",
        ":material/sell:",
        "Adds the word to the rows' tags, to filter or export by",
        {"step": "tag", "tags": [tag], "row_ids": [row["row_id"] for row in rows]},
    )
