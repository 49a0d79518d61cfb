"""What a fine-tune's config amounts to: its base, its rows, its prompt; and what is against it.

Knows: models, datasets and prompts by their public functions, which of them can be trained on.
Does not know: the table finetunes, jobs, how anything is trained.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import Conflict, Invalid, LatheError
from core.governance.permissions import Actor
from core.settings import Settings
from core.store.database import Row
from core.training.config import TrainingConfig
from core.training.data import Asked, Division, divide, is_chat, plain_template
from core.training.folder import lathe_version
from core.training.script.params import Params

if TYPE_CHECKING:
    from core.curation.reviews import Reviews
    from core.datasets.service import Datasets
    from core.models.service import Models
    from core.prompts.service import Prompts

ADAPTER = "adapter"
CHARACTERS_PER_TOKEN = 3.0
"""On the safe side: English has 4 and more."""
TEMPLATE_TOKENS = 32
"""What a chat template adds to a short conversation."""
WORDS = ("measure", "check")
"""What a form may send along that is none of the config's."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A config with everything that it names."""

    config: TrainingConfig
    base: Row
    version: Row
    prompt: Row | None
    rows: Asked
    start_from: str | None
    """The folder of the adapter that it goes on from."""

    def payload(self, finetune_id: str, config: TrainingConfig, device: str) -> dict[str, Any]:
        """What the job of one fine-tune is told."""
        rows = replace(self.rows, seed=config.params.seed, method=config.params.method)
        return {
            "finetune_id": finetune_id,
            "dataset_version_id": self.version["id"],
            "device": device,
            "rows": rows.to_dict(),
            "config": {
                "name": config.name,
                "base": {key: self.base[key] for key in ("path", "name", "sha256")},
                "start_from": self.start_from,
                "params": config.params.to_dict(),
                "lathe_version": lathe_version(),
            },
        }


@dataclass(frozen=True, slots=True)
class Asking:
    """Looks up what a config names; everything wrong with it is said now."""

    settings: Settings
    prompts: Prompts
    datasets: Datasets
    models: Models
    reviews: Reviews

    def resolve(self, actor: Actor, config: Mapping[str, Any]) -> Resolved:
        """The config with what it names; raises NotFound, Invalid or Conflict."""
        asked = TrainingConfig.from_dict({k: v for k, v in config.items() if k not in WORDS})
        asked = self._over_an_adapter(actor, asked)
        base = self.models.get(actor, asked.base_model_id)
        _refuse_base(base)
        version = self.datasets.version(actor, asked.dataset_version_id)
        prompt = None
        if asked.prompt_version_id is not None:
            prompt = self.prompts.version(actor, asked.prompt_version_id)
        rows = rows_of(asked, version, prompt)
        name = asked.name or f"{base['name']} on {version['label']}"
        return Resolved(
            replace(asked, name=name), base, version, prompt, rows,
            self._start_from(actor, asked, base),
        )  # fmt: skip

    def outline(self, actor: Actor, config: Mapping[str, Any]) -> dict[str, Any]:
        """`train_rows`, `eval_rows`, `steps`, `splits` (name -> rows), `skipped` (reason -> rows)
        and `why_not`, in words, where it could not start."""
        asked = self.resolve(actor, config)
        nothing: dict[str, Any] = {"train_rows": 0, "eval_rows": 0, "steps": 0, "splits": {},
                                   "skipped": {}}  # fmt: skip
        try:
            found = counted(asked.rows)
        except Invalid as error:
            return {**nothing, "why_not": _said(error)}
        train = found.counts["train"]
        told = {
            "train_rows": train,
            "eval_rows": found.counts["eval"],
            "steps": steps(asked.config.params, train),
            "splits": found.splits,
            "skipped": dict(found.skipped),
        }
        try:
            self.reviews.refuse_unreviewed(actor, asked.version["id"])
        except Conflict as error:
            return {**told, "why_not": _said(error)}
        return {**told, "why_not": None}

    def lengths(self, asked: Resolved) -> tuple[int | None, float | None]:
        """Tokens of the longest row and the share of them that are answers, from characters; None
        where there are no rows to judge by."""
        try:
            found = counted(asked.rows)
        except Invalid:
            return None, None
        return int(found.longest / CHARACTERS_PER_TOKEN) + TEMPLATE_TOKENS, found.answer_share

    def require_start(self, actor: Actor, asked: Resolved) -> None:
        """Raise what a look at rows and reviews has against it."""
        self.reviews.refuse_unreviewed(actor, asked.version["id"])
        counted(asked.rows)

    def _over_an_adapter(self, actor: Actor, asked: TrainingConfig) -> TrainingConfig:
        """A base that is an adapter means: go on from it, over its own base."""
        row = self.models.get(actor, asked.base_model_id)
        if row["source"] != ADAPTER:
            return asked
        if asked.start_from is not None and asked.start_from != row["id"]:
            raise Invalid("The base is an adapter already.", field="start_from",
                          hint="Choose its base model, and one adapter to go on from.")  # fmt: skip
        return replace(asked, base_model_id=str(row["base_model_id"]), start_from=str(row["id"]))

    def _start_from(self, actor: Actor, asked: TrainingConfig, base: Row) -> str | None:
        if asked.start_from is None:
            return None
        adapter = self.models.get(actor, asked.start_from)
        if adapter["source"] != ADAPTER or adapter["base_model_id"] != base["id"]:
            raise Invalid(
                f"{adapter['name']} is no adapter over {base['name']}.", field="start_from",
                hint="Go on from an adapter of the same base model.",
            )  # fmt: skip
        if adapter["archived_at"] is not None:
            raise Conflict(f"{adapter['name']} is archived.", hint="Choose another to go on from.")
        return str(adapter["adapter_path"])


