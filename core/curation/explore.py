"""Exploring a version: its map, search, neighbours of a row, and SQL.

Knows: the map's files beside a version, the model that reads a question. Does not know: how the
map is made (`atlas`), how rows are ranked (`search`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.curation.console import LIMIT_ROWS, ask
from core.curation.embedders import registered
from core.curation.findings import findings_folder
from core.curation.search import Ranked, by_meaning, by_words, fused, nearest
from core.curation.service import Curation
from core.datasets.service import Datasets
from core.datasets.table import Table, quoted
from core.errors import Invalid, LatheError, NotFound
from core.governance.permissions import Actor, action
from core.models import client
from core.models.service import Models
from core.store.database import Row, Store
from core.store.files import read_json

MOST_POINTS = 100_000
"""Points that a map shows; of more rows every n-th."""
MOST_COLOURS = 12
Rows = list[Row]


class Explore:
    """Looking around in the rows of a version."""

    noun = "explore"

    def __init__(
        self, store: Store, datasets: Datasets, curation: Curation, models: Models
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._curation = curation
        self._models = models

    @action
    def map(
        self, actor: Actor, version_id: str, *, colour: str | None = None
    ) -> dict[str, Any] | None:
        """The map, or None before it was made (`curation.analyse` with the part `map`).

        `row_index`, `x`, `y`, `cluster` and `colour` are lists of one length; `colour` has the
        values of that column, or the cluster's title; `clusters` have cluster, size, title.
        """
        version = self._datasets.version(actor, version_id)
        folder = findings_folder(Path(version["path"]))
        told = read_json(folder / "map.json")
        if told is None or not (folder / "points.parquet").exists():
            return None
        every = max(1, -(-int(told["row_count"]) // MOST_POINTS))
        value = "NULL"
        if colour is not None:
            if colour not in {column["name"] for column in version["columns"]}:
                raise Invalid(f"There is no column {colour!r}.", field="colour")
            value = f"CAST(r.{quoted(colour)} AS VARCHAR)"
        found = self._store.rows(
            f"SELECT m.row_index, m.x, m.y, m.cluster, left({value}, 80) AS colour"
            " FROM read_parquet($map) m JOIN read_parquet($rows) r USING (row_index)"
            " WHERE m.row_index % $every = 0 ORDER BY m.row_index",
            {"map": str(folder / "points.parquet"), "rows": version["path"], "every": every},
        )
        titles = {item["cluster"]: item["title"] for item in told["clusters"]}
        values = [
            row["colour"] if colour else titles.get(row["cluster"], "in no cluster")
            for row in found
        ]
        return {
            **told,
            **{name: [row[name] for row in found] for name in ("row_index", "x", "y", "cluster")},
            "colour": _few(values),
            "every": every,
        }

    @action
    def search(
        self, actor: Actor, version_id: str, query: str, *, limit: int = 50
    ) -> dict[str, Any]:
        """Rows by words and by meaning, best first: `rows` (each with `_by`: words, meaning or
        both), and `note` where the meaning could not be asked, else None."""
        version = self._datasets.version(actor, version_id)
        if not query.strip():
            return {"rows": [], "note": None}
        words = by_words(Table.of(version), query)
        meaning, note = self._by_meaning(actor, version, query)
        in_words, in_meaning = {row for row, _ in words}, {row for row, _ in meaning}
        best = [row for row, _ in fused(words, meaning)][:limit]
        how = {
            row: "both"
            if row in in_words & in_meaning
            else "words"
            if row in in_words
            else "meaning"
            for row in best
        }
        rows = self._rows(actor, version, best)
        return {"rows": [{**rows[at], "_by": how[at]} for at in best if at in rows], "note": note}

    @action
    def neighbours(self, actor: Actor, version_id: str, row_index: int, *, limit: int = 10) -> Rows:
        """The rows that mean the most alike, each with `_similarity` (cosine), best first."""
        version = self._datasets.version(actor, version_id)
        if not 0 <= row_index < version["row_count"]:
            raise NotFound(f"{version['label']} has no row {row_index}.")
        found = nearest(self._vectors(version), row_index, limit=limit)
        rows = self._rows(actor, version, [row for row, _ in found])
        return [{**rows[row], "_similarity": alike} for row, alike in found if row in rows]

    @action
    def query(
        self, actor: Actor, version_id: str, sql: str, *, limit: int = LIMIT_ROWS
    ) -> dict[str, Any]:
        """One SELECT over `rows`, and over `signals` and `map` where they exist.

        Returns columns, rows, truncated, elapsed_ms, cut; raises Invalid, see `console`.
        """
        version = self._datasets.version(actor, version_id)
        return asdict(ask(sql, self._tables(version), limit=min(limit, LIMIT_ROWS)))

    @action
    def tables(self, actor: Actor, version_id: str) -> dict[str, list[str]]:
        """The tables that `query` may read, and their columns."""
        import pyarrow.parquet as pq

        found = self._tables(self._datasets.version(actor, version_id))
        return {name: list(pq.read_schema(path).names) for name, path in found.items()}

    def _tables(self, version: Row) -> dict[str, Path]:
        path = Path(version["path"])
        if not path.exists():
            raise NotFound(f"The file of {version['label']} is missing: {path.name}.")
        folder = findings_folder(path)
        beside = {"signals": folder / "signals.parquet", "map": folder / "points.parquet"}
        return {"rows": path} | {name: at for name, at in beside.items() if at.exists()}

    def _vectors(self, version: Row) -> Path:
        path = findings_folder(Path(version["path"])) / "vectors.npy"
        if not path.exists():
            raise NotFound(
                f"The rows of {version['label']} have no vectors yet.",
                hint="Make the map first: on the Curate page, under Explore.",
            )
        return path

    def _by_meaning(self, actor: Actor, version: Row, query: str) -> tuple[Ranked, str | None]:
        """Rows by meaning; or none, and why in words."""
        try:
            path = self._vectors(version)
            told: Mapping[str, Any] = read_json(path.with_name("map.json")) or {}
            model = registered(self._models, actor, Path(str(told.get("model"))))
            if model is None:
                return [], "By words only: the model that the map was made with is not registered."
            spec = self._models.resolve(actor, model["id"])
            (vector,) = client.embed(self._models.endpoint(actor, spec), [query])
            return by_meaning(path, vector), None
        except NotFound:
            return [], "By words only: make the map to search by meaning too."
        except LatheError as error:
            return [], f"By words only: {error.message}"

    def _rows(self, actor: Actor, version: Row, indexes: list[int]) -> dict[int, Row]:
        found = self._curation.rows_at(actor, version["id"], indexes)
        return {row["row_index"]: row for row in found}


def _few(values: list[str | None]) -> list[str]:
    """The values as colours: the most frequent by name, the rest together."""
    counts = Counter(value for value in values if value is not None)
    kept = {value for value, _ in counts.most_common(MOST_COLOURS)}
    if len(counts) == MOST_COLOURS + 1:
        kept = set(counts)  # one other alone is no "other"
    return ["no value" if v is None else v if v in kept else "other values" for v in values]
