"""Planning: from what an analysis is asked to the payload of its job, with defaults filled in.

Knows: versions and models by their public functions, the starter models. Does not know: jobs, what
a part does with its options (`analysis`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.curation import analysis
from core.curation.analysis import PARTS, USUAL
from core.datasets.commits import present
from core.datasets.service import Datasets
from core.errors import Invalid
from core.governance.permissions import Actor
from core.models import starter
from core.models.service import Models
from core.settings import Settings
from core.store.database import Row, Store

MOST_OTHERS = 20
"""Leakage is looked for in this many other datasets, those that changed last."""
EMBEDDER, TOKENIZER = "all-minilm-l6-v2", "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class Planning:
    """What the payload of an analysis is made from."""

    store: Store
    settings: Settings
    datasets: Datasets
    models: Models

    def payload(
        self,
        actor: Actor,
        version_id: str,
        names: Sequence[str] | None,
        options: Mapping[str, Mapping[str, Any]],
        others: Sequence[str] | None,
    ) -> dict[str, Any]:
        """What the job is given; see `Curation.analyse` for what may be asked."""
        parts = checked(names if names is not None else USUAL)
        checked(options)
        version = self.datasets.version(actor, version_id)
        present(version)
        tokenizer = None
        given = {name: dict(settings) for name, settings in options.items()}
        for name in ("profile", "signals"):
            if model_id := given.get(name, {}).get("model_id"):
                tokenizer = Path(self.models.get(actor, str(model_id))["path"] or "")
        return {
            "version_id": version_id,
            "table": self.located(version),
            "parts": parts,
            "options": given,
            "others": self._others(actor, version, others) if "leakage" in parts else {},
            "embedding_model": _text(self.embedding_model(actor)),
            "tokenizer": _text(tokenizer_of(tokenizer or self._starter_checkpoint())),
        }

    def _others(
        self, actor: Actor, version: Row, chosen: Sequence[str] | None
    ) -> dict[str, dict[str, Any]]:
        if chosen is None:
            listed = self.datasets.list(actor, limit=MOST_OTHERS + 1)
            chosen = [
                row["newest_version_id"] for row in listed if row["id"] != version["dataset_id"]
            ][:MOST_OTHERS]
        found = [self.datasets.version(actor, version_id) for version_id in chosen]
        return {row["label"]: self.located(row) for row in found if Path(row["path"]).exists()}

    def located(self, version: Row) -> dict[str, Any]:
        """The table of a version as a job is given it: its path relative to the home."""
        path = Path(version["path"]).resolve().relative_to(self.store.home.resolve())
        return {"path": path.as_posix(), "columns": version["columns"]}

    def embedding_model(self, actor: Actor) -> Path | None:
        """The starter where it is at hand, else the first registered one that lies on the disk."""
        found = starter.available(self.store.home, self.settings.cache, EMBEDDER)
        if found is not None:
            return found
        paths = [Path(row["path"]) for row in self.models.list(actor, kind="embedding")
                 if row["path"]]  # fmt: skip
        return next((path for path in paths if path.is_dir()), None)

    def _starter_checkpoint(self) -> Path | None:
        folder = starter.available(self.store.home, self.settings.cache, TOKENIZER)
        return folder / starter.CONVERTED if folder else None


def checked(names: Iterable[str]) -> list[str]:
    """The parts of these names in the order they run; Invalid names one that is none."""
    asked = list(names)
    for name in asked:
        if name not in PARTS:
            raise Invalid(
                f"There is no detector {name!r}.",
                field="detectors",
                hint=f"There are {', '.join(PARTS)}.",
            )
    return analysis.order(asked)


def tokenizer_of(folder: Path | None) -> Path | None:
    """The `tokenizer.json` in a model's folder, where there is one."""
    path = folder / "tokenizer.json" if folder else None
    return path if path is not None and path.exists() else None


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None
