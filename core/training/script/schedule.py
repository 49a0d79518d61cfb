"""The learning rate from step to step: transformers' schedules, in whose warm-up no step is lost.

Knows: schedulers. Does not know: which one is asked for, how long a training is.
"""

from __future__ import annotations

from typing import Any

from torch.optim.lr_scheduler import LambdaLR
from transformers import get_scheduler


class Warming:
    """For trainers: a warm-up of n steps rises by 1/(n+1) a step, so that the first one trains.

    transformers begins at a rate of zero: with one step of warm-up, as short trainings have it,
    that step is computed for nothing. From the end of the warm-up on the rates are its own.
    """

    args: Any
    optimizer: Any
    lr_scheduler: Any

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The scheduler, made once."""
        warm = self.args.get_warmup_steps(num_training_steps)
        if self.lr_scheduler is not None or not warm:
            return super().create_scheduler(num_training_steps, optimizer)  # type: ignore[misc]
        optimizer = self.optimizer if optimizer is None else optimizer
        later = get_scheduler(
            self.args.lr_scheduler_type,
            optimizer=optimizer,
            num_warmup_steps=warm + 1,
            num_training_steps=num_training_steps + 1,
        ).lr_lambdas[0]
        self.lr_scheduler = LambdaLR(optimizer, lambda step: later(step + 1))
        self._created_lr_scheduler = True
        return self.lr_scheduler
