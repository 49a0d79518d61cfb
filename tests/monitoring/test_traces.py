"""Traces go through the spool, come back in bounded lists, and open with all there is of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from core.errors import Forbidden, Invalid, NotFound
from core.governance.permissions import OWNER, Actor
from core.monitoring.traces import Span, Trace, Traces, list_query
from core.monitoring.window import Filters, Window
from core.store.database import Store
from core.store.ingest import Ingest
from core.store.spool import SpoolWriter
from tests.monitoring.test_trace_record import NOON, a_trace

DAY = Window.between(NOON - timedelta(hours=12), NOON + timedelta(hours=12))
REVIEWER = Actor("user_r", "Rita", "reviewer")


@pytest.fixture
def traces(store: Store, home: Path) -> Iterator[Traces]:
    spool = SpoolWriter(home / "spool")
    yield Traces(store, spool)
    spool.close()


def keep(store: Store, traces: Traces, *made: Trace) -> None:
    for trace in made:
        traces.record(OWNER, trace)
    Ingest(store).drain()


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_a_recorded_trace_opens_with_texts_timings_and_spans(store: Store, traces: Traces) -> None:
    step = Span("retrieve", NOON + timedelta(milliseconds=2), 12.5, {"document_count": 3})
    trace = a_trace(queue_ms=5.0, prefill_ms=80.0, rendered_prompt="<|user|>…", spans=(step,))
    keep(store, traces, trace)
    row = traces.get(OWNER, trace.id)
    assert row["messages"][1]["content"] == "Where is\nmy parcel?"
    assert row["generation"] == {"max_tokens": 3}
    assert row["rendered_prompt"] == "<|user|>…"
    assert row["itl_ms"] == [20.0, 40.0]
    assert row["user_id"] == OWNER.id
    names = [span["name"] for span in row["spans"]]
    assert names == ["request", "retrieve", "queue", "prefill", "decode"]
    assert row["spans"][1]["attributes"] == {"document_count": 3}


def test_the_timing_spans_lie_end_to_end_inside_the_request(store: Store, traces: Traces) -> None:
    trace = a_trace(queue_ms=5.0, prefill_ms=80.0)
    keep(store, traces, trace)
    request, queue, prefill, decode = traces.get(OWNER, trace.id)["spans"]
    assert (request["duration_ms"], decode["duration_ms"]) == (160.0, 60.0)
    for before, after in ((queue, prefill), (prefill, decode)):
        ends = before["started_at"] + timedelta(milliseconds=before["duration_ms"])
        assert ends == after["started_at"]
    assert prefill["parent_id"] == request["id"]


def test_a_failed_request_has_its_error_and_no_decode_span(store: Store, traces: Traces) -> None:
    trace = Trace(started_at=NOON, source="run", state="failed", error="it died", e2e_ms=40.0)
    keep(store, traces, trace)
    row = traces.get(OWNER, trace.id)
    assert row["error"] == "it died"
    assert [span["name"] for span in row["spans"]] == ["request"]
    assert row["messages"] == []


def test_half_a_surrogate_pair_in_an_answer_costs_one_character(
    store: Store, traces: Traces
) -> None:
    trace = a_trace(output="so: \ud83d")
    keep(store, traces, trace)
    assert traces.get(OWNER, trace.id)["output"] == "so: ?"


def test_pages_by_key_show_every_trace_once(store: Store, traces: Traces) -> None:
    # three at a time share a start: the id decides between them
    made = [a_trace(started_at=at(n // 3)) for n in range(20)]
    keep(store, traces, *made)
    seen: list[str] = []
    before = None
    while page := traces.list(OWNER, DAY, before=before, limit=7):
        seen += [row["id"] for row in page]
        before = seen[-1]
    assert sorted(seen) == sorted(trace.id for trace in made)
    starts = [traces.get(OWNER, trace_id)["started_at"] for trace_id in seen]
    assert starts == sorted(starts, reverse=True)


def test_a_list_is_bounded_in_time(store: Store, traces: Traces) -> None:
    inside, outside = a_trace(), a_trace(started_at=DAY.end)
    keep(store, traces, inside, outside)
    assert [row["id"] for row in traces.list(OWNER, DAY)] == [inside.id]


def test_filters_and_search_narrow_the_list(store: Store, traces: Traces) -> None:
    parcel = a_trace(model_name="starter", quantization="nf4", prompt_label="triage v1")
    refund = replace(
        a_trace(model_name="other", state="failed"),
        messages=({"role": "user", "content": "REFUND 100 % please"},),
    )
    keep(store, traces, parcel, refund)

    def found(**wanted: object) -> list[str]:
        return [row["id"] for row in traces.list(OWNER, DAY, Filters(**wanted))]  # type: ignore[arg-type]

    assert found(model_name=("starter",)) == [parcel.id]
    assert found(state=("failed",)) == [refund.id]
    assert set(found(model_name=("starter", "other"))) == {parcel.id, refund.id}
    assert found(search="refund") == [refund.id]
    assert found(search="100 %") == [refund.id]
    assert found(search="way") != []  # the output is searched as well
    assert found(quantization=("nf4",), state=("failed",)) == []


def test_the_slowest_succeeded_requests_come_first(store: Store, traces: Traces) -> None:
    made = [a_trace(e2e_ms=200.0 + n) for n in range(5)]
    failed = a_trace(e2e_ms=9_000.0, state="failed")
    keep(store, traces, *made, failed)
    found = [row["id"] for row in traces.slowest(OWNER, DAY, limit=2)]
    assert found == [made[4].id, made[3].id]
    with pytest.raises(Invalid, match="no latency 'id'"):
        traces.slowest(OWNER, DAY, column="id")


def test_the_copied_list_statement_runs(store: Store, traces: Traces) -> None:
    keep(store, traces, a_trace(prompt_label="it's v1"))
    query = list_query(DAY, Filters(prompt_label=("it's v1",)), limit=5)
    assert len(store.rows(query.text())) == 1


def test_an_unknown_trace_is_not_found(traces: Traces) -> None:
    with pytest.raises(NotFound, match="no trace with the id"):
        traces.get(OWNER, "trace_nope")


def test_a_reviewer_reads_no_traces(traces: Traces) -> None:
    with pytest.raises(Forbidden):
        traces.list(REVIEWER, DAY)
    with pytest.raises(Forbidden):
        traces.record(REVIEWER, a_trace())
