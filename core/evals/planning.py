"""Planning: from what was asked to what will be done, with `auto` resolved before the run.

Knows: prompts, datasets and models by their public functions. Does not know: tables, jobs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Forbidden, Invalid
from core.evals.plan import Plan, VariantPlan
from core.evals.rows import in_order, locate
from core.evals.scorers import EmbeddingSimilarity, Scorer, parse_all
from core.evals.variants import Variant, as_variants
from core.generation import Generation
from core.governance.permissions import OWNER, Actor
from core.ids import new_id
from core.models.spec import WorkerSpec
from core.store.database import Row

if TYPE_CHECKING:
    from core.datasets.service import Datasets
    from core.models.service import Models
    from core.prompts.service import Prompts

MOST_VARIANTS = 12


@dataclass(frozen=True, slots=True)
class Planner:
    """Turns a request into a plan; everything wrong with it is said now, not in mid-run."""

    home: Path
    prompts: Prompts
    datasets: Datasets
    models: Models

    def plan(
        self,
        actor: Actor,
        dataset_version_id: str,
        variants: Sequence[Variant | dict[str, Any]],
        scorers: Sequence[dict[str, Any]],
        row_limit: int | None,
        embedding: WorkerSpec | None,
        row_ids: Sequence[str] | None = None,
    ) -> tuple[Plan, Row]:
        """The plan and the dataset version's row; raises Invalid or NotFound."""
        version = self.datasets.version(actor, dataset_version_id)
        parsed = parse_all(scorers)
        resolved, embeddings = self._embeddings(actor, parsed, embedding)
        asked = as_variants(variants)
        if actor.id != OWNER.id and (embedding or any(variant.spec for variant in asked)):
            raise Forbidden("A ready-made worker spec names files: only their owner may give one.")
        if not 1 <= len(asked) <= MOST_VARIANTS:
            raise Invalid(f"A run takes 1 to {MOST_VARIANTS} variants.", field="variants")
        rows = locate(self.home, version)
        only = None if row_ids is None else self._only(rows, version, row_ids)
        available = version["row_count"] if only is None else len(only)
        plan = Plan(
            run_id=new_id("run"),
            rows=rows,
            row_count=_row_count(available, row_limit),
            only=only,
            variants=tuple(_named([self._variant(actor, v, version) for v in asked])),
            scorers=resolved,
            embeddings=embeddings,
        )
        return plan, version

    def check_memory(self, actor: Actor, plan: Plan) -> None:
        """Raise OutOfMemory when a model cannot fit into what is free; they load one at a time."""
        for spec in {v.spec.key: v.spec for v in plan.variants}.values():
            if spec.engine in ("transformers", "llama.cpp"):
                self.models.forecast(
                    actor, spec.model_id, spec.engine, spec.quantization, device=spec.device
                ).require_fit()

    def _only(self, rows: dict[str, Any], version: Row, row_ids: Sequence[str]) -> tuple[str, ...]:
        """The rows asked for by id, in the dataset's order."""
        asked = set(row_ids)
        found = in_order(self.home, rows, asked)
        missing = sorted(asked - set(found))
        if missing or not found:
            raise Invalid(
                f"{version['label']} has no row {missing[0]!r}."
                if missing
                else "A run over some rows needs at least one.",
                field="row_ids",
            )
        return tuple(found)

    def _variant(self, actor: Actor, asked: Variant, version: Row) -> VariantPlan:
        prompt = self.prompts.version(actor, asked.prompt_version_id)
        missing = [name for name in prompt["variables"] if name not in version["inputs"]]
        if missing:
            raise Invalid(
                f"The prompt {prompt['label']} needs {{{{{missing[0]}}}}}, which is no input of"
                f" {version['label']}.",
                field=missing[0],
                title="A variable is missing",
                hint=f"Its inputs are {', '.join(version['inputs'])}.",
            )
        spec = asked.spec or self.models.resolve(
            actor,
            asked.model_id,
            engine=asked.engine,
            quantization=asked.quantization,
            device=asked.device,
            purpose="batch",
        )
        return VariantPlan(
            id=new_id("variant"),
            name=asked.name.strip(),
            prompt_id=prompt["prompt_id"],
            prompt_version_id=prompt["id"],
            prompt_label=prompt["label"],
            system_template=prompt["system_template"],
            user_template=prompt["user_template"],
            generation=asked.generation or Generation.from_dict(prompt["generation"]),
            spec=spec,
        )

    def _embeddings(
        self, actor: Actor, scorers: tuple[Scorer, ...], given: WorkerSpec | None
    ) -> tuple[tuple[Scorer, ...], dict[str, WorkerSpec]]:
        """The scorers with their embedding model named, and its spec."""
        resolved: list[Scorer] = []
        specs: dict[str, WorkerSpec] = {}
        for scorer in scorers:
            if isinstance(scorer, EmbeddingSimilarity):
                spec = given or self._embedding(actor, scorer.model_id)
                specs[scorer.name] = spec
                scorer = replace(scorer, model_id=spec.model_id)
            resolved.append(scorer)
        return tuple(resolved), specs

    def _embedding(self, actor: Actor, model_id: str | None) -> WorkerSpec:
        if model_id is None:
            found = self.models.list(actor, kind="embedding")
            if not found:
                raise Invalid(
                    "Similarity needs an embedding model, and there is none.",
                    field="model_id",
                    hint="Add one on the Models page.",
                )
            model_id = str(found[0]["id"])
        spec = self.models.resolve(actor, model_id, purpose="batch")
        if spec.kind != "embedding":
            raise Invalid(f"{spec.model_name} is no embedding model.", field="model_id")
        return spec


