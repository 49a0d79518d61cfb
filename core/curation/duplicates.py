"""Duplicates as findings: rows with the same text, nearly the same, or the same meaning.

Knows: kinds, thresholds, what a finding says, labels that disagree. Does not know: how groups are
found (`alike`, `meaning`), what is done about them (`steps.deduplicate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from core.curation.alike import NEAR_THRESHOLD, Texts, exact_groups, near_groups
from core.curation.findings import Finding
from core.curation.groups import Group, Link
from core.curation.meaning import LEAST_THRESHOLD, semantic_groups, usual_threshold
from core.curation.tools import Tools
from core.datasets.table import Table, quoted
from core.errors import Invalid

EXACT, NEAR, SEMANTIC = "exact", "near", "semantic"
THRESHOLDS: dict[str, tuple[float, float, float]] = {
    EXACT: (1.0, 1.0, 1.0),
    NEAR: (NEAR_THRESHOLD, 0.7, 1.0),  # below 0.7 too many pairs never meet in a band
    SEMANTIC: (LEAST_THRESHOLD, 0.5, 1.0),  # more where all texts are alike: `usual_threshold`
}
"""Of each kind: the default, the least and the most."""
MOST_LINKS = 200
"""Links that a finding tells of a group."""
MOST_LABELS = 20
LEAST_LETTERS = 10
"""In the first 200 characters of a text: numbers and codes mean nothing to an embedding model."""
LABEL_VALUES = 200
"""A column with more distinct values than this is no label: free answers differ by nature."""

Labels = dict[int, str]


def exact(table: Table, tools: Tools) -> list[Finding]:
    """Groups of rows with the same text but for white space."""
    return _findings(EXACT, table, tools)


def near(table: Table, tools: Tools) -> list[Finding]:
    """Groups of rows whose texts differ in a few words. Option `threshold`, 0.8: Jaccard index."""
    return _findings(NEAR, table, tools)


def semantic(table: Table, tools: Tools) -> list[Finding]:
    """Groups of rows that say the same in other words. Option `threshold`: cosine, by default what
    these texts ask for, see `meaning.usual_threshold`."""
    return _findings(SEMANTIC, table, tools)


def threshold_of(kind: str, given: Any = None) -> float:
    """The threshold asked for, or the kind's own; Invalid says what is possible."""
    if kind not in THRESHOLDS:
        raise Invalid(
            f"There is no kind of duplicates {kind!r}.",
            field="kind",
            hint=f"There are {', '.join(THRESHOLDS)}.",
        )
    default, least, most = THRESHOLDS[kind]
    if given is None or kind == EXACT:
        return default
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= most:
        raise Invalid(
            f"The threshold of {kind} duplicates lies between {least:g} and {most:g},"
            f" {given!r} does not.",
            field="threshold",
        )
    return float(given)


def asked_threshold(kind: str, given: Any, open_texts: Callable[[], Texts], tools: Tools) -> float:
    """`threshold_of`, and for meanings that nobody set a threshold for what the texts ask for."""
    if kind == SEMANTIC and given is None:
        return usual_threshold(open_texts, tools)
    return threshold_of(kind, given)


def find_groups(
    kind: str,
    open_texts: Callable[[], Texts],
    tools: Tools,
    *,
    threshold: float | None = None,
    total: int | None = None,
) -> list[Group]:
    """The groups of a kind among texts that come batch by batch, anew with each call.

    Rows are numbered as they come. The same texts give the same groups.
    """
    limit = asked_threshold(kind, threshold, open_texts, tools)
    if kind == EXACT:
        return exact_groups(open_texts(), tools)
    if kind == NEAR:
        return near_groups(open_texts(), tools, threshold=limit, total=total)
    return semantic_groups(lambda: _in_words(open_texts()), tools, threshold=limit, total=total)


def _in_words(batches: Texts) -> Texts:
    """The texts with so many letters that they can mean something; the others as blank."""
    for texts in batches:
        yield [text if sum(map(str.isalpha, text[:200])) >= LEAST_LETTERS else "" for text in texts]


