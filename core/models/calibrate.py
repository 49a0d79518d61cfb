"""The job that measures: load time, prefill and decode speed of one model in several ways.

Knows: what is asked of a worker, and how a rate is taken. Does not know: the database: its rows
leave through the spool. One way after another, each in a worker of its own, so that none is
slowed by the next.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.clock import utc_iso
from core.errors import JobFailed, LatheError
from core.generation import Generation
from core.jobs.context import JobContext
from core.models import choices
from core.models.client import Completion, is_busy, stream
from core.models.pool import WorkerPool
from core.models.spec import Endpoint, WorkerSpec

BATCH = 16
"""Requests in flight together when the throughput is measured, where the worker takes so many."""
PROBE_TOKENS = 8
MOST_TOKENS = 64
SECONDS_EACH = 6.0
"""About how long one measurement may take: a slow way is measured on fewer tokens."""
FILLER = (
    "The parcel was marked as delivered on Tuesday, but nobody in the building has seen it and "
    "the photo shows another door. Please find out where it went and tell me what happens next. "
)


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured of one way to load a model."""

    concurrency: int
    prefill_tokens_per_s: float | None
    single_tokens_per_s: float | None
    decode_tokens_per_s: float | None


def work(job: JobContext) -> dict[str, Any]:
    """Measure each spec of the payload; a way that does not load is logged and left out."""
    pool = WorkerPool(Path(job.payload["home"]))
    specs = [WorkerSpec.from_dict(spec) for spec in job.payload["specs"]]
    done = {row["id"] for _, row in job.done_rows()}
    failures = []
    for number, spec in enumerate(specs):
        job.raise_if_cancelled()
        row_id = f"{job.id}-{spec.key}"
        if row_id in done:
            continue
        job.progress(number, len(specs), f"measuring {spec.engine} {spec.quantization}")
        try:
            job.spool.write("calibrations", _row(row_id, pool, spec, job))
        except LatheError as error:
            job.raise_if_cancelled()
            failures.append(f"{spec.engine} {spec.quantization}: {error.message}")
            job.log(failures[-1])
    job.progress(len(specs), len(specs), "measured")
    if failures and len(failures) == len(specs):
        raise JobFailed(" ".join(failures), title="Nothing could be measured")
    return {"measured": len(specs) - len(failures), "failures": failures}


def measure(endpoint: Endpoint, *, cancelled: Any = None) -> Rates:
    """Ask a loaded model: alone, then many at once. Each prompt begins differently, so that no
    part of one is remembered from another.
    """
    probe = _ask(endpoint, "probe", PROBE_TOKENS, cancelled)
    rate = _decode_rate(probe) or PROBE_TOKENS / max(probe.e2e_ms / 1000, 1e-3)
    tokens = int(min(MOST_TOKENS, max(PROBE_TOKENS, rate * SECONDS_EACH)))
    alone = _ask(endpoint, "alone", tokens, cancelled)
    concurrency = max(1, min(BATCH, endpoint.slots))
    batch_tokens = max(PROBE_TOKENS, tokens // 2)
    with ThreadPoolExecutor(concurrency) as threads:
        began = time.perf_counter()
        answers = list(
            threads.map(
                lambda number: _ask(endpoint, f"many {number}", batch_tokens, cancelled),
                range(concurrency),
            )
        )
        wall_s = time.perf_counter() - began
    return Rates(
        concurrency=concurrency,
        prefill_tokens_per_s=_prefill_rate(alone),
        single_tokens_per_s=_decode_rate(alone),
        decode_tokens_per_s=sum(a.completion_token_count for a in answers) / wall_s,
    )


def busy_percent() -> float:
    """How much of the CPU is in use now, over a second in which nothing is asked of the model."""
    import psutil

    return float(psutil.cpu_percent(interval=1.0))


def _row(row_id: str, pool: WorkerPool, spec: WorkerSpec, job: JobContext) -> dict[str, Any]:
    already_loaded = pool.find(spec) is not None
    endpoint = pool.ensure(spec, cancelled=job.cancelled, alone=True)
    try:
        busy = busy_percent()
        if busy > choices.TOO_BUSY_PERCENT:
            job.log(f"Others use {busy:.0f} % of the CPU: measure again when it is quiet.")
        rates = measure(endpoint, cancelled=job.cancelled)
        job.raise_if_cancelled()
        load_ms = pool.state(spec).load_ms
    finally:
        # somebody may have found it loaded and asked it meanwhile: then it goes when it is idle
        if not already_loaded and (job.cancelled() or not is_busy(endpoint)):
            pool.stop(spec.key)
    return {
        "id": row_id,
        "model_id": spec.model_id,
        "engine": spec.engine,
        "quantization": spec.quantization,
        "device": spec.device,
        "concurrency": rates.concurrency,
        "load_ms": load_ms,
        "prefill_tokens_per_s": rates.prefill_tokens_per_s,
        "decode_tokens_per_s": rates.decode_tokens_per_s,
        "single_tokens_per_s": rates.single_tokens_per_s,
        "busy_percent": busy,
        "measured_at": utc_iso(),
    }


def _ask(endpoint: Endpoint, name: str, tokens: int, cancelled: Any) -> Completion:
    # a long answer is wanted whatever it says: the task asks for a list that does not end soon
    content = f"{secrets.token_hex(4)}, case {name}. {FILLER * 4}List every number from 1."
    messages = [{"role": "user", "content": content}]
    return stream(endpoint, messages, Generation(max_tokens=tokens), cancelled=cancelled)


def _decode_rate(answer: Completion) -> float | None:
    if answer.ttft_ms is None or answer.completion_token_count < 2:
        return None
    decode_s = (answer.e2e_ms - answer.ttft_ms) / 1000
    return (answer.completion_token_count - 1) / decode_s if decode_s > 0 else None


def _prefill_rate(answer: Completion) -> float | None:
    prefill_ms = answer.prefill_ms or answer.ttft_ms
    if not prefill_ms or not answer.prompt_token_count:
        return None
    return answer.prompt_token_count / (prefill_ms / 1000)
