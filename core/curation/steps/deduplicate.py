"""The step that leaves one row of each group of duplicates.

With `groups` it does what a person decided, whatever the rows are now; without, it looks for
duplicates again and keeps one by a rule. No group ever loses all its rows.

Knows: decisions, rules, working rows. Does not know: how duplicates are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.curation.arguments import Argument
from core.curation.duplicates import NEAR, THRESHOLDS, find_groups, threshold_of
from core.curation.groups import (
    RULES,
    Decision,
    Group,
    dropped,
    keeper_of,
    parse_decisions,
)
from core.curation.rows import EXAMPLES, Report, Rows
from core.curation.tools import Tools
from core.datasets.table import Table, quoted
from core.datasets.values import is_blank
from core.errors import Invalid

ARGUMENTS = {
    "deduplicate": (
        Argument("kind", "choice", "Kind", "The same text, nearly the same, or the same meaning",
                 required=False, default=NEAR, choices=tuple(THRESHOLDS)),
        Argument("threshold", "number", "Similarity", "From which on rows are duplicates",
                 required=False, least=0, most=1),
        Argument("keep", "choice", "What stays", "The rule by which one row of a group stays",
                 required=False, default="first", choices=tuple(RULES)),
        Argument("column", "column", "Column", "For the rule newest: the largest value stays",
                 required=False),
        Argument("groups", "records", "Decisions", "keep, drop and reason of each group",
                 required=False),
        Argument("reason", "text", "Reason", "Stays in the recipe", required=False, default=""),
    ),
}  # fmt: skip


def check(arguments: dict[str, Any]) -> None:
    """What the kinds of arguments cannot say: Invalid names the one that is wrong."""
    if arguments.get("groups") is not None:
        parse_decisions(arguments["groups"])
    threshold_of(arguments.get("kind") or NEAR, arguments.get("threshold"))
    if arguments.get("keep") == "newest" and not arguments.get("column"):
        raise Invalid("The rule newest needs the column that tells it.", field="column")


CHECKS = {"deduplicate": check}


def deduplicate(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Drop duplicates, one row of each group stays.

    Counts: `groups`, the rows dropped by reason or rule, and with decisions `kept as the last of
    a group` (dropping them would have left nothing of another group) and `not there`.
    """
    check(arguments)
    if arguments.get("groups") is not None:
        return _decided(rows, parse_decisions(arguments["groups"]))
    return _by_rule(rows, arguments, tools)


def _decided(rows: Rows, decisions: list[Decision]) -> Report:
    named = {row for decision in decisions for row in (decision.keep, *decision.drop)}
    present = {row_id for batch in rows.batches([]) for row_id in batch["row_id"]} & named
    gone = dropped(decisions, present)
    wanted = {row for decision in decisions for row in decision.drop}
    counts = {"groups": sum(any(row in present for row in d.drop) for d in decisions)}
    for decision in gone.values():
        reason = decision.reason or "no reason given"
        counts[reason] = counts.get(reason, 0) + 1
    for name, count in (
        ("kept as the last of a group", len((wanted & present) - set(gone))),
        ("not there", len(named - present)),
    ):
        if count:
            counts[name] = count
    return _drop(rows, {row: (d.keep, d.reason) for row, d in gone.items()}, counts)


def _by_rule(rows: Rows, arguments: Mapping[str, Any], tools: Tools) -> Report:
    names = Table(Path(), tuple(rows.columns)).text_columns()
    if not names:
        raise Invalid("There is no column of text to compare.", field="kind")
    kind, rule = arguments.get("kind") or NEAR, arguments.get("keep") or "first"
    groups = find_groups(
        kind, texts_of(rows, names), tools, threshold=arguments.get("threshold"), total=rows.count()
    )
    reason = arguments.get("reason") or f"{kind} duplicate; {RULES[rule].lower()} stays"
    gone: dict[str, tuple[str, str]] = {}
    for records in _records(rows, groups, names, arguments.get("column"), rule):
        keeper = records[keeper_of(records, rule)]["row_id"]
        gone.update({r["row_id"]: (keeper, reason) for r in records if r["row_id"] != keeper})
    counts = {"groups": len(groups)} | ({reason: len(gone)} if gone else {})
    return _drop(rows, gone, counts)


def texts_of(rows: Rows, names: Sequence[str]) -> Callable[[], Iterator[list[str]]]:
    """The working rows' texts as `Table.texts` gives those of a version."""
    return lambda: (_joined(batch, names) for batch in rows.batches(names))


def _joined(batch: Mapping[str, list[Any]], names: Sequence[str]) -> list[str]:
    return [
        "\n".join(str(value) for value in values if value is not None)
        for values in zip(*(batch[name] for name in names), strict=True)
    ]


def _records(
    rows: Rows, groups: Sequence[Group], names: Sequence[str], column: str | None, rule: str
) -> Iterator[list[dict[str, Any]]]:
    """What `keeper_of` needs of each group's rows, group by group."""
    expected = [c.name for c in rows.columns if c.role == "expected"]
    extra = {
        "first": [],
        "longest": list(names),
        "newest": [rows.column(column).name] if column else [],
        "complete": [c.name for c in rows.columns],
        "label": expected[:1],
    }[rule]
    wanted = {row for group in groups for row in group.rows}
    found: dict[int, dict[str, Any]] = {}
    at = 0
    for batch in rows.batches(list(dict.fromkeys(extra))):
        for place in range(len(batch["row_id"])):
            if at in wanted:
                found[at] = _record(batch, place, extra, rule)
            at += 1
    for group in groups:
        yield [found[row] for row in group.rows]


def _record(
    batch: Mapping[str, list[Any]], place: int, extra: Sequence[str], rule: str
) -> dict[str, Any]:
    """Only what is compared is kept: lengths and counts instead of texts."""
    cells = [batch[name][place] for name in extra]
    record: dict[str, Any] = {"row_id": batch["row_id"][place]}
    if rule == "longest":
        record["length"] = sum(len(str(cell)) for cell in cells if cell is not None)
    elif rule == "complete":
        record["filled"] = sum(not is_blank(cell) for cell in cells)
    elif cells:
        record[rule] = cells[0]
    return record


def _drop(rows: Rows, gone: Mapping[str, tuple[str, str]], counts: dict[str, int]) -> Report:
    """Remove rows by id: row_id -> the row that stays instead, and why."""
    import pyarrow as pa

    report = Report(counts=counts)
    if not gone:
        return report
    names = Table(Path(), tuple(rows.columns)).text_columns()
    rows.connection.register("dropped_rows", pa.table({"row_id": list(gone)}))
    try:
        report.examples = _examples(rows, gone, names)
        report.removed = rows.keep("row_id NOT IN (SELECT row_id FROM dropped_rows)")
    finally:
        rows.connection.unregister("dropped_rows")
    return report


def _examples(
    rows: Rows, gone: Mapping[str, tuple[str, str]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """The first rows that go: their text as `before`, which row stays instead, and why."""
    column = names[0] if names else None
    cell = quoted(column) if column else "NULL"
    found = rows.connection.execute(
        f"SELECT row_id, row_index, CAST({cell} AS VARCHAR) FROM rows"
        " WHERE row_id IN (SELECT row_id FROM dropped_rows)"
        f" ORDER BY row_index LIMIT {EXAMPLES}"
    ).fetchall()
    return [
        {
            "row_id": row_id,
            "row_index": row_index,
            "column": column,
            "before": text,
            "after": None,
            "kept": gone[row_id][0],
            "reason": gone[row_id][1],
        }
        for row_id, row_index, text in found
    ]
