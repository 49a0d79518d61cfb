"""A version's rows for whoever computes over them, in any process: no store, one Parquet file.

Knows: the file, its columns, batches in row order. Does not know: the database, what is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.datasets.files import Column
from core.datasets.values import JSON, TEXT
from core.store.database import literal

if TYPE_CHECKING:
    import duckdb

BATCH_ROWS = 4_096
MEMORY = "1GB"


def quoted(name: str) -> str:
    """An identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


def connect(database: str = ":memory:", *, memory: str = MEMORY, temp: Path | None = None) -> Any:
    """A DuckDB of one's own, with nothing but built-in functions and no reach beyond files."""
    import duckdb

    config: dict[str, Any] = {"memory_limit": memory, "autoinstall_known_extensions": False}
    if temp is not None:
        config["temp_directory"] = str(temp)
    connection = duckdb.connect(database, config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one version: `row_id`, `row_index`, then its columns."""

    path: Path
    columns: tuple[Column, ...]

    @classmethod
    def of(cls, version: Mapping[str, Any]) -> Table:
        """The table of a row of `Datasets.version`, or of a job's payload with the same keys."""
        return cls(Path(version["path"]), tuple(Column(**column) for column in version["columns"]))

    def to_dict(self) -> dict[str, Any]:
        """As a job's payload has it: for `of`."""
        return {"path": str(self.path), "columns": [column.to_dict() for column in self.columns]}

    def names(self, role: str) -> list[str]:
        """The columns that play a role."""
        return [column.name for column in self.columns if column.role == role]

    def text_columns(self) -> list[str]:
        """The columns whose text a row is judged by: textual inputs, or every textual column."""
        found = [c.name for c in self.columns if c.type in (TEXT, JSON)]
        inputs = [name for name in found if name in self.names("input")]
        return inputs or found

    def connect(self, *, memory: str = MEMORY) -> duckdb.DuckDBPyConnection:
        """A DuckDB with this file as the view `rows`."""
        connection = connect(memory=memory, temp=self.path.parent / ".tmp")
        connection.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet({literal(self.path)})")
        return connection  # type: ignore[no-any-return]

    def batches(self, names: Sequence[str], size: int = BATCH_ROWS) -> Iterator[Any]:
        """Arrow record batches of these columns, in row order; the file is never held whole."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            yield from file.iter_batches(batch_size=size, columns=list(names))

    def texts(
        self, names: Sequence[str] | None = None, size: int = BATCH_ROWS
    ) -> Iterator[list[str]]:
        """The text of each row, batch by batch: its text columns, a line each, blanks left out."""
        chosen = list(names) if names is not None else self.text_columns()
        for batch in self.batches(chosen, size):
            columns = [batch.column(name).to_pylist() for name in chosen]
            yield [
                "\n".join(str(value) for value in row if value is not None)
                for row in zip(*columns, strict=True)
            ]

    def count(self) -> int:
        """How many rows, from the file's footer."""
        import pyarrow.parquet as pq

        return int(pq.read_metadata(self.path).num_rows)
