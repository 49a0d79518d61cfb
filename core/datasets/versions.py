"""What is done with versions beside each other: compare, tag, roll back, trace their origin.

A diff is kept beside the newer version's file, in `<content hash>.diffs/<other hash>.*`: positions
and counts, no content. Both files never change, so it is never stale and may be deleted any time.

Knows: the table dataset_tags, diffs, drift, who is derived from whom. Does not know: imports,
recipes beyond their step count, who uses a version: that it asks the callables it was given.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.clock import utc_now
from core.datasets.commits import present
from core.datasets.diff import Diff, diff
from core.datasets.distance import mmd
from core.datasets.drift import drift as drift_of
from core.datasets.lineage import graph
from core.datasets.service import Datasets
from core.datasets.table import Table
from core.errors import Conflict, Invalid, NotFound
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.ids import content_hash
from core.store.database import Row, Store
from core.store.files import read_json, write_json

Rows = list[Row]
Gate = Callable[[Row, str], list[str]]
"""Given a version and a tag, the reasons why it may not have it; none lets it pass."""
Uses = Callable[[Sequence[str]], Rows]
"""Given version ids, what used them: kind, id, title, detail, version_id, at, left_out."""

Vectors = Callable[[Path], "tuple[str, Any] | None"]
"""Given a version's file, what embedded its rows and the vectors (n, size); None where none did."""

_TAG = re.compile(r"[a-z][a-z0-9_-]{0,39}")


