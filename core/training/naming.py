"""A fine-tune's config with names in place of ids: the file that `lathe finetune` reads.

Knows: the words of that file. Does not know: YAML files on disk, how names become ids again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core.governance.permissions import Actor
from core.training.config import TrainingConfig
from core.training.script.params import PRESETS, preset

if TYPE_CHECKING:
    from core.training.asking import Asking

HEAD = "# A fine-tune. Start it with: lathe finetune FILE.yaml\n"


def as_yaml(asking: Asking, actor: Actor, config: TrainingConfig) -> str:
    """The file's text; params are those that differ from the nearest preset."""
    import yaml

    version = asking.datasets.version(actor, config.dataset_version_id)
    told: dict[str, Any] = {
        "name": config.name,
        "base": asking.models.get(actor, config.base_model_id)["name"],
        "dataset": f"{version['dataset_name']}@{version['number']}",
    }
    if config.prompt_version_id is not None:
        prompt = asking.prompts.version(actor, config.prompt_version_id)
        name = asking.prompts.get(actor, prompt["prompt_id"])["name"]
        told["prompt"] = f"{name}@{prompt['number']}"
    if config.start_from is not None:
        told["start_from"] = asking.models.get(actor, config.start_from)["name"]
    held = config.hold_out
    told["hold_out"] = {"share": held.share} if held.split is None else {"split": held.split}
    if config.train_split is not None:
        told["train_split"] = config.train_split
    told["preset"], told["params"] = nearest_preset(config)
    if config.sweep:
        told["sweep"] = config.sweep
    if not config.evaluate:
        told["evaluate"] = False
    return HEAD + yaml.safe_dump(told, sort_keys=False, allow_unicode=True)


def nearest_preset(config: TrainingConfig) -> tuple[str, dict[str, Any]]:
    """The preset that says most of it, and the params that differ; the method always."""
    values = config.params.to_dict()
    found: dict[str, dict[str, Any]] = {}
    for name in PRESETS:
        own = preset(name, config.params.method).to_dict()
        found[name] = {k: v for k, v in values.items() if k == "method" or own[k] != v}
    name = min(found, key=lambda one: (len(found[one]), one != "balanced"))
    return name, found[name]
