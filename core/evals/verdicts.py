"""What votes amount to: the verdict of a row, and of two variants over all rows.

Knows: counts of outcomes, policies, intervals. Does not know: the database, sides, who voted.

An outcome is `first` or `second` (that variant's answer is better), `tie` or `both_bad`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.errors import Invalid
from core.evals.agreement import agreement
from core.evals.statistics import as_dict, mcnemar, wilson

OUTCOMES = ("first", "second", "tie", "both_bad")
TIES: dict[str, str] = {
    "drop": "A tie is a vote for neither: a row with most votes for a tie is left out",
    "half": "A tie counts as half a vote for each side",
    "ignore": "Ties are not counted, as if they had not been voted",
}
TOO_FEW, SPLIT, WEAK = "too few votes", "no majority", "too little agreement"
LEFT_OUT = (TOO_FEW, SPLIT, WEAK, "tie", "both_bad")


@dataclass(frozen=True, slots=True)
class Policy:
    """When a row's votes are a preference."""

    ties: str = "drop"
    """drop, half or ignore: see TIES."""
    min_votes: int = 1
    """Fewest people."""
    min_agreement: float = 0.5
    """Smallest share of the votes that the winner has, 0 to 1."""

    def check(self) -> None:
        """Raise Invalid where it cannot be."""
        if self.ties not in TIES:
            raise Invalid(f"ties is one of {', '.join(TIES)}, not {self.ties!r}.", field="ties")
        if self.min_votes < 1:
            raise Invalid("A row needs at least one vote.", field="min_votes")
        if not 0 <= self.min_agreement <= 1:
            raise Invalid("The agreement is between 0 and 1.", field="min_agreement")

    def words(self) -> str:
        """As a message of a dataset version has it."""
        ties = {"drop": "ties left out", "half": "a tie as half a vote each",
                "ignore": "tie votes not counted"}[self.ties]  # fmt: skip
        votes = f"{self.min_votes} vote" + ("s" if self.min_votes > 1 else "")
        return (
            f"majority of each person's newest vote, {ties}, both bad left out, at least {votes} "
            f"and {self.min_agreement:.0%} agreement a row"
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the votes on one row say."""

    outcome: str | None
    """None: they say nothing, `why` names the reason."""
    voters: int
    """How many votes count."""
    share: float
    """The share of them that the most frequent outcome has."""
    why: str | None = None
    """One of LEFT_OUT."""


def verdict(outcomes: Sequence[str], policy: Policy) -> Verdict:
    """The outcome with the most votes on a row, if it is the only one with that many.

    `outcomes` has one entry for each person. The outcome may be `tie` or `both_bad`: then there is
    a verdict but no preference.
    """
    counts = Counter(outcomes)
    voters, weights = len(outcomes), {name: float(counts[name]) for name in OUTCOMES}
    if policy.ties != "drop":
        voters -= counts["tie"] if policy.ties == "ignore" else 0
        for name in ("first", "second"):
            weights[name] += counts["tie"] / 2 if policy.ties == "half" else 0
        weights["tie"] = 0.0
    if voters < policy.min_votes:
        return Verdict(None, voters, 0.0, TOO_FEW)
    most = max(weights.values())
    leading = [name for name, weight in weights.items() if weight == most]
    share = most / voters
    if len(leading) > 1:
        return Verdict(None, voters, share, SPLIT)
    if share < policy.min_agreement:
        return Verdict(None, voters, share, WEAK)
    return Verdict(leading[0], voters, share)


PLURALITY = Policy(ties="drop", min_votes=1, min_agreement=0.0)


def tally(rows: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """How two variants stand, by rows: each counts once, by its plurality of votes.

    `rows` maps a row id to its outcomes, one for each person. Gives `vote_count`, `row_count`,
    `first_wins`, `second_wins`, `ties`, `both_bad`, `split` (no plurality); `win_rate` of the
    second over the rows that one of them won, with `win_interval` (95%, Wilson) and `p_value`
    (exact two-sided sign test: ties and both bad carry no information on it), None without any;
    `agreement`: row_count, rate, alpha over rows that several people voted on.
    """
    counts = Counter(verdict(outcomes, PLURALITY).outcome or "split" for outcomes in rows.values())
    first, second = counts["first"], counts["second"]
    decided = first + second
    return {
        "vote_count": sum(map(len, rows.values())),
        "row_count": len(rows),
        "first_wins": first,
        "second_wins": second,
        "ties": counts["tie"],
        "both_bad": counts["both_bad"],
        "split": counts["split"],
        "win_rate": second / decided if decided else None,
        "win_interval": as_dict(wilson(second, decided)),
        "p_value": mcnemar(second, first) if decided else None,
        "agreement": asdict(agreement(rows.values())),
    }
