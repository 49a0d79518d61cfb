"""TRL's trainers for preferences, given rows that are tokens already.

Their own tokenizing is left out: it marks an answer's end by the tokenizer's end-of-text token,
where inference stops at the end-of-turn token, and it goes through every row several times.
Losses, references and metrics are TRL's.

Knows: what each trainer wants its rows to be. Does not know: how text becomes tokens, events.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference, KTOTrainer

from .batches import Order
from .params import Params
from .preferences import REFERENCE, Preference, mismatched, shuffled, verdict_weights
from .schedule import Warming

Row = dict[str, Any]
_MASKS = ("attention_mask", "chosen_attention_mask", "rejected_attention_mask")


class _Counting(Warming):
    """What our callbacks ask of every trainer, and what nobody reads left out."""

    seen_tokens = 0
    """Tokens that this process has trained on, padding left out."""
    order: Order | None = None
    """The order of the rows; None: TRL's."""

    def compute_loss(self, model: Any, inputs: Any, *given: Any, **named: Any) -> Any:
        if model.training:
            self.seen_tokens += sum(int(inputs[name].sum()) for name in _MASKS if name in inputs)
        return super().compute_loss(model, inputs, *given, **named)  # type: ignore[misc]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.order or super()._get_train_sampler(train_dataset)  # type: ignore[misc]

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    def create_model_card(self, *_: Any, **__: Any) -> None:
        return None


class _DPO(_Counting, DPOTrainer):  # type: ignore[misc]
    """DPO: loss -log sigmoid(beta x margin of the two log ratios)."""

    def compute_loss(self, *given: Any, **named: Any) -> Any:
        """TRL's; of a model that is its own reference neither answer is ahead: half, not none."""
        loss = super().compute_loss(*given, **named)
        metrics = self._metrics["train" if self.model.training else "eval"]
        if metrics["rewards/margins"][-1] == 0 and metrics["rewards/accuracies"][-1] == 0:
            metrics["rewards/accuracies"][-1] = 0.5
        return loss


class _KTO(_Counting, KTOTrainer):  # type: ignore[misc]
    """KTO: the distance to the reference is estimated from mismatched answers of a batch."""


def dpo(
    params: Params,
    model: Any,
    tokenizer: Any,
    train: list[Preference],
    held_out: list[Preference],
    args: dict[str, Any],
    callbacks: list[Any],
) -> Any:
    """DPO over pairs."""
    trainer = _DPO(
        model=model,
        args=DPOConfig(
            **args, beta=params.beta, max_length=None, disable_dropout=params.dropout == 0
        ),
        data_collator=DataCollatorForPreference(pad_token_id=tokenizer.pad_token_id),
        train_dataset=_looked_at(_pair(train[0])),
        eval_dataset=_looked_at(_pair(held_out[0])) if held_out else None,
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    _tend_reference(model)
    return _with_rows(trainer, params, train, [_pair(r) for r in train], map(_pair, held_out))


def kto(
    params: Params,
    model: Any,
    tokenizer: Any,
    train: list[Preference],
    held_out: list[Preference],
    args: dict[str, Any],
    callbacks: list[Any],
) -> Any:
    """KTO over verdicts; good and bad answers weigh the same in all."""
    train = shuffled(train, params.seed)  # a prompt's own answers would stand side by side
    rows = _verdicts(train, params.batch_size)
    held = _verdicts(shuffled(held_out, params.seed), params.batch_size)
    good, bad = verdict_weights(train)
    trainer = _KTO(
        model=model,
        args=KTOConfig(
            **args,
            beta=params.beta,
            max_length=None,
            disable_dropout=params.dropout == 0,
            desirable_weight=good,
            undesirable_weight=bad,
        ),
        data_collator=DataCollatorForUnpairedPreference(pad_token_id=tokenizer.pad_token_id),
        train_dataset=_looked_at(rows[0]),
        eval_dataset=_looked_at(held[0]) if held else None,
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    _tend_reference(model)
    return _with_rows(trainer, params, None, rows, held)


def orpo(
    params: Params,
    model: Any,
    tokenizer: Any,
    train: list[Preference],
    held_out: list[Preference],
    args: dict[str, Any],
    callbacks: list[Any],
) -> Any:
    """ORPO over pairs."""
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    class _ORPO(_Counting, ORPOTrainer):  # type: ignore[misc]
        """ORPO: the chosen answer's own loss, and its odds against the rejected one."""

    longest = max(row.length for row in [*train, *held_out])
    trainer = _ORPO(
        model=model,
        args=ORPOConfig(
            **args, beta=params.beta, max_length=longest, disable_dropout=params.dropout == 0
        ),
        train_dataset=_Ready([_sides(train[0])]),
        eval_dataset=_Ready([_sides(held_out[0])]) if held_out else None,
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    return _with_rows(trainer, params, train, [_sides(r) for r in train], map(_sides, held_out))


TRAINERS: dict[str, Callable[..., Any]] = {"dpo": dpo, "orpo": orpo, "kto": kto}


class _Ready(list[Row]):
    """Rows that need no tokenizing, for a trainer that would map over them."""

    def map(self, *_: Any, **__: Any) -> _Ready:
        return self


def _with_rows(
    trainer: Any, params: Params, by_length: list[Preference] | None, train: Any, held_out: Any
) -> Any:
    """The trainer over all rows: lists, which are read faster than what TRL looks at."""
    trainer.train_dataset = list(train)
    trainer.eval_dataset = list(held_out) or None
    if by_length is not None:
        trainer.order = Order(
            [row.length for row in by_length],
            params.batch_size * trainer.args.world_size,
            params.seed,
            by_length=params.group_by_length,
        )
    return trainer


def _looked_at(row: Row) -> Any:
    """One row as a dataset of arrow's: TRL looks at its columns."""
    from datasets import Dataset

    return Dataset.from_list([row])


def _pair(row: Preference) -> Row:
    return {
        "prompt_ids": row.prompt_ids,
        "chosen_ids": row.chosen_ids,
        "rejected_ids": row.rejected_ids,
    }


def _verdicts(rows: list[Preference], batch_size: int) -> list[Row]:
    others = mismatched(rows, batch_size)
    return [
        {
            "prompt_ids": row.prompt_ids,
            "completion_ids": row.chosen_ids,
            "KL_completion_ids": other,
            "label": row.label,
        }
        for row, other in zip(rows, others, strict=True)
    ]


def _sides(row: Preference) -> Row:
    """Both sequences with their masks, as ORPO's collator takes them."""
    found: Row = {"prompt_input_ids": row.prompt_ids}
    found["prompt_attention_mask"] = [1] * len(row.prompt_ids)
    for side, answer in (("chosen", row.chosen_ids), ("rejected", row.rejected_ids)):
        ids = row.prompt_ids + answer
        found[f"{side}_input_ids"] = ids
        found[f"{side}_attention_mask"] = [1] * len(ids)
        found[f"{side}_labels"] = [-100] * len(row.prompt_ids) + answer
    return found


def _tend_reference(model: Any) -> None:
    """Keep TRL's frozen copy out of what is saved, and drop it where it is not needed.

    A copy of an adapter that adds nothing yet is the base, which is there without a copy. One that
    is needed is made anew from `start_from` by a run that goes on.
    """
    model.save_pretrained = partial(model.save_pretrained, selected_adapters=["default"])
    nothing_yet = all(
        not bool(torch.any(weight))
        for name, weight in model.named_parameters()
        if "lora_B.default" in name
    )
    if nothing_yet and REFERENCE in model.peft_config:
        model.delete_adapter(REFERENCE)
