"""Models: the registry, and the way from a registered model to one that answers.

Knows: what may be added, who may load, what is measured. Does not know: what to load when somebody
says auto (loading), how a model is loaded (the worker does) nor what it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.clock import utc_now
from core.errors import Conflict, Invalid, NotFound
from core.governance import audit
from core.governance.permissions import Actor, action
from core.ids import new_id
from core.jobs.service import Jobs
from core.models import hub, remote, secrets, sources, starter, states
from core.models.adopting import Adopting
from core.models.forecast import Forecast
from core.models.loading import Loading
from core.models.pool import OnState, WorkerPool
from core.models.registry import Registry
from core.models.spec import Endpoint, WorkerSpec
from core.settings import Settings
from core.store.database import Row, Store

Rows = list[Row]  # inside the class, `list` is a method
Ids = list[str]
InUse = Callable[[str], list[str]]
"""Takes a model's id, gives what needs it now, each as a sentence."""


class Models:
    """The models of a workspace."""

    noun = "models"

    def __init__(self, store: Store, settings: Settings, jobs: Jobs, pool: WorkerPool) -> None:
        self._store = store
        self._registry = Registry(store, settings.home)
        self._settings = settings
        self._jobs = jobs
        self._pool = pool
        self._loading = Loading(self._registry, settings, pool)
        self._adopting = Adopting(self._registry, store, settings.home)
        self.in_use: list[InUse] = []
        """What else needs a model, such as a fine-tune: asked before one is archived."""

    # the registry

    @action
    def list(self, actor: Actor, *, kind: str | None = None, archived: bool = False) -> Rows:
        """Registered models by name; with `archived`, those that were put away too."""
        return self._registry.rows(kind=kind, archived=archived)

    @action
    def get(self, actor: Actor, model_id: str) -> Row:
        """One model, with `details` parsed and `has_key`; a key itself is never shown."""
        return self._registry.get(model_id)

    @action
    def add(
        self,
        actor: Actor,
        name: str,
        source: str,
        location: str,
        *,
        kind: str = "chat",
        revision: str | None = None,
        sha256: str | None = None,
        key: str | None = None,
        base: str | None = None,
    ) -> str:
        """Inspect a source and register it; a hub model's download starts as a job.

        `revision` is a hub commit, or the model's name at an endpoint; `base` the id or name of
        the model that an adapter was trained on. Raises Invalid that says what is wrong with the
        source, Conflict when the name is taken.
        """
        name = name.strip()
        if not name:
            raise Invalid("Give the model a name.", field="name")
        self._registry.require_free(name)
        if source == "adapter":
            model_id = self._adopting.given(actor.id, name, base or "", location)
            audit.record(self._store, actor, "models.add", model_id, name=name, source=source)
            return model_id
        asked = sources.Asked(source, location, kind, revision, sha256)
        if source == "hub" and not hub.allowed(offline=self._settings.offline):
            sources.inspect(asked)
            raise hub.refused(location)
        found = (
            starter.inspection(self._settings.home, location)
            if source == "starter"
            else sources.inspect(asked)
        )
        model_id = new_id("model")
        self._registry.add(
            {
                **asdict(found),
                "id": model_id,
                "name": name,
                "kind": kind,
                "source": source,
                "created_by": actor.id,
                "created_at": utc_now(),
            }
        )
        if key:
            secrets.write(self._settings.home, model_id, key, found.location)
        audit.record(
            self._store, actor, "models.add", model_id, name=name, source=source, kind=kind
        )
        if source == "hub":
            self._start_prepare(actor, self._registry.get(model_id))
        return model_id

    @action
    def register_starter(self, actor: Actor) -> Ids:
        """Register the starter models that the home has; the ids of the new ones.

        One that somebody archived stays archived.
        """
        known = {row["location"] for row in self.list(actor, archived=True)}
        return [
            self.add(actor, one.name, "starter", one.slug, kind=one.kind)
            for one in starter.STARTERS
            if one.slug not in known and starter.installed(self._settings.home, one) is not None
        ]

    @action
    def set_key(self, actor: Actor, model_id: str, key: str) -> None:
        """Keep an endpoint's key, for its present host only; it is never shown again."""
        row = self._registry.endpoint(model_id)
        if not key.strip():
            raise Invalid("The key is empty.", field="key", hint="To remove it, clear it.")
        secrets.write(self._settings.home, model_id, key.strip(), row["location"])
        audit.record(self._store, actor, "models.set_key", model_id)

    @action
    def clear_key(self, actor: Actor, model_id: str) -> None:
        """Forget an endpoint's key."""
        self._registry.endpoint(model_id)
        secrets.clear(self._settings.home, model_id)
        audit.record(self._store, actor, "models.clear_key", model_id)

    @action
    def set_address(
        self, actor: Actor, model_id: str, location: str, *, revision: str | None = None
    ) -> bool:
        """Change an endpoint's address or model name; True when that cleared its key.

        Another host gets no key that was written for this one.
        """
        row = self._registry.endpoint(model_id)
        asked = sources.Asked("endpoint", location, row["kind"], revision or row["revision"])
        found = sources.inspect(asked)
        home = self._settings.home
        moved = secrets.host_of(found.location) != secrets.host_of(row["location"])
        cleared = moved and secrets.has(home, model_id)
        if moved:
            secrets.clear(home, model_id)  # first: a crash in between must not leave it behind
        self._store.execute(
            "UPDATE models SET location = $location, revision = $revision WHERE id = $id",
            {"location": found.location, "revision": found.revision, "id": model_id},
        )
        audit.record(
            self._store, actor, "models.set_address", model_id, location=found.location,
            key_cleared=cleared,
        )  # fmt: skip
        return cleared

    @action
    def check(self, actor: Actor, model_id: str) -> dict[str, Any]:
        """Ask an endpoint which models it has: {models, latency_ms, has_model}.

        Raises Upstream when it does not answer as an OpenAI-compatible one does.
        """
        row = self._registry.endpoint(model_id)
        key = secrets.read(self._settings.home, model_id, row["location"])
        return remote.check(row["location"], key, row["revision"])

    @action
    def archive(self, actor: Actor, model_id: str) -> None:
        """Put a model away: unloaded, its key forgotten; runs and traces keep its name.

        Raises Conflict that says what uses it while something does.
        """
        row = self._registry.get(model_id)
        self._refuse_in_use(row)
        for state in self._pool.states():
            if state.spec.model_id == model_id and state.alive:
                self._pool.stop(state.key)
        secrets.clear(self._settings.home, model_id)
        self._store.execute(
            "UPDATE models SET archived_at = $now WHERE id = $id AND archived_at IS NULL",
            {"now": utc_now(), "id": model_id},
        )
        audit.record(self._store, actor, "models.archive", model_id, name=row["name"])

    @action
    def prepare(self, actor: Actor, model_id: str) -> str:
        """Start the job that downloads a hub model or converts a GGUF; its id."""
        row = self._registry.get(model_id)
        if row["path"]:
            raise Conflict(f"{row['name']} is prepared already.")
        if row["source"] not in ("hub", "gguf"):
            raise Conflict(f"A {row['source']} model needs no preparing.")
        return self._start_prepare(actor, row)

    # what to load

    @action
    def choices(self, actor: Actor, model_id: str, *, device: str = "auto") -> Rows:
        """Every engine and quantization for a model: {engine, quantization, device, label,
        why_not, note}; `why_not` is None for what can be loaded.
        """
        row = self._registry.get(model_id)
        return [asdict(choice) for choice in self._loading.choices(row, device)]

    @action
    def resolve(
        self,
        actor: Actor,
        model_id: str,
        *,
        engine: str = "auto",
        quantization: str = "auto",
        device: str = "auto",
        purpose: str = "interactive",
        context_length: int | None = None,
    ) -> WorkerSpec:
        """The spec for what is asked, each auto decided, with the reason in `why`.

        `purpose` is interactive (one reader waits) or batch (many requests together). Raises
        Invalid when the combination is not possible, with its reason.
        """
        return self._loading.resolve(
            self._registry.get(model_id), engine, quantization, device, purpose, context_length
        )

    @action
    def forecast(
        self,
        actor: Actor,
        model_id: str,
        engine: str,
        quantization: str,
        *,
        device: str = "auto",
        context_length: int | None = None,
    ) -> Forecast:
        """What loading would take, against what is free now."""
        row = self._registry.get(model_id)
        for choice in self._loading.choices(row, device):
            if (choice.engine, choice.quantization) == (engine, quantization):
                spec = self._loading.spec(row, choice, "", context_length)
                return self._loading.forecast(row, spec)
        raise NotFound(f"{row['name']} cannot be loaded by {engine} as {quantization}.")

    @action
    def calibration(self, actor: Actor, model_id: str) -> Rows:
        """The newest measurement of each engine, quantization and device."""
        self._registry.get(model_id)
        return self._registry.calibrations(model_id)

    @action
    def calibrate(
        self,
        actor: Actor,
        model_id: str,
        *,
        ways: Sequence[tuple[str, str]] | None = None,
        device: str = "auto",
    ) -> str:
        """Start the job that measures a model in the given (engine, quantization) ways; its id.

        By default in every way that can be loaded, fits, and is not known to be hopeless.
        """
        row = self._registry.get(model_id)
        specs = self._loading.to_measure(row, ways, device)
        if not specs or row["source"] == "endpoint" or row["kind"] != "chat":
            raise Invalid(f"There is nothing to measure of {row['name']}.")
        payload = {"home": str(self._settings.home), "specs": [spec.to_dict() for spec in specs]}
        title = f"Measure {row['name']}"
        job_id = self._jobs.start(actor, "model.calibrate", title, payload, subject_id=model_id)
        audit.record(self._store, actor, "models.calibrate", model_id, job_id=job_id)
        return job_id

    @action
    def calibrate_starter(self, actor: Actor) -> str | None:
        """Measure the starter model where nobody has yet, so that `auto` goes by numbers of this
        machine from the first day on; the job's id, or None when there is nothing to do.

        Asked once: a measurement that failed or was cancelled is not begun again by itself.
        """
        for row in self.list(actor, kind="chat"):
            if row["source"] != "starter":
                continue
            asked = self._store.row(
                "SELECT 1 FROM jobs WHERE kind = 'model.calibrate' AND subject_id = $id",
                {"id": row["id"]},
            )
            if asked is None and not self._registry.calibrations(row["id"]):
                return str(self.calibrate(actor, row["id"]))
        return None

    @action
    def record_calibration(self, actor: Actor, model_id: str, measured: Row) -> str:
        """Keep a measurement made elsewhere, such as by a benchmark; its id."""
        self._registry.get(model_id)
        row_id = new_id("cal")
        self._store.insert(
            "calibrations",
            {"measured_at": utc_now(), **measured, "id": row_id, "model_id": model_id},
        )
        audit.record(self._store, actor, "models.record_calibration", model_id, id=row_id)
        return row_id

    # what is loaded

    @action
    def states(self, actor: Actor, *, model_id: str | None = None) -> Rows:
        """What is loaded, loading, or was: one row a worker, and one for a model in preparation.

        state is starting, loading, ready, unloaded, failed, crashed, downloading or converting.
        """
        found = [states.of_worker(state) for state in self._pool.states()]
        found += [states.of_preparation(job) for job in self._registry.preparations()]
        return [row for row in found if model_id in (None, row["model_id"])]

    @action
    def start(self, actor: Actor, spec: WorkerSpec) -> None:
        """Begin loading and return at once; raises OutOfMemory when it cannot fit."""
        self._admit(actor, spec)
        self._pool.start(spec)

    @action
    def load(
        self,
        actor: Actor,
        spec: WorkerSpec,
        *,
        on_state: OnState | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Endpoint:
        """Load and wait until it answers; raises OutOfMemory before, ModelUnavailable after."""
        self._admit(actor, spec)
        return self._pool.ensure(
            spec, on_state=on_state, cancelled=cancelled, remote_key=self._remote_key(spec)
        )

    @action
    def endpoint(
        self,
        actor: Actor,
        spec: WorkerSpec,
        *,
        on_state: OnState | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Endpoint:
        """Where the spec's model answers; loaded when it is not, restarted when it has died."""
        return self.load(actor, spec, on_state=on_state, cancelled=cancelled)

    @action
    def unload(self, actor: Actor, key: str) -> None:
        """End a worker by its key; all its memory is free again. Harmless when it is gone."""
        self._pool.stop(key)
        audit.record(self._store, actor, "models.unload", key)

    # helpers

    def _register_adapter(
        self, user_id: str, name: str, base_model_id: str, folder: Path, details: dict[str, Any]
    ) -> str:
        """Take a trained adapter into the registry; its id. Again for the same
        `details["finetune_id"]` it is the same one; a taken name gets a number.
        """
        return self._adopting.trained(user_id, name, base_model_id, folder, details)

    def _finish_export(self, job_id: str, value: dict[str, Any], user_id: str) -> None:
        """An adapter was exported; as GGUF: llama.cpp can load it from now on."""
        if value["kind"] == "gguf":
            self._registry.set_gguf(value["model_id"], Path(value["path"]))

    def _refuse_in_use(self, row: Row) -> None:
        """Conflict while an adapter, a job or a request needs the model."""
        uses = [f"the adapter {a['name']} is laid over it" for a in
                self._registry.adapters_of(row["id"])]  # fmt: skip
        uses += [text for ask in self.in_use for text in ask(row["id"])]
        uses += self._pool.busy_with(row["id"])
        if uses:
            raise Conflict(
                f"{row['name']} is in use: {'; '.join(uses)}.",
                title="The model is in use",
                hint="Archive or stop that first, or wait until it is done.",
            )

    def _start_prepare(self, actor: Actor, row: Row) -> str:
        payload = {
            "source": row["source"],
            "location": row["location"],
            "revision": row["revision"],
            "gguf_path": row["gguf_path"],
            "kind": row["kind"],
            "target": str(self._registry.prepared_folder(row["id"])),
            "offline": self._settings.offline,
        }
        verb = "Download" if row["source"] == "hub" else "Convert"
        return self._jobs.start(
            actor, "model.prepare", f"{verb} {row['name']}", payload, subject_id=row["id"]
        )

    def _admit(self, actor: Actor, spec: WorkerSpec) -> None:
        """The memory check, for what is not loaded yet."""
        if spec.engine in ("endpoint", "scripted") or self._pool.state(spec).alive:
            return
        row = self._registry.get(spec.model_id)
        self._loading.forecast(row, spec).require_fit()
        audit.record(
            self._store, actor, "models.load", spec.model_id, engine=spec.engine,
            quantization=spec.quantization, device=spec.device,
        )  # fmt: skip

    def _remote_key(self, spec: WorkerSpec) -> str:
        if spec.engine != "endpoint":
            return ""
        return secrets.read(self._settings.home, spec.model_id, spec.base_url)
