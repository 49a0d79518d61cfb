"""What is loaded, as rows: workers and preparations in one shape.

Knows: the shape. Does not know: where either comes from.
"""

from __future__ import annotations

from core.models.pool import WorkerState
from core.models.quantization import label as quantization_label
from core.store.database import Row


def of_worker(state: WorkerState) -> Row:
    """A model worker; `key` is what unloads it."""
    spec = state.spec
    return {
        "key": state.key,
        "model_id": spec.model_id,
        "model_name": spec.model_name,
        "engine": spec.engine,
        "quantization": spec.quantization,
        "label": quantization_label(spec.quantization),
        "device": state.device or spec.device,
        "state": state.state,
        "message": state.message,
        "progress": state.progress,
        "resident_bytes": state.resident_bytes,
        "load_ms": state.load_ms,
        "pid": state.pid,
        "last_words": state.last_words,
        "error": state.error,
        "spec": spec,
        "job_id": None,
    }


def of_preparation(job: Row) -> Row:
    """A download or conversion under way, or one that ended badly."""
    return {
        "key": None,
        "model_id": job["subject_id"],
        "model_name": job["model_name"],
        "engine": "transformers",
        "quantization": None,
        "label": None,
        "device": None,
        "state": job["state"],
        "message": job["message"] or "",
        "progress": job["progress_done"] / (job["progress_total"] or 1),
        "resident_bytes": None,
        "load_ms": None,
        "pid": None,
        "last_words": "",
        "error": job["error"],
        "spec": None,
        "job_id": job["id"],
    }
