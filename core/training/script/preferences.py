"""Training on preferences: DPO, ORPO and KTO by TRL, over our tokens.

DPO (arXiv:2305.18290) and ORPO (arXiv:2403.07691) take pairs, a chosen and a rejected answer to a
prompt; KTO (arXiv:2402.01306) takes single answers with a verdict. DPO and KTO hold the model near
a reference: what it was when this training began. With a fresh adapter that is the base, so the
adapter is switched off to get at it; with `start_from` it is the base with that adapter, of which
TRL keeps a frozen copy under the name "ref". A resumed run starts from the same adapter, so its
reference is the same. ORPO has no reference.

Knows: pairs and verdicts as tokens, TRL's three trainers. Does not know: files, events, devices;
arguments and callbacks are those of every trainer.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .params import Params
from .rows import IGNORED, Rendered, TemplateMismatch, longest_token, render_row, tokenize

REFERENCE = "ref"
"""TRL's name for the frozen copy of an adapter; it is no part of what is trained."""
_TOO_LONG, _CUT_OFF, _TIED = "too long", "answer cut off", "tied"


@dataclass(slots=True)
class Preference:
    """One prompt with a pair of answers, or for KTO with one answer and its verdict, as tokens."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    """Through its end-of-turn token; for KTO the answer, good or bad."""
    rejected_ids: list[int]
    """Empty for KTO."""
    label: bool = True
    """KTO: whether the answer was good."""
    id: str = ""

    @property
    def length(self) -> int:
        """Tokens of the longer sequence."""
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))


def prepare(
    tokenizer: Any, rows: Iterable[dict[str, Any]], params: Params
) -> tuple[list[Preference], dict[str, int]]:
    """Rows of preferences as tokens of at most `max_length`, and how many were dropped and why.

    Dropped: empty answers, two answers that are the same, opposite verdicts on the same answers
    (they cancel one for one: "tied"), rows that are too long, answers that were cut off whole.
    TemplateMismatch names the first row whose text in training is not what inference sends.
    """
    dropped: Counter[str] = Counter()
    usable = list(_usable(rows, params.method, dropped))
    tied = _tied(usable, params.method)
    dropped[_TIED] += len(tied)
    kept = []
    for position, row in enumerate(usable):
        if position in tied:
            continue
        found = _encode(tokenizer, row, params)
        if isinstance(found, str):
            dropped[found] += 1
        else:
            kept.append(found)
    return kept, {reason: count for reason, count in dropped.items() if count}


def build(
    params: Params,
    model: Any,
    tokenizer: Any,
    train_rows: Sequence[Preference],
    eval_rows: Sequence[Preference],
    args_dict: dict[str, Any],
    callbacks: list[Any],
) -> Any:
    """The trainer of `params.method`, ready to train; a transformers Trainer with `seen_tokens`.

    `model` is a PeftModel; its trained weights keep their dtype (TRL makes QLoRA adapters bf16,
    which CPUs compute slowly). Logs hold "rewards/margins" and, of pairs, "rewards/accuracies".
    """
    from . import preference_trainers

    dtypes = {name: p.dtype for name, p in model.named_parameters() if p.requires_grad}
    if params.method == "orpo":
        os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    trainer = preference_trainers.TRAINERS[params.method](
        params, model, tokenizer, list(train_rows), list(eval_rows), args_dict, callbacks
    )
    for name, parameter in model.named_parameters():
        if name in dtypes:
            parameter.data = parameter.data.to(dtypes[name])
    return trainer


def shuffled(rows: Sequence[Preference], seed: int) -> list[Preference]:
    """The rows in an order of the seed's: KTO reads them in the order they are in."""
    mixed = list(rows)
    random.Random(seed).shuffle(mixed)  # noqa: S311 - an order, no secret
    return mixed


def mismatched(rows: Sequence[Preference], batch_size: int) -> list[list[int]]:
    """For each row the answer of its neighbour in the batch: KTO's estimate of the distance.

    As TRL does it, the answers of a batch rotated by one; but a batch of one row takes the answer
    of the row before it and not its own.
    """
    found: list[list[int]] = []
    for start in range(0, len(rows), batch_size):
        batch = [row.chosen_ids for row in rows[start : start + batch_size]]
        if len(batch) == 1 and start:
            found.append(rows[start - 1].chosen_ids)
        else:
            found += [batch[-1], *batch[:-1]]
    return found


