"""The kinds of jobs: where the work is, and which slot it takes.

Knows: names. Does not know: the code behind them, imported only inside the worker.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobKind:
    """`work` is `module:function`; jobs that share a slot name run one after another."""

    work: str
    slot: str | None


KINDS: dict[str, JobKind] = {
    "selftest": JobKind("core.jobs.selftest:work", slot=None),
    "run": JobKind("core.evals.runner:work", slot="device"),
    "model.prepare": JobKind("core.models.prepare:work", slot=None),
    "model.calibrate": JobKind("core.models.calibrate:work", slot="device"),
    "dataset.import": JobKind("core.datasets.import_job:work", slot="import"),
    "dataset.curate": JobKind("core.curation.replay:work", slot=None),
    "dataset.analyse": JobKind("core.curation.analysis:work", slot="analysis"),
    "finetune": JobKind("core.training.job:work", slot="device"),
    "finetune.check": JobKind("core.training.check_job:work", slot="device"),
    "adapter.export": JobKind("core.training.export_job:work", slot=None),
}
