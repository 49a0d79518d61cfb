"""Curves: what scripts told of their steps and evaluations, as rows for charts.

Knows: which event says what, how many points a line needs. Does not know: charts, jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]
POINTS = 500
"""The most of one curve: more than that a chart does not show."""
OF_STEPS = ("loss", "learning_rate", "grad_norm", "tokens_per_s", "memory_bytes", "margin",
            "accuracy")  # fmt: skip
OF_EVALS = {"loss": "eval_loss", "margin": "eval_margin", "accuracy": "eval_accuracy"}


def curve_rows(finetune_id: str, name: str, events: Iterable[Row]) -> list[Row]:
    """{finetune_id, name, metric, step, epoch, seconds, value}; at most 500 points of a metric.

    The base's evaluation is at step 0. A value that is no number is left out.
    """
    series: dict[str, list[Row]] = {}
    seconds: float | None = 0.0
    for event in events:
        if event["kind"] == "step":
            seconds = event.get("seconds")
            names = {name: name for name in OF_STEPS}
        elif event["kind"] == "eval":
            names = OF_EVALS
        else:
            continue
        base = bool(event.get("base"))
        for theirs, ours in names.items():
            value = event.get(theirs)
            if isinstance(value, int | float):
                point = {
                    "finetune_id": finetune_id,
                    "name": name,
                    "metric": ours,
                    "step": 0 if base else event.get("step", 0),
                    "epoch": 0.0 if base else event.get("epoch"),
                    "seconds": 0.0 if base else seconds,
                    "value": float(value),
                }
                series.setdefault(ours, []).append(point)
    return [point for points in series.values() for point in thinned(points)]


def thinned(points: Sequence[Row], most: int = POINTS) -> list[Row]:
    """At most so many of them: first and last stay, and of each stretch between, in turn, its
    highest and its lowest, so that a spike is still seen."""
    if len(points) <= most or most < 4:
        return list(points[:most]) if most < 4 else list(points)
    inner = points[1:-1]
    stretches = (most - 2) // 2
    kept = [points[0]]
    for number in range(stretches):
        part = inner[len(inner) * number // stretches : len(inner) * (number + 1) // stretches]
        low = min(range(len(part)), key=lambda at: part[at]["value"])
        high = max(range(len(part)), key=lambda at: part[at]["value"])
        kept.extend(part[at] for at in sorted({low, high}))
    return [*kept, points[-1]]


def partial_result(events: Iterable[Row]) -> Row:
    """What result.json will say of losses, while it is still to come."""
    found: Row = {}
    for event in events:
        loss = event.get("loss")
        if not isinstance(loss, int | float):
            continue
        if event["kind"] == "step":
            found.setdefault("loss_first", loss)
            found.update(loss_last=loss, steps=event["step"])
        elif event["kind"] == "eval":
            if event.get("base"):
                found["eval_loss_base"] = loss
                continue
            found.setdefault("eval_loss_first", loss)
            found["eval_loss_last"] = loss
            if loss <= found.get("eval_loss_best", loss):
                found.update(eval_loss_best=loss, best_step=event["step"])
    return found
