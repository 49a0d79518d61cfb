"""Curves: events as points, few enough to draw, spikes kept."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.training.curves import POINTS, curve_rows, partial_result, thinned
from core.training.folder import RunFolder


def step(number: int, loss: float | None) -> dict[str, Any]:
    return {"kind": "step", "step": number, "epoch": number / 10, "loss": loss, "seconds": number,
            "tokens_per_s": 5.0, "grad_norm": None}  # fmt: skip


def test_events_become_points_by_metric() -> None:
    events = [
        {"kind": "eval", "step": 0, "epoch": 0.0, "loss": 4.0, "base": True, "margin": 0.0},
        step(1, 3.0), step(2, None), step(3, 2.0),
        {"kind": "eval", "step": 3, "epoch": 0.3, "loss": 2.5, "base": False, "accuracy": 0.5},
        {"kind": "warning", "step": 3},
    ]  # fmt: skip
    rows = curve_rows("f", "tune", events)
    found = {metric: [(r["step"], r["value"]) for r in rows if r["metric"] == metric]
             for metric in {row["metric"] for row in rows}}  # fmt: skip
    assert found == {
        "loss": [(1, 3.0), (3, 2.0)],
        "tokens_per_s": [(1, 5.0), (2, 5.0), (3, 5.0)],
        "eval_loss": [(0, 4.0), (3, 2.5)],
        "eval_margin": [(0, 0.0)],
        "eval_accuracy": [(3, 0.5)],
    }
    assert partial_result(events) == {
        "eval_loss_base": 4.0, "loss_first": 3.0, "loss_last": 2.0, "steps": 3,
        "eval_loss_first": 2.5, "eval_loss_last": 2.5, "eval_loss_best": 2.5, "best_step": 3,
    }  # fmt: skip


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3_000), st.integers(4, 50))
def test_a_thinned_curve_keeps_its_ends_its_spikes_and_its_order(
    values: list[float], most: int
) -> None:
    points = [{"step": n, "value": value} for n, value in enumerate(values)]
    kept = thinned(points, most)
    assert len(kept) <= max(most, 4)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert [p["step"] for p in kept] == sorted({p["step"] for p in kept})
    for extreme in (min(values), max(values)):
        assert extreme in {p["value"] for p in kept}


def test_a_long_training_has_500_points_of_a_metric() -> None:
    rows = curve_rows("f", "tune", [step(n, 1 / (n + 1)) for n in range(20_000)])
    assert len([row for row in rows if row["metric"] == "loss"]) <= POINTS


def test_steps_that_a_crash_took_back_are_told_once(tmp_path: Any) -> None:
    import json

    folder = RunFolder(tmp_path)
    events = [{"kind": "start", "resumed_from": None}, step(1, 1.0), step(2, 2.0), step(3, 3.0),
              {"kind": "start", "resumed_from": 1}, step(2, 20.0)]  # fmt: skip
    lines = "".join(json.dumps(event) + "\n" for event in events)
    folder.events_path.write_text(lines + '{"kind": "step", "st')
    found = [(e["step"], e["loss"]) for e in folder.every_event("step")]
    assert found == [(1, 1.0), (2, 20.0)]
