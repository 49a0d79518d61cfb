"""Preference pairs from votes: rows with a chosen and a rejected answer, as a dataset takes them.

Knows: outcomes from sides, columns, what is left out and why. Does not know: who may, imports.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.datasets.examples import Example
from core.datasets.values import is_blank
from core.errors import Invalid
from core.evals.ballots import examples_of
from core.evals.verdicts import Policy, verdict
from core.store.database import Row, Store

ANSWERS = ("chosen", "rejected")
OWN = ("vote_run", "vote_row", "vote_count", "vote_agreement", "chosen_variant", "rejected_variant")
"""Where a pair comes from, as metadata."""
EMPTY, GONE, SAME = "an empty answer", "the row is gone", "the same answer twice"
LONGEST_NAME = 120


@dataclass(slots=True)
class Preferred:
    """The pairs that votes amount to, and what did not become one."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    mapping: dict[str, Any] = field(default_factory=dict)
    """As an import takes it."""
    pairs: list[list[str]] = field(default_factory=list)
    """The pairs of variants that were voted on."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Why -> how many rows."""
    vote_count: int = 0
    voter_count: int = 0


def by_row(votes: Iterable[Row], pair: Sequence[str]) -> dict[str, list[str]]:
    """Row id -> outcome of each vote of a pair, whichever side its variants stood on."""
    found: dict[str, list[str]] = {}
    for vote in votes:
        found.setdefault(vote["row_id"], []).append(outcome(vote, pair))
    return found


def outcome(vote: Row, pair: Sequence[str]) -> str:
    """first, second, tie or both_bad."""
    if vote["choice"] not in ("left", "right"):
        return str(vote["choice"])
    better = vote[f"{vote['choice']}_variant_id"]
    return "first" if better == pair[0] else "second"


def preferred(
    store: Store, run: Row, version: Row, votes: Sequence[Row], policy: Policy
) -> Preferred:
    """Pairs in the order of the dataset's rows; `votes` are the newest of everybody."""
    _check_names(version)
    made = Preferred(
        vote_count=len(votes),
        voter_count=len({vote["user_id"] for vote in votes}),
        mapping=_mapping(version),
    )
    answers = _answers(store, run["id"], {vote["row_id"] for vote in votes})
    examples = examples_of(store, version, sorted({vote["row_id"] for vote in votes}))
    found: list[tuple[int, dict[str, Any]]] = []
    for pair, own in _by_pair(votes).items():
        made.pairs.append(list(pair))
        for row_id, outcomes in by_row(own, pair).items():
            said = verdict(outcomes, policy)
            if said.outcome not in ("first", "second"):
                made.left_out[said.why or said.outcome or ""] += 1
                continue
            chosen, rejected = pair if said.outcome == "first" else pair[::-1]
            texts = [answers.get((variant_id, row_id)) for variant_id in (chosen, rejected)]
            example = examples.get(row_id)
            if (why := _unusable(texts, example)) or example is None:
                made.left_out[why or GONE] += 1
                continue
            names = {variant["id"]: variant["name"] for variant in run["variants"]}
            told = (run["id"], row_id, said.voters, round(said.share, 4),
                    names[chosen], names[rejected])  # fmt: skip
            found.append((example.row_index, _row(version, example, texts, told)))
    made.rows = [row for _, row in sorted(found, key=lambda item: item[0])]
    return made


def default_name(run_name: str) -> str:
    """What the dataset of a run's preferences is called; versions keep the @ for themselves."""
    end = " preferences"
    return run_name.replace("@", " ")[: LONGEST_NAME - len(end)].strip() + end


def _by_pair(votes: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for vote in votes:
        one, other = sorted((vote["left_variant_id"], vote["right_variant_id"]))
        found.setdefault((one, other), []).append(vote)
    return found


def _answers(store: Store, run_id: str, row_ids: set[str]) -> dict[tuple[str, str], str | None]:
    rows = store.rows(
        "SELECT variant_id, row_id, output FROM run_results"
        " WHERE run_id = $run AND list_contains($rows::VARCHAR[], row_id)",
        {"run": run_id, "rows": list(row_ids)},
    )
    return {(row["variant_id"], row["row_id"]): row["output"] for row in rows}


def _unusable(texts: Sequence[str | None], example: Example | None) -> str | None:
    """Why a row cannot be learned from, though it was voted on: TRL wants two answers."""
    if example is None:
        return GONE
    if any(map(is_blank, texts)):
        return EMPTY
    return SAME if texts[0] == texts[1] else None  # both were erased, or asked again


def _row(
    version: Row, example: Example, texts: Sequence[str | None], told: Sequence[Any]
) -> dict[str, Any]:
    whole = {**example.inputs, **example.metadata, version["expected"]: example.expected}
    kept = {column["name"]: whole[column["name"]] for column in _kept(version)}
    return {
        **kept,
        **dict(zip(ANSWERS, texts, strict=True)),
        **dict(zip(OWN, told, strict=True)),
    }


def _mapping(version: Row) -> dict[str, Any]:
    roles: dict[str, Any] = {column["name"]: column["role"] for column in _kept(version)}
    for name, role in roles.items():
        if role == "input":
            roles[name] = {"role": "input", "optional": True}
    return {**roles, **dict.fromkeys((*ANSWERS, *OWN), "metadata")}


def _kept(version: Row) -> list[Row]:
    """The columns that stay as they are: of a run over earlier preferences, not the old answers."""
    own = {*ANSWERS, *OWN}
    return [column for column in version["columns"] if column["name"].lower() not in own]


def _check_names(version: Row) -> None:
    """An input or the expected answer may not be called as ours are."""
    for column in version["columns"]:
        if column["role"] != "metadata" and column["name"].lower() in (*ANSWERS, *OWN):
            raise Invalid(
                f"The run's dataset has an {column['role']} column {column['name']!r}.",
                field=column["name"],
                hint="That is what the votes write. Rename it in a recipe, and run again over "
                "that version.",
            )
