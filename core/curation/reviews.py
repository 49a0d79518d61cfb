"""Reviews: what people decided about each hit of personal data or secrets, and what is still open.

A decision is kept by row, column and mark (`spans.mark`), so it holds in every version of the
dataset in which that row says the same there. Later decisions win; undoing one brings back the one
before it.

Knows: the table finding_reviews, `datasets.requires_review`. Does not know: how hits are found, how
they are taken out (`steps.personal`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from core.clock import utc_now
from core.curation.hits import Hit, Key, cells_of, entry, hits_of, looked, name_models_of
from core.datasets.service import Datasets
from core.datasets.table import Table
from core.errors import Conflict, Invalid, NotFound
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.ids import new_id
from core.store.database import Row, Store, insert_missing

DECISIONS = ("accept", "reject", "edit")
"""Take it out; leave it, it is none; put this text in its place."""
Rows = list[Row]
Decided = dict[Key, Row]


class Reviews:
    """Decisions about hits, by dataset; see the module's docstring."""

    noun = "reviews"

    def __init__(self, store: Store, datasets: Datasets) -> None:
        self._store = store
        self._datasets = datasets

    @action
    def state(self, actor: Actor, version_id: str) -> dict[str, Any]:
        """`looked` (both detectors have run), `required`, and how many hits there are: `total`,
        `open`, `accept`, `reject`, `edit`."""
        version = self._datasets.version(actor, version_id)
        dataset = self._datasets.get(actor, version["dataset_id"])
        decided = self._decided(version["dataset_id"])
        counts = Counter(_decision(decided, hit) for hit in hits_of(version["path"]))
        return {
            "looked": looked(version["path"]),
            "required": bool(dataset["requires_review"]),
            "total": counts.total(),
            **{name: counts[name] for name in ("open", *DECISIONS)},
        }

    @action
    def queue(
        self,
        actor: Actor,
        version_id: str,
        *,
        types: Sequence[str] | None = None,
        decision: str = "open",
        offset: int = 0,
        limit: int = 50,
    ) -> Rows:
        """Hits in row order that have this decision (`open`: none yet, `all`), with their text.

        Each has `id`, `kind`, `type`, `severity`, `message`, `row_index`, `row_id`, `column`,
        `hash`, `score`, `preview`, `decision`, `replacement`, `note`, `text` (an excerpt for long
        cells) and `spans` (start and end within that excerpt).
        """
        version = self._datasets.version(actor, version_id)
        decided = self._decided(version["dataset_id"])
        asked = (
            hit
            for hit in hits_of(version["path"])
            if decision in ("all", _decision(decided, hit)) and (not types or hit.type in types)
        )
        found = list(itertools.islice(asked, offset, offset + limit))
        cells = cells_of(Table.of(version), found)
        kinds = {column["name"]: column["type"] for column in version["columns"]}
        return [
            {
                **entry(hit, cells.get((hit.row_index, hit.column)), kinds.get(hit.column, "text")),
                "decision": _decision(decided, hit),
                "replacement": decided[hit.key]["replacement"] if hit.key in decided else None,
                "note": decided[hit.key]["note"] if hit.key in decided else "",
            }
            for hit in found
        ]

    @action
    def counts(self, actor: Actor, version_id: str) -> Rows:
        """By type, most open first: `kind`, `type`, `open`, `accept`, `reject`, `edit`, `total`."""
        version = self._datasets.version(actor, version_id)
        decided = self._decided(version["dataset_id"])
        by_type: dict[tuple[str, str], Counter[str]] = {}
        for hit in hits_of(version["path"]):
            by_type.setdefault((hit.kind, hit.type), Counter())[_decision(decided, hit)] += 1
        rows: Rows = [
            {
                "kind": kind,
                "type": type_,
                **{name: counts[name] for name in ("open", *DECISIONS)},
                "total": counts.total(),
            }
            for (kind, type_), counts in by_type.items()
        ]
        return sorted(rows, key=lambda row: (-row["open"], -row["total"], row["type"]))

    @action
    def report(self, actor: Actor, version_id: str) -> Rows:
        """By type, decision and reviewer: `kind`, `type`, `decision`, `reviewer`, `count`,
        `last_at`; hits that nobody decided have the decision `open` and no reviewer."""
        version = self._datasets.version(actor, version_id)
        decided = self._decided(version["dataset_id"])
        names = self._user_names()
        found: dict[tuple[str, str, str, str], list[Any]] = {}
        for hit in hits_of(version["path"]):
            row = decided.get(hit.key)
            who = str(names.get(row["decided_by"], row["decided_by"])) if row else ""
            told = found.setdefault((hit.kind, hit.type, _decision(decided, hit), who), [0, None])
            told[0] += 1
            if row and (told[1] is None or row["decided_at"] > told[1]):
                told[1] = row["decided_at"]
        return [
            {
                "kind": kind,
                "type": type_,
                "decision": decision,
                "reviewer": who,
                "count": told[0],
                "last_at": told[1],
            }
            for (kind, type_, decision, who), told in sorted(found.items())
        ]

    @action
    def chosen(self, actor: Actor, version_id: str) -> dict[str, Any]:
        """What a step that takes out the accepted hits of this version is given.

        `types`; `replacements` of edited ones; and `leave` (the rejected) where every hit of these
        types is decided, so that the step does the same to new rows, else `only` (the accepted).
        """
        version = self._datasets.version(actor, version_id)
        decided = self._decided(version["dataset_id"])
        found = hits_of(version["path"])
        going = {hit.type for hit in found if _decision(decided, hit) in ("accept", "edit")}
        among = [(hit, _decision(decided, hit)) for hit in found if hit.type in going]
        arguments: dict[str, Any] = {"types": sorted(going), **name_models_of(version["path"])}
        if any(decision == "open" for _, decision in among):
            arguments["only"] = [hit.named() for hit, decision in among if decision == "accept"]
        elif left := [hit.named() for hit, decision in among if decision == "reject"]:
            arguments["leave"] = left
        edited = [
            {**hit.named(), "text": decided[hit.key]["replacement"]}
            for hit, decision in among
            if decision == "edit"
        ]
        return {**arguments, "replacements": edited} if edited else arguments

    @action
    def decide(
        self,
        actor: Actor,
        version_id: str,
        finding_id: str,
        decision: str,
        *,
        note: str = "",
        replacement: str | None = None,
    ) -> None:
        """Accept (it goes), reject (it stays) or edit one hit (`replacement` takes its place)."""
        version = self._datasets.version(actor, version_id)
        hit = next((h for h in hits_of(version["path"]) if h.finding_id == finding_id), None)
        if hit is None:
            raise NotFound(f"There is no hit {finding_id!r} in {version['label']}.")
        self._write(actor, version, [hit], decision, note=note, replacement=replacement)
        record(self._store, actor, "reviews.decide", version_id, finding_id=finding_id,
               type=hit.type, row_id=hit.row_id, decision=decision, note=note)  # fmt: skip

    @action
    def decide_type(
        self,
        actor: Actor,
        version_id: str,
        type: str,
        decision: str,
        *,
        note: str = "",
        least_score: float = 0.0,
    ) -> int:
        """Accept or reject every open hit of a type that is at least this sure; how many."""
        version = self._datasets.version(actor, version_id)
        decided = self._decided(version["dataset_id"])
        hits = [
            hit
            for hit in hits_of(version["path"])
            if hit.type == type and hit.key not in decided and hit.score >= least_score
        ]
        if decision == "edit":
            raise Invalid("Hits are edited one by one.", field="decision")
        self._write(actor, version, hits, decision, note=note)
        record(self._store, actor, "reviews.decide_type", version_id, type=type,
               decision=decision, count=len(hits), note=note)  # fmt: skip
        return len(hits)

    @action
    def undo(self, actor: Actor, version_id: str) -> Rows:
        """Take back the actor's last decision in this dataset, or the last many made at once.

        Returns them: `row_id`, `column_name`, `type`, `decision`; [] when there is none.
        """
        version = self._datasets.version(actor, version_id)
        asked = {"dataset": version["dataset_id"], "user": actor.id}
        with self._store.transaction() as connection:
            last = connection.execute(
                "SELECT arg_max(batch, decided_at) FROM finding_reviews"
                " WHERE dataset_id = $dataset AND decided_by = $user",
                asked,
            ).fetchone()
            batch = last[0] if last else None
            found = connection.execute(
                "DELETE FROM finding_reviews WHERE batch = $batch"
                " RETURNING row_id, column_name, type, decision",
                {"batch": batch},
            ).fetchall()
        names = ("row_id", "column_name", "type", "decision")
        taken: Rows = [dict(zip(names, row, strict=True)) for row in found]
        if taken:
            record(self._store, actor, "reviews.undo", version_id, count=len(taken),
                   decision=taken[0]["decision"])  # fmt: skip
        return taken

    @action
    def require(self, actor: Actor, dataset_id: str, required: bool) -> None:
        """Whether versions of this dataset must be reviewed before they leave the workspace."""
        self._store.get("datasets", dataset_id, noun="dataset")
        self._store.execute(
            "UPDATE datasets SET requires_review = $required WHERE id = $id",
            {"required": required, "id": dataset_id},
        )
        record(self._store, actor, "reviews.require", dataset_id, required=required)

    @action
    def is_reviewed(self, actor: Actor, version_id: str) -> bool:
        """Whether both detectors have looked at the version and every hit is decided."""
        state = self.state(actor, version_id)
        return bool(state["looked"] and not state["open"])

    @action
    def refuse_unreviewed(self, actor: Actor, version_id: str) -> None:
        """Raise Conflict where the dataset requires a review that this version has not had.

        To be called before rows leave the workspace or a model learns them. The message says how
        many hits are undecided, or accepted and still in the text. Else nothing happens.
        """
        state = self.state(actor, version_id)
        if not state["required"]:
            return
        label = self._datasets.version(actor, version_id)["label"]
        title = "This dataset has to be reviewed first"
        if not state["looked"]:
            raise Conflict(
                f"Nobody has looked for personal data and secrets in {label} yet.",
                title=title,
                hint="Start the analysis on the Curate page, then decide what it finds.",
            )
        if state["open"]:
            raise Conflict(
                f"{_plural(state['open'])} of personal data or secrets in {label}"
                f" {'is' if state['open'] == 1 else 'are'} undecided.",
                title=title,
                hint="Accept, reject or edit each on the Curate page, under Personal data.",
            )
        if left := state["accept"] + state["edit"]:
            raise Conflict(
                f"{_plural(left)} in {label} {'was' if left == 1 else 'were'} accepted as personal"
                " data or secrets and still stand in the text.",
                title=title,
                hint="Redact, mask or pseudonymise them on the Curate page: it makes a version"
                " without them.",
            )

    def _write(
        self,
        actor: Actor,
        version: Row,
        hits: Sequence[Hit],
        decision: str,
        *,
        note: str = "",
        replacement: str | None = None,
    ) -> None:
        if decision not in DECISIONS:
            raise Invalid(
                f"A hit cannot be {decision!r}.",
                field="decision",
                hint=f"Choose from {', '.join(DECISIONS)}.",
            )
        if (decision == "edit") != (replacement is not None):
            raise Invalid(
                "An edited hit needs its replacement, others have none.", field="replacement"
            )
        if not hits:
            return
        made = {
            "batch": new_id("batch"),
            "dataset_id": version["dataset_id"],
            "decision": decision,
            "replacement": replacement,
            "note": note.strip(),
            "version_id": version["id"],
            "decided_by": actor.id,
            "decided_at": utc_now(),
        }
        rows = [
            {
                "id": new_id("review"),
                "row_id": hit.row_id,
                "column_name": hit.column,
                "mark": hit.mark,
                "kind": hit.kind,
                "type": hit.type,
                **made,
            }
            for hit in hits
        ]
        with self._store.transaction() as connection:
            insert_missing(connection, "finding_reviews", rows)

    def _decided(self, dataset_id: str) -> Decided:
        return _decisions(self._store, dataset_id)

    def _user_names(self) -> dict[str, str]:
        return {row["id"]: row["name"] for row in self._store.rows("SELECT id, name FROM users")}


def decided_findings(store: Store, version: Row) -> list[str]:
    """The ids of a version's findings that somebody has decided about."""
    decided = _decisions(store, version["dataset_id"])
    hits = hits_of(version["path"]) if decided else ()
    return [hit.finding_id for hit in hits if hit.key in decided]


def _decisions(store: Store, dataset_id: str) -> Decided:
    """The decision that holds for each hit of a dataset."""
    found = store.rows(
        "SELECT row_id, column_name, mark, decision, replacement, note, decided_by, decided_at"
        " FROM finding_reviews WHERE dataset_id = $id"
        " QUALIFY row_number() OVER (PARTITION BY row_id, column_name, mark"
        " ORDER BY decided_at DESC, id DESC) = 1",
        {"id": dataset_id},
    )
    return {(row["row_id"], row["column_name"], row["mark"]): row for row in found}


def _decision(decided: Mapping[Key, Row], hit: Hit) -> str:
    row = decided.get(hit.key)
    return str(row["decision"]) if row else "open"


def _plural(count: int) -> str:
    return f"{count:,} {'hit' if count == 1 else 'hits'}"
