"""Parquet and Arrow files as rows, a thousand at a time.

Knows: Arrow's types, names of class labels as Hugging Face writes them. Does not know: folders.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from core.datasets.records import Record, checked_columns, unreadable
from core.datasets.values import plain

BATCH_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Parquet:
    """A reader of one Parquet file."""

    open: Callable[[], AbstractContextManager[BinaryIO]]

    def columns(self) -> list[str]:
        """The columns of its schema."""
        with self.open() as file, _parquet_file(file) as parquet:
            return checked_columns([str(name) for name in parquet.schema_arrow.names])

    def records(self) -> Iterator[Record]:
        """Rows in order; a file that is damaged further on is Invalid when it gets there."""
        with self.open() as file, _parquet_file(file) as parquet:
            checked_columns([str(name) for name in parquet.schema_arrow.names])
            labels = class_labels(parquet.schema_arrow)
            yield from _records(parquet.iter_batches(batch_size=BATCH_ROWS), labels, "Parquet")


@dataclass(frozen=True, slots=True)
class Arrow:
    """A reader of one Arrow file, in the stream or the file format."""

    path: Path

    def columns(self) -> list[str]:
        """The columns of its schema."""
        with _arrow_batches(self.path) as (schema, _):
            return checked_columns([str(name) for name in schema.names])

    def records(self) -> Iterator[Record]:
        """Rows in order, the file mapped into memory rather than read."""
        with _arrow_batches(self.path) as (schema, batches):
            checked_columns([str(name) for name in schema.names])
            yield from _records(batches, class_labels(schema), "Arrow")


def class_labels(schema: Any) -> dict[str, list[str]]:
    """Column -> names of its classes, where `datasets` wrote integers for them."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {
            name: [str(label) for label in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def rows_of(batch: Any, labels: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    """The rows of a record batch as JSON has them, class numbers as their names."""
    for start in range(0, batch.num_rows, BATCH_ROWS):
        for row in batch.slice(start, BATCH_ROWS).to_pylist():
            values = {name: plain(item) for name, item in row.items()}
            for name, names in labels.items():
                number = values.get(name)
                if isinstance(number, int) and 0 <= number < len(names):
                    values[name] = names[number]
            yield values


def _records(batches: Any, labels: dict[str, list[str]], what: str) -> Iterator[Record]:
    import pyarrow as pa

    index = 0
    try:
        for batch in batches:
            for values in rows_of(batch, labels):
                yield Record(index, None, values)
                index += 1
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise damaged(what, error) from None


def damaged(what: str, error: Exception) -> Exception:
    """The error for a file that the Arrow library cannot read."""
    first = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return unreadable(f"The {what} file is damaged: {first}.", "Write it again.")


@contextlib.contextmanager
def _parquet_file(file: BinaryIO) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file, buffer_size=1024**2, pre_buffer=False)
        parquet.schema_arrow  # noqa: B018  # a schema that Arrow does not know fails here
    except (pa.ArrowException, OSError, ValueError) as error:
        raise damaged("Parquet", error) from None
    with parquet:
        yield parquet


@contextlib.contextmanager
def _arrow_batches(path: Path) -> Iterator[tuple[Any, Iterator[Any]]]:
    import pyarrow as pa

    with contextlib.ExitStack() as stack:
        try:
            mapped = stack.enter_context(pa.memory_map(str(path)))
            if mapped.read(6) == b"ARROW1":
                file = stack.enter_context(pa.ipc.open_file(mapped))
                batches = (file.get_batch(number) for number in range(file.num_record_batches))
                found = (file.schema, batches)
            else:
                mapped.seek(0)
                stream = stack.enter_context(pa.ipc.open_stream(mapped))
                found = (stream.schema, iter(stream))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise damaged("Arrow", error) from None
        yield found
