"""The messy sample: how much of what was planted the detectors of this folder find."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from core.curation.detectors import DETECTORS
from core.curation.findings import Finding
from core.curation.tools import Tools
from core.datasets.samples import FOLDER
from core.models.starter import by_slug, home_folder
from tests.curation.planting import precision_recall, rows_of, table_of

LEAST = {  # (detector, kind): precision, recall
    ("labels", "label_error"): (0.4, 0.9),
    ("outliers", "outlier"): (0.9, 0.9),
    ("encoding", "encoding"): (1.0, 1.0),
    ("language", "language"): (1.0, 1.0),
    ("leakage", "leakage"): (1.0, 1.0),
}


def planted(truth: dict[str, Any], kind: str) -> set[int]:
    """The rows of a kind, whether listed alone or by group."""
    return {row for entry in truth[kind] for row in (entry if isinstance(entry, list) else [entry])}


@pytest.mark.starter
def test_planted_faults_of_the_messy_sample(tmp_path: Path, starter_home: Path) -> None:
    with (FOLDER / "messy-tickets.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = json.loads((Path(__file__).parent / "messy_truth.json").read_text(encoding="utf-8"))
    columns = {name: [row[name] or None for row in rows] for name in rows[0]}
    roles = dict.fromkeys(columns, "metadata") | {"message": "input", "label": "expected"}
    table = table_of(tmp_path, columns, roles)
    model = home_folder(starter_home, by_slug("all-minilm-l6-v2"))
    tools = Tools(tmp_path / "cache", embedding_model=model)
    for (name, kind), least in LEAST.items():
        module, function = DETECTORS[name].function.split(":")
        found: list[Finding] = getattr(importlib.import_module(module), function)(table, tools)
        reached = precision_recall(rows_of(found, kind), planted(truth, kind))
        print(f"{kind}: precision {reached[0]:.2f}, recall {reached[1]:.2f}")
        assert reached[0] >= least[0], kind
        assert reached[1] >= least[1], kind
