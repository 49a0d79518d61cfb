"""Steps that change text: white space, Unicode forms, case, words.

Knows: what each rule does to one cell. Does not know: what the text means.
"""

from __future__ import annotations

from typing import Any

from core.curation.arguments import Argument
from core.curation.rows import Report, Rows
from core.curation.tools import Tools

COLUMNS = Argument("columns", "columns", "Columns", "Text columns that it changes")

ARGUMENTS = {
    "trim": (COLUMNS,),
}


def trim(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Take white space off both ends of each cell."""
    report = Report()
    for name in arguments["columns"]:
        rows.column(name)

        def change(batch: dict[str, list[Any]], name: str = name) -> dict[str, list[Any]]:
            return {name: [v.strip() if isinstance(v, str) else v for v in batch[name]]}

        merge(report, rows.map([name], change, check=tools.check))
    return report


def merge(report: Report, other: Report) -> None:
    """Add what one column's change did."""
    report.changed += other.changed
    report.examples = [*report.examples, *other.examples][:20]
    for rule, count in other.counts.items():
        report.counts[rule] = report.counts.get(rule, 0) + count
