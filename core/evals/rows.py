"""The rows of a dataset version, streamed from its Parquet file.

Knows: how a job finds them without the database. Does not know: imports, models, scorers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from core.datasets.examples import Example, example_of
from core.datasets.files import Column
from core.datasets.values import loaded, text_of
from core.errors import NotFound
from core.store.files import inside

BATCH_ROWS = 256


def locate(home: Path, version: dict[str, Any]) -> dict[str, Any]:
    """Where a dataset version's rows are, relative to the home, and what its columns mean."""
    path = Path(version["path"]).resolve().relative_to(home.resolve())
    return {"path": path.as_posix(), "columns": list(version["columns"])}


def stream_examples(
    home: Path, rows: dict[str, Any], limit: int, only: Collection[str] | None = None
) -> Iterator[Example]:
    """The first `limit` rows in the dataset's order; `rows` is what `locate` gave.

    With `only`, the rows that have one of these ids, as if there were no others.
    """
    import pyarrow.parquet as pq

    path = inside(home, *rows["path"].split("/"))
    if not path.exists():
        raise NotFound(
            f"The rows of the dataset are gone: {rows['path']}.",
            hint="Import the same file again: the same content brings them back.",
        )
    columns = [Column(**column) for column in rows["columns"]]
    kinds = {column.name: column.type for column in columns}
    wanted = None if only is None else frozenset(only)
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            for row in batch.to_pylist():
                if limit <= 0:
                    return
                if wanted is not None and row["row_id"] not in wanted:
                    continue
                limit -= 1
                values = {name: loaded(value, kinds.get(name, "")) for name, value in row.items()}
                yield example_of(values, columns)


def find_example(home: Path, rows: dict[str, Any], row_id: str) -> Example | None:
    """One row by its id."""
    return next(stream_examples(home, rows, 1, (row_id,)), None)


def in_order(home: Path, rows: dict[str, Any], row_ids: Collection[str]) -> list[str]:
    """These ids in the dataset's order; those that it has not are left out."""
    return [example.row_id for example in stream_examples(home, rows, len(row_ids), row_ids)]


def inputs_text(example: Example) -> str:
    """The inputs in one text, for lists and search; a single input goes without its name."""
    texts = {name: text_of(value) or "" for name, value in example.inputs.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return " · ".join(f"{name}: {text}" for name, text in texts.items())
