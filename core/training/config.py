"""A fine-tune as it is asked for: base, rows, params, what is held out; and as a YAML file.

    name: Triage tickets
    base: SmolLM2-135M-Instruct         # a model's name or id
    dataset: support-tickets@1          # a dataset's name (name@2: that version), a sample's name
    prompt: Triage a ticket@1           # what the rows go through; the same prompt as at inference
    hold_out: {share: 0.25}             # or {split: test}: the rows it is compared on with the base
    train_split: train                  # only these rows, where the dataset has splits
    preset: balanced                    # quick look, balanced, thorough
    params: {epochs: 3, rank: 16}       # what differs from the preset; see `lathe finetune --help`
    sweep: {learning_rate: [1e-4, 3e-4]}  # one fine-tune for each combination, up to three params

Knows: these words, what cannot be. Does not know: how names become ids, how it is trained.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from core.errors import Invalid
from core.training.script.params import FIELDS, BadParam, Params, preset

MOST_SWEPT = 3
MOST_COMBINATIONS = 24
DEFAULT_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class HoldOut:
    """The rows that are not trained on: a split of the dataset, or a share drawn by the seed."""

    split: str | None = None
    share: float = DEFAULT_SHARE


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """One fine-tune; ids, not names. `start_from` is the adapter model it goes on from."""

    name: str
    base_model_id: str
    dataset_version_id: str
    params: Params
    prompt_version_id: str | None = None
    """None: one user turn of the inputs, or the dataset's own conversations."""
    train_split: str | None = None
    """None: every row that is not held out."""
    hold_out: HoldOut = field(default_factory=HoldOut)
    start_from: str | None = None
    sweep: dict[str, list[Any]] = field(default_factory=dict)
    evaluate: bool = True
    """Whether base and adapter are compared on the held-out rows when it is done."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Parse a plain dict: `params` over `preset`, balanced if none; Invalid names the field."""
        known = {f.name for f in fields(cls)} | {"preset"}
        for name in data:
            if name not in known:
                raise Invalid(
                    f"A fine-tune has no {name!r}.", field=str(name),
                    hint=f"It has {', '.join(sorted(known))}.",
                )  # fmt: skip
        for name in ("base_model_id", "dataset_version_id"):
            if not data.get(name):
                raise Invalid(f"A fine-tune needs a {name}.", field=name)
        asked = dict(data.get("params") or {})
        try:
            base = preset(str(data.get("preset") or "balanced"), str(asked.get("method", "sft")))
            params = Params.from_dict({**base.to_dict(), **asked})
        except BadParam as error:
            raise Invalid(str(error), field=error.name) from None
        held = data.get("hold_out") or {}
        made = cls(
            name=str(data.get("name") or "").strip(),
            base_model_id=str(data["base_model_id"]),
            dataset_version_id=str(data["dataset_version_id"]),
            params=params,
            prompt_version_id=data.get("prompt_version_id") or None,
            train_split=data.get("train_split") or None,
            hold_out=HoldOut(held.get("split") or None, float(held.get("share", DEFAULT_SHARE))),
            start_from=data.get("start_from") or None,
            sweep={str(k): list(v) for k, v in (data.get("sweep") or {}).items()},
            evaluate=bool(data.get("evaluate", True)),
        )
        made.check()
        return made

    def to_dict(self) -> dict[str, Any]:
        """As JSON; `from_dict` reads it."""
        return {**asdict(self), "params": self.params.to_dict()}

    def check(self) -> None:
        """Raise Invalid where it cannot be."""
        if self.hold_out.split is None and not 0 <= self.hold_out.share <= 0.9:
            raise Invalid("The share held out is between 0 and 0.9.", field="hold_out")
        if self.hold_out.split is not None and self.hold_out.split == self.train_split:
            raise Invalid(
                f"The split {self.train_split!r} cannot be trained on and held out.",
                field="hold_out",
            )
        if len(self.sweep) > MOST_SWEPT:
            raise Invalid(f"A sweep takes up to {MOST_SWEPT} params.", field="sweep")
        for name, values in self.sweep.items():
            if name not in FIELDS or name == "method" or not values:
                raise Invalid(f"{name!r} cannot be swept over.", field="sweep")
        if len(self.combinations()) > MOST_COMBINATIONS:
            raise Invalid(
                f"The sweep has more than {MOST_COMBINATIONS} combinations.", field="sweep"
            )

    def combinations(self) -> list[TrainingConfig]:
        """The fine-tunes of the sweep, each named by what it changes; itself without one."""
        if not self.sweep:
            return [self]
        found = []
        for values in itertools.product(*self.sweep.values()):
            changes = dict(zip(self.sweep, values, strict=True))
            try:
                params = Params.from_dict({**self.params.to_dict(), **changes})
            except BadParam as error:
                raise Invalid(str(error), field="sweep") from None
            words = ", ".join(f"{FIELDS[k].label.lower()} {v}" for k, v in changes.items())
            found.append(replace(self, name=f"{self.name} · {words}", params=params, sweep={}))
        return found
