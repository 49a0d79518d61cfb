"""The rows of a training: from a dataset version, through a prompt, to what is trained on.

A row goes through the very templates that a run sends at inference. Which rows are held out
depends on the rows' own texts and the seed, never on their order: all rows that ask the same go to
one side, and where there are few different answers each is held out in proportion.

Knows: shapes by method, splits, shares. Does not know: tokenizers, models, the database.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.curation.shapes import Render, Skipped, plain_prompt, shaped, why_not
from core.datasets.files import Column
from core.datasets.table import Table
from core.datasets.values import JSON, loaded
from core.errors import Invalid
from core.prompts.template import render
from core.training.config import HoldOut

SHAPE_OF = {"sft": "messages", "dpo": "preference", "orpo": "preference", "kto": "kto"}
SPLIT = "split"
TRAIN, EVAL = "train", "eval"
MOST_STRATA = 20
"""With more different answers than this they are no labels, and rows are drawn from all."""
BATCH_ROWS = 2_000
Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows of which file, through which templates, and what is held out."""

    table: Table
    method: str
    seed: int
    hold_out: HoldOut
    train_split: str | None = None
    system: str = ""
    user: str | None = None
    """None: the rows are conversations, or inputs that no template can name."""

    def to_dict(self) -> dict[str, Any]:
        """As a job's payload has it: for `of`."""
        return {
            "table": self.table.to_dict(),
            "method": self.method,
            "seed": self.seed,
            "hold_out": {"split": self.hold_out.split, "share": self.hold_out.share},
            "train_split": self.train_split,
            "system": self.system,
            "user": self.user,
        }

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Asked:
        """From `to_dict`."""
        return cls(
            table=Table.of(value["table"]),
            method=value["method"],
            seed=int(value["seed"]),
            hold_out=HoldOut(**value["hold_out"]),
            train_split=value["train_split"],
            system=value["system"],
            user=value["user"],
        )


@dataclass(slots=True)
class Division:
    """Which side each row is on, and what was left out and why."""

    sides: dict[str, str] = field(default_factory=dict)
    """row id -> train or eval"""
    counts: Counter[str] = field(default_factory=Counter)
    """Records of each side: KTO makes two of a pair."""
    skipped: Counter[str] = field(default_factory=Counter)
    """reason -> rows"""
    splits: dict[str, int] = field(default_factory=dict)
    """The dataset's own splits -> rows."""
    longest: int = 0
    """Characters of the longest record, of a preference its longer side."""
    answer_share: float = 0.0
    """Of all characters, how many are answers."""


def divide(asked: Asked) -> Division:
    """Look at every row once; raises Invalid that says what to do where there is nothing to train
    on, or nothing in the split held out."""
    check_columns(asked)
    found = Division()
    groups: dict[str, list[tuple[str, int]]] = defaultdict(list)
    """What they ask -> rows that may go to either side, with their records"""
    answers: dict[str, str] = {}
    splits: Counter[str] = Counter()
    characters, of_answers = 0, 0
    for row, records in _stream(asked):
        split = str(row.get(SPLIT) or "")
        splits[split] += 1
        side = _side(asked, split)
        if side is None:
            continue
        made = [one for one in records if not isinstance(one, Skipped)]
        for one in records:
            if isinstance(one, Skipped):
                found.skipped[one.reason] += 1
        if not made:
            continue
        for one in made:
            prompt, answer = _characters(one)
            found.longest = max(found.longest, prompt + answer)
            characters, of_answers = characters + prompt + answer, of_answers + answer
        row_id = str(row["row_id"])
        if side == "either":
            key = question_key(made[0])
            groups[key].append((row_id, len(made)))
            answers.setdefault(key, answer_of(made[0]))
        else:
            found.sides[row_id] = side
            found.counts[side] += len(made)
    found.answer_share = of_answers / max(1, characters)
    held = _drawn(groups, answers, asked)
    for key, rows in groups.items():
        side = EVAL if key in held else TRAIN
        for row_id, count in rows:
            found.sides[row_id] = side
            found.counts[side] += count
    found.splits = {name: count for name, count in sorted(splits.items()) if name}
    _refuse_empty(asked, found)
    return found


def records(asked: Asked, division: Division) -> Iterator[tuple[str, Record]]:
    """(side, record with the row's `id`), in the dataset's order."""
    for row, made in _stream(asked):
        side = division.sides.get(str(row["row_id"]))
        if side is not None:
            for one in made:
                if not isinstance(one, Skipped):
                    yield side, {"id": str(row["row_id"]), **one}


def check_columns(asked: Asked) -> None:
    """Raise Invalid where the version has no such rows, or not the splits that are named."""
    columns = asked.table.columns
    if why := why_not(SHAPE_OF[asked.method], columns):
        raise Invalid(
            f"These rows cannot be trained on by {asked.method.upper()}.", field="method", hint=why
        )
    named = asked.hold_out.split or asked.train_split
    if named and SPLIT not in {column.name for column in columns}:
        raise Invalid(
            f"These rows are not split: there is no split {named!r}.",
            field="hold_out" if asked.hold_out.split else "train_split",
            hint="Split them on the Curate page, or hold out a share of them.",
        )


def is_chat(columns: Sequence[Column]) -> bool:
    """Whether the rows are conversations of their own, which no prompt goes around."""
    return any(c.type == JSON and c.name in ("messages", "conversation") for c in columns)


