"""Checks: what has to be true of every row of a dataset, declared once, tried on each version.

Knows: the kinds of checks, how they read as JSON, which rows fail. Does not know: where they are
kept, when they run (`checking`).

A check is `{"check": kind, "column": name, ...arguments}`. What pandas can say of a column goes
through pandera, batch by batch; what needs the whole column (no value twice) goes through SQL.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.curation.chats import (
    Turns,
    ends_with_assistant,
    no_empty_turns,
    roles_alternate,
    turns_of,
)
from core.curation.findings import Finding
from core.curation.tools import Tools
from core.datasets.table import Table, quoted
from core.datasets.values import text_of
from core.errors import Invalid

if TYPE_CHECKING:
    import pandas as pd

TEMPLATE_TOKENS_PER_TURN = 5
"""What a chat template adds around one turn; ChatML's `<|im_start|>user\\n...<|im_end|>\\n`."""


PATTERN_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of check."""

    label: str
    """With {column} and the arguments, a sentence that is true of a good row."""
    arguments: Mapping[str, type] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    whole: bool = False
    """True when rows cannot be judged one by one."""


KINDS: dict[str, Kind] = {
    "not_blank": Kind("{column} is filled in"),
    "unique": Kind("no two rows have the same {column}", whole=True),
    "one_of": Kind("{column} is one of {values}", {"values": list}),
    "matches": Kind("{column} matches {pattern}", {"pattern": str}),
    "length": Kind(
        "{column} has {min} to {max} characters",
        {"min": int, "max": int},
        frozenset({"min", "max"}),
    ),
    "range": Kind(
        "{column} is from {min} to {max}",
        {"min": float, "max": float},
        frozenset({"min", "max"}),
    ),
    "json": Kind("{column} is JSON"),
    "roles_alternate": Kind("in {column} user and assistant take turns"),
    "no_empty_turns": Kind("no turn of {column} is empty"),
    "ends_with_assistant": Kind("{column} ends with the assistant's turn"),
    "token_budget": Kind("{column} has at most {max} tokens", {"max": int}),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one column."""

    kind: str
    column: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, asked: Mapping[str, Any], number: int = 1) -> Check:
        """A check from JSON; Invalid names the check's number and the field."""
        kind = KINDS.get(str(asked.get("check")))
        if kind is None:
            raise _wrong(
                number, "check", f"there is no check {asked.get('check')!r}", ", ".join(KINDS)
            )
        column = asked.get("column")
        if not isinstance(column, str) or not column:
            raise _wrong(number, "column", "it names no column", "Add `column`.")
        given = {k: v for k, v in asked.items() if k not in ("check", "column") and v is not None}
        for name in given.keys() - kind.arguments.keys():
            raise _wrong(
                number, name, f"{asked['check']} takes no {name!r}", ", ".join(kind.arguments)
            )
        for name, wanted in kind.arguments.items():
            if name in given:
                given[name] = _converted(given[name], wanted, name, number)
            elif name not in kind.optional:
                raise _wrong(number, name, f"{asked['check']} needs {name!r}", "Add it.")
        if kind.optional and not given:
            raise _wrong(number, "min", f"{asked['check']} needs a min or a max", "Add one.")
        if asked["check"] == "matches":
            _compiled(given["pattern"], number)
        return cls(str(asked["check"]), column, given)

    def to_dict(self) -> dict[str, Any]:
        """As JSON: for `parse`."""
        return {"check": self.kind, "column": self.column, **self.arguments}

    @property
    def sentence(self) -> str:
        """What is true of a good row, in words."""
        if self.kind in ("length", "range"):
            return _bounded(self)
        told = {name: _told(value) for name, value in self.arguments.items()}
        return KINDS[self.kind].label.format(column=self.column, **told)


def parse_checks(asked: Sequence[Mapping[str, Any]]) -> list[Check]:
    """Every check of a list, or Invalid for the first that is wrong."""
    return [Check.parse(item, number) for number, item in enumerate(asked, start=1)]


