"""The work of a fine-tune's check: its rows as tokens, and a few real steps timed.

Knows: a run folder within the job's own, thrown away at the end. Does not know: the database. The
tokenizer is loaded here, the model in a child, and only to be measured.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from core.errors import JobFailed
from core.jobs.context import JobContext
from core.training import job as training
from core.training import memory
from core.training.asking import steps
from core.training.checks import Report, examine, seconds_estimate
from core.training.data import Asked, divide, records
from core.training.folder import RunFolder
from core.training.script.params import Params

STEPS = 3
POLL_S = 0.2


def work(job: JobContext) -> dict[str, Any]:
    """The report; see `Finetunes.report`."""
    folder = RunFolder(job.folder.path / "run")
    try:
        return _report(job, folder)
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)


def _report(job: JobContext, folder: RunFolder) -> dict[str, Any]:
    total = 3 if job.payload.get("measure") else 2
    job.progress(0, total, "preparing the rows")
    asked, config = Asked.of(job.payload["rows"]), job.payload["config"]
    params = Params.from_dict(config["params"])
    division = divide(asked)
    folder.write(config, records(asked, division))
    train, held = list(folder.rows("train")), list(folder.rows("eval"))
    job.progress(1, total, "looking at them as tokens")
    report = examine(
        _tokenizer(Path(config["base"]["path"])), train, held, params,
        cache=job.folder.path / "cache", check=job.raise_if_cancelled,
    )  # fmt: skip
    report.dropped = {**division.skipped, **report.dropped}
    for reason, count in division.skipped.items():
        report.warn("skipped", f"{count:,} rows are left out: {reason}.",
                    "They have no such shape. Mend them on the Curate page.")  # fmt: skip
    measured = None
    if total == 3 and not report.blocks:
        job.progress(2, total, "timing a few real steps")
        measured = _measured(job, folder, report)
    count = steps(params, _training_rows(report, params))
    forecast = _forecast(job, params, report)
    if not forecast["fits"]:
        _does_not_fit(report, forecast)
    every = params.eval_every or max(1, math.ceil(count / max(1.0, 4 * params.epochs)))
    job.progress(total, total, "done")
    return {
        "ok": not report.blocks,
        "blocks": report.blocks,
        "warnings": report.warnings,
        "train_rows": report.kept_rows,
        "eval_rows": len(held),
        "dropped": report.dropped,
        "lengths": report.lengths,
        "template": report.template,
        "examples": report.examples,
        "measured": measured,
        "steps": count,
        "seconds_estimate": None
        if measured is None
        else seconds_estimate(measured, count, every, len(train), len(held), params.rows_per_step),
        "memory": forecast,
    }


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def _training_rows(report: Report, params: Params) -> int:
    """Sequences of an epoch: rows, or what they fill when they are packed."""
    if not params.packing or not report.lengths:
        return max(1, report.kept_rows)
    tokens = report.lengths["mean"] * report.kept_rows
    return max(1, math.ceil(float(tokens) / params.max_length))


def _forecast(job: JobContext, params: Params, report: Report) -> dict[str, Any]:
    """With the lengths as they are, where they could be counted."""
    if not report.lengths:
        return dict(job.payload["forecast"])
    return memory.forecast(
        job.payload["model"], params, device=str(job.payload.get("device") or "auto"),
        longest=int(report.lengths["max"]), answer_share=report.answer_share,
    ).to_dict()  # fmt: skip


def _does_not_fit(report: Report, forecast: dict[str, Any]) -> None:
    lever = next(iter(forecast["levers"]), None)
    hint = f"Biggest lever: {lever['words']}." if lever else "Use a smaller model."
    needed, free = (forecast[name] / 1e9 for name in ("total_bytes", "free_bytes"))
    report.warn("memory", f"It needs about {needed:.1f} GB, {free:.1f} GB is free.", hint)


def _measured(job: JobContext, folder: RunFolder, report: Report) -> dict[str, Any] | None:
    """What the script measures; a failure of it blocks, since the training would fail alike."""
    device = str(job.payload.get("device") or "auto")
    child = training.run_script(
        folder.path, "--measure", str(STEPS), device=device, stdout=subprocess.PIPE
    )
    try:
        while child.poll() is None:
            job.raise_if_cancelled()
            time.sleep(POLL_S)
        said, _ = child.communicate()
    finally:
        training.end(child)
        if child.stdout is not None:
            child.stdout.close()
    try:
        found: dict[str, Any] = json.loads(said.decode().strip().splitlines()[-1])
    except (ValueError, IndexError):
        if child.returncode in training.KILLED:
            report.block("out_of_memory", "The measuring was killed: probably out of memory.",
                         "Choose a smaller batch, shorter rows, or NF4.")  # fmt: skip
            return None
        raise JobFailed(
            f"The training script ended with the exit code {child.returncode}.",
            title="A few steps could not be measured", hint="The log has its last words.",
        ) from None  # fmt: skip
    if "error" in found:
        error = found["error"]
        report.block(str(error.get("code") or "other"), str(error.get("message")),
                     str(error.get("hint") or ""))  # fmt: skip
        return None
    return found
