"""Windows cut time into buckets as DuckDB does; a copied statement is the statement."""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Invalid
from core.monitoring.window import (
    LADDER,
    MOST_BUCKETS,
    Filters,
    Query,
    Window,
    column_of,
    where,
)

NOON = datetime.fromisoformat("2026-03-01T12:00:00")
MOMENTS = st.datetimes(datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2035-01-01"))


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(Invalid, match="ends before it begins"):
        Window(NOON, NOON, timedelta(hours=1))


def test_the_last_day_ends_with_the_current_minute_and_has_half_hours() -> None:
    window = Window.last(timedelta(days=1), NOON + timedelta(seconds=31))
    assert window.end == NOON + timedelta(minutes=1)
    assert window.bucket == timedelta(minutes=30)
    assert window.start == NOON - timedelta(days=1)
    assert window.buckets()[0] == window.start


def test_the_previous_window_touches_this_one() -> None:
    window = Window.last(timedelta(hours=6), NOON)
    assert window.previous.end == window.start
    assert window.previous.seconds == window.seconds


@given(MOMENTS, st.timedeltas(timedelta(minutes=1), timedelta(days=400)))
def test_buckets_cover_the_window_and_are_those_of_duckdb(start: datetime, span: timedelta) -> None:
    window = Window.between(start, start + span)
    buckets = window.buckets()
    assert buckets[0] <= window.start < buckets[0] + window.bucket
    assert buckets[-1] < window.end <= buckets[-1] + window.bucket
    assert len(buckets) <= MOST_BUCKETS + 1
    cut = duckdb.execute(
        "SELECT time_bucket(to_seconds($s), $start)",
        {"s": int(window.bucket.total_seconds()), "start": start},
    ).fetchone()
    assert cut == (buckets[0],)


def test_every_step_of_the_ladder_up_to_a_day_divides_the_day() -> None:
    steps = [step for step in LADDER if step <= timedelta(days=1)]
    assert all(timedelta(days=1) % step == timedelta(0) for step in steps)
    assert list(LADDER) == sorted(LADDER)


def test_only_filters_in_use_are_in_the_condition() -> None:
    window = Window.last(timedelta(hours=1), NOON)
    condition, values = where(window, Filters(model_name=("a", "b"), search="Parcel"))
    assert "t.model_name IN" in condition
    assert "quantization" not in condition
    assert [values["model_name_0"], values["model_name_1"]] == ["a", "b"]
    assert values["search"] == "Parcel"


def test_an_unknown_dimension_names_the_known_ones() -> None:
    with pytest.raises(Invalid) as caught:
        column_of("model_name; DROP TABLE traces")
    assert "prompt version" in (caught.value.hint or "")


@given(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30),
    st.integers(),
    MOMENTS,
    st.lists(st.sampled_from(["it's", "a$start", "%"]), min_size=1, max_size=3),
)
def test_a_copied_statement_gives_what_the_parameters_give(
    text: str, number: int, moment: datetime, names: list[str]
) -> None:
    query = Query(
        "SELECT $start_text, $start::HUGEINT, $at::TIMESTAMP, $names::VARCHAR[]",
        {"start_text": text, "start": number % 10**15, "at": moment, "names": names},
    )
    with_values = duckdb.execute(query.text()).fetchone()
    assert with_values == duckdb.execute(query.sql, dict(query.parameters)).fetchone()
