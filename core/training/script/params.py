"""Params: everything about a training that is a choice, with its bounds and its words.

Knows: names, defaults, ranges, presets. Does not know: models, rows, how any of it is done.
Forms draw themselves from FIELDS; config.json of a run folder holds the values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

METHODS: dict[str, str] = {
    "sft": "Supervised: learn to answer as the examples do",
    "dpo": "Preferences (DPO): the chosen answer more likely than the rejected one",
    "orpo": "Preferences (ORPO): SFT on the chosen answer and odds against the rejected one",
    "kto": "Single verdicts (KTO): good answers more likely, bad ones less",
}
QUANTIZATIONS: dict[str, str] = {
    "none": "none: LoRA over full weights",
    "int8": "int8: LoRA over 8-bit weights",
    "nf4": "NF4: QLoRA, double quantization",
}
SCHEDULES = ("cosine", "linear", "constant")
OPTIMIZERS: dict[str, str] = {
    "auto": "auto: 8-bit on a GPU, plain AdamW on a CPU",
    "adamw": "AdamW",
    "adamw-8bit": "AdamW, 8-bit states (bitsandbytes)",
    "adamw-paged": "AdamW, 8-bit states paged to RAM (bitsandbytes)",
}
TOO_LONG: dict[str, str] = {"drop": "Leave the row out", "truncate": "Cut its end off"}
SWITCH: dict[str, str] = {"auto": "auto", "on": "on", "off": "off"}


class BadParam(ValueError):
    """A value that cannot be; `name` is the field."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Params:
    """All choices of one training. `check` raises BadParam for what cannot be."""

    method: str = "sft"
    quantization: str = "none"
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str = "auto"
    """auto: every linear layer of the decoder; else names, with commas between."""
    learning_rate: float = 2e-4
    schedule: str = "cosine"
    warmup_share: float = 0.05
    batch_size: int = 8
    accumulation: int = 1
    epochs: float = 3.0
    max_steps: int = 0
    """More than zero: so many optimizer steps, whatever the epochs."""
    max_length: int = 1024
    """Most tokens of a row, prompt and answer together."""
    too_long: str = "drop"
    packing: bool = False
    """Several short rows in one sequence; none sees another."""
    group_by_length: bool = True
    assistant_only: bool = True
    """The loss counts the assistant's turns alone, their end-of-turn token included."""
    gradient_checkpointing: str = "auto"
    optimizer: str = "auto"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    beta: float = 0.1
    """DPO, ORPO, KTO: how strongly the preferences pull."""
    neftune: float = 0.0
    seed: int = 42
    eval_every: int = 0
    """Steps between evaluations; 0: four times an epoch at most, once at least."""
    early_stop: int = 0
    """Evaluations without improvement before it stops; 0: never."""
    save_every: int = 0
    """Steps between checkpoints; 0: with every evaluation."""
    sample_count: int = 3
    """Held-out rows that are answered at each evaluation, beside the base model's answers."""
    sample_tokens: int = 48
    threads: int = 0
    """CPU threads; 0: all cores."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Checked params from plain values; BadParam names an unknown or impossible one."""
        for name in values:
            if name not in FIELDS:
                raise BadParam(
                    name, f"There is no setting {name!r}. There are {', '.join(FIELDS)}."
                )
        made = cls(**{name: _cast(FIELDS[name], value) for name, value in values.items()})
        made.check()
        return made

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them."""
        return dataclasses.asdict(self)

    def check(self) -> None:
        """Raise BadParam where a value is outside its range."""
        for name, field in FIELDS.items():
            field.check(getattr(self, name))
        if self.packing and self.method != "sft":
            raise BadParam("packing", "Packing is for SFT: preferences are compared row by row.")
        if self.method == "kto" and self.batch_size < 2:
            raise BadParam("batch_size", "KTO compares the rows of a batch: it takes two or more.")

    @property
    def rows_per_step(self) -> int:
        """Rows that one optimizer step sees on one device."""
        return self.batch_size * self.accumulation


@dataclass(frozen=True)
class Field:
    """How one param is asked for."""

    name: str
    label: str
    help: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None
    kind: type = float
    basic: bool = False
    """Shown before "advanced" is opened."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Which methods it means something for."""
    levers: bool = False
    """It changes the memory that is needed."""

    def check(self, value: Any) -> None:
        """Raise BadParam where the value cannot be."""
        if self.choices is not None and value not in self.choices:
            raise BadParam(
                self.name, f"{self.label} is one of {', '.join(self.choices)}, not {value!r}."
            )
        if self.low is not None and not self.low <= value <= (self.high or float("inf")):
            most = f" and at most {self.high:g}" if self.high is not None else ""
            raise BadParam(
                self.name, f"{self.label} must be at least {self.low:g}{most}, it is {value:g}."
            )


def _cast(field: Field, value: Any) -> Any:
    if field.kind is bool:
        if not isinstance(value, bool):
            raise BadParam(field.name, f"{field.label} is true or false, not {value!r}.")
        return value
    if field.kind is str:
        if isinstance(value, bool):  # YAML reads a bare on and off so
            return "on" if value else "off"
        if not isinstance(value, str):
            raise BadParam(field.name, f"{field.label} is a word, not {value!r}.")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadParam(field.name, f"{field.label} is a number, not {value!r}.")
    try:
        number = float(value)
    except ValueError:
        raise BadParam(field.name, f"{field.label} is a number, not {value!r}.") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise BadParam(field.name, f"{field.label} is a number, not {value!r}.")
    if field.kind is int:
        if number != int(number):
            raise BadParam(field.name, f"{field.label} is a whole number, not {value!r}.")
        return int(number)
    return number