def plain_template(columns: Sequence[Column]) -> str | None:
    """The user template where no prompt is chosen: the single input as it is, several with their
    names. None where a column's name can stand in no template."""
    from core.prompts.template import parse

    names = [c.name for c in columns if c.role == "input" and c.name not in ("chosen", "rejected")]
    if not names:
        return None
    if len(names) == 1:
        text = f"{{{{{names[0]}}}}}"
    else:
        parts = [
            f"{{{{#{name}}}}}{gap}{name}: {{{{{name}}}}}{{{{/{name}}}}}"
            for name, gap in zip(names, ["", *["\n\n"] * (len(names) - 1)], strict=True)
        ]
        text = "".join(parts)
    try:
        parse(text)
    except Invalid:
        return None
    return text


def prompt_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The turns before the answer that is learnt."""
    return list(record["messages"][:-1] if "messages" in record else record["prompt"])


def answer_of(record: Mapping[str, Any]) -> str:
    """The answer that is learnt: the last turn, the chosen one, or what was judged."""
    if "messages" in record:
        turns = record["messages"][-1:]
    else:
        turns = record["chosen"] if "chosen" in record else record["completion"]
    return "\n".join(str(turn.get("content") or "") for turn in turns)


def question_key(record: Mapping[str, Any]) -> str:
    """What a row asks, without regard to case and white space; short, whatever its length."""
    told = "\n".join(f"{t.get('role')}:{t.get('content') or ''}" for t in prompt_of(record))
    return hashlib.sha256(" ".join(told.lower().split()).encode()).hexdigest()[:32]


def _characters(record: Mapping[str, Any]) -> tuple[int, int]:
    """Of the turns before the answer, and of the longest answer."""
    prompt = sum(len(str(turn.get("content") or "")) for turn in prompt_of(record))
    answers = [answer_of(record)]
    if "rejected" in record:
        answers.append("".join(str(turn.get("content") or "") for turn in record["rejected"]))
    return prompt, max(len(answer) for answer in answers)


def _stream(asked: Asked) -> Iterator[tuple[Record, list[Record | Skipped]]]:
    columns = asked.table.columns
    kinds = {column.name: column.type for column in columns}
    shape, make = SHAPE_OF[asked.method], _render(asked)
    for batch in asked.table.batches(["row_id", "row_index", *kinds], BATCH_ROWS):
        for stored in batch.to_pylist():
            row = {name: loaded(value, kinds.get(name, "")) for name, value in stored.items()}
            try:
                yield row, list(shaped(shape, row, columns, make))
            except Invalid as error:
                named = f" {error.field!r}" if error.field else ""
                yield row, [Skipped(f"the prompt cannot be filled in:{named} is missing")]


def _render(asked: Asked) -> Render:
    if asked.user is None:
        return plain_prompt(asked.table.columns)
    inputs, user = asked.table.names("input"), asked.user

    def rendered(row: Mapping[str, Any]) -> list[dict[str, Any]]:
        values = {name: row[name] for name in inputs}
        return [*render(asked.system, user, values, row=row["row_index"])]

    return rendered


def _side(asked: Asked, split: str) -> str | None:
    """train, eval, either (a share is drawn), or None: not used."""
    held = asked.hold_out
    if held.split is not None and split == held.split:
        return EVAL
    if asked.train_split is not None and split != asked.train_split:
        return None
    return TRAIN if held.split is not None or not held.share else "either"


def _drawn(
    groups: Mapping[str, Sequence[tuple[str, int]]], answers: Mapping[str, str], asked: Asked
) -> set[str]:
    """The questions that are held out: each answer in proportion, by largest remainders."""
    if not groups or not asked.hold_out.share:
        return set()
    labels = Counter(answers.values())
    labelled = 1 < len(labels) <= min(MOST_STRATA, len(groups) // 4)
    strata: dict[str, list[str]] = defaultdict(list)
    for key in groups:
        strata[answers[key] if labelled else ""].append(key)
    share = asked.hold_out.share
    total = min(max(1, round(share * len(groups))), len(groups) - 1)
    quotas = {name: int(share * len(keys)) for name, keys in strata.items()}
    by_rest = sorted(strata, key=lambda n: (quotas[n] - share * len(strata[n]), n))
    for name in by_rest[: max(0, total - sum(quotas.values()))]:
        quotas[name] += 1
    held: set[str] = set()
    for name, keys in strata.items():
        keys.sort(key=lambda key: hashlib.sha256(f"{asked.seed}:{key}".encode()).digest())
        held.update(keys[: quotas[name]])
    return held


def _refuse_empty(asked: Asked, found: Division) -> None:
    there = ", ".join(f"{name} ({count:,})" for name, count in found.splits.items())
    if asked.hold_out.split is not None and not found.counts[EVAL]:
        raise Invalid(
            f"No row can be held out: the split {asked.hold_out.split!r} has none.",
            field="hold_out",
            title="The held-out split is empty",
            hint=f"The splits are {there}." if there else "The rows have no splits.",
        )
    if not found.counts[TRAIN]:
        why = ", ".join(f"{reason} ({count:,})" for reason, count in found.skipped.items())
        split = f" in the split {asked.train_split!r}" if asked.train_split else ""
        raise Invalid(
            f"No row can be trained on{split}.",
            field="train_split" if asked.train_split else "dataset_version_id",
            title="There is nothing to train on",
            hint=f"Left out: {why}." if why else f"The splits are {there}." if there else
            "Choose another dataset version.",
        )  # fmt: skip