def verdict_weights(rows: Sequence[Preference]) -> tuple[float, float]:
    """(weight of good answers, of bad ones): in all 1 to 4/3 to 1, KTO's equation 8."""
    good = sum(row.label for row in rows)
    bad = len(rows) - good
    if not good or not bad:
        return 1.0, 1.0
    ratio = good / bad
    if ratio < 1:
        return 1 / ratio, 1.0
    return 1.0, max(1.0, ratio * 3 / 4)


def _usable(
    rows: Iterable[dict[str, Any]], method: str, dropped: Counter[str]
) -> Iterator[dict[str, Any]]:
    """The rows with a prompt and answers that say something."""
    names = ("completion",) if method == "kto" else ("chosen", "rejected")
    for row in rows:
        answers = [_text(row.get(name)) for name in names]
        if not row.get("prompt"):
            dropped["no turns"] += 1
        elif not all(answers):
            dropped["empty answer"] += 1
        elif len(answers) == 2 and answers[0] == answers[1]:
            dropped["same answers"] += 1
        else:
            yield row


def _text(turns: Any) -> str:
    """What the turns of an answer say; empty where there is none."""
    found = turns if isinstance(turns, list) else []
    return "\n".join(str(turn.get("content") or "") for turn in found).strip()


def _tied(rows: Sequence[dict[str, Any]], method: str) -> set[int]:
    """Positions of verdicts that an opposite one cancels, the earliest with the earliest."""
    waiting: dict[tuple[str, ...], list[int]] = {}
    tied: set[int] = set()
    for position, row in enumerate(rows):
        prompt = repr(row["prompt"])
        if method == "kto":
            answer, good = _text(row["completion"]), bool(row.get("label"))
            mine, other = (prompt, answer, str(good)), (prompt, answer, str(not good))
        else:
            chosen, rejected = _text(row["chosen"]), _text(row["rejected"])
            mine, other = (prompt, chosen, rejected), (prompt, rejected, chosen)
        if waiting.get(other):
            tied |= {position, waiting[other].pop(0)}
        else:
            waiting.setdefault(mine, []).append(position)
    return tied


def _encode(tokenizer: Any, row: dict[str, Any], params: Params) -> Preference | str:
    """The row as tokens, or why it is dropped."""
    names = ["completion"] if params.method == "kto" else ["chosen", "rejected"]
    most = (params.max_length + 16) * longest_token(tokenizer)
    sides = []
    for name in names:
        try:
            rendered = _render(tokenizer, row["prompt"], row[name])
        except TemplateMismatch as error:
            raise TemplateMismatch(f"Row {row.get('id', '?')}: {error}") from None
        if len(rendered.text) > most:
            if params.too_long == "drop":
                return _TOO_LONG
            rendered.text = rendered.text[:most]
        sides.append(_split(tokenizer, rendered))
    if max(len(ids) for ids, _ in sides) > params.max_length and params.too_long == "drop":
        return _TOO_LONG
    start = min(at for _, at in sides)
    while not all(ids[:start] == sides[0][0][:start] for ids, _ in sides):
        start -= 1  # an answer's first letters were merged into the prompt's last token
    answers = [ids[start : params.max_length] for ids, _ in sides]
    if not all(answers) or (len(answers) == 2 and answers[0] == answers[1]):
        return _CUT_OFF
    label = bool(row["label"]) if params.method == "kto" else True
    rejected = answers[1] if len(answers) == 2 else []
    return Preference(sides[0][0][:start], answers[0], rejected, label, str(row.get("id", "")))


def _render(tokenizer: Any, prompt: list[Any], answer: list[Any]) -> Rendered:
    """The conversation as text, of whose answers only those behind the prompt count."""
    rendered = render_row(tokenizer, [*prompt, *answer])
    earlier = sum(turn.get("role") == "assistant" for turn in prompt)
    rendered.spans = rendered.spans[earlier:]
    if not rendered.spans:
        raise TemplateMismatch("The answer has no turn of the assistant.")
    return rendered


def _split(tokenizer: Any, rendered: Rendered) -> tuple[list[int], int]:
    """Tokens through the answer's last one, and where the answer starts among them."""
    encoded = next(tokenize(tokenizer, [rendered], True))
    counted = [at for at, label in enumerate(encoded.labels) if label != IGNORED]
    if not counted:
        return encoded.input_ids, len(encoded.input_ids)
    return encoded.input_ids[: counted[-1] + 1], counted[0]
