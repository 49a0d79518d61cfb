"""The prompts that come with Lathe, one pair of versions for each sample dataset.

Knows: data/samples/samples.yaml. Does not know: where prompts are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from core.generation import Generation
from core.settings import PROJECT_ROOT

SAMPLES = PROJECT_ROOT / "data" / "samples" / "samples.yaml"


@dataclass(frozen=True, slots=True)
class SampleVersion:
    """One version of a sample prompt."""

    message: str
    system_template: str
    user_template: str
    generation: Generation


@dataclass(frozen=True, slots=True)
class SamplePrompt:
    """A prompt as the file describes it; `dataset` names the sample it was written for."""

    name: str
    dataset: str
    description: str
    versions: tuple[SampleVersion, ...]


def sample_prompts() -> list[SamplePrompt]:
    """Every sample prompt, in the order of the file."""
    found = yaml.safe_load(SAMPLES.read_text(encoding="utf-8"))
    return [_prompt(item) for item in found["prompts"]]


def _prompt(item: dict[str, Any]) -> SamplePrompt:
    return SamplePrompt(
        name=item["name"],
        dataset=item["dataset"],
        description=item["description"],
        versions=tuple(
            SampleVersion(
                message=version["message"],
                system_template=version["system"],
                user_template=version["user"],
                generation=Generation.from_dict(version["generation"]),
            )
            for version in item["versions"]
        ),
    )
