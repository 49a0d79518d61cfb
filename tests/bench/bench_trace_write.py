"""What recording a trace costs the process that records it. Baseline: one DuckDB INSERT."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.clock import utc_now
from core.monitoring.traces import Trace
from core.store.database import Store
from core.store.ingest import Ingest
from core.store.spool import SpoolWriter

pytestmark = pytest.mark.bench

WRITES = 3_000
INSERTS = 200
MOST_US = 100


def an_answer(number: int) -> Trace:
    """48 tokens with every gap kept, 1,200 characters of prompt, nothing left out."""
    return Trace(
        started_at=utc_now(), source="run", prompt_id="prompt_1", prompt_version_id="version_1",
        prompt_label="triage v2", model_id="model_1", model_name="SmolLM2-135M-Instruct",
        engine="llama.cpp", quantization="Q4_1", device="cpu", run_id="run_1",
        variant_id="variant_1", row_id=f"row_{number}", finish_reason="stop",
        prompt_token_count=310, completion_token_count=48, queue_ms=1.234567, prefill_ms=88.7654321,
        ttft_ms=91.2345678, e2e_ms=712.3456789,
        messages=(
            {"role": "system", "content": "Classify the ticket into one of four labels. " * 4},
            {"role": "user", "content": "My parcel has not arrived since Tuesday. " * 25},
        ),
        rendered_prompt="<|im_start|>user\nMy parcel has not arrived since Tuesday.\n" * 20,
        output="delivery, because the parcel has not arrived " * 5,
        generation={"max_tokens": 48, "temperature": 0.0, "top_p": 1.0, "seed": None, "stop": []},
        itl_ms=[13.0 + n * 0.123456789 for n in range(47)],
    )  # fmt: skip


def timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return (time.perf_counter() - begin) * 1e6


def insert(store: Store, rows: list[tuple[str, dict[str, object]]]) -> None:
    """The rows of one trace straight into the database, in one transaction."""
    with store.transaction() as connection:
        for table, row in rows:
            plain = {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in row.items()}
            if "itl_ms" in row:
                plain["itl_ms"] = row["itl_ms"]
            columns, slots = ", ".join(plain), ", ".join(f"${name}" for name in plain)
            connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({slots})", plain)


def test_a_trace_costs_its_writer_under_100_microseconds(store: Store, home: Path) -> None:
    spool = SpoolWriter(home / "spool")
    traces = [an_answer(number) for number in range(WRITES)]
    rows = [trace.rows() for trace in traces]
    writes = [timed(lambda r=r: spool.write_all(r)) for r in rows]  # type: ignore[misc]
    whole = [timed(lambda t=t: spool.write_all(t.rows())) for t in traces]  # type: ignore[misc]
    spool.close()
    begin = time.perf_counter()
    Ingest(store).drain()
    ingested_per_s = 2 * WRITES / (time.perf_counter() - begin)
    assert store.row("SELECT count(*) AS n FROM traces") == {"n": WRITES}

    fresh = [an_answer(number).rows() for number in range(INSERTS)]
    inserts = [timed(lambda r=r: insert(store, r)) for r in fresh]  # type: ignore[misc]
    write_us, whole_us, insert_us = map(statistics.median, (writes, whole, inserts))
    print(
        f"\nspool write of one trace's rows: median {write_us:.0f} µs,"
        f" with making the rows {whole_us:.0f} µs (p99 {sorted(whole)[-WRITES // 100]:.0f} µs)"
        f"\none transaction of DuckDB INSERTs: median {insert_us:.0f} µs,"
        f" {insert_us / whole_us:.0f} times as much"
        f"\nthe ingest then takes {ingested_per_s:,.0f} traces a second"
    )
    assert whole_us < MOST_US