def run_checks(table: Table, checks: Sequence[Check], tools: Tools) -> list[Finding]:
    """One finding for each check that some rows fail, with those rows; none when all is well.

    A check of a column that the version does not have fails as a whole, with no rows.
    """
    there = {column.name for column in table.columns}
    findings = [_missing(check) for check in checks if check.column not in there]
    ready = [check for check in checks if check.column in there]
    failed: dict[int, list[int]] = {number: [] for number in range(len(ready))}
    total = max(1, table.count())
    seen = 0
    by_row = [n for n, check in enumerate(ready) if not KINDS[check.kind].whole]
    if by_row:
        tests = {number: _test(ready[number], tools) for number in by_row}
        names = sorted({ready[number].column for number in by_row})
        for batch in table.batches(["row_index", *names]):
            tools.check()
            frame = batch.to_pandas(integer_object_nulls=True).set_index("row_index")
            for number, rows in _failures(frame, ready, tests):
                failed[number].extend(rows)
            seen += len(frame)
            tools.tell(seen / total, f"{seen:,} of {total:,} rows")
    for number, check in enumerate(ready):
        if KINDS[check.kind].whole:
            failed[number] = _repeated(table, check.column)
    findings += [_failing(ready[n], sorted(rows)) for n, rows in failed.items() if rows]
    return findings


def _failures(
    frame: pd.DataFrame, checks: Sequence[Check], tests: Mapping[int, Any]
) -> Iterator[tuple[int, list[int]]]:
    """(check's number, rows that fail it) of one batch, as pandera lists them."""
    import pandera.pandas as pa

    broken: list[Exception] = []
    """What a test raised: pandera would tell it as a failure of no row."""

    def told(test: Callable[[Any], Any], cells: Any) -> Any:
        try:
            return test(cells)
        except Exception as error:
            broken.append(error)
            raise

    columns: dict[str, list[Any]] = {}
    for number, function in tests.items():
        made = pa.Check(functools.partial(told, function), name=str(number), ignore_na=False)
        columns.setdefault(checks[number].column, []).append(made)
    schema = pa.DataFrameSchema(
        {name: pa.Column(checks=found, nullable=True) for name, found in columns.items()}
    )
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        if broken:
            raise broken[0] from None
        cases = errors.failure_cases
        for number, rows in cases.groupby("check")["index"]:
            yield int(number), [int(row) for row in rows]


def _test(check: Check, tools: Tools) -> Callable[[pd.Series[Any]], pd.Series[bool]]:
    """A vectorised test of a column: True where the row is good. Blank cells fail `not_blank`
    alone, so that one missing value is told once."""
    good = _GOOD[check.kind](check.arguments, tools)

    def test(cells: pd.Series[Any]) -> pd.Series[bool]:
        if check.kind == "not_blank":
            return cells.map(lambda cell: not _blank(cell)).astype(bool)
        return cells.map(lambda cell: _blank(cell) or bool(good(cell))).astype(bool)

    return test


Good = Callable[[Any], bool]


def _one_of(arguments: Mapping[str, Any], tools: Tools) -> Good:
    allowed = {text_of(value) for value in arguments["values"]}
    return lambda cell: text_of(cell) in allowed


def _matches(arguments: Mapping[str, Any], tools: Tools) -> Good:
    pattern = _compiled(arguments["pattern"], 1)

    def good(cell: Any) -> bool:
        try:
            return pattern.search(str(cell), timeout=PATTERN_TIMEOUT_S) is not None
        except TimeoutError:
            raise Invalid(
                f"The pattern {arguments['pattern']!r} takes too long on a cell.",
                field="pattern",
                hint="Write it without a repetition inside a repetition.",
            ) from None

    return good


def _length(arguments: Mapping[str, Any], tools: Tools) -> Good:
    low, high = arguments.get("min", 0), arguments.get("max", float("inf"))
    return lambda cell: low <= len(str(cell)) <= high


def _range(arguments: Mapping[str, Any], tools: Tools) -> Good:
    low, high = arguments.get("min", float("-inf")), arguments.get("max", float("inf"))

    def good(cell: Any) -> bool:
        try:
            return bool(low <= float(cell) <= high)
        except (TypeError, ValueError):
            return False

    return good


