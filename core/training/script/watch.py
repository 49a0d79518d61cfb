"""What happens in a training, told in events.ndjson; and when it is evaluated, saved and stopped.

Knows: the loop's hooks, the cadence, the numbers of a step. Does not know: how a loss is computed,
what a row is. It serves every trainer that transformers' loop runs.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import deque
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from transformers import TrainerCallback

from . import hardware, saving
from .faults import Stopped, nan_loss
from .files import RunFolder
from .health import Health
from .health import Warning as Told
from .params import Params
from .samples import Samples
from .signals import Stop

STATE = "lathe.json"
ALL_LINES = 500
"""So many steps are each told; later ones twice a second at most, and the last before a pause."""
LINE_SECONDS = 0.5
EVALUATIONS_AN_EPOCH = 4
EVALUATION_SHARE = 0.25
"""Of the training's time that evaluations may take, where their cadence is left to us."""
_MARGIN = "rewards/margins"
_ACCURACY = "rewards/accuracies"


def cadence(params: Params, epoch_steps: int, train_rows: int, eval_rows: int) -> tuple[int, int]:
    """(steps between evaluations, between checkpoints).

    Left to us: four times an epoch at most and once at least, and less than four times where the
    held-out rows are so many that evaluating them (half the work of training on one) took more
    than a quarter of the training.
    """
    times = float(EVALUATIONS_AN_EPOCH)
    if eval_rows:
        times = min(times, max(1.0, EVALUATION_SHARE * 2 * train_rows / eval_rows))
    every = params.eval_every or max(1, math.ceil(epoch_steps / times))
    return every, params.save_every or every