def run_rows(plan: Plan, version: Row, name: str, made: Row) -> tuple[Row, list[Row]]:
    """The rows of `runs` and `run_variants` for a plan; `made` says who and when."""
    run = {
        "id": plan.run_id,
        "name": name.strip() or f"{version['label']}: {len(plan.variants)} variants",
        "dataset_version_id": version["id"],
        "dataset_label": version["label"],
        "row_count": plan.row_count,
        "scorers": json.dumps(plan.to_dict()["scorers"]),
        "plan": json.dumps(plan.to_dict()),
        "baseline_variant_id": plan.variants[0].id,
        **made,
    }
    variants = [
        {
            "id": variant.id,
            "run_id": plan.run_id,
            "position": position,
            "name": variant.name,
            "prompt_version_id": variant.prompt_version_id,
            "prompt_label": variant.prompt_label,
            "model_id": variant.spec.model_id,
            "model_name": variant.spec.model_name,
            "engine": variant.spec.engine,
            "quantization": variant.spec.quantization,
            "device": variant.spec.device,
            "generation": json.dumps(variant.generation.to_dict()),
            "spec": json.dumps(variant.spec.to_dict()),
        }
        for position, variant in enumerate(plan.variants)
    ]
    return run, variants


def _row_count(available: int, limit: int | None) -> int:
    if limit is not None and limit < 1:
        raise Invalid("row_limit must be at least 1.", field="row_limit")
    return available if limit is None else min(limit, available)


def _named(variants: list[VariantPlan]) -> list[VariantPlan]:
    """Every variant with a name of its own; a name given twice is refused."""
    given = [variant.name for variant in variants if variant.name]
    for name in given:
        if given.count(name) > 1:
            raise Invalid(f"Two variants are named {name!r}.", field="name")
    taken = set(given)
    found = []
    for variant in variants:
        name = variant.name or f"{variant.prompt_label} · {variant.spec.label}"
        number = 1
        while not variant.name and name in taken:
            number += 1
            name = f"{variant.prompt_label} · {variant.spec.label} ({number})"
        taken.add(name)
        found.append(replace(variant, name=name))
    return found
