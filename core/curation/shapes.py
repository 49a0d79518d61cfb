"""Shapes: one row of a dataset as a trainer wants it: TRL's dataset types, or as it is.

Knows: which columns each shape needs, how a row becomes one. Does not know: files, versions.
The types are those of TRL's dataset formats page (https://huggingface.co/docs/trl/dataset_formats):
messages, prompt-completion, preference, unpaired preference (KTO).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.curation.chats import Turns, turns_of
from core.datasets.files import Column
from core.datasets.values import JSON, is_blank, text_of

Row = Mapping[str, Any]
"""Column -> value, nested values as lists and dicts."""
Render = Callable[[Row], Turns]
"""The turns that stand before the answer."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One way of writing rows."""

    label: str
    summary: str


SHAPES: dict[str, Shape] = {
    "rows": Shape("Rows as they are", "Every column, as in the grid"),
    "messages": Shape("Messages", "One conversation a row, the expected answer its last turn"),
    "prompt-completion": Shape("Prompt and completion", "The turns before, and the answer"),
    "preference": Shape("Preference pairs", "A prompt with a chosen and a rejected answer"),
    "kto": Shape("Single verdicts (KTO)", "A prompt, an answer, and whether it was good"),
}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that has no such shape, and why."""

    reason: str


def why_not(shape: str, columns: Sequence[Column]) -> str | None:
    """Why a table cannot be written in a shape, in words; None where it can."""
    names = {column.name for column in columns}
    expected = [column.name for column in columns if column.role == "expected"]
    if shape in ("messages", "prompt-completion") and not (expected or _chats(columns)):
        return "It takes an expected answer, or a column of conversations."
    if shape == "preference" and not {"chosen", "rejected"} <= names:
        return "It takes the columns chosen and rejected."
    pairs = {"chosen", "rejected"} <= names
    if shape == "kto" and not pairs and not (expected and _verdicts(columns)):
        return "It takes an expected answer and a column of true and false, or preference pairs."
    return None


def shaped(
    shape: str, row: Row, columns: Sequence[Column], render: Render
) -> Iterator[dict[str, Any] | Skipped]:
    """The row in that shape: one record, for KTO two of a pair, or why there is none."""
    yield from _MAKERS[shape](row, columns, render)


def plain_prompt(columns: Sequence[Column]) -> Render:
    """One user turn of the inputs: a single one as it is, several with their names."""
    inputs = [column.name for column in columns if column.role == "input"]

    def render(row: Row) -> Turns:
        texts = {name: text_of(row[name]) for name in inputs if not is_blank(row[name])}
        if len(inputs) == 1:
            content = next(iter(texts.values()), None) or ""
        else:
            content = "\n\n".join(f"{name}: {text}" for name, text in texts.items())
        return [{"role": "user", "content": content}]

    return render


def _rows(row: Row, columns: Sequence[Column], render: Render) -> Iterator[dict[str, Any]]:
    yield {column.name: row[column.name] for column in columns}


def _conversation(row: Row, columns: Sequence[Column], render: Render) -> Turns | Skipped:
    """All turns, the answer last."""
    for name in _chats(columns):
        turns = turns_of(row[name])
        if not turns:
            continue
        if turns[-1].get("role") == "assistant":
            return turns
        answer = _expected(row, columns)
        if answer is None:
            return Skipped("the conversation has no answer")
        return [*turns, {"role": "assistant", "content": answer}]
    answer = _expected(row, columns)
    if answer is None:
        return Skipped("there is no expected answer")
    return [*render(row), {"role": "assistant", "content": answer}]


def _messages(
    row: Row, columns: Sequence[Column], render: Render
) -> Iterator[dict[str, Any] | Skipped]:
    turns = _conversation(row, columns, render)
    yield turns if isinstance(turns, Skipped) else {"messages": turns}


def _prompt_completion(
    row: Row, columns: Sequence[Column], render: Render
) -> Iterator[dict[str, Any] | Skipped]:
    turns = _conversation(row, columns, render)
    if isinstance(turns, Skipped):
        yield turns
    elif len(turns) < 2:
        yield Skipped("nothing stands before the answer")
    else:
        yield {"prompt": turns[:-1], "completion": turns[-1:]}


def _preference(
    row: Row, columns: Sequence[Column], render: Render
) -> Iterator[dict[str, Any] | Skipped]:
    prompt, chosen = _answered(row, "chosen", columns, render)
    _, rejected = _answered(row, "rejected", columns, render)
    if not chosen or not rejected:
        yield Skipped("one of the two answers is missing")
    elif chosen == rejected:
        yield Skipped("the two answers are the same")
    else:
        yield {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def _kto(row: Row, columns: Sequence[Column], render: Render) -> Iterator[dict[str, Any] | Skipped]:
    names = {column.name for column in columns}
    if {"chosen", "rejected"} <= names:
        for found in _preference(row, columns, render):
            if isinstance(found, Skipped):
                yield found
                continue
            for name, good in (("chosen", True), ("rejected", False)):
                yield {"prompt": found["prompt"], "completion": found[name], "label": good}
        return
    verdict, answer = row[_verdicts(columns)[0]], _expected(row, columns)
    if answer is None or verdict is None:
        yield Skipped("the answer or the verdict is missing")
    else:
        completion = [{"role": "assistant", "content": answer}]
        yield {"prompt": render(row), "completion": completion, "label": bool(verdict)}


_MAKERS: dict[str, Callable[..., Iterator[Any]]] = {
    "rows": _rows,
    "messages": _messages,
    "prompt-completion": _prompt_completion,
    "preference": _preference,
    "kto": _kto,
}


def _answered(
    row: Row, name: str, columns: Sequence[Column], render: Render
) -> tuple[Turns, Turns]:
    """The prompt, and one answer to it. Where answers are whole conversations, as in many files of
    preferences, their last turn is the answer and those before are the prompt."""
    turns = turns_of(row[name])
    if turns:
        own = turns[:-1] or render(_without(row, "chosen", "rejected"))
        return own, turns[-1:]
    answer = None if is_blank(row[name]) else text_of(row[name])
    prompt = render(_without(row, "chosen", "rejected"))
    return prompt, [{"role": "assistant", "content": answer}] if answer else []


def _without(row: Row, *names: str) -> Row:
    return {name: None if name in names else value for name, value in row.items()}


def _expected(row: Row, columns: Sequence[Column]) -> str | None:
    for column in columns:
        if column.role == "expected" and not is_blank(row[column.name]):
            return text_of(row[column.name])
    return None


def _chats(columns: Sequence[Column]) -> list[str]:
    return [c.name for c in columns if c.type == JSON and c.name in ("messages", "conversation")]


def _verdicts(columns: Sequence[Column]) -> list[str]:
    return [column.name for column in columns if column.type == "boolean"]