class Watch(TrainerCallback):  # type: ignore[misc]
    """Follows one training; `trainer` is set once it is built."""

    def __init__(
        self,
        params: Params,
        folder: RunFolder,
        stop: Stop,
        samples: Samples,
        *,
        every: tuple[int, int],
        has_eval: bool,
    ) -> None:
        self.params, self.folder, self.stop, self.samples = params, folder, stop, samples
        self.eval_every, self.save_every = every
        self.has_eval = has_eval
        self.trainer: Any = None
        self.health = Health()
        self.stopped = self.stopped_early = self._base = False
        self.tokens_before = self.tokens = 0
        self.seconds = 0.0
        self.first_losses: list[float] = []
        self.last_losses: deque[float] = deque(maxlen=5)
        self.evals: list[tuple[int, float]] = []
        self.base_loss: float | None = None
        self.energy = hardware.Energy()
        self._energy_before: float | None = 0.0
        self._recent: deque[tuple[float, int]] = deque(maxlen=10)
        self._mark = 0.0
        self._line_at = 0.0
        self._held: list[float] = []
        self._pause_seconds = 0.0

    # what a checkpoint keeps of it

    def state(self) -> dict[str, Any]:
        """As JSON; `restore` goes on from it."""
        return {
            "tokens": self.tokens,
            "seconds": self.seconds,
            "first_losses": self.first_losses,
            "last_losses": list(self.last_losses),
            "evals": self.evals,
            "base_loss": self.base_loss,
            "stopped_early": self.stopped_early,
            "energy_wh": self.energy_used()[0],
            "health": self.health.state(),
        }

    def restore(self, checkpoint: Path) -> None:
        """Go on from a checkpoint's state."""
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
        self.tokens = self.tokens_before = int(state["tokens"])
        self.seconds = float(state["seconds"])
        self.first_losses = list(state["first_losses"])
        self.last_losses.extend(state["last_losses"])
        self.evals = [(int(step), float(loss)) for step, loss in state["evals"]]
        self.base_loss = state["base_loss"]
        self.stopped_early = bool(state["stopped_early"])
        self._energy_before = state["energy_wh"]
        self.health.restore(state["health"])

    @property
    def best(self) -> tuple[int, float] | None:
        """(step, loss) of the best evaluation."""
        return min(self.evals, key=lambda one: one[1]) if self.evals else None

    # the loop's hooks

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Evaluate the base, where it is a fresh start."""
        state.log_history = []  # ours is events.ndjson
        if state.global_step == 0 and (self.has_eval or self.samples.rows):
            self._of_base(state)
        self._mark = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count, and decide what is due."""
        now = time.perf_counter()
        took, self._mark = now - self._mark, now
        self.seconds += took
        wish, seen = self._together(self.stop.asked(), self._seen(state))
        self._recent.append((took, self.tokens_before + seen - self.tokens))
        self.tokens = self.tokens_before + seen
        step, last = state.global_step, state.global_step >= state.max_steps
        self.stopped = wish and not last
        control.should_evaluate = (
            self.has_eval and not self.stopped and (last or step % self.eval_every == 0)
        )
        control.should_save = last or self.stopped or step % self.save_every == 0
        if self.stopped or last:
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Tell of a step; a loss that is no number ends the training before anything is saved."""
        del state.log_history[:-1]
        if not logs or "loss" not in logs or "train_runtime" in logs:
            return
        loss, norm = float(logs["loss"]), float(logs.get("grad_norm") or 0.0)
        if not math.isfinite(loss) or not math.isfinite(norm):
            failure = nan_loss(state.global_step, self.params)
            self.warn(state.global_step, [Told("nan", failure.message, failure.hint)])
            raise failure
        if len(self.first_losses) < 5:
            self.first_losses.append(loss)
        self.last_losses.append(loss)
        speed, eta = self.speed(), self.eta(state)
        self.warn(state.global_step, self.health.step(loss, speed, eta))
        self._held.append(loss)
        now = time.monotonic()
        pause = control.should_evaluate or control.should_save
        if state.global_step > ALL_LINES and not pause and now - self._line_at < LINE_SECONDS:
            return
        self._line_at = now
        extra = {name: logs[key] for name, key in (("margin", _MARGIN), ("accuracy", _ACCURACY))
                 if key in logs}  # fmt: skip
        self.folder.event(
            "step",
            at_once=False,
            step=state.global_step,
            epoch=state.epoch,
            loss=fmean(self._held),
            learning_rate=logs.get("learning_rate"),
            grad_norm=norm,
            tokens=self.tokens,
            tokens_per_s=speed,
            seconds=self.seconds,
            memory_bytes=hardware.memory_now(),
            eta_s=eta,
            **extra,
        )
        say(f"step {state.global_step}/{state.max_steps}  loss {fmean(self._held):.4f}  "
            f"{speed:.0f} tokens/s", self.folder)  # fmt: skip
        self._held = []

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any
    ) -> None:
        """Tell of an evaluation, and stop where nothing gets better any more."""
        loss = float((metrics or {}).get("eval_loss", math.nan))
        extra = {name: metrics[key] for name, key in
                 (("margin", f"eval_{_MARGIN}"), ("accuracy", f"eval_{_ACCURACY}"))
                 if key in metrics}  # fmt: skip
        self.folder.event(
            "eval", step=state.global_step, epoch=state.epoch or 0.0, loss=loss, base=self._base,
            **extra,
        )  # fmt: skip
        say(f"step {state.global_step}  held-out loss {loss:.4f}"
            f"{' (base)' if self._base else ''}", self.folder)  # fmt: skip
        if self._base:
            self.base_loss = loss
            self.health.base(loss)
            return
        self.evals.append((state.global_step, loss))
        self.warn(state.global_step, self.health.evaluated(loss))
        self._sample(state, base=False)
        best = self.best
        since = [one for one in self.evals if best is not None and one[0] > best[0]]
        if self.params.early_stop and len(since) >= self.params.early_stop:
            self.stopped_early = control.should_save = control.should_training_stop = True
        self._paused()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Make the checkpoint that was just written complete, and remove old ones."""
        self._wait()
        if self.folder.writes:
            folder = self.folder.checkpoints / f"checkpoint-{state.global_step}"
            (folder / STATE).write_text(json.dumps(self.state()), encoding="utf-8")
            (folder / "README.md").unlink(missing_ok=True)
            saving.finish(folder, step=state.global_step)
            best = self.best
            saving.rotate(self.folder.checkpoints, best[0] if best else None)
            path = str(folder.relative_to(self.folder.path))
            self.folder.event("checkpoint", step=state.global_step, path=path)
        self._wait()
        self._paused()

    # numbers

    def speed(self) -> float:
        """Tokens a second over the last ten steps."""
        took = sum(seconds for seconds, _ in self._recent)
        return sum(tokens for _, tokens in self._recent) / took if took > 0 else 0.0

    def eta(self, state: Any) -> float:
        """Seconds to the end: steps as long as the last ten, evaluations as long as the last."""
        left = max(0, state.max_steps - state.global_step)
        step = fmean(seconds for seconds, _ in self._recent) if self._recent else 0.0
        return float(left * step + left // self.eval_every * self._pause_seconds)

    def energy_used(self) -> tuple[float | None, str]:
        """(watt-hours, their basis), of all processes that trained here in turn; None if any of
        them could not measure."""
        used, basis = self.energy.now()
        if used is None or self._energy_before is None:
            return None, basis
        return self._energy_before + used, basis

    def warn(self, step: int, warnings: list[Told]) -> None:
        """Tell what is wrong."""
        for one in warnings:
            self.folder.event(
                "warning", code=one.code, step=step, message=one.message, advice=one.advice
            )
            say(f"warning: {one.message} {one.advice}", self.folder)

    def raise_if_stopped(self, step: int) -> None:
        """Stopped, where the loop ended because somebody asked."""
        if self.stopped:
            raise Stopped(step)

    def _of_base(self, state: Any) -> None:
        """The base's loss and answers: the same model with the adapter switched off."""
        self._base = True
        with self.trainer.accelerator.unwrap_model(self.trainer.model).disable_adapter():
            if self.has_eval:
                self.trainer.evaluate()
            self._sample(state, base=True)
        self._base = False

    def _sample(self, state: Any, *, base: bool) -> None:
        if (
            not self.folder.writes
            or self.trainer.is_fsdp_enabled
            or (self.trainer.is_deepspeed_enabled)
        ):
            return
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        for answer in self.samples.answers(model):
            self.folder.event("sample", step=state.global_step, base=base, **answer)

    def _seen(self, state: Any) -> int:
        seen = getattr(self.trainer, "seen_tokens", None)
        return int(state.num_input_tokens_seen if seen is None else seen)

    def _together(self, wish: bool, seen: int) -> tuple[bool, int]:
        """All processes stop at the same step, and count what all have seen."""
        if self.trainer.args.world_size <= 1:
            return wish, seen
        both = torch.tensor([int(wish), seen], device=self.trainer.args.device)
        both = self.trainer.accelerator.reduce(both, "sum")
        return bool(both[0] > 0), int(both[1])

    def _wait(self) -> None:
        if self.trainer.args.world_size > 1:
            self.trainer.accelerator.wait_for_everyone()

    def _paused(self) -> None:
        """What was not training does not count as such."""
        now = time.perf_counter()
        self._pause_seconds = now - self._mark
        self._mark = now


def say(line: str, folder: RunFolder) -> None:
    """One line for whoever reads the log."""
    if folder.writes:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
