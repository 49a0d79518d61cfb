"""The step that splits rows, so that what belongs together never straddles.

Knows: what makes rows belong together, the column `split`. Does not know: how groups are dealt out
(`splits`), whether something leaks all the same (`leakage`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from core.curation.alike import NEAR_THRESHOLD, exact_groups, near_groups
from core.curation.arguments import Argument
from core.curation.conditions import where_sql
from core.curation.duplicates import SEMANTIC, find_groups
from core.curation.rows import Report, Rows
from core.curation.splits import DEFAULT_FRACTIONS, assign, check_fractions, joined
from core.curation.steps.deduplicate import texts_of
from core.curation.steps.rows import SPLIT
from core.curation.steps.text import target_column
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.table import quoted
from core.datasets.values import JSON, TEXT
from core.errors import Invalid

TOGETHER = ("exact", "near", "semantic")

ARGUMENTS = {
    "split": (
        Argument("fractions", "object", "Shares", "Name and share of each split; they sum to 1",
                 required=False, default=DEFAULT_FRACTIONS),
        Argument("stratify", "column", "Keep the shares of", "A column such as the label",
                 required=False),
        Argument("together", "some", "Keep together", "exact, near, semantic duplicates",
                 required=False, default=["exact", "near"]),
        Argument("group_by", "columns", "And rows with the same", "Such as a conversation's id",
                 required=False),
        Argument("slices", "records", "Named slices", "name and where of each: rows that are set"
                 " aside under that name before the others are split", required=False),
        Argument("keep", "flag", "Keep what is split already", "Rows with a split stay in it",
                 required=False, default=False),
        Argument("seed", "integer", "Seed", "The same seed gives the same splits", required=False,
                 default=0),
    ),
}  # fmt: skip


def _check(arguments: dict[str, Any]) -> None:
    check_fractions(arguments.get("fractions") or DEFAULT_FRACTIONS)
    for name in arguments.get("together") or ():
        if name not in TOGETHER:
            raise Invalid(
                f"There are no {name!r} duplicates.",
                field="together",
                hint=f"There are {', '.join(TOGETHER)}.",
            )
    for number, item in enumerate(arguments.get("slices") or ()):
        if not str(item.get("name") or "").strip():
            raise Invalid("A slice has no name.", field=f"slices.{number}.name")
        where_sql(item.get("where") or [], _any_columns(item), field=f"slices.{number}.where")


def _any_columns(item: dict[str, Any]) -> list[Column]:
    """Before the rows are known every column may be there."""
    named = {str(c.get("column")) for c in item.get("where") or () if isinstance(c, dict)}
    return [Column(name, "metadata", TEXT) for name in named]


CHECKS = {"split": _check}


def split(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Write every row's split into the column `split`; the report counts them."""
    _check(arguments)
    fractions = check_fractions(arguments.get("fractions") or DEFAULT_FRACTIONS)
    target_column(rows, SPLIT)
    keys = _cells(rows, "row_id")
    groups = joined(len(keys), _belonging(rows, arguments, tools))
    tools.tell(0.9, "dealing out")
    stratify = arguments.get("stratify")
    found = assign(
        groups,
        [str(key) for key in keys],
        fractions,
        strata=_cells(rows, stratify) if stratify else None,
        fixed=_fixed(rows, arguments, groups),
        seed=int(arguments.get("seed") or 0),
    )
    report = _write(rows, found)
    report.counts = {name: found.count(name) for name in dict.fromkeys([*fractions, *found])}
    report.counts["groups kept together"] = _several(groups)
    return report


def _belonging(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Iterator[list[int]]:
    """Sets of positions (by row_index, from 0) of rows that may not be parted."""
    chosen = arguments.get("together")
    kinds = ["exact", "near"] if chosen is None else chosen
    total = rows.count()
    if "exact" in kinds:
        yield from (list(group.rows) for group in exact_groups(_texts(rows), tools))
    if "near" in kinds:
        found = near_groups(_texts(rows), tools, threshold=NEAR_THRESHOLD, total=total)
        yield from (list(group.rows) for group in found)
    if "semantic" in kinds:
        alike = find_groups(SEMANTIC, lambda: _texts(rows), tools, total=total)
        yield from (list(group.rows) for group in alike)
    for name in arguments.get("group_by") or ():
        by_value: dict[Any, list[int]] = {}
        for at, value in enumerate(_cells(rows, name)):
            if value is not None:
                by_value.setdefault(value, []).append(at)
        yield from by_value.values()


def _fixed(rows: Rows, arguments: dict[str, Any], groups: Any) -> list[str | None] | None:
    """Splits that are decided: slices first, then, where asked, what is there already."""
    slices = arguments.get("slices") or ()
    if not slices and not arguments.get("keep"):
        return None
    found: list[str | None] = [None] * len(groups)
    by_group: dict[int, str] = {}
    for item in slices:
        where, parameters = where_sql(item["where"], rows.columns, field="slices")
        chosen = rows.connection.execute(
            f"SELECT coalesce({where}, false) FROM rows ORDER BY row_index", parameters
        ).fetchall()
        for at, (yes,) in enumerate(chosen):
            if yes:  # a group that two slices want goes whole to the first
                found[at] = by_group.setdefault(int(groups[at]), str(item["name"]).strip())
    if arguments.get("keep"):
        for at, value in enumerate(_cells(rows, SPLIT)):
            if found[at] is None and value and int(groups[at]) not in by_group:
                found[at] = str(value)
    return found


def _texts(rows: Rows) -> Iterator[list[str]]:
    """What rows are compared by: textual inputs, or every textual column but the split."""
    texts = [c.name for c in rows.columns if c.type in (TEXT, JSON) and c.name != SPLIT]
    inputs = [c.name for c in rows.columns if c.role == "input" and c.name in texts]
    names = inputs or texts
    return texts_of(rows, names)()


def _cells(rows: Rows, name: str) -> list[str | None]:
    """One column as text, in row order."""
    if name != "row_id":
        rows.column(name)
    found = rows.connection.execute(
        f"SELECT CAST({quoted(name)} AS VARCHAR) FROM rows ORDER BY row_index"
    ).fetchall()
    return [value for (value,) in found]


def _write(rows: Rows, found: list[str]) -> Report:
    left = iter(found)
    return rows.map(
        [SPLIT], lambda batch: {SPLIT: list(itertools.islice(left, len(batch["row_id"])))}
    )


def _several(groups: Any) -> int:
    import numpy as np

    _, counts = np.unique(groups, return_counts=True)
    return int((counts > 1).sum())