_SFT = ("sft",)
_PAIRS = ("dpo", "orpo", "kto")
FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("method", "Method", choices=tuple(METHODS), kind=str, basic=True),
        Field("quantization", "Quantization of the base", choices=tuple(QUANTIZATIONS), kind=str,
              basic=True, levers=True),
        Field("rank", "LoRA rank", "Size of the adapter: 8 to 32 is usual", 1, 1024, kind=int,
              basic=True, levers=True),
        Field("alpha", "LoRA alpha", "Scale of the adapter: usually the rank or twice it", 1, 4096,
              kind=int),
        Field("dropout", "LoRA dropout", "", 0, 0.9),
        Field("target_modules", "Layers",
              "auto: every linear layer of the decoder; or names: q_proj, v_proj", kind=str),
        Field("learning_rate", "Learning rate", "2e-4 suits LoRA SFT, 5e-6 to 5e-5 DPO", 1e-8, 1,
              basic=True),
        Field("schedule", "Schedule", choices=SCHEDULES, kind=str),
        Field("warmup_share", "Warm-up", "Share of the steps in which the rate rises", 0, 0.9),
        Field("batch_size", "Batch", "Rows at once on a device", 1, 1024, kind=int, basic=True,
              levers=True),
        Field("accumulation", "Accumulation", "Batches before a step", 1, 1024, kind=int),
        Field("epochs", "Epochs", "Times through the rows", 0.01, 1000, basic=True),
        Field("max_steps", "Most steps", "0: as the epochs say", 0, 10_000_000, kind=int),
        Field("max_length", "Longest row, tokens", "Prompt and answer together", 16, 1_048_576,
              kind=int, basic=True, levers=True),
        Field("too_long", "Longer rows", choices=tuple(TOO_LONG), kind=str),
        Field("packing", "Packing", "Short rows together in one sequence; a batch counts these",
              kind=bool, methods=_SFT),
        Field("group_by_length", "Rows of like length together", "Less padding", kind=bool,
              methods=("sft", "dpo", "orpo")),
        Field("assistant_only", "Loss on the answers only", kind=bool, methods=_SFT),
        Field("gradient_checkpointing", "Gradient checkpointing",
              "Less memory, about a third more time", choices=tuple(SWITCH), kind=str, levers=True),
        Field("optimizer", "Optimizer", choices=tuple(OPTIMIZERS), kind=str, levers=True),
        Field("weight_decay", "Weight decay", "", 0, 1),
        Field("max_grad_norm", "Largest gradient norm", "Longer gradients are cut to it", 0.001,
              1000),
        Field("beta", "Beta", "How strongly preferences pull: 0.1 is usual", 0.001, 10, basic=True,
              methods=_PAIRS),
        Field("neftune", "NEFTune noise", "0: none; 5 is usual", 0, 100, methods=_SFT),
        Field("seed", "Seed", "", 0, 2**31 - 1, kind=int),
        Field("eval_every", "Steps between evaluations", "0: four times an epoch at most", 0,
              10_000_000, kind=int),
        Field("early_stop", "Patience", "Evaluations without improvement; 0: never stops early", 0,
              1000, kind=int),
        Field("save_every", "Steps between checkpoints", "0: with every evaluation", 0, 10_000_000,
              kind=int),
        Field("sample_count", "Sample answers", "At each evaluation, beside the base's", 0, 20,
              kind=int),
        Field("sample_tokens", "Tokens of a sample answer", "", 1, 2048, kind=int),
        Field("threads", "CPU threads", "0: all cores", 0, 1024, kind=int),
    )
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "quick look": {"rank": 8, "alpha": 16, "epochs": 1.0, "sample_count": 2},
    "balanced": {},
    "thorough": {
        "rank": 32, "alpha": 64, "epochs": 5.0, "learning_rate": 1e-4, "dropout": 0.05,
        "early_stop": 3,
    },
}  # fmt: skip
"""What each changes of the defaults."""

# Of pairs the length tells the kind: long answers are rejected for their words, short ones as
# wrong. A batch of one kind teaches one thing, so the order is left to chance unless asked for.
_PAIR_DEFAULTS: dict[str, Any] = {"learning_rate": 5e-5, "batch_size": 4, "accumulation": 2}
METHOD_DEFAULTS: dict[str, dict[str, Any]] = {
    "sft": {},
    "dpo": {**_PAIR_DEFAULTS, "group_by_length": False},
    "orpo": {**_PAIR_DEFAULTS, "group_by_length": False},
    "kto": _PAIR_DEFAULTS,
}


def preset(name: str, method: str = "sft") -> Params:
    """The params of a preset for a method; BadParam where there is none of that name."""
    if name not in PRESETS:
        raise BadParam("preset", f"There is no preset {name!r}: there are {', '.join(PRESETS)}.")
    if method not in METHODS:
        raise BadParam("method", f"There is no method {method!r}: there are {', '.join(METHODS)}.")
    own = METHOD_DEFAULTS[method]
    changes = {**PRESETS[name], **own, "method": method}
    if name == "thorough" and method != "sft":
        changes["learning_rate"] = own["learning_rate"] / 2
    return Params.from_dict(changes)
