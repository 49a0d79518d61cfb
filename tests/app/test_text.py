"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import text

NOW = datetime(2026, 3, 1, 12, 0, 0)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"), (1, "1.00"), (9.996, "10.0"), (12.34, "12.3"), (1234.5, "1,230"),
        (0.012345, "0.0123"), (-1.5, "−1.50"), (None, "–"), (float("nan"), "–"),
        (float("inf"), "∞"), (999.6, "1,000"), (1e6, "1,000,000"),
    ],
)  # fmt: skip
def test_three_significant_figures(value: float | None, shown: str) -> None:
    assert text.significant(value) == shown


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_a_shown_number_is_within_half_a_percent(value: float) -> None:
    assert float(text.significant(value).replace(",", "")) == pytest.approx(value, rel=0.0051)


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        (0.451, "0.451 ms"), (840, "840 ms"), (1840, "1.84 s"), (999.7, "1.00 s"),
        (60_000, "60.0 s"), (125_000, "2 min 5 s"), (120_000, "2 min"), (12_000_000, "3 h 20 min"),
        (187_200_000, "2 d 4 h"), (None, "–"), (0, "0 ms"),
    ],
)  # fmt: skip
def test_durations(ms: float | None, shown: str) -> None:
    assert text.milliseconds(ms) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (93_400_000, "93.4 MB"), (1.2e9, "1.20 GB"), (5e12, "5.00 TB")],
)
def test_sizes(size: float, shown: str) -> None:
    assert text.size(size) == shown


def test_shares_come_with_their_interval() -> None:
    assert text.percent(0.735) == "73.5 %"
    assert text.percent_interval(0.735, 0.68, 0.78) == "73.5 % [68, 78]"
    assert text.percent_interval(None, None, None) == "not enough data"


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (timedelta(seconds=3), "just now"), (timedelta(minutes=5), "5 min ago"),
        (timedelta(minutes=59, seconds=20), "59 min ago"), (timedelta(hours=2), "2 h ago"),
        (timedelta(days=3), "3 d ago"), (timedelta(days=70), "2 mo ago"),
        (timedelta(days=800), "2 y ago"), (timedelta(hours=-2), "in 2 h"),
        (timedelta(seconds=-3), "in a moment"),
    ],
)  # fmt: skip
def test_relative_times(ago: timedelta, shown: str) -> None:
    assert text.relative(NOW - ago, NOW) == shown


def test_absolute_times_say_their_zone() -> None:
    assert text.absolute(NOW) == "2026-03-01 12:00:00 UTC"
    assert text.absolute(None) == "–"


def test_counts_and_plurals() -> None:
    assert text.count(12345) == "12,345"
    assert text.plural(1, "row") == "1 row"
    assert text.plural(2000, "row") == "2,000 rows"
    assert text.plural(2, "entry", "entries") == "2 entries"


def test_states_are_never_colour_alone() -> None:
    for name in text.STATES:
        assert name in text.state_badge(name)
        assert ":material/" in text.state_badge(name)
    assert "unheard-of" in text.state("unheard-of")


def test_what_people_typed_is_shown_as_it_is() -> None:
    assert text.escape("**a** :red[b] $x$ <i>") == r"\*\*a\*\* \:red\[b\] \$x\$ \<i\>"
    assert text.shorten("a\n  b" + "c" * 200, 10) == "a bcccccc…"


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (32, "32"), (999, "999"), (1_234, "1,230"), (45_678, "45,700")]
)
def test_rough_counts_are_whole(value: int, shown: str) -> None:
    assert text.roughly(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("ticket_id", "`ticket_id`"), ("a*b\nc", "`a*b c`"), ("a`b", "``a`b``"),
        ("`x", "`` `x ``"), ("", "` `"),
    ],
)  # fmt: skip
def test_code_in_markdown_reads_as_it_is(value: str, shown: str) -> None:
    assert text.code(value) == shown
