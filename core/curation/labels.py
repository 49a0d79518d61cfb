"""Labels that the rest of the data speaks against, and labels that are one label spelt twice.

Knows: which column is the label, out-of-sample probabilities, neighbours. Does not know: prompts,
answers in free text, who decides.

Every row is judged by models that never saw it (cross-validation, logistic regression) and twice:
the second time the models are trained without the rows that the first time spoke against. What a
model sees of a row: its embedding, its words (TF-IDF), and how near its text is to each label's
name. Northcutt et al. 2021, Confident Learning; label quality is cleanlab's self-confidence.
Measured on the support tickets (127 rows, six labels), 5 % flipped, 16 draws: recall 0.64.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.curation.findings import Finding
from core.curation.label_models import features, probabilities
from core.curation.label_names import spellings
from core.curation.outliers import without_strangers
from core.curation.sampling import Sample, cells, drawn, shown
from core.curation.tools import Tools
from core.datasets.table import Table
from core.datasets.values import JSON, TEXT

log = logging.getLogger(__name__)

MOST_ROWS = 20_000
"""Rows judged, drawn at random; option `rows`. Their embeddings are the cost."""
MOST_LABELS = 500
LEAST_ROWS = 12
LEAST_OF_A_LABEL = 3
"""A label with fewer rows is not judged: nothing could be learnt without the row in question."""
RATIO = 5.0
"""Times that another label has to be likelier than the given one; option `ratio`."""
NEIGHBOURS = 5
LABEL_NAMES = {"label", "labels", "category", "class", "intent", "sentiment", "topic"}
"""Names of a metadata column that is taken for the label where no column is expected."""


def detect(table: Table, tools: Tools) -> list[Finding]:
    """One finding for each likely label error, the surest first, then one for each spelling.

    `detail` of an error is {given, suggested, confidence, given_confidence, quality, neighbours:
    [{row, label, similarity}]}; of a spelling {given, suggested, count, suggested_count}; of an
    answer that repeats its question {same_as}.
    """
    findings: list[Finding] = []
    for name in label_columns(table):
        counts = _counts(table, name)
        why_not = not_categorical(counts)
        if why_not:
            log.info("labels of %s are not judged: %s", name, why_not)
            tools.tell(1.0, f"The labels of {name} are not judged: {why_not}")
            findings += _repeats(table, name)
            continue
        merged, misspelt = spellings(counts)
        findings += _errors(table, name, merged, tools)
        findings += _spelt(table, name, counts, misspelt)
    return findings


def label_columns(table: Table) -> list[str]:
    """The expected columns; where there is none, metadata that is named like a label."""
    expected = [c.name for c in table.columns if c.role == "expected" and c.type != JSON]
    named = [c.name for c in table.columns if c.name.lower() in LABEL_NAMES and c.type != JSON]
    return expected or [name for name in named if name not in table.names("input")]


def not_categorical(counts: Counter[str]) -> str:
    """Why these values are no labels, or nothing: then they are.

    Labels are few against the rows, and nearly every row shares its own with another.
    """
    total = counts.total()
    if total < LEAST_ROWS:
        return f"there are only {total} rows with a label"
    if len(counts) > MOST_LABELS:
        return f"there are more than {MOST_LABELS} different values"
    shared = sum(count for count in counts.values() if count > 1)
    if len(counts) > max(2, total * 0.34) or shared < 0.8 * total:
        return f"its {len(counts)} different values in {total} rows are no set of labels"
    return ""


def _counts(table: Table, name: str) -> Counter[str]:
    """How often each value is there; it stops counting new ones soon after MOST_LABELS."""
    counts: Counter[str] = Counter()
    for _, values in cells(table, name):
        counts.update(label for value in values if (label := _label(value)) is not None)
        if len(counts) > 50 * MOST_LABELS:
            break
    return counts


def _label(value: Any) -> str | None:
    """A value as a label; None for a missing one. Long text is cut: it is no label."""
    if value is None:
        return None
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text[:200] if text.strip() else None


@dataclass(frozen=True, slots=True)
class _Judged:
    """The rows that are judged, aligned."""

    rows: Any
    texts: list[str]
    parts: list[list[str]]
    """The texts by column."""
    given: Any
    """Number of each row's label in `names`."""
    names: list[str]
    said: str


def _errors(table: Table, name: str, merged: dict[str, str], tools: Tools) -> list[Finding]:
    import numpy as np

    texts = [c.name for c in table.columns if c.name != name and c.type in (TEXT, JSON)]
    judged_by = [c for c in table.text_columns() if c != name] or texts
    if not judged_by:
        return []
    limit = int(tools.options.get("rows", MOST_ROWS))
    judged = _judged(drawn(table, [name, *judged_by], limit=limit), name, judged_by, merged)
    if len(judged.names) < 2:
        log.info("labels of %s are not judged: there is one label", name)
        return []
    seen = features(judged.texts, judged.parts, judged.names, tools)
    tools.tell(0.5, f"Judging {len(judged.texts):,} labels of {name}")
    first = probabilities(seen, judged.given, len(judged.names), tools)
    suspect = _against(first, judged.given, ratio=4.0)
    chances = probabilities(seen, judged.given, len(judged.names), tools, without=suspect)
    ratio = float(tools.options.get("ratio", RATIO))
    doubtful = np.flatnonzero(_against(chances, judged.given, ratio=ratio) & ~seen.apart())
    found = without_strangers(doubtful.tolist(), judged.texts)
    return _told(name, judged, chances, found, seen.neighbours)


