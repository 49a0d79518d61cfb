"""One training from rows to adapter.

Knows: the parts and their order. Does not know: exit codes, how any part works.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from transformers import PrinterCallback, set_seed

from . import hardware, loading, saving, trainer
from .faults import Failure, Stopped
from .files import RunFolder
from .params import Params
from .rows import TemplateMismatch, prepare
from .samples import Samples
from .signals import Stop
from .watch import Watch, cadence, say


def train(folder: RunFolder, config: dict[str, Any], params: Params, stop: Stop) -> dict[str, Any]:
    """Train and save the adapter; returns what result.json says of a success.

    Raises Stopped, Failure, and whatever the libraries raise.
    """
    if params.threads:
        torch.set_num_threads(params.threads)
    set_seed(params.seed)
    base = config["base"]["path"]
    tokenizer = loading.load_tokenizer(base)
    rows, held_out, dropped = read_rows(folder, tokenizer, params)
    resume = _resumed(folder)
    say(f"{len(rows)} rows, {len(held_out)} held out; loading {config['base']['name']}", folder)
    model = loading.add_adapter(loading.load_base(base, params), params, config.get("start_from"))
    running = build(folder, params, model, tokenizer, rows, held_out, stop)
    watch: Watch = running.watch
    if resume is not None:
        watch.restore(resume)
    _tell_start(folder, watch, params, rows, held_out, dropped, resume)
    if stop.asked():
        raise Stopped(saving.step_of(resume) if resume else 0)
    epoch_steps = trainer.steps_in_epoch(params, unit_count(params, rows))
    total = trainer.steps_in_all(params, unit_count(params, rows))
    done = resume is not None and (saving.step_of(resume) >= total or watch.stopped_early)
    if not done:
        running.train(resume_from_checkpoint=str(resume) if resume else None)
        watch.raise_if_stopped(running.state.global_step)
    steps = running.state.global_step if not done else saving.step_of(resume or Path())
    used, basis = watch.energy_used()
    if folder.writes:
        chosen = _publish(folder, watch, tokenizer, base, params)
        return {
            **summary(watch, steps, steps / epoch_steps),
            "adapter_step": saving.step_of(chosen),
            "energy_wh": used,
            "energy_basis": basis,
        }
    return {}


def read_rows(
    folder: RunFolder, tokenizer: Any, params: Params
) -> tuple[list[Any], list[Any], dict[str, int]]:
    """(rows to train on, held-out rows, how many of the first were dropped and why).

    Failure with code empty or template.
    """
    raw, raw_eval = folder.rows("train"), folder.rows("eval")
    tokens: Any = prepare
    if params.method != "sft":
        from . import preferences

        tokens = preferences.prepare
    try:
        rows, dropped = tokens(tokenizer, raw, params)
        held_out, _ = tokens(tokenizer, raw_eval, params)
    except TemplateMismatch as error:
        raise Failure(
            "template", "The chat template does not fit", str(error),
            "Check the rows' turns, or take a model whose template fits them.",
        ) from None  # fmt: skip
    if not rows:
        why = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise Failure(
            "empty", "There is nothing to train on",
            f"None of the {len(raw)} rows can be trained on{': ' + why if why else ''}.",
            "Give it rows with an answer, or raise the longest row."
            if raw else "The split has no rows.",
        )  # fmt: skip
    return rows, held_out, dropped


def build(
    folder: RunFolder,
    params: Params,
    model: Any,
    tokenizer: Any,
    rows: list[Any],
    held_out: list[Any],
    stop: Stop,
) -> Any:
    """The trainer of the method, with a Watch as `watch`."""
    every = cadence(
        params, trainer.steps_in_epoch(params, unit_count(params, rows)), len(rows), len(held_out)
    )
    samples = Samples(tokenizer, folder.rows("eval"), params)
    watch = Watch(params, folder, stop, samples, every=every, has_eval=bool(held_out))
    running = make(params, model, tokenizer, rows, held_out, folder.checkpoints, [watch])
    running.remove_callback(PrinterCallback)
    running.watch = watch
    watch.trainer = running
    return running


def unit_count(params: Params, rows: list[Any]) -> int:
    """How many things batches are made of: rows, or packs of them."""
    return len(trainer.items(params, rows)) if params.packing else len(rows)


def make(
    params: Params,
    model: Any,
    tokenizer: Any,
    rows: list[Any],
    held_out: list[Any],
    checkpoints: Path,
    callbacks: list[Any],
) -> Any:
    """The trainer of the method."""
    args = trainer.arguments(params, checkpoints, unit_count(params, rows))
    if params.method == "sft":
        return trainer.build(params, model, tokenizer, rows, held_out, args, callbacks)
    from . import preferences

    return preferences.build(params, model, tokenizer, rows, held_out, args, callbacks)


def _resumed(folder: RunFolder) -> Path | None:
    """The newest complete checkpoint; remains of others are removed."""
    if folder.writes:
        saving.remove_incomplete(folder.checkpoints)
        shutil.rmtree(folder.path / ".adapter.part", ignore_errors=True)
    found = saving.complete_checkpoints(folder.checkpoints)
    return found[-1] if found else None


def _tell_start(
    folder: RunFolder,
    watch: Watch,
    params: Params,
    rows: list[Any],
    held_out: list[Any],
    dropped: dict[str, int],
    resume: Path | None,
) -> None:
    trained, every = loading.counts(watch.trainer.accelerator.unwrap_model(watch.trainer.model))
    folder.event(
        "start",
        total_steps=trainer.steps_in_all(params, unit_count(params, rows)),
        epochs=params.epochs,
        train_rows=len(rows),
        eval_rows=len(held_out),
        resumed_from=saving.step_of(resume) if resume else None,
        device=loading.device(),
        dtype=str(loading.dtype(loading.device())).removeprefix("torch."),
        world_size=watch.trainer.args.world_size,
        trainable_parameters=trained,
        parameters=every,
        dropped_rows=dropped,
    )
    watch.warn(saving.step_of(resume) if resume else 0, watch.health.dropped(dropped, len(rows)))


def _publish(folder: RunFolder, watch: Watch, tokenizer: Any, base: str, params: Params) -> Path:
    """The adapter of the last step; with early stopping of the best evaluation."""
    found = {saving.step_of(path): path for path in saving.complete_checkpoints(folder.checkpoints)}
    chosen = found[max(found)]
    best = watch.best
    if params.early_stop and best is not None and best[0] in found:
        chosen = found[best[0]]
    saving.copy_adapter(chosen, tokenizer, base, folder.adapter)
    return chosen


def summary(watch: Watch, steps: int, epochs: float) -> dict[str, Any]:
    """The numbers of a training; first and last loss are means of up to five steps."""
    losses = [loss for _, loss in watch.evals]
    best = watch.best
    count = max(1, min(5, steps // 4))
    return {
        "steps": steps,
        "epochs": epochs,
        "loss_first": fmean(watch.first_losses[:count]) if watch.first_losses else None,
        "loss_last": fmean(list(watch.last_losses)[-count:]) if watch.last_losses else None,
        "eval_loss_base": watch.base_loss,
        "eval_loss_first": losses[0] if losses else None,
        "eval_loss_last": losses[-1] if losses else None,
        "eval_loss_best": best[1] if best else None,
        "best_step": best[0] if best else None,
        "train_seconds": watch.seconds,
        "tokens": watch.tokens,
        "tokens_per_s": watch.tokens / watch.seconds if watch.seconds else None,
        "peak_memory_bytes": hardware.memory_peak(),
        "hardware": hardware.describe(),
        "versions": hardware.versions(),
        "stopped_early": watch.stopped_early,
        "adapter": "adapter",
    }
