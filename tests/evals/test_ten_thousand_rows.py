"""Ten thousand rows stream through: neither the app nor the job's worker holds them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from core.settings import PROJECT_ROOT

APP = """
import json
from core.evals.variants import Variant
from core.models.pool import WorkerPool
from core.models.spec import WorkerSpec
from core.workbench import OWNER, Workbench
import time
with Workbench.open() as workbench:
    rows = ({"text": f"ticket {i} " + "lorem ipsum " * 60, "label": "ok"} for i in range(10_000))
    version = workbench.datasets.import_rows(
        OWNER, name="t", filename="t.jsonl", data="\\n".join(map(json.dumps, rows)).encode(),
        mapping={"text": "input", "label": "expected"},
    )
    prompt_id = workbench.prompts.create(OWNER, "p")
    prompt = workbench.prompts.save_version(
        OWNER, prompt_id, system_template="", user_template="{{text}}"
    )
    spec = WorkerSpec("m", "m", "scripted", "fp32", slots=32, script='{"default": "ok"}')
    variant = Variant(prompt["id"], "m", spec=spec)
    scorers = [{"kind": "exact_match"}]
    run_id = workbench.runs.create(OWNER, "r", version["id"], [variant], scorers)
    while workbench.runs.get(OWNER, run_id)["state"] in ("queued", "running"):
        workbench.runs.summary(OWNER, run_id)
        time.sleep(1)
    workbench.ingest.drain()
    [figures] = workbench.runs.summary(OWNER, run_id)["variants"]
    exported = len(workbench.runs.export(OWNER, run_id, "jsonl").splitlines())
    WorkerPool(workbench.settings.home).stop_all()
    print(json.dumps([figures["result_count"], figures["passed_count"], exported]))
"""


def peak_bytes(process: psutil.Process) -> int:
    """The largest resident memory so far; Linux keeps the mark."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="the peak is read from /proc")
def test_a_run_of_ten_thousand_rows_stays_small(home: Path) -> None:
    app = subprocess.Popen(
        [sys.executable, "-c", APP],
        cwd=PROJECT_ROOT,
        env={**os.environ, "LATHE_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    peaks = {"app": 0, "job": 0}
    process = psutil.Process(app.pid)
    while app.poll() is None:
        try:
            peaks["app"] = max(peaks["app"], peak_bytes(process))
            for child in process.children():
                if "core.jobs.worker" in " ".join(child.cmdline()):
                    peaks["job"] = max(peaks["job"], peak_bytes(child))
        except (psutil.Error, OSError):
            continue
        try:
            app.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    assert app.stdout is not None
    answer = json.loads(app.stdout.read())
    app.stdout.close()
    assert answer == [10_000, 10_000, 10_000]
    print(f"peaks: app {peaks['app'] / 1e6:.0f} MB, job {peaks['job'] / 1e6:.0f} MB")
    assert peaks["app"] < 600e6
    assert peaks["job"] < 300e6
