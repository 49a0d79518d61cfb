"""The detectors: name, what they look for, and where their code is.

Knows: names and order. Does not know: how anything is found; the code is imported when it runs.
A detector is `function(table: Table, tools: Tools) -> list[Finding]`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detector:
    """One way of looking at a version."""

    function: str
    """`module:function`."""
    kinds: tuple[str, ...]
    """The kinds of findings it may give."""
    label: str
    embeds: bool = False
    """True when it needs the embedding model."""


DETECTORS: dict[str, Detector] = {
    "secrets": Detector("core.curation.secrets:detect", ("secret",), "Secrets"),
    "personal": Detector("core.curation.personal:detect", ("personal_data",), "Personal data"),
    "exact": Detector("core.curation.duplicates:exact", ("exact_duplicate",), "Exact duplicates"),
    "near": Detector("core.curation.duplicates:near", ("near_duplicate",), "Near duplicates"),
    "semantic": Detector(
        "core.curation.duplicates:semantic", ("semantic_duplicate",), "Same meaning", embeds=True
    ),
    "labels": Detector("core.curation.labels:detect", ("label_error",), "Labels", embeds=True),
    "outliers": Detector("core.curation.outliers:detect", ("outlier",), "Outliers", embeds=True),
    "encoding": Detector("core.curation.encoding:detect", ("encoding",), "Encoding"),
    "language": Detector("core.curation.language:detect", ("language",), "Language"),
    "quality": Detector(
        "core.curation.quality:detect", ("missing", "quality", "toxicity"), "Quality"
    ),
    "leakage": Detector("core.curation.leakage:detect", ("leakage",), "Leakage"),
    "checks": Detector("core.curation.checking:detect", ("check",), "Checks"),
    "map": Detector("core.curation.atlas:detect", (), "Map", embeds=True),
}