def _json(arguments: Mapping[str, Any], tools: Tools) -> Good:
    return _is_json


def _turns(rule: Callable[[Turns], bool]) -> Callable[..., Good]:
    def make(arguments: Mapping[str, Any], tools: Tools) -> Good:
        def good(cell: Any) -> bool:
            turns = turns_of(cell)
            return bool(turns) and rule(turns)

        return good

    return make


def _token_budget(arguments: Mapping[str, Any], tools: Tools) -> Good:
    from tokenizers import Tokenizer

    path = tools.options.get("tokenizer")
    if not path:
        raise Invalid(
            "There is no tokenizer to count tokens with.",
            field="token_budget",
            hint="`make setup` fetches the starter model, which has one.",
        )
    tokenizer = Tokenizer.from_file(str(path))
    most = int(arguments["max"])

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    def good(cell: Any) -> bool:
        turns = turns_of(cell)
        if not turns:
            return count(str(cell)) <= most
        spoken = sum(count(str(turn.get("content") or "")) for turn in turns)
        return spoken + TEMPLATE_TOKENS_PER_TURN * len(turns) <= most

    return good


def _never(arguments: Mapping[str, Any], tools: Tools) -> Good:
    return lambda cell: True


_GOOD: dict[str, Callable[[Mapping[str, Any], Tools], Good]] = {
    "not_blank": _never,
    "one_of": _one_of,
    "matches": _matches,
    "length": _length,
    "range": _range,
    "json": _json,
    "roles_alternate": _turns(roles_alternate),
    "no_empty_turns": _turns(no_empty_turns),
    "ends_with_assistant": _turns(ends_with_assistant),
    "token_budget": _token_budget,
}


def _repeated(table: Table, column: str) -> list[int]:
    """Every row whose value another row has too; blanks repeat nothing."""
    with table.connect() as connection:
        name = quoted(column)
        found = connection.execute(
            f"SELECT row_index FROM rows WHERE {name} IS NOT NULL"
            f" QUALIFY count(*) OVER (PARTITION BY {name}) > 1 ORDER BY row_index"
        ).fetchall()
    return [int(row) for (row,) in found]


def _is_json(cell: Any) -> bool:
    try:
        json.loads(cell)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _blank(cell: Any) -> bool:
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())


def _failing(check: Check, rows: list[int]) -> Finding:
    what = "1 row fails" if len(rows) == 1 else f"{len(rows):,} rows fail"
    return Finding(
        "check",
        "high",
        f"{what}: {check.sentence}.",
        tuple(rows),
        check.column,
        {"check": check.to_dict()},
    )


def _missing(check: Check) -> Finding:
    message = f"There is no column {check.column!r}: {check.sentence}."
    return Finding("check", "high", message, (), check.column, {"check": check.to_dict()})


def _bounded(check: Check) -> str:
    low, high = check.arguments.get("min"), check.arguments.get("max")
    unit = " characters" if check.kind == "length" else ""
    verb = "has" if check.kind == "length" else "is"
    if low is None:
        return f"{check.column} {verb} at most {high:,}{unit}"
    if high is None:
        return f"{check.column} {verb} at least {low:,}{unit}"
    return f"{check.column} {verb} {low:,} to {high:,}{unit}"


def _told(value: Any) -> str:
    if isinstance(value, list):
        shown = ", ".join(str(item) for item in value[:6])
        return shown + (f" and {len(value) - 6} more" if len(value) > 6 else "")
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _converted(value: Any, wanted: type, name: str, number: int) -> Any:
    if wanted is list:
        if not isinstance(value, list) or not value:
            raise _wrong(number, name, f"{name!r} is not a list of values", "Give at least one.")
        return list(value)
    try:
        return wanted(value)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(number, name, f"{value!r} is no {wanted.__name__}", "Correct it.") from None


def _compiled(pattern: str, number: int) -> Any:
    import regex

    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise _wrong(number, "pattern", f"the pattern is wrong: {error}", "Correct it.") from None


def _wrong(number: int, name: str, what: str, hint: str) -> Invalid:
    return Invalid(f"Check {number}: {what}.", field=name, hint=hint)
