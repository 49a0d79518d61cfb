"""The plan of a run: all that its job needs, resolved, as the JSON in the job's spec.

Knows: its own shape. Does not know: the database; and holds no secret, since spec.json is plain:
keys of endpoints are read from the home's secrets when the run reaches them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from core.evals.scorers import Scorer, parse_all, to_dict
from core.generation import Generation
from core.models.spec import WorkerSpec


@dataclass(frozen=True, slots=True)
class VariantPlan:
    """One column, resolved: the engine, quantization and device never change in mid-run."""

    id: str
    name: str
    prompt_id: str
    prompt_version_id: str
    prompt_label: str
    """Prompt name and number, such as 'triage v2'."""
    system_template: str
    user_template: str
    generation: Generation
    spec: WorkerSpec

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "generation": self.generation.to_dict(),
            "spec": self.spec.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Parse what `to_dict` wrote."""
        return cls(
            **{name: data[name] for name in _PLAIN},
            generation=Generation.from_dict(data["generation"]),
            spec=WorkerSpec.from_dict(data["spec"]),
        )


_PLAIN = (
    "id", "name", "prompt_id", "prompt_version_id", "prompt_label",
    "system_template", "user_template",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Retry:
    """One row to ask again."""

    variant_id: str
    row_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows x variants, and what the answers are checked for."""

    run_id: str
    rows: dict[str, Any]
    """Where the dataset version's rows are: see `core.evals.rows`."""
    row_count: int
    """The first so many rows, of `only` where it is given."""
    variants: tuple[VariantPlan, ...]
    scorers: tuple[Scorer, ...]
    embeddings: dict[str, WorkerSpec]
    """The embedding model of each scorer that needs one, by the scorer's name."""
    retry: tuple[Retry, ...] | None = None
    """Only these; None asks every row of every variant."""
    only: tuple[str, ...] | None = None
    """Only the rows with these ids, such as those held out of a training; None is all."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON, for the job's payload."""
        return {
            "run_id": self.run_id,
            "rows": self.rows,
            "row_count": self.row_count,
            "variants": [variant.to_dict() for variant in self.variants],
            "scorers": [to_dict(scorer) for scorer in self.scorers],
            "embeddings": {name: spec.to_dict() for name, spec in self.embeddings.items()},
            "retry": None
            if self.retry is None
            else [[r.variant_id, r.row_id, r.attempt] for r in self.retry],
            "only": None if self.only is None else list(self.only),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Parse what `to_dict` wrote."""
        return cls(
            run_id=data["run_id"],
            rows=data["rows"],
            row_count=data["row_count"],
            variants=tuple(VariantPlan.from_dict(v) for v in data["variants"]),
            scorers=parse_all(data["scorers"]),
            embeddings={n: WorkerSpec.from_dict(s) for n, s in data["embeddings"].items()},
            retry=None if data["retry"] is None else tuple(Retry(*r) for r in data["retry"]),
            only=None if data.get("only") is None else tuple(data["only"]),
        )

    @property
    def result_count(self) -> int:
        """How many results this job is to make."""
        if self.retry is not None:
            return len(self.retry)
        return self.row_count * len(self.variants)

    def groups(self) -> list[tuple[WorkerSpec, list[VariantPlan]]]:
        """Variants by the model they need, in order of first mention: model-major order."""
        found: dict[str, tuple[WorkerSpec, list[VariantPlan]]] = {}
        for variant in self.variants:
            found.setdefault(variant.spec.key, (variant.spec, []))[1].append(variant)
        return list(found.values())
