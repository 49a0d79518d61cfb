"""Runs end to end: a real job process and real model workers that answer from a script."""

from __future__ import annotations

from tests.evals.conftest import World

REPLIES = {
    f"ticket {i}": label for i, label in enumerate(("billing", "shipping", "account", "bug"))
}


def test_a_run_scores_every_row_of_every_variant(world: World) -> None:
    right = {"ticket 0": "billing", "ticket 1": "shipping", "ticket 2": "account"}
    run_id = world.start(
        world.variant(0, name="good", model="good", replies=right, default="billing"),
        world.variant(1, name="bad", model="bad", replies={}, default="billing"),
        rows=4,
    )
    summary = world.finish(run_id)
    good, bad = summary["variants"]
    assert (good["ok_count"], good["passed_count"], bad["passed_count"]) == (4, 3, 1)
    print(summary)
