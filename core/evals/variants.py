"""A variant as asked: one column of a comparison, `auto` still allowed.

Knows: what a person chooses. Does not know: what `auto` becomes; `core.evals.planning` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from core.errors import Invalid
from core.generation import Generation
from core.models.spec import WorkerSpec


@dataclass(frozen=True, slots=True)
class Variant:
    """Prompt version x model x quantization x generation, as asked."""

    prompt_version_id: str
    model_id: str
    engine: str = "auto"
    quantization: str = "auto"
    device: str = "auto"
    generation: Generation | None = None
    """None takes the prompt version's own."""
    name: str = ""
    """Empty takes prompt, model and quantization."""
    spec: WorkerSpec | None = None
    """Resolved already, by Python callers only: it holds paths, which nobody else may give."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Parse a plain dict; raises Invalid naming an unknown or missing field."""
        known = [field.name for field in fields(cls) if field.name != "spec"]
        for name in data:
            if name not in known:
                raise Invalid(
                    f"A variant has no {name!r}.", field=name, hint=f"It has {', '.join(known)}."
                )
        for name in ("prompt_version_id", "model_id"):
            if not data.get(name):
                raise Invalid(f"A variant needs a {name}.", field=name)
        generation = data.get("generation")
        if isinstance(generation, dict):
            data = {**data, "generation": Generation.from_dict(generation)}
        return cls(**data)


def as_variants(asked: Sequence[Variant | dict[str, Any]]) -> list[Variant]:
    """Variants from records or from dicts, such as come over HTTP."""
    return [v if isinstance(v, Variant) else Variant.from_dict(v) for v in asked]
