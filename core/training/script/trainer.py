"""The SFT trainer: TRL's, with our rows, our order and a loss that computes the answers alone.

Knows: TRL, its arguments, how a step and an evaluation are computed. Does not know: chat templates,
files, events. `arguments` serves the preference trainers, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from trl.trainer.sft_trainer import SFTTrainer

from . import loading
from .batches import FOR_THE_LOSS, Batch, Collator, Order, Row, as_rows, length, packed, table
from .faults import Failure
from .loss import add_answer_loss
from .params import Params
from .rows import Encoded
from .schedule import Warming


def arguments(params: Params, folder: Path, row_count: int) -> dict[str, Any]:
    """What every trainer is told, as keyword arguments of SFTConfig, DPOConfig and the like.

    Evaluations and checkpoints are left to `watch.Watch`, which knows when they are due.
    """
    on = loading.device()
    bf16 = loading.dtype(on) == torch.bfloat16
    steps = steps_in_all(params, row_count)
    asked = params.gradient_checkpointing
    checkpoints = asked == "on" or (asked == "auto" and on == "cuda")
    return {
        "output_dir": str(folder),
        "use_cpu": on == "cpu",
        "bf16": bf16,
        "per_device_train_batch_size": params.batch_size,
        "per_device_eval_batch_size": params.batch_size,
        "gradient_accumulation_steps": params.accumulation,
        "num_train_epochs": params.epochs,
        "max_steps": params.max_steps if params.max_steps > 0 else -1,
        "learning_rate": params.learning_rate,
        "lr_scheduler_type": params.schedule if params.warmup_share == 0 else _warm(params),
        "warmup_steps": math.ceil(params.warmup_share * steps),
        "weight_decay": params.weight_decay,
        "max_grad_norm": params.max_grad_norm,
        "optim": optimizer(params, on),
        "activation_checkpointing": checkpoints,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "neftune_noise_alpha": params.neftune or None,
        "seed": params.seed,
        "data_seed": params.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # a loss that is no number must be seen
        "eval_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": on == "cuda",
        "ddp_find_unused_parameters": False,
        "push_to_hub": False,
    }


def _warm(params: Params) -> str:
    return "constant_with_warmup" if params.schedule == "constant" else params.schedule


def optimizer(params: Params, on: str) -> str:
    """The name that transformers has for it."""
    if params.optimizer == "auto":
        return "adamw_bnb_8bit" if on == "cuda" else "adamw_torch"
    return {
        "adamw": "adamw_torch",
        "adamw-8bit": "adamw_bnb_8bit",
        "adamw-paged": "paged_adamw_8bit",
    }[params.optimizer]


def steps_in_epoch(params: Params, row_count: int) -> int:
    """Optimizer steps that go once through the rows, on all processes together."""
    batches = math.ceil(row_count / (params.batch_size * loading.world()[0]))
    return max(1, math.ceil(batches / params.accumulation))


def steps_in_all(params: Params, row_count: int) -> int:
    """Optimizer steps of the whole training, as transformers counts them."""
    if params.max_steps > 0:
        return params.max_steps
    return max(1, math.ceil(params.epochs * steps_in_epoch(params, row_count)))


class AnswerTrainer(Warming, SFTTrainer):  # type: ignore[misc]
    """SFTTrainer over tokenized rows: the same loss and gradients in less work.

    `seen_tokens` counts what this process has trained on, padding left out.
    """

    def __init__(
        self, *, params: Params, rows: Sequence[Encoded], held_out: Sequence[Encoded], **named: Any
    ) -> None:
        self.params = params
        self.items = items(params, rows)
        self.held_out = as_rows(held_out)
        self.seen_tokens = 0
        # TRL wants a dataset of arrow's to look at; the rows are read faster from a list
        super().__init__(train_dataset=table(rows[:1]), **named)
        self.train_dataset = self.items
        if loading.device() == "cpu":  # TRL makes QLoRA adapters bf16, which CPUs compute slowly
            for weight in self.model.parameters():
                if weight.requires_grad:
                    weight.data = weight.data.float()
        add_answer_loss(self.model.get_base_model())

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        group = self.params.batch_size * self.args.world_size
        lengths = [length(item) for item in self.items]
        return Order(lengths, group, self.params.seed, by_length=self.params.group_by_length)

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: Any) -> Any:
        count = torch.tensor(sum(len(batch["targets"]) for batch in batch_samples), device=device)
        return self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    def compute_loss(
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The mean over the answers' tokens of the whole optimizer step, all processes together."""
        total = self.summed_loss(model, inputs)
        loss = total / num_items_in_batch * self.accelerator.num_processes
        if self.model.training:
            self.seen_tokens += int(inputs["seen"])
        return (loss, None) if return_outputs else loss

    def summed_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        """The summed loss of a batch's answers, in fp32."""
        given = {k: v for k, v in inputs.items() if k not in (*FOR_THE_LOSS, "seen")}
        loss: torch.Tensor = model(**given, answers=(inputs["positions"], inputs["targets"]))
        return loss

    def evaluate(self, *_: Any, **named: Any) -> dict[str, float]:
        """The mean loss over every answer's token of the held-out rows, and nothing besides."""
        prefix = named.get("metric_key_prefix", "eval")
        rows = self.held_out
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
        size = self.args.per_device_eval_batch_size
        groups = [order[at : at + size] for at in range(0, len(order), size)]
        sums = torch.zeros(2, dtype=torch.float64)
        model = self.model_wrapped if self.is_fsdp_enabled else self.model
        was_training = model.training
        model.eval()
        with torch.no_grad():
            for group in groups[self.args.process_index :: self.args.world_size]:
                batch = self._prepare_inputs(self.data_collator([rows[i] for i in group]))
                with self.compute_loss_context_manager():
                    sums[0] += self.summed_loss(model, batch).item()
                sums[1] += len(batch["targets"])
        model.train(was_training)
        if self.args.world_size > 1:
            sums = self.accelerator.reduce(sums.to(self.args.device), "sum").cpu()
        metrics = {f"{prefix}_loss": float(sums[0] / sums[1].clamp(min=1))}
        self.control: Any = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def floating_point_ops(self, inputs: Any) -> int:
        """Nobody reads them, and counting goes through all modules at every step."""
        return 0

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """The registry writes one."""


