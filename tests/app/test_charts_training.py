"""Figures of a training from rows alone: the base as a level, thinned long runs, a kept zoom."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import charts_training


def points(finetune_id: str, metric: str, values: list[float], first: int = 1) -> list[Any]:
    """One point a step, ten steps an epoch."""
    return [
        {"finetune_id": finetune_id, "name": f"run {finetune_id}", "metric": metric,
         "step": first + n, "epoch": (first + n) / 10, "value": value}
        for n, value in enumerate(values)
    ]  # fmt: skip


def drawn(rows: list[Any], **changes: Any) -> Any:
    colours = charts_training.run_colours([row["finetune_id"] for row in rows], "light")
    return charts_training.loss(rows, colours=colours, theme="light", **changes)


def test_the_base_is_a_dashed_level_from_the_first_step_to_the_last() -> None:
    rows = [*points("a", "loss", [3.0, 2.0, 1.0]), *points("a", "eval_loss", [2.5], first=0),
            *points("a", "eval_loss", [1.2], first=3)]  # fmt: skip
    trained, held, base = drawn(rows).data
    assert (trained.name, held.name, base.name) == (
        "Trained rows", "Held-out rows", "Held-out rows, base model",
    )  # fmt: skip
    assert (list(base.x), list(base.y), base.line.dash) == ([0, 3], [2.5, 2.5], "dash")
    assert list(held.y) == [2.5, 1.2]
    assert charts_training.base_loss(rows) == 2.5


def test_several_runs_are_told_apart_by_colour_and_name() -> None:
    rows = [*points("a", "eval_loss", [2.0, 1.0]), *points("b", "eval_loss", [2.0, 1.5])]
    first, second = drawn(rows).data
    assert first.line.color != second.line.color
    assert (first.name, second.name) == ("run a, held out", "run b, held out")


def test_without_an_evaluation_of_the_base_there_is_no_level() -> None:
    assert len(drawn(points("a", "loss", [3.0, 2.0, 1.0])).data) == 1
    assert len(drawn([]).data) == 0


def test_a_figure_drawn_anew_keeps_its_zoom() -> None:
    before, after = (drawn(points("a", "loss", [3.0] * n)) for n in (4, 9))
    assert before.layout.uirevision == after.layout.uirevision == "kept"


def test_points_without_a_time_are_left_out_of_an_axis_of_time() -> None:
    rows = points("a", "loss", [3.0, 2.0, 1.0])
    rows[1]["seconds"] = 4.0
    (line,) = drawn(rows, x="seconds").data
    assert (list(line.x), list(line.y)) == ([4.0], [2.0])


@pytest.mark.parametrize("metric", charts_training.LABELS)
def test_every_measure_of_a_step_has_a_figure(metric: str) -> None:
    rows = points("a", metric, [0.1, 0.2, 0.3])
    (line,) = charts_training.measure(rows, metric, colours={}, theme="dark").data
    assert list(line.y) == [0.1, 0.2, 0.3]


@given(st.integers(0, 3000), st.integers(2, 500))
def test_a_long_run_keeps_its_ends_and_an_even_choice_between(count: int, most: int) -> None:
    rows = points("a", "loss", [float(n) for n in range(count)])
    found = charts_training.thinned(rows, most)
    assert len(found) <= max(most, 0)
    assert [row["step"] for row in found] == sorted({row["step"] for row in found})
    if rows:
        assert (found[0], found[-1]) == (rows[0], rows[-1])
