"""Votes: people compare two variants of a run blind, row by row; what that says; pairs to train on.

Of a person's votes on a row and a pair the newest counts; all are kept. A row that is set aside
("skip") comes again when nothing else is open. Sides are recorded as they were shown.

Knows: the table vote_preferences, pairs, permissions. Does not know: the table votes
(`cast_votes`), how rows are ordered (`ballots`), how counts become verdicts (`verdicts`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from core.clock import utc_now
from core.datasets.service import Datasets
from core.errors import Conflict, Invalid, NotFound
from core.evals import cast_votes
from core.evals import preferences as pairs_of
from core.evals.ballots import (
    QUEUES,
    Ballot,
    Comparable,
    ballots,
    comparable,
    examples_of,
    proven,
    seed_of,
)
from core.evals.cast_votes import CHOICES, SKIP, Pair
from core.evals.service import Runs
from core.evals.verdicts import Policy, tally
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.jobs.folder import ENDED
from core.store.database import Row, Store, insert_row

MOST_REASON = 2_000
"""Characters of a reason."""


class Votes:
    """Blind pairwise votes on the runs of a workspace."""

    noun = "votes"

    def __init__(
        self,
        store: Store,
        runs: Runs,
        datasets: Datasets,
        require_review: Callable[[Actor, str, bool], None],
    ) -> None:
        self._store = store
        self._runs = runs
        self._datasets = datasets
        self._require_review = require_review

    @action
    def next(
        self,
        actor: Actor,
        run_id: str,
        pair: Pair,
        *,
        queue: str = "all",
        skipped: bool = False,
        row_id: str | None = None,
    ) -> Row | None:
        """A row with two different answers that this person has not voted on; None: all done.

        `row_id`, `row_index`, `inputs`, `expected`, `left` and `right` (the answers), `token` for
        `cast`, and `progress` as `progress` gives it; nothing in it tells which variant is which.
        `queue` is one of QUEUES; with `skipped` the rows that were set aside come instead, and
        `row_id` asks for one row, whether it was voted on or not. Conflict while the run goes on.
        """
        run, pair, rows = self._looked(actor, run_id, pair, queue)
        done = self._own(actor, run_id, pair)
        wanted, state = rows.of(queue), SKIP if skipped else None
        for ballot in ballots(seed_of(self._store, run_id, pair, actor.id), rows.different, pair):
            is_open = ballot.row_id in wanted and done.get(ballot.row_id) == state
            if ballot.row_id == row_id if row_id is not None else is_open:
                progress = _progress(rows, queue, done)
                return {**self._shown(actor, run, ballot), "progress": progress}
        if row_id is not None:
            raise NotFound("That row has no two different answers to vote on.")
        return None

    @action
    def cast(
        self,
        actor: Actor,
        run_id: str,
        pair: Pair,
        row_id: str,
        choice: str,
        token: str,
        *,
        reason: str = "",
        seconds: float | None = None,
        queue: str = "all",
    ) -> str:
        """Vote on a row as `next` gave it, and return the vote's id; a later one takes its place.

        `choice` is one of CHOICES, `seconds` the time since the row was shown. Conflict where the
        row is not shown like that any more: rows were asked again in the meantime.
        """
        if choice not in CHOICES:
            raise Invalid(f"choice is one of {', '.join(CHOICES)}, not {choice!r}.", field="choice")
        return self._write(actor, run_id, pair, row_id, choice, token, reason, seconds, queue)

    @action
    def skip(
        self,
        actor: Actor,
        run_id: str,
        pair: Pair,
        row_id: str,
        token: str,
        *,
        seconds: float | None = None,
        queue: str = "all",
    ) -> str:
        """Set a row aside: it comes again with `next(skipped=True)`."""
        return self._write(actor, run_id, pair, row_id, SKIP, token, "", seconds, queue)

    @action
    def undo(self, actor: Actor, run_id: str, pair: Pair) -> Row | None:
        """Take back this person's last vote or skip for the pair: `row_id`, `choice`; None: there
        is none. What they voted on the row before counts again."""
        _, pair = self._pair(actor, run_id, pair)
        found = cast_votes.take_back(self._store, run_id, pair, actor.id)
        if found is not None:
            record(self._store, actor, "votes.undo", run_id, **found)
        return found

    @action
    def progress(self, actor: Actor, run_id: str, pair: Pair, *, queue: str = "all") -> Row:
        """How far this person is: `row_count` to vote on, `voted_count`, `skipped_count`,
        `open_count`; `same_count` rows have the same answer twice, and `lost_count` is what the
        queue `losses` has. `can_undo` says whether there is a vote or skip to take back."""
        _, pair, rows = self._looked(actor, run_id, pair, queue)
        return _progress(rows, queue, self._own(actor, run_id, pair))

    @action
    def tally(self, actor: Actor, run_id: str, pair: Pair) -> Row:
        """How the pair stands by everybody's newest votes: what `verdicts.tally` gives, and
        `first` and `second` (id, name, model and prompt), `voters` (user_id, name, vote_count),
        `left_count` and `right_count` (how often each side was chosen, whatever stood there),
        `different_count` and `same_count` of the run's rows, and `picked_count`: rows of the tally
        that came up because the second variant had lost them: then it is no fair sample."""
        run, pair, rows = self._looked(actor, run_id, pair, "all")
        found = cast_votes.counting(self._store, run_id, pair)
        picked = {row["row_id"] for row in found if row["queue"] == "losses"}
        picked -= {row["row_id"] for row in found if row["queue"] != "losses"}
        whole = len({row["row_id"] for row in found}) >= len(rows.different)
        first, second = (self._variant(run, variant_id) for variant_id in pair)
        return {
            **tally(pairs_of.by_row(found, pair)),
            "first": first,
            "second": second,
            "voters": cast_votes.voters(self._store, found),
            "left_count": sum(row["choice"] == "left" for row in found),
            "right_count": sum(row["choice"] == "right" for row in found),
            "different_count": len(rows.different),
            "same_count": rows.same_count,
            "picked_count": 0 if whole else len(picked),
        }

    @action
    def pairs(self, actor: Actor, run_id: str) -> list[Row]:
        """The pairs of a run that were voted on, last voted first: `pair` (variant ids), `names`,
        `vote_count`, `row_count`, `voter_count`, `last_at`."""
        run = self._runs.get(actor, run_id)
        names = {variant["id"]: variant["name"] for variant in run["variants"]}
        rows = cast_votes.voted_pairs(self._store, run_id)
        for row in rows:
            row["pair"] = list(_ordered(run, (row.pop("one"), row.pop("other"))))
            row["names"] = [names[variant_id] for variant_id in row["pair"]]
        return rows

    @action
    def outline(
        self,
        actor: Actor,
        run_id: str,
        *,
        ties: str = "drop",
        min_votes: int = 1,
        min_agreement: float = 0.5,
        pair: Pair | None = None,
    ) -> Row:
        """What `preferences` would make: `pair_count`, and `left_out`: reason -> rows."""
        policy = Policy(ties, min_votes, min_agreement)
        found = self._preferred(actor, run_id, policy, pair)
        return {"pair_count": len(found.rows), "left_out": dict(found.left_out)}

    @action
    def preferences(
        self,
        actor: Actor,
        run_id: str,
        *,
        name: str = "",
        ties: str = "drop",
        min_votes: int = 1,
        min_agreement: float = 0.5,
        pair: Pair | None = None,
    ) -> Row:
        """Make the votes on a run a dataset version of preference pairs, and return it.

        A row has the run's inputs and expected answer, `chosen` and `rejected`, the metadata of
        its row, and which run, row, variants and how many voters it comes from. One pair of
        variants, or all that were voted on. The policy (`verdicts.Policy`) stands in the version's
        message. A second time makes a new version of the dataset of that name; the same votes give
        the same version again. Conflict where no row has a preference.
        """
        run = self._runs.get(actor, run_id)
        policy = Policy(ties, min_votes, min_agreement)
        found = self._preferred(actor, run_id, policy, pair)
        if not found.rows:
            raise Conflict(
                "No row has a preference by these votes.",
                title="There is nothing to train on yet",
                hint="Vote on more rows, or ask for fewer votes or less agreement on a row.",
            )
        source = self._datasets.version(actor, run["dataset_version_id"])
        version: Row = self._datasets.import_rows(
            actor,
            name=name.strip() or pairs_of.default_name(run["name"]),
            filename=f"votes-on-{run_id}.jsonl",
            data="\n".join(json.dumps(row, ensure_ascii=False) for row in found.rows).encode(),
            mapping=found.mapping,
            description=f"Preference pairs from blind votes on the run {run['name']!r}.",
            message=f"{len(found.rows)} pairs from {found.vote_count} votes of "
            f"{found.voter_count} people on {run['name']!r}: {policy.words()}.",
        )
        if self._datasets.get(actor, source["dataset_id"])["requires_review"]:
            self._require_review(actor, version["dataset_id"], True)
        self._keep(actor, run_id, version, policy, found)
        record(self._store, actor, "votes.preferences", version["id"], run_id=run_id,
               pairs=len(found.rows), ties=ties)  # fmt: skip
        return version

    def _keep(
        self, actor: Actor, run_id: str, version: Row, policy: Policy, found: pairs_of.Preferred
    ) -> None:
        told = {
            "ties": policy.ties, "min_votes": policy.min_votes,
            "min_agreement": policy.min_agreement, "pairs": found.pairs,
            "row_count": len(found.rows), "left_out": dict(found.left_out),
        }  # fmt: skip
        with self._store.transaction() as connection:
            key = {"version": version["id"], "run": run_id}
            connection.execute(
                "DELETE FROM vote_preferences WHERE version_id = $version AND run_id = $run", key
            )
            made = {"created_by": actor.id, "created_at": utc_now()}
            insert_row(
                connection, "vote_preferences",
                {"version_id": version["id"], "run_id": run_id, "policy": json.dumps(told), **made},
            )  # fmt: skip

    def _preferred(
        self, actor: Actor, run_id: str, policy: Policy, pair: Pair | None
    ) -> pairs_of.Preferred:
        policy.check()
        run = self._runs.get(actor, run_id)
        if pair is not None:
            _, pair = self._pair(actor, run_id, pair)
        votes = cast_votes.counting(self._store, run_id, pair)
        version = self._datasets.version(actor, run["dataset_version_id"])
        return pairs_of.preferred(self._store, run, version, votes, policy)

    def _looked(
        self, actor: Actor, run_id: str, pair: Pair, queue: str
    ) -> tuple[Row, tuple[str, str], Comparable]:
        if queue not in QUEUES:
            raise Invalid(f"queue is one of {', '.join(QUEUES)}, not {queue!r}.", field="queue")
        run, pair = self._pair(actor, run_id, pair)
        if run["state"] not in ENDED:
            raise Conflict("The run is still going on.", hint="Vote when it has ended.")
        return run, pair, comparable(self._store, run, pair)

    def _pair(self, actor: Actor, run_id: str, pair: Pair) -> tuple[Row, tuple[str, str]]:
        run = self._runs.get(actor, run_id)
        there = {variant["id"] for variant in run["variants"]}
        if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= there:
            raise Invalid("A pair is two different variants of the run.", field="pair")
        return run, (pair[0], pair[1])

    def _write(
        self, actor: Actor, run_id: str, pair: Pair, row_id: str, choice: str, token: str,
        reason: str, seconds: float | None, queue: str,
    ) -> str:  # fmt: skip
        if queue not in QUEUES:
            raise Invalid(f"queue is one of {', '.join(QUEUES)}, not {queue!r}.", field="queue")
        _, pair = self._pair(actor, run_id, pair)
        seed = seed_of(self._store, run_id, pair, actor.id)
        seen = proven(seed, row_id, token, pair)
        if seen is None:
            raise Conflict(
                "This row was not shown to you like that.", hint="Look at it again, then vote."
            )
        if len(reason) > MOST_REASON:
            raise Invalid(f"A reason has up to {MOST_REASON} characters.", field="reason")
        told = {
            "choice": choice,
            "reason": reason.strip(),
            "seconds": None if seconds is None else max(0.0, seconds),
            "queue": queue,
        }
        vote_id = cast_votes.cast(self._store, run_id, actor.id, seen, told)
        verb = "votes.skip" if choice == SKIP else "votes.cast"
        record(self._store, actor, verb, run_id, vote_id=vote_id, row_id=row_id, choice=choice)
        return vote_id

    def _shown(self, actor: Actor, run: Row, ballot: Ballot) -> Row:
        """What a voter sees: texts, and nothing that says whose they are."""
        rows = self._store.rows(
            "SELECT variant_id, output, row_index, expected, input_preview FROM run_results"
            " WHERE run_id = $run AND row_id = $row",
            {"run": run["id"], "row": ballot.row_id},
        )
        by_variant = {row["variant_id"]: row for row in rows}
        left, right = by_variant[ballot.left_variant_id], by_variant[ballot.right_variant_id]
        version = self._datasets.version(actor, run["dataset_version_id"])
        example = examples_of(self._store, version, [ballot.row_id]).get(ballot.row_id)
        return {
            "row_id": ballot.row_id,
            "row_index": left["row_index"],
            "inputs": example.inputs if example else {"input": left["input_preview"]},
            "expected": left["expected"],
            "left": left["output"],
            "right": right["output"],
            "token": ballot.token,
        }

    def _own(self, actor: Actor, run_id: str, pair: tuple[str, str]) -> dict[str, str]:
        """Row id -> this person's newest choice."""
        found = cast_votes.newest(self._store, run_id, pair, actor.id)
        return {row["row_id"]: row["choice"] for row in found}

    def _variant(self, run: Row, variant_id: str) -> Row:
        found: Row = next(v for v in run["variants"] if v["id"] == variant_id)
        told = ("id", "name", "prompt_version_id", "model_id", "model_name")
        return {name: found[name] for name in told}


def _progress(rows: Comparable, queue: str, done: Mapping[str, str]) -> Row:
    wanted = rows.of(queue)
    skipped = sum(done.get(row_id) == SKIP for row_id in wanted)
    voted = sum(row_id in done for row_id in wanted) - skipped
    return {
        "row_count": len(wanted),
        "voted_count": voted,
        "skipped_count": skipped,
        "open_count": len(wanted) - voted - skipped,
        "same_count": rows.same_count,
        "lost_count": len(rows.lost),
        "can_undo": bool(done),
    }


def _ordered(run: Row, pair: tuple[str, str]) -> tuple[str, str]:
    """The baseline first, else in the run's order."""
    order: dict[Any, int] = {v["id"]: n for n, v in enumerate(run["variants"])}
    order[run["baseline_variant_id"]] = -1
    one, other = sorted(pair, key=lambda variant_id: order[variant_id])
    return one, other