def items(params: Params, rows: Sequence[Encoded]) -> list[Row]:
    """What a batch is made of: rows, or with packing packs of them."""
    plain = as_rows(rows)
    return packed(plain, params.max_length) if params.packing else plain


def why_not_folded(model: Any, longest: int) -> str | None:
    """Why rows must not stand in one sequence, None where they may.

    They are kept apart by an attention mask. A state that is carried along a sequence knows no
    mask, nor does attention in chunks; a window is no matter while all rows are within it.
    """
    config = model.config.get_text_config()
    if getattr(model.get_base_model(), "_is_stateful", False):
        return "it carries a state from token to token"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds - {"full_attention", "sliding_attention"} or getattr(
        config, "attention_chunk_size", None
    ):
        return "not all of its layers attend through a mask"
    if getattr(config, "_attn_implementation", None) not in ("sdpa", "eager"):
        return f"its attention is {getattr(config, '_attn_implementation', None)}"
    window = getattr(config, "sliding_window", None)
    if window is not None and longest > window:
        return f"it looks back {window} tokens and rows have up to {longest}"
    return None


def shareable(model: Any, params: Params) -> bool:
    """Whether what rows begin with may be computed once: not where each row draws its own noise."""
    dropout = max(config.lora_dropout for config in model.peft_config.values())
    return params.neftune == 0 and dropout == 0


def build(
    params: Params,
    model: Any,
    tokenizer: Any,
    train_rows: Sequence[Encoded],
    eval_rows: Sequence[Encoded],
    args_dict: dict[str, Any],
    callbacks: list[Any],
) -> AnswerTrainer:
    """The SFT trainer, ready to train."""
    from trl.trainer.sft_config import SFTConfig

    foldable = why_not_folded(model, max(len(row.input_ids) for row in [*train_rows, *eval_rows]))
    if params.packing and foldable is not None:
        raise Failure(
            "other",
            "Rows cannot be packed for this model",
            f"Packed rows would see each other: {foldable}.",
            "Start it without packing: rows of like length stand together then.",
            {"packing": False},
        )
    return AnswerTrainer(
        params=params,
        rows=train_rows,
        held_out=eval_rows,
        model=model,
        args=SFTConfig(
            **args_dict,
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            packing=False,  # ours, see batches
        ),
        data_collator=Collator(
            tokenizer.pad_token_id,
            model.config.get_text_config().hidden_size,
            fold=foldable is None and params.neftune == 0,  # its noise goes by the length
            share=shareable(model, params),
        ),
        processing_class=tokenizer,
        callbacks=callbacks,
    )
