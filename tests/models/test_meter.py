"""Charges for compute add up to the time the model was busy."""

from __future__ import annotations

import pytest

from core.models.meter import Meter


def test_two_requests_share_the_time_in_which_both_ran() -> None:
    now = [0.0]
    meter = Meter(lambda: now[0])
    with meter.measure() as first:
        now[0] = 1.0
        with meter.measure() as second:
            now[0] = 3.0
            assert second() == pytest.approx(1000)
        now[0] = 4.0
        assert first() == pytest.approx(1000 + 1000 + 1000)
    now[0] = 9.0
    with meter.measure() as third:
        assert third() == 0, "idle time is charged to nobody"
