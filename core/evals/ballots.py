"""Ballots: which rows of a run two variants can be voted on, in which order, on which side.

A person goes through the rows of a pair in an order of their own, drawn by a seed that is kept: so
whatever part of the rows is done is a fair sample, and a reload shows the same row the same way.
In every eight rows of it each variant stands left four times. Who knows the ids of rows and
variants but not the seed can tell nothing.

Knows: results, seeds, sides. Does not know: votes, who may vote.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.clock import utc_now
from core.datasets.examples import Example, example_of
from core.datasets.files import Column
from core.datasets.values import loaded
from core.evals.results import JUDGED, judging
from core.evals.scorers import parse_all
from core.store.database import Row, Store, insert_missing

BLOCK = 8
SPACE = "' ' || chr(9) || chr(10) || chr(13)"
QUEUES: dict[str, str] = {
    "all": "Every row whose two answers differ",
    "losses": "Rows that the second variant did not pass",
}


@dataclass(frozen=True, slots=True)
class Ballot:
    """One row to vote on."""

    row_id: str
    left_variant_id: str
    right_variant_id: str
    token: str
    """Proves that who votes has seen the row like this."""


@dataclass(frozen=True, slots=True)
class Comparable:
    """The rows of a run that both variants have answered."""

    different: tuple[str, ...]
    """Row ids with different answers, in the dataset's order: these are voted on."""
    lost: frozenset[str]
    """Those of them that the second variant did not pass."""
    same_count: int
    """Rows with the same answer twice."""

    def of(self, queue: str) -> frozenset[str]:
        """The rows of a queue: see QUEUES."""
        return self.lost if queue == "losses" else frozenset(self.different)


def comparable(store: Store, run: Row, pair: tuple[str, str]) -> Comparable:
    """Look through a run, a row of `runs` with `scorers` parsed; space around answers is none."""
    rows = store.rows(
        f"""
        WITH {JUDGED}
        SELECT a.row_id, trim(a.output, {SPACE}) = trim(b.output, {SPACE}) AS same, b.passed
        FROM judged a JOIN judged b USING (row_id)
        WHERE a.variant_id = $first AND b.variant_id = $second
          AND a.state = 'ok' AND b.state = 'ok'
          AND a.output IS NOT NULL AND b.output IS NOT NULL
        ORDER BY a.row_index
        """,  # noqa: S608
        {**judging({run["id"]: parse_all(run["scorers"])}), "first": pair[0], "second": pair[1]},
    )
    different = [row for row in rows if not row["same"]]
    return Comparable(
        tuple(row["row_id"] for row in different),
        frozenset(row["row_id"] for row in different if row["passed"] is False),
        len(rows) - len(different),
    )


def ballots(seed: str, rows: Sequence[str], pair: tuple[str, str]) -> list[Ballot]:
    """Every row as one person sees it, in that person's order: `rows` in any order give the same
    for one seed, and so does the pair the other way round."""
    ordered = sorted(rows, key=lambda row_id: _digest(seed, "row", row_id))
    one, other = sorted(pair)
    found = []
    for number, row_id in enumerate(ordered):
        left, right = (one, other) if _one_is_left(seed, number) else (other, one)
        found.append(Ballot(row_id, left, right, _token(seed, row_id, left)))
    return found


def proven(seed: str, row_id: str, token: str, pair: tuple[str, str]) -> Ballot | None:
    """The ballot that this token was given out for; None: none was, or to somebody else."""
    for left, right in (pair, pair[::-1]):
        if secrets.compare_digest(token, _token(seed, row_id, left)):
            return Ballot(row_id, left, right, token)
    return None


def seed_of(store: Store, run_id: str, pair: tuple[str, str], user_id: str) -> str:
    """The seed that this person has for this pair; drawn at the first time."""
    first, second = sorted(pair)
    key = {"run_id": run_id, "first_variant_id": first, "second_variant_id": second,
           "user_id": user_id}  # fmt: skip
    asked = (
        "SELECT seed FROM vote_orders WHERE run_id = $run_id AND user_id = $user_id"
        " AND first_variant_id = $first_variant_id AND second_variant_id = $second_variant_id"
    )
    found = store.row(asked, key)
    if found is None:
        made = {**key, "seed": secrets.token_hex(16), "created_at": utc_now().isoformat()}
        with store.transaction() as connection:  # two tabs at once: the first one's stands
            insert_missing(connection, "vote_orders", [made])
        found = store.row(asked, key)
    return str(found["seed"]) if found else ""


def examples_of(store: Store, version: Row, row_ids: Sequence[str]) -> dict[str, Example]:
    """Rows of a dataset version by their ids, straight from its file; missing ones are left out,
    all of them when the file is gone."""
    if not Path(version["path"]).exists():
        return {}
    columns = [Column(**column) for column in version["columns"]]
    kinds = {column.name: column.type for column in columns}
    rows = store.rows(
        "SELECT * FROM read_parquet($path) WHERE list_contains($rows::VARCHAR[], row_id)",
        {"path": version["path"], "rows": list(row_ids)},
    )
    found = {}
    for row in rows:
        values: dict[str, Any] = {n: loaded(v, kinds.get(n, "")) for n, v in row.items()}
        found[row["row_id"]] = example_of(values, columns)
    return found


def _one_is_left(seed: str, number: int) -> bool:
    block, place = divmod(number, BLOCK)
    shuffled = sorted(range(BLOCK), key=lambda n: _digest(seed, "side", str(block), str(n)))
    return shuffled.index(place) < BLOCK // 2


def _token(seed: str, row_id: str, left: str) -> str:
    return _digest(seed, "token", row_id, left)[:16]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
