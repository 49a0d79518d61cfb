"""The table votes: what was chosen on which row, and what of it counts.

Knows: the table votes, sides, pairs of variants. Does not know: who may vote, what it amounts to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.clock import utc_now
from core.evals.ballots import Ballot
from core.ids import new_id
from core.store.database import Row, Store

CHOICES: dict[str, str] = {
    "left": "The left answer is better",
    "right": "The right answer is better",
    "tie": "Both are equally good",
    "both_bad": "Both are bad",
}
SKIP = "skip"
Pair = Sequence[str]
"""Two variant ids; the second is the one that `losses` are about."""

# The newest vote of everybody for each row and pair of a run.
NEWEST = """
    SELECT * FROM votes WHERE run_id = $run
      AND ($one IS NULL OR (least(left_variant_id, right_variant_id) = $one
        AND greatest(left_variant_id, right_variant_id) = $other))
      AND ($user IS NULL OR user_id = $user)
    QUALIFY row_number() OVER (
        PARTITION BY user_id, row_id, least(left_variant_id, right_variant_id),
            greatest(left_variant_id, right_variant_id)
        ORDER BY created_at DESC, id DESC) = 1
    ORDER BY created_at, id
"""


def newest(
    store: Store, run_id: str, pair: Pair | None = None, user_id: str | None = None
) -> list[Row]:
    """The votes and skips that count: the newest of each person on each row, in order of time."""
    return store.rows(NEWEST, {"run": run_id, "user": user_id, **_key(pair)})


def counting(store: Store, run_id: str, pair: Pair | None = None) -> list[Row]:
    """Everybody's newest votes, without what is set aside."""
    return [row for row in newest(store, run_id, pair) if row["choice"] != SKIP]


def cast(store: Store, run_id: str, user_id: str, ballot: Ballot, told: Row) -> str:
    """Add a vote or skip; `told` has choice, reason, seconds and queue. Its id."""
    vote: Row = {
        "id": new_id("vote"),
        "run_id": run_id,
        "row_id": ballot.row_id,
        "left_variant_id": ballot.left_variant_id,
        "right_variant_id": ballot.right_variant_id,
        "user_id": user_id,
        "created_at": utc_now(),
        **told,
    }
    store.insert("votes", vote)
    return str(vote["id"])


def take_back(store: Store, run_id: str, pair: Pair, user_id: str) -> Row | None:
    """Remove this person's last vote or skip of a pair: `row_id` and `choice` of it."""
    with store.transaction() as connection:
        found = connection.execute(
            """
            DELETE FROM votes WHERE id = (
                SELECT arg_max(id, (created_at, id)) FROM votes
                WHERE run_id = $run AND user_id = $user
                  AND least(left_variant_id, right_variant_id) = $one
                  AND greatest(left_variant_id, right_variant_id) = $other)
            RETURNING row_id, choice
            """,
            {"run": run_id, "user": user_id, **_key(pair)},
        ).fetchone()
    return None if found is None else {"row_id": found[0], "choice": found[1]}


def voted_pairs(store: Store, run_id: str) -> list[Row]:
    """Pairs with votes, last voted first: `one`, `other` (variant ids in no order), `vote_count`,
    `row_count`, `voter_count`, `last_at`."""
    return store.rows(
        f"""
        SELECT least(left_variant_id, right_variant_id) AS one,
            greatest(left_variant_id, right_variant_id) AS other, count(*) AS vote_count,
            count(DISTINCT row_id) AS row_count, count(DISTINCT user_id) AS voter_count,
            max(created_at) AS last_at
        FROM ({NEWEST}) WHERE choice <> '{SKIP}' GROUP BY ALL ORDER BY last_at DESC
        """,  # noqa: S608
        {"run": run_id, "user": None, **_key(None)},
    )


def voters(store: Store, votes: Sequence[Row]) -> list[Row]:
    """Who voted, most votes first: `user_id`, `name`, `vote_count`."""
    counts: dict[str, int] = {}
    for row in votes:
        counts[row["user_id"]] = counts.get(row["user_id"], 0) + 1
    named = store.rows(
        "SELECT id, name FROM users WHERE list_contains($ids::VARCHAR[], id)",
        {"ids": list(counts)},
    )
    names = {row["id"]: row["name"] for row in named}
    return [
        {"user_id": user, "name": names.get(user, user), "vote_count": count}
        for user, count in sorted(counts.items(), key=lambda item: -item[1])
    ]


def _key(pair: Pair | None) -> dict[str, Any]:
    one, other = (None, None) if pair is None else sorted(pair)
    return {"one": one, "other": other}
