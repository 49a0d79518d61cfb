"""The datasets that come with Lathe, each with the prompt that was written for it.

Knows: data/samples/. Does not know: where versions are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import NotFound
from core.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "data" / "samples"


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample dataset, as data/samples/samples.yaml describes it."""

    name: str
    title: str
    task: str
    description: str
    license: str
    path: Path
    mapping: dict[str, str]
    prompt_name: str
    system_template: str
    user_template: str

    def to_dict(self) -> dict[str, Any]:
        """For pages: with `row_count` and `prompt`, without the path."""
        with self.path.open("rb") as file:
            row_count = sum(1 for line in file if line.strip())
        return {
            "name": self.name,
            "title": self.title,
            "task": self.task,
            "description": self.description,
            "license": self.license,
            "row_count": row_count,
            "mapping": dict(self.mapping),
            "prompt": {
                "name": self.prompt_name,
                "system_template": self.system_template,
                "user_template": self.user_template,
            },
        }


def all_samples() -> list[Sample]:
    """Every sample, in the order of the file."""
    found = _described()
    return [
        _sample(item, next(p for p in found["prompts"] if p["dataset"] == item["name"]))
        for item in found["datasets"]
    ]


def practice() -> list[Sample]:
    """Samples with planted faults, for the Curate page; no prompt goes with them."""
    return [_sample(item, None) for item in _described()["practice"]]


def preferences() -> list[Sample]:
    """Pairs of answers to train on, each with the prompt of the sample whose task it is."""
    found = _described()
    return [
        _sample(item, next(p for p in found["prompts"] if p["dataset"] == item["prompt_of"]))
        for item in found["preferences"]
    ]


def sample(name: str) -> Sample:
    """The sample of that name, or NotFound; only the plain ones are among `all_samples`."""
    every = {item.name: item for item in [*all_samples(), *practice(), *preferences()]}
    if name not in every:
        raise NotFound(f"There is no sample {name!r}.", hint=f"There are {', '.join(every)}.")
    return every[name]


def _described() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "samples.yaml").read_text(encoding="utf-8"))
    return found


def _sample(item: dict[str, Any], prompt: dict[str, Any] | None) -> Sample:
    best = prompt["versions"][-1] if prompt else {"system": "", "user": ""}
    return Sample(
        name=item["name"],
        title=item["title"],
        task=item["task"],
        description=item["description"],
        license=item["license"],
        path=FOLDER / item["file"],
        mapping=item["mapping"],
        prompt_name=prompt["name"] if prompt else "",
        system_template=best["system"],
        user_template=best["user"],
    )
