"""A version on disk for tests of detectors and steps, without a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.curation.findings import findings_folder, write_findings
from core.curation.rows import Rows
from core.curation.tools import Tools
from core.datasets.files import Column
from core.datasets.table import Table, connect


def table_of(folder: Path, values: Sequence[Any], name: str = "text", kind: str = "text") -> Table:
    """A table with one column."""
    return table_with(folder, {name: values}, {name: kind})


def table_with(
    folder: Path, columns: dict[str, Sequence[Any]], kinds: dict[str, str] | None = None
) -> Table:
    """A table with these columns, text unless said otherwise."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = len(next(iter(columns.values())))
    path = folder / "version.parquet"
    pq.write_table(
        pa.table(
            {
                "row_id": [f"row_{index:04x}" for index in range(count)],
                "row_index": pa.array(range(count), pa.int64()),
                **columns,
            }
        ),
        path,
    )
    listed = [Column(name, "input", (kinds or {}).get(name, "text")) for name in columns]
    return Table(path, tuple(listed))


def rows_of(table: Table) -> Rows:
    """The working rows of a table."""
    return Rows.load(connect(), table)


def values_of(rows: Rows, name: str = "text") -> list[Any]:
    """A column of the working rows, in order."""
    return [value for batch in rows.batches([name]) for value in batch[name]]


def analysed(workbench: Any, actor: Any, rows: list[dict[str, Any]], name: str = "Tickets") -> Any:
    """A dataset version with the findings of both detectors beside it."""
    import json

    from core.curation import personal, secrets

    mapping = {
        column: {"role": "input", "name": column, "optional": True}
        for column in dict.fromkeys(key for row in rows for key in row)
    }
    version = workbench.datasets.import_rows(
        actor,
        name=name,
        filename="rows.jsonl",
        data="\n".join(json.dumps(row) for row in rows).encode(),
        mapping=mapping,
    )
    table, folder = Table.of(version), findings_folder(Path(version["path"]))
    tools = Tools(cache=workbench.settings.home / "cache")
    for detector, module in (("personal", personal), ("secrets", secrets)):
        write_findings(folder / f"{detector}.parquet", module.detect(table, tools))
    return version
