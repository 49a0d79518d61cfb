"""The workbench: every service over one home, as the app, the CLI and a notebook use it.

    from core.workbench import Workbench, OWNER
    with Workbench.open() as workbench:
        workbench.prompts.list(OWNER)

A service's public methods are actions and ask for a permission. What it does for another one (a
finisher, a gate, a listener) is a method with an underscore, handed over here and nowhere else.

Knows: how the parts are put together. Does not know: Streamlit, HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from core.curation.atlas import vectors_of
from core.curation.cards import Cards
from core.curation.checking import Checks
from core.curation.drafting import Recipes
from core.curation.explore import Explore
from core.curation.exports import Exports
from core.curation.pseudonyms import Pseudonyms
from core.curation.reviews import Reviews
from core.curation.service import Curation
from core.datasets.service import Datasets
from core.datasets.versions import Versions
from core.erasure.service import Erasure
from core.evals.playground import Playground
from core.evals.service import Runs
from core.evals.uses import runs_of
from core.evals.votes import Votes
from core.governance.audit import Audit
from core.governance.drafts import Drafts
from core.governance.permissions import OWNER
from core.governance.sessions import Sessions
from core.governance.users import Users
from core.jobs.service import Jobs
from core.jobs.supervisor import Supervisor
from core.models.pool import WorkerPool
from core.models.service import Models
from core.monitoring.metrics import Metrics
from core.monitoring.traces import Traces
from core.prompts.service import Prompts
from core.settings import Settings
from core.store.database import Store
from core.store.ingest import Ingest
from core.store.spool import SpoolWriter
from core.training.adapters import adapters_of
from core.training.service import Finetunes

__all__ = ["OWNER", "Workbench"]


@dataclass
class Workbench:
    """One open home. Close it, or use it as a context manager."""

    settings: Settings
    store: Store
    ingest: Ingest
    spool: SpoolWriter
    supervisor: Supervisor
    users: Users
    sessions: Sessions
    drafts: Drafts
    audit: Audit
    jobs: Jobs
    traces: Traces
    metrics: Metrics
    prompts: Prompts
    datasets: Datasets
    versions: Versions
    curation: Curation
    reviews: Reviews
    pseudonyms: Pseudonyms
    explore: Explore
    checks: Checks
    exports: Exports
    cards: Cards
    erasure: Erasure
    recipes: Recipes
    models: Models
    runs: Runs
    finetunes: Finetunes
    votes: Votes
    playground: Playground

    @classmethod
    def open(cls, settings: Settings | None = None, *, background: bool = True) -> Self:
        """Open the home, migrate it, and start the ingest and supervisor threads.

        Raises StoreLocked when another process has it. `background=False` leaves the threads
        off, for short commands and for tests that step by hand.
        """
        settings = settings or Settings.from_env()
        store = Store(settings.home)
        users, drafts, jobs = Users(store), Drafts(store), Jobs(store)
        spool = SpoolWriter(settings.home / "spool")
        prompts, traces = Prompts(store), Traces(store, spool)
        datasets = Datasets(store, jobs, import_folders=settings.import_folders)
        models = Models(store, settings, jobs, WorkerPool(settings.home))
        curation = Curation(store, settings, jobs, datasets, models)
        checks = Checks(store, settings, datasets, curation)
        datasets.on_version.append(checks._on_version)
        reviews = Reviews(store, datasets)
        recipes = Recipes(store, jobs, datasets, models, curation)
        finishers = {
            "dataset.import": datasets._finish,
            "dataset.curate": recipes._finish,
        }
        versions = Versions(store, datasets, gates=[checks._gate],
                            uses=[partial(runs_of, store), partial(adapters_of, store)],
                            vectors=vectors_of)  # fmt: skip
        runs = Runs(store, jobs, prompts, datasets, models, traces)
        finetunes = Finetunes(store, settings, jobs, prompts, datasets, models, reviews, runs)
        finishers |= {"finetune": finetunes._finish, "run": finetunes._finish_run,
                      "adapter.export": models._finish_export}  # fmt: skip
        models.in_use.append(finetunes._uses)
        ingest = Ingest(store)
        workbench = cls(
            settings=settings, store=store, ingest=ingest, spool=spool,
            supervisor=Supervisor(store, jobs, finishers=finishers),
            users=users, sessions=Sessions(store, users), drafts=drafts, audit=Audit(store),
            jobs=jobs, traces=traces, metrics=Metrics(store), prompts=prompts,
            datasets=datasets, versions=versions, reviews=reviews, pseudonyms=Pseudonyms(store),
            curation=curation, explore=Explore(store, datasets, curation, models),
            checks=checks, exports=Exports(store, datasets, prompts, reviews),
            cards=Cards(store, datasets, versions, curation, reviews, checks),
            erasure=Erasure(store, datasets, ingest, spool),
            recipes=recipes, models=models, runs=runs, finetunes=finetunes,
            votes=Votes(store, runs, datasets, reviews.require),
            playground=Playground(models, traces, drafts),
        )  # fmt: skip
        if background:
            workbench.ingest.start()
            workbench.supervisor.start()
        return workbench

    def close(self) -> None:
        """Stop the threads, read what is in the spool, close the database; twice is harmless."""
        if self.store.closed:
            return
        self.playground._close()
        self.supervisor.stop()
        self.spool.close()
        self.ingest.stop()
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
