"""Pending recipes: the steps a person has put together for a version and not yet saved.

Every change is a row with the steps as they are after it: the newest is what is pending, and undo
takes the newest away. Nobody else sees them; each change is in the audit log.

Knows: the table pending_recipes. Does not know: how steps are done (`replay`).
"""

from __future__ import annotations

import json
from typing import Any

from core.clock import utc_now
from core.curation.recipe import Recipe, Step, checked_steps
from core.curation.steps import STEPS
from core.datasets.service import Datasets
from core.errors import Invalid
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.jobs.service import Jobs
from core.store.database import Row, Store

KEPT_CHANGES = 30
"""How far undo reaches."""
MOST_BYTES = 32 * 1024 * 1024
AUDITED_CHARACTERS = 20_000
Rows = list[Row]
Steps = list[Step]


class Recipes:
    """The pending steps of the actor, and how they become a version."""

    noun = "recipes"

    def __init__(self, store: Store, jobs: Jobs, datasets: Datasets) -> None:
        self._store = store
        self._jobs = jobs
        self._datasets = datasets

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
        before = self._steps(actor, version_id)
        after = [*before, *checked_steps(steps)]
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
        steps = self._steps(actor, version_id)
        before = self._at(steps, index)
        steps[index] = checked_steps([step])[0]
        self._put(actor, version_id, steps)
        self._record(actor, "recipes.change", version_id, index=index, before=before, after=step)

    @action
    def remove(self, actor: Actor, version_id: str, index: int) -> None:
        """Take one step out."""
        steps = self._steps(actor, version_id)
        gone = self._at(steps, index)
        del steps[index]
        self._put(actor, version_id, steps)
        self._record(actor, "recipes.remove", version_id, index=index, before=gone)

    @action
    def move(self, actor: Actor, version_id: str, index: int, to: int) -> None:
        """Put one step in another place: order counts."""
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
