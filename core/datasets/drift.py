"""Drift between two versions: whether the rows of the one could be rows of the other.

Numbers and lengths of texts are compared by PSI over ten bins and by KS, what has few values by
PSI and chi-square. With a million rows every test finds a difference, so the verdict asks for two
things: PSI above its null 95% point (it is no chance) and above the usual cut-off (it is worth a
look): 0.1 shifted, 0.25 drifted.

Knows: columns, which measure fits one. Does not know: versions; how vectors of texts are made.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from core.datasets.distance import Psi, bin_edges, binned, chi_square, ks, mmd, psi_with_null
from core.datasets.table import Table, quoted
from core.datasets.values import BOOLEAN, INTEGER, NUMBER

if TYPE_CHECKING:
    import duckdb
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST_CATEGORIES = 50
"""A text column with more values is compared by its lengths alone."""
SHIFTED, DRIFTED = 0.1, 0.25
VALUES, LENGTH, CATEGORIES = "values", "length", "categories"
ORDER = ("drifted", "shifted", "stable", "not enough data")
MISSING, OTHER = "(missing)", "(other)"


def drift(old: Table, new: Table, *, vectors: tuple[Array, Array] | None = None) -> dict[str, Any]:
    """Drift of every column that both tables have, the most drifted first.

    `columns`: each with `name`, `measure` (values, length of text, categories), `verdict`, `psi`,
    `null_95`, `method`, `statistic` (KS or chi-square), `p_value`, `effect` (Cliff's delta or
    Cramer's V), `bins` (label, old share, new share). `old_count`, `new_count` are rows. `vectors`
    are embeddings of rows of either, (n, d): then `mmd` says whether the texts mean something else.
    """
    kinds = {column.name: column.type for column in old.columns}
    shared = [column for column in new.columns if column.name in kinds]
    found: list[dict[str, Any]] = []
    with old.connect() as before, new.connect() as after:
        for column in shared:
            both = (kinds[column.name], column.type)
            for measure in _measures(before, after, column.name, both):
                found.append(_compared(before, after, column.name, measure))
    found.sort(key=lambda entry: (ORDER.index(entry["verdict"]), -(entry["psi"] or 0.0)))
    distance = mmd(*vectors) if vectors is not None else None
    return {
        "old_count": old.count(),
        "new_count": new.count(),
        "columns": found,
        "mmd": None if distance is None else asdict(distance),
    }


def verdict(psi: Psi | None) -> str:
    """drifted, shifted, stable, or not enough data."""
    if psi is None:
        return ORDER[3]
    if psi.value <= max(psi.null_95, SHIFTED):
        return ORDER[2]
    return ORDER[0] if psi.value > DRIFTED else ORDER[1]


Connection = Any  # of DuckDB, with the view `rows`


def _measures(
    before: Connection, after: Connection, name: str, kinds: tuple[str, str]
) -> Iterator[str]:
    """What one column is compared by."""
    numbers = {INTEGER, NUMBER}
    if set(kinds) <= numbers:
        yield VALUES
    elif kinds == (BOOLEAN, BOOLEAN):
        yield CATEGORIES
    elif not numbers & set(kinds) and BOOLEAN not in kinds:
        if _is_category(before, name) and _is_category(after, name):
            yield CATEGORIES
        else:
            yield LENGTH


def _is_category(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    """Few values, each in several rows on average."""
    cell = quoted(name)
    count, distinct = connection.execute(
        f"SELECT count({cell}), count(DISTINCT {cell}) FROM rows"
    ).fetchall()[0]
    return bool(distinct <= MOST_CATEGORIES and (distinct <= 2 or count >= 5 * distinct))


def _compared(before: Connection, after: Connection, name: str, measure: str) -> dict[str, Any]:
    test: Any
    if measure == CATEGORIES:
        labels, old, new = _categories(before, after, name)
        test = chi_square(old, new)
        effect = test and test.cramers_v
    else:
        sides = [_numbers(connection, name, measure) for connection in (before, after)]
        labels, old, new = _bins(sides)
        test = ks(sides[0][0], sides[1][0])
        effect = test and test.cliffs_delta
    found = psi_with_null(old, new)
    shares = [counts / max(int(counts.sum()), 1) for counts in (old, new)]
    return {
        "name": name,
        "measure": measure,
        "verdict": verdict(found),
        "psi": found and found.value,
        "null_95": found and found.null_95,
        "method": found and found.method,
        "statistic": test and test.statistic,
        "p_value": test and test.p_value,
        "effect": effect,
        "bins": [
            {"label": label, "old": float(p), "new": float(q)}
            for label, p, q in zip(labels, *shares, strict=True)
        ],
    }


def _numbers(connection: duckdb.DuckDBPyConnection, name: str, measure: str) -> tuple[Array, int]:
    """The values of a column, or the lengths of its texts in characters; and how many are not."""
    import numpy as np

    cell = quoted(name)
    value = f"length({cell})" if measure == LENGTH else cell
    column = connection.execute(
        f"SELECT CAST({value} AS DOUBLE) AS x FROM rows WHERE {cell} IS NOT NULL"
    ).fetchnumpy()["x"]
    missing = connection.execute(f"SELECT count(*) - count({cell}) FROM rows").fetchall()[0][0]
    return np.asarray(column, np.float64), int(missing)


def _bins(sides: list[tuple[Array, int]]) -> tuple[list[str], Array, Array]:
    """Labels and counts of either side; missing values are a bin of their own."""
    import numpy as np

    (old, old_missing), (new, new_missing) = sides
    if not len(old) and not len(new):
        return [MISSING], np.array([old_missing]), np.array([new_missing])
    edges = bin_edges(old, new)
    counts = [binned(values, edges) for values in (old, new)]
    labels = _interval_labels(edges.tolist())
    if old_missing or new_missing:
        labels.append(MISSING)
        counts = [np.append(counts[0], old_missing), np.append(counts[1], new_missing)]
    return labels, counts[0], counts[1]


def _interval_labels(edges: list[float]) -> list[str]:
    shown = [f"{edge:,.6g}" for edge in edges]
    if not shown:
        return ["all"]
    between = [f"{low} to {high}" for low, high in itertools.pairwise(shown)]
    return [f"up to {shown[0]}", *between, f"over {shown[-1]}"]


def _categories(before: Connection, after: Connection, name: str) -> tuple[list[str], Array, Array]:
    """Labels and counts of either side, most frequent first, the rare ones together."""
    import numpy as np

    sides = [_value_counts(connection, name) for connection in (before, after)]
    total: dict[str, int] = {}
    for side in sides:
        for label, count in side.items():
            total[label] = total.get(label, 0) + count
    ordered = sorted(total, key=lambda label: (-total[label], label))
    kept = ordered[:MOST_CATEGORIES]
    old, new = ([side.get(label, 0) for label in kept] for side in sides)
    if rest := ordered[MOST_CATEGORIES:]:
        kept.append(OTHER)
        old, new = (
            [*counts, sum(side.get(label, 0) for label in rest)]
            for counts, side in zip((old, new), sides, strict=True)
        )
    return kept, np.array(old, np.int64), np.array(new, np.int64)


def _value_counts(connection: duckdb.DuckDBPyConnection, name: str) -> Mapping[str, int]:
    cell = quoted(name)
    found = connection.execute(
        f"SELECT coalesce(CAST({cell} AS VARCHAR), $missing), count(*) FROM rows GROUP BY 1",
        {"missing": MISSING},
    ).fetchall()
    return {str(label): int(count) for label, count in found}