def rows_of(asked: TrainingConfig, version: Row, prompt: Row | None) -> Asked:
    """Which rows of the version it is about; Invalid where the prompt does not fit them."""
    from core.datasets.table import Table

    table = Table.of(version)
    rows = Asked(
        table=table,
        method=asked.params.method,
        seed=asked.params.seed,
        hold_out=asked.hold_out,
        train_split=asked.train_split,
    )
    chat = is_chat(table.columns) and asked.params.method == "sft"
    if prompt is None:
        return rows if chat else replace(rows, user=plain_template(table.columns))
    if chat:
        raise Invalid(
            f"{version['label']} holds whole conversations: no prompt goes around them.",
            field="prompt_version_id", hint="Leave the prompt out.",
        )  # fmt: skip
    missing = [name for name in prompt["variables"] if name not in version["inputs"]]
    if missing:
        raise Invalid(
            f"The prompt {prompt['label']} needs {{{{{missing[0]}}}}}, which is no input of"
            f" {version['label']}.",
            field="prompt_version_id",
            title="A variable is missing",
            hint=f"Its inputs are {', '.join(version['inputs'])}.",
        )
    return replace(rows, system=prompt["system_template"], user=prompt["user_template"])


def counted(rows: Asked) -> Division:
    """`divide`, remembered: a form asks again with every change of another field."""
    return _counted(json.dumps(rows.to_dict(), sort_keys=True))


@functools.lru_cache(maxsize=16)
def _counted(text: str) -> Division:
    found = divide(Asked.of(json.loads(text)))
    found.sides.clear()  # of a million rows only the figures are kept
    return found


def steps(params: Params, train_rows: int) -> int:
    """Optimizer steps on one device; at most so many where rows are packed."""
    if params.max_steps:
        return params.max_steps
    batches = math.ceil(train_rows / params.batch_size)
    each = max(1, math.ceil(batches / params.accumulation))
    return max(1, math.ceil(params.epochs * each))


def _refuse_base(base: Row) -> None:
    if base["archived_at"] is not None:
        raise Conflict(f"{base['name']} is archived.", hint="Choose another base model.")
    if base["kind"] != "chat":
        raise Invalid(f"{base['name']} is no chat model.", field="base_model_id")
    if not base["path"] or base["source"] in ("endpoint", "scripted"):
        why = {
            "endpoint": "its weights are elsewhere",
            "scripted": "it has no weights",
            "gguf": "it is a GGUF that was not converted yet",
        }.get(base["source"], "its files are not here yet")
        raise Invalid(
            f"{base['name']} cannot be trained: {why}.", field="base_model_id",
            hint="Take a model with a folder of safetensors; the Models page prepares one.",
        )  # fmt: skip
    if not Path(base["path"]).is_dir():
        raise Conflict(f"The files of {base['name']} are gone: {base['path']}.")


def _said(error: LatheError) -> str:
    return f"{error.message} {error.hint}" if error.hint else error.message
