"""Previews: steps done to a copy of the rows in memory, so that a person sees what they would do.

Knows: how many rows are tried. Does not know: the store, pending steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from core.curation.duplicates import SEMANTIC
from core.curation.recipe import Step
from core.curation.replay import do_step
from core.curation.rows import Rows
from core.curation.steps import STEPS
from core.curation.tools import Tools
from core.datasets.table import Table, connect

PREVIEW_ROWS = 50_000
ASKED_ROWS = 5
"""Rows tried where a step asks a model: each takes seconds."""
EMBEDDED_ROWS = 2_000
"""Rows tried where a step embeds: some tens a second on a CPU."""
ASKING = ("prompt",)
MEMORY = "1GB"
MOST_DISK = "4GB"
QUERY_TIMEOUT_S = 20.0
"""For a step with a query: a page waits, in the process that everybody shares."""


def preview(
    table: Table, steps: Sequence[Step], tools: Tools, *, most_rows: int = PREVIEW_ROWS
) -> dict[str, Any]:
    """`row_count`, `tried_count` and one entry a step; see `Recipes.preview`."""
    total = table.count()
    asks = any(step["step"] in ASKING for step in steps)
    if any(embeds(step) for step in steps):
        most_rows = min(most_rows, EMBEDDED_ROWS)
    tried = []
    tools = dataclasses.replace(tools, query_timeout_s=QUERY_TIMEOUT_S)
    with connect(memory=MEMORY) as connection:
        connection.execute(f"SET max_temp_directory_size = '{MOST_DISK}'")
        rows = (
            Rows.load(connection, table)
            if total <= most_rows and not asks
            else _some(connection, table, total, ASKED_ROWS if asks else most_rows, first=asks)
        )
        count = rows.count()
        for number, step in enumerate(steps):
            report = do_step(rows, number, step, tools)
            tried.append(
                {
                    "step": step["step"],
                    "label": STEPS[step["step"]].label,
                    "rows": rows.count(),
                    **report.to_dict(),
                }
            )
    return {"row_count": total, "tried_count": count, "steps": tried}


def embeds(step: Step) -> bool:
    """Whether a step looks at meanings, in whichever of its arguments it says so."""
    return step.get("kind") == SEMANTIC or SEMANTIC in (step.get("together") or ())


def _some(connection: Any, table: Table, total: int, most: int, *, first: bool) -> Rows:
    """The first rows, or as many spread over the whole version."""
    every = 1 if first else -(-total // most)
    connection.execute(
        "CREATE TABLE rows AS SELECT * FROM read_parquet($path)"
        " WHERE row_index % $every = 0 ORDER BY row_index LIMIT $most",
        {"path": str(table.path), "every": every, "most": most},
    )
    return Rows(connection, table.columns)
