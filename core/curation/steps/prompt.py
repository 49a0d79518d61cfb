"""The step that passes rows through a prompt on a model of this workspace.

Greedy unless the recipe says otherwise, and every answer is kept by what was asked: replayed on
the same machine the step gives the same cells and asks nothing twice.

Knows: prompts, answers, their cache. Does not know: how a model is loaded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from core.curation.arguments import Argument, checked_column_name
from core.curation.asking import Asking
from core.curation.rows import Report, Rows
from core.curation.steps.text import row_values, target_column, template_columns
from core.curation.tools import Tools
from core.errors import Invalid
from core.generation import Generation
from core.ids import content_hash
from core.prompts.template import parse, render

BATCH_ROWS = 256

ARGUMENTS = {
    "prompt": (
        Argument("column", "text", "Into the column", "Made where it is not there"),
        Argument("prompt", "long_text", "Prompt", "{{column}} stands for a row's value"),
        Argument("model", "text", "Model", "Its name in this workspace"),
        Argument("system", "long_text", "System text", required=False, default=""),
        Argument("only_empty", "flag", "Only where the cell is empty", required=False,
                 default=False),
        Argument("generation", "object", "Generation", "max_tokens, temperature, seed ...",
                 required=False),
    ),
}  # fmt: skip


def prompt(rows: Rows, arguments: dict[str, Any], tools: Tools) -> Report:
    """Write a column with a model's answers; a row that lacks a value keeps its cell."""
    if tools.answer is None:
        raise Invalid("No model can be asked here.", field="model",
                      hint="Save the recipe in a workspace that has it.")  # fmt: skip
    generation = generation_of(arguments)
    system, user = arguments.get("system") or "", arguments["prompt"]
    target = target_column(rows, arguments["column"])
    names = list(dict.fromkeys(
        [*template_columns(rows, parse(system)), *template_columns(rows, parse(user))]
    ))  # fmt: skip
    in_flight = tools.answer.open(arguments["model"])
    counts = {"asked": 0, "known already": 0, "lacks a value": 0}
    total, done = rows.count(), 0

    def change(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        nonlocal done
        written = list(batch[target.name])
        chats: dict[int, list[dict[str, str]]] = {}
        for at, before in enumerate(written):
            if arguments.get("only_empty") and (before or "").strip():
                continue
            try:
                chats[at] = render(system, user, row_values(rows, names, batch, at))
            except Invalid:
                counts["lacks a value"] += 1
        for at, answer in _answered(chats, arguments["model"], generation, tools, answers, counts,
                                    in_flight):  # fmt: skip
            written[at] = answer
            tools.tell((done + at) / max(total, 1), f"{counts['asked']:,} asked")
        done += len(written)
        return {target.name: written}

    with closing(Answers(tools.cache / "answers.sqlite")) as answers:
        wanted = list(dict.fromkeys([*names, target.name]))
        report = rows.map(wanted, change, size=BATCH_ROWS, check=tools.check)
    report.counts = {name: count for name, count in counts.items() if count}
    return report


def generation_of(arguments: dict[str, Any]) -> Generation:
    """Greedy, 256 tokens, unless the step says otherwise."""
    return Generation.from_dict({"temperature": 0.0, **(arguments.get("generation") or {})})


def check_prompt(arguments: dict[str, Any]) -> None:
    """The templates can be read, the generation is possible."""
    checked_column_name(arguments["column"])
    for name in ("prompt", "system"):
        try:
            parse(arguments.get(name) or "")
        except Invalid as error:
            raise Invalid(error.message, field=name, hint=error.hint) from None
    try:
        generation_of(arguments)
    except Invalid as error:
        raise Invalid(error.message, field=f"generation.{error.field}", hint=error.hint) from None


CHECKS = {"prompt": check_prompt}


class Answers:
    """Answers by the hash of what was asked, in one SQLite file that jobs share."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=60)
        with self._connection:
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (hash TEXT PRIMARY KEY, answer TEXT NOT NULL)"
            )

    def get(self, key: str) -> str | None:
        """The answer, where it is known."""
        row = self._connection.execute("SELECT answer FROM answers WHERE hash = ?", (key,))
        found = row.fetchone()
        return str(found[0]) if found else None

    def put(self, key: str, answer: str) -> None:
        """Keep it."""
        with self._connection:
            self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, answer))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _answered(
    chats: dict[int, list[dict[str, str]]],
    model: str,
    generation: Generation,
    tools: Tools,
    answers: Answers,
    counts: dict[str, int],
    in_flight: int,
) -> Iterator[tuple[int, str]]:
    """(place, answer) of each chat; equal chats are asked once, several at a time."""
    asking: Asking = tools.answer  # type: ignore[assignment]
    places: dict[str, list[int]] = {}
    for at, messages in chats.items():
        key = content_hash([asking.identity(model), messages, generation.to_dict()])
        places.setdefault(key, []).append(at)
    known = {key: answer for key in places if (answer := answers.get(key)) is not None}
    counts["known already"] += sum(len(places[key]) for key in known)
    for key, answer in known.items():
        for at in places[key]:
            yield at, answer
    open_keys = [key for key in places if key not in known]
    with _pool(in_flight) as pool:
        futures = {
            key: pool.submit(asking, model, chats[places[key][0]], generation) for key in open_keys
        }
        for key in open_keys:
            answer = futures[key].result()
            answers.put(key, answer)
            counts["asked"] += 1
            tools.check()
            for at in places[key]:
                yield at, answer


@contextmanager
def _pool(size: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(size)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
