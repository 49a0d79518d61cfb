"""A trace computes what it amounts to, and fits the tables it is meant for."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.monitoring.traces import PREVIEW_CHARACTERS, Span, Trace, preview
from core.store.database import Store, insert_missing

NOON = datetime.fromisoformat("2026-03-01T12:00:00")


def a_trace(**changes: object) -> Trace:
    values: dict[str, object] = {
        "started_at": NOON,
        "source": "playground",
        "model_name": "starter",
        "completion_token_count": 3,
        "ttft_ms": 100.0,
        "e2e_ms": 160.0,
        "itl_ms": [20.0, 40.0],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Where is\nmy parcel?"},
        ],
        "output": "On its way.",
        "generation": {"max_tokens": 3},
    }
    return Trace(**{**values, **changes})  # type: ignore[arg-type]


def test_a_trace_computes_time_per_output_token_and_gap_percentiles() -> None:
    row = dict(a_trace().rows())["traces"]
    assert row["tpot_ms"] == 30.0
    assert row["itl_p50_ms"] == 30.0
    assert row["itl_max_ms"] == 40.0


def test_one_token_has_no_time_per_output_token() -> None:
    assert a_trace(completion_token_count=1, itl_ms=[]).tpot_ms is None
    assert "tpot_ms" not in dict(a_trace(completion_token_count=1).rows())["traces"]


def test_the_preview_is_the_last_user_message_on_one_line() -> None:
    row = dict(a_trace().rows())["traces"]
    assert row["input_preview"] == "Where is my parcel?"
    assert row["output_preview"] == "On its way."


@given(st.text(max_size=900))
def test_a_preview_is_short_and_on_one_line(text: str) -> None:
    line = preview(text)
    assert len(line) <= PREVIEW_CHARACTERS
    assert len(line.splitlines()) <= 1


@given(st.lists(st.floats(0.01, 1e5), min_size=1, max_size=80))
def test_gap_percentiles_agree_with_numpy(gaps: list[float]) -> None:
    row = dict(a_trace(itl_ms=gaps).rows())["traces"]
    assert np.isclose(row["itl_p50_ms"], np.percentile(gaps, 50))
    assert np.isclose(row["itl_p95_ms"], np.percentile(gaps, 95))


def test_every_row_goes_into_its_table(store: Store) -> None:
    step = Span("retrieve", NOON, 12.5, {"document_count": 3})
    trace = a_trace(spans=(step,), started_at=NOON + timedelta(microseconds=7))
    with store.transaction() as connection:
        for table, row in trace.rows():
            insert_missing(connection, table, [row])
    kept = store.get("traces", trace.id, noun="trace")
    assert kept["started_at"] == NOON + timedelta(microseconds=7)
    assert kept["e2e_ms"] == 160.0
    assert store.row("SELECT itl_ms FROM trace_texts") == {"itl_ms": [20.0, 40.0]}
    assert store.row("SELECT name FROM spans WHERE trace_id = $id", {"id": trace.id}) == {
        "name": "retrieve"
    }
