"""The smallest job: counts, so that `lathe doctor` and the tests see the whole path work.

Knows: how to count, and to go on where it stopped. Does not know: models or data.
"""

from __future__ import annotations

import time

from core.clock import utc_iso
from core.errors import JobFailed
from core.jobs.context import JobContext


def work(job: JobContext) -> dict[str, int]:
    """Write `steps` traces, `delay_ms` apart; fail at step `fail_at` when given."""
    steps = int(job.payload["steps"])
    done = {row["id"] for _, row in job.done_rows()}
    for step in range(steps):
        job.raise_if_cancelled()
        trace_id = f"{job.id}-{step}"
        if trace_id in done:
            continue
        if step == job.payload.get("fail_at"):
            raise JobFailed(f"Step {step} was told to fail.")
        job.spool.write(
            "traces",
            {"id": trace_id, "started_at": utc_iso(), "source": "selftest", "state": "ok"},
        )
        job.progress(step + 1, steps, f"step {step + 1} of {steps}")
        time.sleep(float(job.payload.get("delay_ms", 0)) / 1000)
    return {"steps": steps, "resumed_from": len(done)}
