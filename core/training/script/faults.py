"""Why a training fails, in words, and what to change about it.

Knows: the codes of result.json and how errors of the libraries are told apart. Does not know: how
a training runs.
"""

from __future__ import annotations

import errno
from typing import Any

from .params import Params

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DISK_WORDS = (
    "no space left", "disk quota exceeded", "file too large", "os error 28", "os error 27",
    "pytorchstreamwriter failed writing", "unexpected pos",
)  # fmt: skip
_MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "oom")


class Stopped(Exception):
    """Somebody asked it to stop; a checkpoint was saved at `step`."""

    def __init__(self, step: int) -> None:
        super().__init__(f"stopped after step {step}")
        self.step = step


class Failure(Exception):
    """A training that cannot go on; `changes` are params to try instead."""

    def __init__(
        self,
        code: str,
        title: str,
        message: str,
        hint: str = "",
        changes: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.title, self.message, self.hint = code, title, message, hint
        self.changes = changes

    def to_dict(self) -> dict[str, Any]:
        """The `error` of result.json."""
        return {
            "code": self.code,
            "title": self.title,
            "message": self.message,
            "hint": self.hint,
            "changes": self.changes,
        }


def explain(error: BaseException, params: Params | None) -> Failure:
    """The Failure that an error of any library amounts to."""
    if isinstance(error, Failure):
        return error
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    for one in chain:
        if isinstance(one, OSError) and one.errno in _DISK:
            return disk_full(str(error))
        words = f"{type(one).__name__} {one}".lower()
        if any(word in words for word in _DISK_WORDS):
            return disk_full(str(error))
        # bnb and torch on a CPU raise RuntimeError from the allocator, CUDA its own class
        if isinstance(one, MemoryError) or any(word in words for word in _MEMORY_WORDS):
            return out_of_memory(params)
    return Failure(
        "other",
        "The training failed",
        f"{type(error).__name__}: {error}",
        "The log has the details. It goes on from the last complete checkpoint when resumed.",
    )


def disk_full(detail: str) -> Failure:
    """The disk had no room for a checkpoint or the adapter."""
    return Failure(
        "disk_full",
        "The disk is full",
        f"There was no room to save: {detail[:200]}",
        "The last complete checkpoint is whole. Make room and resume: it goes on from there.",
    )


def nan_loss(step: int, params: Params) -> Failure:
    """The loss or the gradient is no number any more."""
    changes: dict[str, Any] = {"learning_rate": float(f"{params.learning_rate / 5:.2g}")}
    if params.max_grad_norm > 0.3:
        changes["max_grad_norm"] = 0.3
    if params.warmup_share < 0.1:
        changes["warmup_share"] = 0.1
    return Failure(
        "nan",
        "The loss is not a number any more",
        f"At step {step} the loss or the gradient became infinite or not a number: the steps were "
        "too large for this model and these rows.",
        f"Start again with a learning rate of {changes['learning_rate']:g} and smaller gradients. "
        "Look for rows that hold something else than text, too.",
        changes,
    )


def out_of_memory(params: Params | None) -> Failure:
    """Memory ran out; what to change, in the order of what it costs."""
    changes = lighter(params) if params is not None else None
    done = "nothing is left to make smaller but the model: take a smaller one, or NF4"
    if changes:
        done = "try " + ", ".join(f"{name} {value}" for name, value in changes.items())
    return Failure(
        "out_of_memory",
        "Memory ran out",
        "This model with these rows needs more memory than there is.",
        f"Start it again with less: {done}. Closing loaded models gives memory back, too.",
        changes,
    )


def lighter(params: Params) -> dict[str, Any] | None:
    """Params that need less memory and train the same or nearly so; None when none is left.

    Half the batch with twice the accumulation is the same training; gradient checkpointing costs a
    third more time; shorter rows lose some of them.
    """
    least = 2 if params.method == "kto" else 1  # KTO compares the rows of a batch
    if params.batch_size > least:
        half = max(least, params.batch_size // 2)
        return {
            "batch_size": half,
            "accumulation": min(1024, params.accumulation * -(-params.batch_size // half)),
        }
    if params.gradient_checkpointing != "on":
        return {"gradient_checkpointing": "on"}
    if params.max_length >= 128:
        return {"max_length": params.max_length // 2}
    if params.quantization == "none":
        return {"quantization": "nf4"}
    return None