class Versions:
    """Versions of datasets, compared and pointed at."""

    noun = "versions"

    def __init__(
        self,
        store: Store,
        datasets: Datasets,
        *,
        gates: Sequence[Gate] = (),
        uses: Sequence[Uses] = (),
        vectors: Vectors = lambda path: None,
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._gates = tuple(gates)
        self._uses = tuple(uses)
        self._vectors = vectors
        self._comparing = threading.Lock()  # one at a time: each takes all cores

    @action
    def diff(
        self, actor: Actor, old_version_id: str, new_version_id: str, *, key: str = "row_id"
    ) -> Row:
        """What differs: `counts` (added, removed, changed, same), `columns`, `rewritten_count`,
        `reordered`, `note`, and `old` and `new` with id, label, number and row_count.

        The two may be of different datasets. `key`: see `core.datasets.diff.diff`.
        """
        old, new = self._two(actor, old_version_id, new_version_id)
        named = ("id", "label", "number", "row_count")
        return {
            **self._diff(old, new, key).to_dict(),
            "old": {name: old[name] for name in named},
            "new": {name: new[name] for name in named},
        }

    @action
    def diff_rows(
        self,
        actor: Actor,
        old_version_id: str,
        new_version_id: str,
        *,
        kind: str | None = None,
        column: str | None = None,
        offset: int = 0,
        limit: int = 20,
        key: str = "row_id",
    ) -> Rows:
        """A page of rows that differ, with their cells before and after; see `Diff.rows`."""
        old, new = self._two(actor, old_version_id, new_version_id)
        found = self._diff(old, new, key)
        return found.rows(kind, offset=offset, limit=limit, column=column)

    @action
    def diff_count(
        self,
        actor: Actor,
        old_version_id: str,
        new_version_id: str,
        *,
        kind: str | None = None,
        column: str | None = None,
        key: str = "row_id",
    ) -> int:
        """How many rows `diff_rows` has in all."""
        old, new = self._two(actor, old_version_id, new_version_id)
        return self._diff(old, new, key).count(kind, column=column)

    @action
    def drift(self, actor: Actor, old_version_id: str, new_version_id: str) -> Row:
        """How the columns' distributions differ: `columns`, as `core.datasets.drift.drift` gives
        them, most drifted first, with `old_count` and `new_count`; computed once a pair.

        `mmd` compares the embeddings of rows, where both versions have some of one model:
        `embedded_by`. Else `not_embedded` has the ids of those that have none.
        """
        old, new = self._two(actor, old_version_id, new_version_id)
        stem = self._stem(old, new, "drift")
        with self._comparing:
            kept = read_json(stem)
            found = {"embedded_by": None} | (kept or drift_of(Table.of(old), Table.of(new)))
            sides = [self._vectors(Path(version["path"])) for version in (old, new)]
            before, after = sides
            if before and after and before[0] == after[0] != found["embedded_by"]:
                distance = mmd(before[1], after[1])
                found |= {"mmd": distance and asdict(distance), "embedded_by": before[0]}
            if found != kept:
                write_json(stem, found)
        missing = [
            version["id"] for version, side in zip((old, new), sides, strict=True) if not side
        ]
        return {**found, "not_embedded": missing}

    @action
    def rollback(self, actor: Actor, version_id: str, message: str = "") -> Row:
        """A new version at the head of the dataset with the content of this one; nothing goes.

        Conflict when the newest version has that content already, or the dataset is archived.
        """
        version = self._datasets.version(actor, version_id)
        present(version)
        self._refuse_archived(version)
        newest = self._datasets.versions(actor, version["dataset_id"])[0]
        if newest["content_hash"] == version["content_hash"]:
            raise Conflict(
                f"The newest version, v{newest['number']}, has the content of"
                f" v{version['number']} already."
            )
        number = version["number"]
        made = self._datasets.commit_again(
            actor,
            version_id,
            source=f"v{number}",
            message=message.strip() or f"Back to v{number}",
            report={"rollback_of": version["id"], "rollback_number": number},
        )
        record(self._store, actor, "versions.rollback", made["id"], name=made["dataset_name"],
               number=made["number"], to_number=number)  # fmt: skip
        return made

    @action
    def tag(self, actor: Actor, version_id: str, tag: str) -> Row:
        """Point a tag at a version; a tag of its dataset that is elsewhere moves here.

        Conflict lists the reasons when a check does not let the tag pass. Gives the version.
        """
        if not _TAG.fullmatch(tag):
            raise Invalid(
                f"{tag!r} cannot be a tag.",
                field="tag",
                hint="A tag is up to 40 lower-case letters, digits, _ and -, a letter first.",
            )
        version = self._datasets.version(actor, version_id)
        self._refuse_archived(version)
        reasons = [reason for gate in self._gates for reason in gate(version, tag)]
        if reasons:
            raise Conflict(
                f"{version['label']} cannot be tagged {tag}: {'; '.join(reasons)}.",
                title="The tag is held back",
                hint="Mend these in a new version, then tag that one.",
            )
        self._store.execute(
            "INSERT OR REPLACE INTO dataset_tags VALUES ($dataset, $tag, $version, $by, $at)",
            {
                "dataset": version["dataset_id"],
                "tag": tag,
                "version": version_id,
                "by": actor.id,
                "at": utc_now(),
            },
        )
        record(self._store, actor, "versions.tag", version_id, tag=tag, version=version["label"])
        return {**version, "tags": sorted({*version["tags"], tag})}

    @action
    def untag(self, actor: Actor, dataset_id: str, tag: str) -> None:
        """Remove a tag; NotFound when the dataset does not have it."""
        named = {"dataset": dataset_id, "tag": tag}
        found = self._store.row(
            "SELECT version_id FROM dataset_tags WHERE dataset_id = $dataset AND tag = $tag", named
        )
        if found is None:
            raise NotFound(f"The dataset has no tag {tag!r}.")
        self._store.execute(
            "DELETE FROM dataset_tags WHERE dataset_id = $dataset AND tag = $tag", named
        )
        record(self._store, actor, "versions.untag", found["version_id"], tag=tag)

    @action
    def lineage(self, actor: Actor, dataset_id: str) -> Row:
        """Where the versions came from and what used them, as `nodes` and `edges`; see `graph`."""
        versions: Rows = self._datasets.versions(actor, dataset_id)
        ids = [version["id"] for version in versions]
        return graph(versions, [use for uses in self._uses for use in uses(ids)])

    def _two(self, actor: Actor, old_id: str, new_id: str) -> tuple[Row, Row]:
        old, new = (self._datasets.version(actor, id_) for id_ in (old_id, new_id))
        for version in (old, new):
            present(version)
        return old, new

    def _diff(self, old: Row, new: Row, key: str) -> Diff:
        tables = Table.of(old), Table.of(new)
        stem = self._stem(old, new, "diff" if key == "row_id" else f"diff-{content_hash(key)[:8]}")
        with self._comparing:
            found = Diff.load(stem, *tables)
            if found is None:
                found = diff(*tables, key=key)
                found.save(stem)
        return found

    def _stem(self, old: Row, new: Row, what: str) -> Path:
        folder = Path(new["path"]).with_suffix(".diffs")
        return folder / f"{old['content_hash']}-{what}.json"

    def _refuse_archived(self, version: Row) -> None:
        dataset = self._store.get("datasets", version["dataset_id"], noun="dataset")
        if dataset["archived_at"] is not None:
            raise Conflict("The dataset is archived.", hint="Restore it first.")