def _judged(sample: Sample, name: str, judged_by: Sequence[str], merged: dict[str, str]) -> _Judged:
    """Rows with text and with a label that enough rows have."""
    import numpy as np

    labels = [
        merged.get(label, label) if (label := _label(value)) is not None else None
        for value in sample.values[name]
    ]
    texts = sample.texts(judged_by)
    counts = Counter(x for x, text in zip(labels, texts, strict=True) if x and text.strip())
    names = sorted(label for label, count in counts.items() if count >= LEAST_OF_A_LABEL)
    number = {label: at for at, label in enumerate(names)}
    keep = [i for i, x in enumerate(labels) if x in number and texts[i].strip()]
    given = np.array([number[str(labels[i])] for i in keep], dtype=np.int64)
    parts = [[str(sample.values[name][i] or "") for i in keep] for name in judged_by]
    return _Judged(sample.rows[keep], [texts[i] for i in keep], parts, given, names, sample.said)


def _against(chances: Any, given: Any, *, ratio: float) -> Any:
    """True where another label is `ratio` times as likely as the given one."""
    import numpy as np

    own = chances[np.arange(len(given)), given]
    return (chances.argmax(axis=1) != given) & (chances.max(axis=1) > ratio * own)


def _told(
    name: str, judged: _Judged, chances: Any, found: list[int], neighbours: Any
) -> list[Finding]:
    from cleanlab.rank import get_label_quality_scores

    if not found:
        return []
    quality = get_label_quality_scores(judged.given, chances, method="self_confidence")
    findings = []
    for at in sorted(found, key=lambda i: (quality[i] / chances[i].max(), i)):
        suggested = int(chances[at].argmax())
        near = [
            {
                "row": int(judged.rows[other]),
                "label": judged.names[judged.given[other]],
                "similarity": round(float(similarity), 3),
            }
            for other, similarity in neighbours(at, NEIGHBOURS)
        ]
        labels = [other["label"] for other in near]
        agree = labels.count(judged.names[suggested])
        if agree > labels.count(judged.names[judged.given[at]]):
            findings.append(_error(name, judged, at, suggested, chances[at], quality[at], near))
    return findings


def _error(
    name: str,
    judged: _Judged,
    at: int,
    suggested: int,
    chances: Any,
    quality: float,
    near: list[dict[str, Any]],
) -> Finding:
    given, better = judged.names[judged.given[at]], judged.names[suggested]
    sure, own = float(chances[suggested]), float(chances[judged.given[at]])
    agree = sum(other["label"] == better for other in near)
    detail = {
        "given": given,
        "suggested": better,
        "confidence": round(sure, 3),
        "given_confidence": round(own, 3),
        "quality": round(float(quality), 4),
        "neighbours": near,
    }
    return Finding(
        "label_error",
        "high" if sure >= 0.8 and agree > len(near) / 2 else "medium",
        f"Labelled “{shown(given, 40)}”, but it reads like “{shown(better, 40)}”: {sure:.0%}"
        f" against {own:.0%}, and {agree} of the {len(near)} most similar rows are labelled so."
        + judged.said,
        (int(judged.rows[at]),),
        name,
        detail,
    )


def _spelt(
    table: Table, name: str, counts: Counter[str], misspelt: dict[str, str]
) -> list[Finding]:
    """One finding for each way of writing a label that is rarer than another."""
    where: dict[str, list[int]] = {spelling: [] for spelling in misspelt}
    if misspelt:
        for rows, values in cells(table, name):
            for row, value in zip(rows, values, strict=True):
                label = _label(value)
                if label in where:
                    where[label].append(row)
    findings = []
    for spelling, rows in sorted(where.items()):
        usual = misspelt[spelling]
        many = "1 row is" if len(rows) == 1 else f"{len(rows):,} rows are"
        detail = {
            "given": spelling,
            "suggested": usual,
            "count": counts[spelling],
            "suggested_count": counts[usual],
        }
        message = (
            f"{many} labelled “{spelling}”; {counts[usual]:,} are labelled “{usual}”, which seems"
            " to be the same."
        )
        findings.append(Finding("label_error", "medium", message, tuple(rows), name, detail))
    return findings


def _repeats(table: Table, name: str) -> list[Finding]:
    """Answers that are word for word what was asked."""
    by_text = [c.name for c in table.columns if c.role == "input" and c.type == TEXT]
    where: dict[str, list[int]] = {}
    for batch in table.batches(["row_index", name, *by_text]) if by_text else ():
        rows = batch.column("row_index").to_pylist()
        answers = [_stripped(answer) for answer in batch.column(name).to_pylist()]
        for asked in by_text:
            texts = batch.column(asked).to_pylist()
            for row, answer, text in zip(rows, answers, texts, strict=True):
                if answer and answer == _stripped(text):
                    where.setdefault(asked, []).append(row)
    return [
        Finding(
            "label_error",
            "high",
            f"In {len(rows):,} {'row' if len(rows) == 1 else 'rows'} {name} repeats {asked}.",
            tuple(rows),
            name,
            {"same_as": asked},
        )
        for asked, rows in where.items()
    ]


def _stripped(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
