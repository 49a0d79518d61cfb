"""A few real steps, timed: what the forecast of a training is made from.

Knows: the trainer's parts. Does not know: events, results; it writes nothing into the folder.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .faults import explain
from .files import RunFolder
from .params import BadParam, Params


def measure(folder: RunFolder, steps: int, began: float) -> int:
    """Print {"seconds_per_step", "tokens_per_step", "peak_memory_bytes", "load_seconds"}.

    The first step warms up and is not counted; the longest rows come first, as in a training, so
    the peak is the training's. `began` is when the process did, by `time.perf_counter`: imports are
    part of what loading takes. A failure prints {"error": ...} and gives 1.
    """
    params: Params | None = None
    try:
        config = folder.config()
        params = Params.from_dict(config.get("params") or {})
        found = _measured(folder, config, params, steps, began)
    except BadParam as error:
        found = {"error": {"code": "other", "title": "A setting cannot be", "message": str(error)}}
    except Exception as error:  # the edge of a process: what is told is all that is known
        found = {"error": explain(error, params).to_dict()}
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if "error" in found else 0


def _measured(
    folder: RunFolder, config: dict[str, Any], params: Params, steps: int, began: float
) -> dict[str, Any]:
    import dataclasses

    import torch
    from transformers import PrinterCallback, TrainerCallback

    from . import hardware, loading, session

    class Clock(TrainerCallback):  # type: ignore[misc]
        """When each step ended."""

        def __init__(self) -> None:
            self.ends: list[float] = []
            self.tokens: list[int] = []
            self.trainer: Any = None

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.ends.append(time.perf_counter())
            seen = getattr(self.trainer, "seen_tokens", None)
            self.tokens.append(int(state.num_input_tokens_seen if seen is None else seen))

    short = dataclasses.replace(params, max_steps=max(2, steps + 1))
    if params.threads:
        torch.set_num_threads(params.threads)
    tokenizer = loading.load_tokenizer(config["base"]["path"])
    rows, _, _ = session.read_rows(folder, tokenizer, short)
    model = loading.add_adapter(
        loading.load_base(config["base"]["path"], short), short, config.get("start_from")
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as scratch:
        running = session.make(short, model, tokenizer, rows, [], Path(scratch), [clock])
        running.remove_callback(PrinterCallback)
        clock.trainer = running
        loaded = time.perf_counter()
        running.train()
    count = len(clock.ends) - 1
    return {
        "seconds_per_step": (clock.ends[-1] - clock.ends[0]) / count,
        "tokens_per_step": (clock.tokens[-1] - clock.tokens[0]) / count,
        "peak_memory_bytes": hardware.memory_peak(),
        "load_seconds": loaded - began,
    }