def _findings(kind: str, table: Table, tools: Tools) -> list[Finding]:
    if not table.text_columns():
        return []
    threshold = asked_threshold(kind, tools.options.get("threshold"), table.texts, tools)
    groups = find_groups(kind, table.texts, tools, threshold=threshold, total=table.count())
    labels = _labels(kind, table, groups)
    return [_finding(kind, group, threshold, labels) for group in groups]


def _finding(kind: str, group: Group, threshold: float, labels: Labels) -> Finding:
    by_label: dict[str, list[int]] = {}
    for row in group.rows:
        if row in labels:
            by_label.setdefault(labels[row], []).append(row)
    disagree = len(by_label) > 1
    detail = _detail(group, threshold) if kind != EXACT else {}
    message = _MESSAGES[kind].format(count=len(group.rows))
    if detail.get("weakest"):
        message += f"; the weakest link is {detail['weakest']['similarity']:.2f}"
    if detail.get("chain"):
        message += f", and some are alike only by way of others ({_farthest(group):.2f})"
    if disagree:
        detail["labels"] = dict(list(by_label.items())[:MOST_LABELS])
        message += f"; their labels disagree: {_counted(by_label)}"
    severity = "high" if disagree else ("low" if kind == SEMANTIC else "medium")
    return Finding(f"{kind}_duplicate", severity, message + ".", group.rows, detail=detail)


_MESSAGES = {
    EXACT: "{count} rows have the same text",
    NEAR: "{count} rows differ in a few words at most",
    SEMANTIC: "{count} rows say the same in other words",
}


def _farthest(group: Group) -> float:
    return group.farthest.similarity if group.farthest else 1.0


def _detail(group: Group, threshold: float) -> dict[str, Any]:
    """What a page shows: each link is [row, row, similarity]."""
    told: dict[str, Any] = {"threshold": threshold, "chain": group.is_chain(threshold)}
    if group.weakest and group.farthest:
        told["farthest"] = group.farthest.to_dict()
    told["weakest"] = group.weakest.to_dict() if group.weakest else None
    pairs = len(group.pairs) <= MOST_LINKS and group.pairs
    told["links"] = _listed(pairs or sorted(group.links, key=_by_strength)[:MOST_LINKS])
    return told


def _by_strength(link: Link) -> tuple[float, tuple[int, int]]:
    return link.similarity, link.rows


def _listed(links: Iterable[Link]) -> list[list[Any]]:
    return [[*link.rows, round(link.similarity, 4)] for link in links]


def _counted(by_label: dict[str, list[int]]) -> str:
    """`billing (2), refund (1)`."""
    listed = [f"{_short(label)} ({len(rows)})" for label, rows in by_label.items()]
    more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
    return ", ".join(listed[:3]) + more


def _short(label: str) -> str:
    label = " ".join(label.split())
    return label if len(label) <= 40 else label[:39] + "…"


def _labels(kind: str, table: Table, groups: Sequence[Group]) -> Labels:
    """The expected answer of each row in a group; of the same meaning only where it is a label."""
    import numpy as np

    names = table.names("expected")
    if not names or not groups:
        return {}
    if kind == SEMANTIC and not _is_label(table, names[0]):
        return {}
    wanted = np.unique(np.concatenate([np.array(group.rows, np.int64) for group in groups]))
    found: Labels = {}
    start = 0
    for batch in table.batches(names[:1]):
        first, last = np.searchsorted(wanted, [start, start + batch.num_rows])
        places = wanted[first:last]
        values = batch.column(0).take((places - start).tolist()).to_pylist() if len(places) else []
        for row, value in zip(places.tolist(), values, strict=True):
            if value is not None and str(value).strip():
                found[row] = str(value)
        start += batch.num_rows
    return found


def _is_label(table: Table, name: str) -> bool:
    """Whether a column has few values, each of them often."""
    connection = table.connect()
    try:
        row = connection.execute(
            f"SELECT approx_count_distinct({quoted(name)}), count({quoted(name)}) FROM rows"
        ).fetchone()
    finally:
        connection.close()
    return row is not None and row[0] <= LABEL_VALUES and 2 * row[0] <= row[1]
