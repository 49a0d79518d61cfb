"""Lineage: what an adapter came from, as the registry keeps it and its card tells it.

Knows: what is worth telling. Does not know: the registry, cards.
"""

from __future__ import annotations

import functools
import subprocess
from typing import TYPE_CHECKING, Any

from core.governance.permissions import Actor
from core.settings import PROJECT_ROOT
from core.store.database import Row
from core.training.config import TrainingConfig
from core.training.folder import lathe_version

if TYPE_CHECKING:
    from core.training.asking import Asking

METRICS = ("loss_first", "loss_last", "eval_loss_base", "eval_loss_first", "eval_loss_last",
           "eval_loss_best", "best_step")  # fmt: skip
COST = ("steps", "epochs", "tokens", "tokens_per_s", "train_seconds", "peak_memory_bytes",
        "hardware", "versions", "energy_wh", "energy_basis", "stopped_early")  # fmt: skip


def lineage(
    actor: Actor, row: Row, config: TrainingConfig, result: Row, asking: Asking
) -> dict[str, Any]:
    """Everything that decided what the adapter is, and what it cost; plain values."""
    base = asking.models.get(actor, row["base_model_id"])
    version = asking.datasets.version(actor, row["dataset_version_id"])
    prompt = None
    if row["prompt_version_id"] is not None:
        found = asking.prompts.version(actor, row["prompt_version_id"])
        prompt = {key: found[key] for key in ("id", "label", "content_hash")}
    return {
        "finetune_id": row["id"],
        "name": row["name"],
        "base": {key: base[key] for key in ("id", "name", "source", "revision", "sha256",
                                            "license")},
        "dataset": {
            "version_id": version["id"], "label": version["label"],
            "content_hash": version["content_hash"], "row_count": version["row_count"],
            "recipe": version.get("recipe"),
        },
        "prompt": prompt,
        "hold_out": config.to_dict()["hold_out"],
        "train_split": config.train_split,
        "start_from": config.start_from,
        "parent_id": row["parent_id"],
        "method": config.params.method,
        "seed": config.params.seed,
        "params": config.params.to_dict(),
        "code": {"lathe": lathe_version(), "commit": commit()},
        "metrics": {key: result[key] for key in METRICS if result.get(key) is not None},
        "cost": {key: result[key] for key in COST if result.get(key) is not None},
    }  # fmt: skip


@functools.lru_cache(maxsize=1)
def commit() -> str | None:
    """The commit of this checkout; None where it is none."""
    if not (PROJECT_ROOT / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
