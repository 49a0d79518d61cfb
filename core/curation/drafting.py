"""Recipes: the steps a person has put together for a version, tried, and saved as a new one.

Every change is a row with the steps as they are after it: the newest is what is pending, and undo
takes the newest away. Nobody else sees them; each change is in the audit log.

Knows: the table pending_recipes, the chain of versions. Does not know: what a step does.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterable, Mapping
from typing import Any

from core.clock import utc_now
from core.curation import choosing
from core.curation.asking import Asking
from core.curation.choosing import Conditions
from core.curation.embedders import encoder
from core.curation.previews import PREVIEW_ROWS, preview
from core.curation.recipe import NOTATION, Recipe, Step, checked_steps
from core.curation.restoring import removed_rows
from core.curation.service import Curation
from core.curation.steps import STEPS
from core.curation.tools import Tools
from core.datasets.files import Column, Written
from core.datasets.service import Datasets
from core.datasets.table import Table
from core.errors import Invalid, NotFound
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.jobs.folder import JobFolder
from core.jobs.service import Jobs
from core.models.service import Models
from core.store.database import Row, Store

KIND = "dataset.curate"
KEPT_CHANGES = 30
"""How far undo reaches."""
MOST_BYTES = 32 * 1024 * 1024
AUDITED_CHARACTERS = 20_000
Rows = list[Row]
Steps = list[Step]


class Recipes:
    """The pending steps of the actor, and how they become a version."""

    noun = "recipes"

    def __init__(
        self, store: Store, jobs: Jobs, datasets: Datasets, models: Models, curation: Curation
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._datasets = datasets
        self._models = models
        self._curation = curation
        self._changing = threading.RLock()  # two tabs of one person change one list

    @action
    def pending(self, actor: Actor, version_id: str) -> Rows:
        """The actor's pending steps for a version, in order: index, step, label, summary."""
        return [
            {
                "index": index,
                "step": step,
                "label": STEPS[step["step"]].label,
                "summary": STEPS[step["step"]].summary,
            }
            for index, step in enumerate(self._steps(actor, version_id))
        ]

    @action
    def can_undo(self, actor: Actor, version_id: str) -> bool:
        """Whether there is a change that `undo` could take back."""
        return self._newest(actor, version_id) is not None

    @action
    def add(self, actor: Actor, version_id: str, step: Step) -> int:
        """Put a step at the end; its index. Invalid when it could not run."""
        return self.add_all(actor, version_id, [step]) - 1

    @action
    def add_all(self, actor: Actor, version_id: str, steps: Steps) -> int:
        """Put the steps of a recipe at the end; how many are pending then."""
        added = checked_steps(steps)
        with self._changing:
            after = [*self._steps(actor, version_id), *added]
            self._put(actor, version_id, after)
        self._record(actor, "recipes.add", version_id, steps=steps)
        return len(after)

    @action
    def paste(self, actor: Actor, version_id: str, text: str) -> int:
        """Put the steps of a recipe in YAML at the end; how many came."""
        steps = [dict(step) for step in Recipe.parse(text).steps]
        self.add_all(actor, version_id, steps)
        return len(steps)

    @action
    def change(self, actor: Actor, version_id: str, index: int, step: Step) -> None:
        """Put another step in the place of one."""
        with self._changing:
            steps = self._steps(actor, version_id)
            before = self._at(steps, index)
            steps[index] = checked_steps([step])[0]
            self._put(actor, version_id, steps)
        self._record(actor, "recipes.change", version_id, index=index, before=before, after=step)

    @action
    def remove(self, actor: Actor, version_id: str, index: int) -> None:
        """Take one step out."""
        with self._changing:
            steps = self._steps(actor, version_id)
            gone = self._at(steps, index)
            del steps[index]
            self._put(actor, version_id, steps)
        self._record(actor, "recipes.remove", version_id, index=index, before=gone)

    @action
    def move(self, actor: Actor, version_id: str, index: int, to: int) -> None:
        """Put one step in another place: order counts."""
        with self._changing:
            steps = self._steps(actor, version_id)
            moved = self._at(steps, index)
            self._at(steps, to)
            steps.insert(to, steps.pop(index))
            self._put(actor, version_id, steps)
        self._record(actor, "recipes.move", version_id, index=index, to=to, step=moved["step"])

    @action
    def clear(self, actor: Actor, version_id: str) -> None:
        """Take all steps out; undo brings them back."""
        before = self._steps(actor, version_id)
        self._put(actor, version_id, [])
        self._record(actor, "recipes.clear", version_id, before=before)

    @action
    def undo(self, actor: Actor, version_id: str) -> None:
        """Take the last change back; nothing to take back is no error."""
        newest = self._newest(actor, version_id)
        if newest is None:
            return
        self._store.execute(
            "DELETE FROM pending_recipes WHERE user_id = $user AND version_id = $version"
            " AND number = $number",
            {"user": actor.id, "version": version_id, "number": newest["number"]},
        )
        self._record(
            actor, "recipes.undo", version_id,
            before=json.loads(newest["steps"]), after=self._steps(actor, version_id),
        )  # fmt: skip

    @action
    def preview(
        self,
        actor: Actor,
        version_id: str,
        steps: Steps | None = None,
        step_index: int | None = None,
        *,
        most_rows: int = PREVIEW_ROWS,
    ) -> dict[str, Any]:
        """What the steps would do, the pending ones by default, up to and with `step_index`.

        `row_count`, `tried_count` (fewer of a version larger than `most_rows`, spread over
        it; where a model is asked, the first few), and `steps`: step, label, changed,
        removed, rows (left after it), counts, examples. Changes nothing.
        """
        chosen = checked_steps(self._steps(actor, version_id) if steps is None else steps)
        if step_index is not None:
            self._at(list(chosen), step_index)
            chosen = chosen[: step_index + 1]
        version = self._datasets.version(actor, version_id)
        return preview(
            Table.of(version), chosen, self._preview_tools(actor, chosen, version),
            most_rows=most_rows,
        )  # fmt: skip

    @action
    def apply(self, actor: Actor, version_id: str, message: str = "") -> str:
        """Save the pending steps as a new version, in a job; its id. Invalid where none is."""
        version = self._datasets.version(actor, version_id)
        steps = self._steps(actor, version_id)
        if not steps:
            raise Invalid("No step is pending.", field="steps", hint="Add one first.")
        tools = self._tools(actor, steps, version)
        payload = {
            "version_id": version_id,
            "dataset_id": version["dataset_id"],
            "version": self._curation.planning.located(version),
            "recipe": Recipe(checked_steps(steps)).to_dict(),
            "message": message.strip(),
            "source": f"{version['label']} by {_counted(steps)}",
            "models": dict(tools.answer.models) if tools.answer else {},
            "embedding_model": str(tools.embedding_model) if tools.embedding_model else None,
        }
        title = f"{_counted(steps).capitalize()} on {version['label']}"
        job_id = self._jobs.start(actor, KIND, title, payload, subject_id=version_id)
        self._record(actor, "recipes.apply", version_id, job_id=job_id, steps=steps)
        return job_id

    @action
    def result(self, actor: Actor, job_id: str) -> Row | None:
        """The version that a job of `apply` made, with `is_new` False where the rows were a
        version already; None while there is none."""
        folder = JobFolder(self._store.home / "jobs" / job_id)
        value = (folder.result() or {}).get("value") or {}
        if not value:
            return None
        row = self._store.row(
            "SELECT id FROM dataset_versions WHERE dataset_id = $dataset AND content_hash = $hash",
            {
                "dataset": folder.spec().payload["dataset_id"],
                "hash": value["written"]["content_hash"],
            },
        )
        found: Row | None = self._datasets.version(actor, row["id"]) if row else None
        if found is None:
            return None
        return {**found, "is_new": (found["report"] or {}).get("job_id") == job_id}

    @action
    def running(self, actor: Actor, version_id: str) -> Row | None:
        """The actor's newest job that saves steps of this version, while it has not ended well."""
        row = self._store.row(
            "SELECT id FROM jobs WHERE kind = $kind AND subject_id = $version"
            " AND created_by = $user ORDER BY id DESC LIMIT 1",
            {"kind": KIND, "version": version_id, "user": actor.id},
        )
        return self._jobs.get(actor, row["id"]) if row else None

    @action
    def recipe_of(self, actor: Actor, version_id: str, *, include_pending: bool = False) -> str:
        """The whole chain as YAML for `lathe curate`: the import and every step since."""
        steps = self._steps(actor, version_id) if include_pending else []
        reads: Mapping[str, Any] | None = None
        at: str | None = version_id
        while at is not None:
            version = self._datasets.version(actor, at)
            own = version["recipe"] or {}
            steps = [*(own.get("steps") or []), *steps]
            reads = own.get("import")
            at = version["parent_id"] if own.get("steps") and reads is None else None
        begins = {"import": reads} if reads is not None else {}
        return Recipe.parse({"recipe": NOTATION, **begins, "steps": steps}).dump()

    @action
    def removed(self, actor: Actor, version_id: str, *, limit: int = 200) -> Rows:
        """Rows of the version before that this one has no more: row_id, row_index, values; what
        the step `restore_rows` takes."""
        version = self._datasets.version(actor, version_id)
        if version["parent_id"] is None:
            return []
        parent = self._datasets.version(actor, version["parent_id"])
        return removed_rows(Table.of(parent), Table.of(version), limit=limit)

    @action
    def matching(
        self,
        actor: Actor,
        version_id: str,
        where: Conditions = (),
        *,
        match: str = "all",
        offset: int = 0,
        limit: int = 50,
    ) -> dict[str, Any]:
        """`count` of the rows that meet the conditions, and a page of them: `rows` with row_id,
        row_index and the columns as stored."""
        table = Table.of(self._datasets.version(actor, version_id))
        return {
            "count": choosing.count(self._store, table, where, match),
            "rows": choosing.page(self._store, table, where, match, offset=offset, limit=limit),
        }

    def _finish(self, job_id: str, value: dict[str, Any], user_id: str) -> None:
        """After the job: commit what it wrote, then take its steps off the pending list."""
        payload = JobFolder(self._store.home / "jobs" / job_id).spec().payload
        steps = payload["recipe"]["steps"]
        self._datasets.commit_written(
            user_id,
            payload["dataset_id"],
            Written.of(value["written"]),
            [Column(**column) for column in value["columns"]],
            parent_id=payload["version_id"],
            source=payload["source"],
            message=payload["message"],
            recipe=payload["recipe"],
            report={"steps": value["reports"], "job_id": job_id},
            verb="recipes.apply",
        )
        actor = Actor(user_id, user_id, "admin")
        with self._changing:
            pending = self._steps(actor, payload["version_id"])
            if pending[: len(steps)] == steps:
                self._put(actor, payload["version_id"], pending[len(steps) :])

    def _tools(self, actor: Actor, steps: Iterable[Step], version: Row) -> Tools:
        """With the models that the steps name, resolved here: a job cannot look them up."""
        names = {step["model"] for step in steps if step["step"] == "prompt"}
        listed = {row["name"]: row["id"] for row in self._models.list(actor)} if names else {}
        for name in names - set(listed):
            raise NotFound(f"There is no model {name!r} in this workspace.",
                           hint=f"There are {', '.join(listed) or 'none yet'}.")  # fmt: skip
        specs = {
            name: self._models.resolve(actor, listed[name], purpose="batch").to_dict()
            for name in names
        }
        return Tools(
            cache=self._store.home / "cache" / "curation",
            embedding_model=self._curation.planning.embedding_model(actor),
            answer=Asking(self._store.home, specs),
        )

    def _preview_tools(self, actor: Actor, steps: Iterable[Step], version: Row) -> Tools:
        """As in a job, but no model is loaded here: previews are made by the app."""
        tools = self._tools(actor, steps, version)
        if tools.embedding_model is None:
            return tools
        encode = encoder(self._models, actor, tools.embedding_model)
        return dataclasses.replace(tools, encode=encode)

    def _steps(self, actor: Actor, version_id: str) -> Steps:
        newest = self._newest(actor, version_id)
        found: Steps = json.loads(newest["steps"]) if newest else []
        return found

    def _newest(self, actor: Actor, version_id: str) -> Row | None:
        return self._store.row(
            "SELECT number, steps FROM pending_recipes"
            " WHERE user_id = $user AND version_id = $version ORDER BY number DESC LIMIT 1",
            {"user": actor.id, "version": version_id},
        )

    def _put(self, actor: Actor, version_id: str, steps: Steps) -> None:
        self._datasets.version(actor, version_id)  # NotFound where there is none
        text = json.dumps(steps, ensure_ascii=False)
        if len(text.encode()) > MOST_BYTES:
            raise Invalid(
                "The pending steps are too large to keep.",
                field="steps",
                hint="Save them as a version, then go on from there.",
            )
        newest = self._newest(actor, version_id)
        number = newest["number"] + 1 if newest else 1
        self._store.insert(
            "pending_recipes",
            {
                "user_id": actor.id,
                "version_id": version_id,
                "number": number,
                "steps": text,
                "created_at": utc_now(),
            },
        )
        self._store.execute(
            "DELETE FROM pending_recipes WHERE user_id = $user AND version_id = $version"
            " AND number <= $old",
            {"user": actor.id, "version": version_id, "old": number - KEPT_CHANGES},
        )

    def _at(self, steps: Steps, index: int) -> Step:
        if not 0 <= index < len(steps):
            raise Invalid(f"There is no step {index + 1}: {len(steps)} are pending.", field="index")
        return steps[index]

    def _record(self, actor: Actor, what: str, version_id: str, **detail: Any) -> None:
        record(self._store, actor, what, version_id, **_shortened(detail))


def _shortened(detail: dict[str, Any]) -> dict[str, Any]:
    """A step that names 100,000 rows is kept by how it begins; the recipe has it whole."""
    text = json.dumps(detail, ensure_ascii=False, default=str)
    if len(text) <= AUDITED_CHARACTERS:
        return detail
    return {"begins": text[:AUDITED_CHARACTERS], "characters": len(text)}


def _counted(steps: Steps) -> str:
    return "1 step" if len(steps) == 1 else f"{len(steps)} steps"
