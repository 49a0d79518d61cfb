"""Fine-tunes: asked for, queued, watched, compared with their base, and gone on with.

Knows: the table finetunes, how a fine-tune hangs together with its job, its folder, its adapter
and its comparison. Does not know: how rows are made (data), how anything is trained (script), what
a run does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.clock import utc_now
from core.errors import Conflict, JobFailed, LatheError, NotFound
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.ids import new_id
from core.jobs.folder import ENDED, JobFolder
from core.jobs.service import Jobs
from core.store.database import Row, Store
from core.training import card, exports, naming
from core.training.asking import Asking, Resolved
from core.training.comparing import Comparing, arrived, outcome
from core.training.config import TrainingConfig
from core.training.curves import curve_rows
from core.training.folder import RunFolder
from core.training.lineage import lineage
from core.training.listing import Listing
from core.training.memory import Forecast, forecast
from core.training.timeline import timeline

if TYPE_CHECKING:
    from core.curation.reviews import Reviews
    from core.datasets.service import Datasets
    from core.evals.service import Runs
    from core.models.service import Models
    from core.prompts.service import Prompts
    from core.settings import Settings

Rows = list[Row]  # inside the class `list` is the method
Ids = list[str]
ARRIVE_TRIES, ARRIVE_S = 100, 0.1
"""So often, and so long in between, the figures of a run that has just ended are looked at."""
JOB, CHECK, EXPORT = "finetune", "finetune.check", "adapter.export"


class Finetunes:
    """The fine-tunes of a workspace."""

    noun = "finetunes"

    def __init__(
        self,
        store: Store,
        settings: Settings,
        jobs: Jobs,
        prompts: Prompts,
        datasets: Datasets,
        models: Models,
        reviews: Reviews,
        runs: Runs,
    ) -> None:
        self._store = store
        self._settings = settings
        self._jobs = jobs
        self._models = models
        self._runs = runs
        self._prompts = prompts
        self._asking = Asking(settings, prompts, datasets, models, reviews)
        self._comparing = Comparing(datasets, prompts, models, runs)
        self._listing = Listing(store, jobs, datasets, models, runs)

    # before

    @action
    def outline(self, actor: Actor, config: dict[str, Any]) -> Row:
        """`train_rows`, `eval_rows`, `steps`, `splits` (name -> rows), `skipped` (reason -> rows),
        and `why_not`: what is against starting it, in words. At once: no model is loaded."""
        return self._asking.outline(actor, config)

    @action
    def forecast(self, actor: Actor, config: dict[str, Any]) -> Row:
        """The memory it takes: `total_bytes`, `free_bytes`, `fits`, `parts` (name, bytes), and
        `levers` (words, changes, saves_bytes), the largest first. At once, from sizes alone."""
        return self._forecast(self._asking.resolve(actor, config)).to_dict()

    @action
    def check(self, actor: Actor, config: dict[str, Any], *, measure: bool = False) -> str:
        """Start the job that looks at template, lengths, masks and leaks, and with `measure` times
        a few real steps; its id, for `report`."""
        asked = self._asking.resolve(actor, config)
        self._asking.require_start(actor, asked)
        payload = {
            **asked.payload(new_id("check"), asked.config, self._settings.device),
            "measure": bool(measure or config.get("measure")),
            "forecast": self.forecast(actor, config),
            "model": {key: asked.base[key] for key in ("parameter_count", "details")},
        }
        title = f"Check {asked.config.name}"
        return self._jobs.start(actor, CHECK, title, payload, subject_id=asked.base["id"])

    @action
    def report(self, actor: Actor, job_id: str) -> Row | None:
        """What a check found, None while it goes on; JobFailed where it could not be made."""
        job = self._jobs.get(actor, job_id)
        if job["kind"] != CHECK:
            raise NotFound("That job is no check of a fine-tune.")
        if job["state"] not in ENDED:
            return None
        result = self._job_folder(job_id).result() or {}
        if result.get("state") != "succeeded":
            error = job["error"] or {}
            raise JobFailed(error.get("message") or f"The check is {job['state']}.",
                            title=error.get("title"), hint=error.get("hint"))  # fmt: skip
        return dict(result["value"])

    @action
    def start(self, actor: Actor, config: dict[str, Any]) -> Ids:
        """Queue a fine-tune, or each of a sweep; their ids.

        Raises Invalid or Conflict for what can be known to be wrong: nothing to train on, an empty
        split, a review that is missing, a base that cannot be trained; OutOfMemory where the device
        is too small for it, even with nothing else loaded.
        """
        asked = self._asking.resolve(actor, config)
        self._asking.require_start(actor, asked)
        self._forecast(asked).require_possible()
        sweep_id = new_id("sweep") if asked.config.sweep else None
        made = []
        for one in asked.config.combinations():
            made.append(self._add(actor, asked, one, sweep_id, self._parent(one)))
        return made

    @action
    def extend(self, actor: Actor, finetune_id: str, epochs: float) -> str:
        """A new fine-tune that goes on from this one's adapter, on the same rows; its id."""
        row = self._row(finetune_id)
        if row["adapter_model_id"] is None:
            raise Conflict("It has no adapter yet.", hint="Resume it, or wait for its end.")
        config = TrainingConfig.from_dict(json.loads(row["config"])).to_dict()
        config["params"] = {**config["params"], "epochs": epochs, "max_steps": 0}
        name = f"{row['name']}, {epochs:g} epoch{'' if epochs == 1 else 's'} more"
        asked = {**config, "name": name, "start_from": row["adapter_model_id"], "sweep": {}}
        [made] = self.start(actor, asked)
        return str(made)

    # meanwhile and after

    @action
    def list(
        self,
        actor: Actor,
        *,
        search: str = "",
        base_model_id: str | None = None,
        dataset_id: str | None = None,
        archived: bool = False,
        limit: int = 100,
    ) -> Rows:
        """Newest first, with the job's `state`, `progress_done`, `progress_total`, `eta_s`,
        `dataset_label`, `dataset_name`, `dataset_id`, `base_name`, `created_by_name`, `result`
        (its losses while it trains) and `comparison` with the base (None until it is over)."""
        return self._listing.rows(
            actor, search=search, base_model_id=base_model_id, dataset_id=dataset_id,
            archived=archived, limit=limit,
        )  # fmt: skip

    @action
    def get(self, actor: Actor, finetune_id: str) -> Row:
        """One as `list` gives it, with `config`, `warnings`, `checkpoint_steps`, `prompt_label`,
        `folder`, `error` with the `changes` it offers, and `sweep`: id and name of each member."""
        told = self._listing.one(actor, finetune_id)
        folder, prompt = self._folder(finetune_id), told["prompt_version_id"]
        return {
            **told,
            "warnings": folder.every_event("warning"),
            "checkpoint_steps": folder.checkpoints(),
            "prompt_label": self._prompts.version(actor, prompt)["label"] if prompt else None,
            "folder": str(folder.path),
            "error": _error(told, folder),
            "sweep": self._listing.members(told["sweep_id"]),
        }

    @action
    def curves(self, actor: Actor, ids: Sequence[str]) -> Rows:
        """{finetune_id, name, metric, step, epoch, seconds, value} of several fine-tunes."""
        rows = [self._row(one) for one in ids]
        return [
            point
            for row in rows
            for point in curve_rows(
                row["id"], row["name"], self._folder(row["id"]).every_event("step", "eval")
            )
        ]

    @action
    def samples(self, actor: Actor, finetune_id: str) -> Rows:
        """{step, row_id, prompt, expected, text, base} of the answers at each evaluation."""
        self._row(finetune_id)
        keys = ("step", "row_id", "prompt", "expected", "text", "base")
        events = self._folder(finetune_id).every_event("sample")
        return [{key: event.get(key) for key in keys} for event in events]

    @action
    def log(self, actor: Actor, finetune_id: str) -> str:
        """The end of what the job and its script have told."""
        row = self._row(finetune_id)
        if row["job_id"] is None:
            return ""
        said = [
            f"{event['at']}  {event['text']}"
            for event in self._jobs.events(actor, row["job_id"])
            if event["kind"] == "log"
        ]
        return "\n".join([*said, self._jobs.log(actor, row["job_id"])]).strip()

    @action
    def stop(self, actor: Actor, finetune_id: str) -> None:
        """Ask it to save a checkpoint and end; `resume` goes on from there."""
        row = self._row(finetune_id)
        if row["job_id"] is None:
            raise Conflict("It was never queued.", hint="Resume it to queue it.")
        self._jobs.cancel(actor, row["job_id"])
        record(self._store, actor, "finetunes.stop", finetune_id)

    @action
    def resume(self, actor: Actor, finetune_id: str) -> None:
        """Queue it again; it goes on from its last complete checkpoint."""
        row = self._row(finetune_id)
        state = self._listing.state(actor, row)["state"]
        if state == "succeeded":
            raise Conflict("It is done already.", hint="Continue it with more epochs.")
        if row["job_id"] is None:
            asked = self._asking.resolve(actor, json.loads(row["config"]))
            self._start_job(actor, finetune_id, asked, asked.config)
        else:
            self._jobs.resume(actor, row["job_id"])
        record(self._store, actor, "finetunes.resume", finetune_id)

    @action
    def clone_config(self, actor: Actor, finetune_id: str) -> Row:
        """What it was asked for, as `start` takes it: for a form."""
        return dict(json.loads(self._row(finetune_id)["config"]))

    @action
    def config_yaml(self, actor: Actor, config: str | dict[str, Any]) -> str:
        """The file that `lathe finetune` reads: of a fine-tune by its id, or of a config."""
        wanted = json.loads(self._row(config)["config"]) if isinstance(config, str) else config
        asked = self._asking.resolve(actor, wanted)
        return naming.as_yaml(self._asking, actor, asked.config)

    @action
    def compare(self, actor: Actor, finetune_id: str) -> str:
        """Start the comparison with its base on the held-out rows, or give the one there is."""
        row = self._row(finetune_id)
        if row["adapter_model_id"] is None:
            raise Conflict("It has no adapter yet.", hint="Resume it, or wait for its end.")
        return self._compare(actor, row)

    @action
    def timeline(self, actor: Actor, dataset_id: str) -> Rows:
        """What happened with a task, oldest first: see `core.training.timeline.timeline`."""
        return timeline(self._store, dataset_id)

    @action
    def export(self, actor: Actor, model_id: str, kind: str, *, gguf_type: str = "f16") -> str:
        """Start the job that writes an adapter as peft, merged or gguf; its id."""
        model = self._models.get(actor, model_id)
        base_id = model["base_model_id"] or model_id
        base, said = self._models.get(actor, base_id), self._evaluation(actor, model_id)
        card_text = "" if model["source"] != "adapter" else card.render(
            model, base, evaluation=said, export=kind
        )  # fmt: skip
        payload = exports.payload(
            self._store.home, model, base, kind, card=card_text, gguf_type=gguf_type
        )
        title = f"Export {model['name']} as {kind}"
        job_id = self._jobs.start(actor, EXPORT, title, payload, subject_id=model_id)
        record(self._store, actor, "finetunes.export", model_id, kind=kind)
        return job_id

    @action
    def exports(self, actor: Actor, model_id: str) -> Rows:
        """What was exported of an adapter: {kind, path, files, bytes, created_at}."""
        self._models.get(actor, model_id)
        return exports.listed(self._store.home, model_id)

    @action
    def archive(self, actor: Actor, finetune_id: str) -> None:
        """Take it off the list; its folder, adapter and comparison stay."""
        row = self._row(finetune_id)
        if self._listing.state(actor, row)["state"] in ("queued", "running"):
            raise Conflict("It is being trained.", hint="Stop it first.")
        self._update(finetune_id, archived_at=utc_now())
        record(self._store, actor, "finetunes.archive", finetune_id)

    # for others

    def _finish(self, job_id: str, value: dict[str, Any], user_id: str) -> None:
        """After a fine-tune's job: the adapter into the registry, then the comparison. Called
        again after a crash it adds only what is missing."""
        row = self._row(str(value["finetune_id"]))
        actor = Actor(id=user_id, name=user_id, role="engineer")
        config = TrainingConfig.from_dict(json.loads(row["config"]))
        folder, result = self._folder(row["id"]), dict(value["result"] or {})
        self._update(row["id"], result=json.dumps(result))
        if row["adapter_model_id"] is None:
            details = {
                "finetune_id": row["id"],
                "lineage": lineage(actor, row, config, result, self._asking),
            }
            row["adapter_model_id"] = self._models._register_adapter(
                user_id, row["name"], row["base_model_id"], folder.adapter_path, details
            )
            self._update(row["id"], adapter_model_id=row["adapter_model_id"])
        self._write_card(actor, row, None)
        if config.evaluate and not self._comparing.why_not(actor, config, folder):
            try:
                self._compare(actor, row)
            except LatheError as error:  # the adapter is there all the same
                self._job_folder(job_id).append_event(
                    "log", text=f"not compared with the base: {error.message}"
                )

    def _finish_run(self, job_id: str, value: dict[str, Any], user_id: str) -> None:
        """After a run's job: where it compared an adapter with its base, the card says so."""
        row = self._store.row(
            "SELECT f.* FROM finetunes f JOIN jobs j ON j.subject_id = f.run_id WHERE j.id = $id",
            {"id": job_id},
        )
        if row is None or row["adapter_model_id"] is None:
            return
        actor = Actor(id=user_id, name=user_id, role="engineer")
        for _ in range(ARRIVE_TRIES):  # the last rows reach the database a moment later
            summary = self._runs.summary(actor, row["run_id"])
            if arrived(summary):
                return self._write_card(actor, row, outcome(summary))
            time.sleep(ARRIVE_S)

    def _uses(self, model_id: str) -> Ids:
        """Why a model cannot go: the fine-tunes that wait for it or train it, in words."""
        found = self._store.rows(
            """
            SELECT f.name FROM finetunes f JOIN jobs j ON j.id = f.job_id
            WHERE (f.base_model_id = $id OR f.config->>'start_from' = $id)
              AND j.state IN ('queued', 'running')
            """,
            {"id": model_id},
        )
        return [f"the fine-tune {row['name']} trains on it" for row in found]

    # helpers

    def _forecast(self, asked: Resolved) -> Forecast:
        longest, share = self._asking.lengths(asked)
        return forecast(
            asked.base, asked.config.params, device=self._settings.device, longest=longest,
            answer_share=share,
        )  # fmt: skip

    def _write_card(self, actor: Actor, row: Row, evaluation: Row | None) -> None:
        model = self._models.get(actor, row["adapter_model_id"])
        base = self._models.get(actor, row["base_model_id"])
        card.write(Path(model["adapter_path"]), card.render(model, base, evaluation=evaluation))

    def _evaluation(self, actor: Actor, model_id: str) -> Row | None:
        row = self._store.row(
            "SELECT run_id FROM finetunes WHERE adapter_model_id = $id AND run_id IS NOT NULL",
            {"id": model_id},
        )
        return self._listing.comparison(actor, row["run_id"]) if row else None

    def _add(
        self,
        actor: Actor,
        asked: Resolved,
        config: TrainingConfig,
        sweep_id: str | None,
        parent_id: str | None,
    ) -> str:
        config = replace(config, name=self._free_name(config.name))
        finetune_id = new_id("finetune")
        self._store.insert(
            "finetunes",
            {
                "id": finetune_id,
                "name": config.name,
                "method": config.params.method,
                "base_model_id": asked.base["id"],
                "dataset_version_id": asked.version["id"],
                "prompt_version_id": config.prompt_version_id,
                "config": json.dumps(config.to_dict()),
                "sweep_id": sweep_id,
                "parent_id": parent_id,
                "created_by": actor.id,
                "created_at": utc_now(),
            },
        )
        self._start_job(actor, finetune_id, asked, config)
        record(self._store, actor, "finetunes.start", finetune_id, name=config.name,
               base=asked.base["name"], dataset=asked.version["label"])  # fmt: skip
        return finetune_id

    def _start_job(
        self, actor: Actor, finetune_id: str, asked: Resolved, config: TrainingConfig
    ) -> None:
        payload = asked.payload(finetune_id, config, self._settings.device)
        job_id = self._jobs.start(actor, JOB, config.name, payload, subject_id=finetune_id)
        self._update(finetune_id, job_id=job_id)

    def _compare(self, actor: Actor, row: Row) -> str:
        """The run's id is written down first: a crash in between starts no second one."""
        run_id = row["run_id"]
        if run_id is None:
            run_id = new_id("run")
            self._update(row["id"], run_id=run_id)
        config = TrainingConfig.from_dict(json.loads(row["config"]))
        try:
            self._comparing.start(
                actor, run_id, f"{row['name']}: adapter against base", config,
                row["adapter_model_id"], self._folder(row["id"]),
            )  # fmt: skip
        except LatheError:
            self._update(row["id"], run_id=None)
            raise
        return str(run_id)

    def _parent(self, config: TrainingConfig) -> str | None:
        if config.start_from is None:
            return None
        found = self._store.row(
            "SELECT id FROM finetunes WHERE adapter_model_id = $id", {"id": config.start_from}
        )
        return str(found["id"]) if found else None

    def _free_name(self, name: str) -> str:
        """The name, or with the first number that nobody has: "name (2)"."""
        rows = self._store.rows("SELECT lower(name) AS name FROM finetunes")
        taken = {row["name"] for row in rows}
        free, number = name, 1
        while free.lower() in taken:
            number += 1
            free = f"{name} ({number})"
        return free

    def _row(self, finetune_id: str) -> Row:
        return self._listing.row(finetune_id)

    def _update(self, finetune_id: str, **values: Any) -> None:
        said = ", ".join(f"{name} = ${name}" for name in values)
        self._store.execute(
            f"UPDATE finetunes SET {said} WHERE id = $id",  # noqa: S608
            {**values, "id": finetune_id},
        )

    def _folder(self, finetune_id: str) -> RunFolder:
        return self._listing.folder(finetune_id)

    def _job_folder(self, job_id: str) -> JobFolder:
        return JobFolder(self._store.home / "jobs" / job_id)


def _error(told: Row, folder: RunFolder) -> Row | None:
    """The job's error, with what the script offers to change."""
    if told["state"] not in ("failed", "interrupted") or told["error"] is None:
        return None
    said = (folder.result() or {}).get("error") or {}
    changes = said.get("changes") if told["state"] == "failed" else None
    return {**told["error"], "code": said.get("code"), "changes": changes}
