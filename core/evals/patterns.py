"""Regular expressions and JSON schemas that people write, run within a time limit.

Knows: how to compile, match and validate without hanging and without reaching out.
Does not know: scorers. A pattern can take exponential time on a text that nearly matches, and a
schema can hold patterns, so both go through the `regex` package, whose matcher can be stopped.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import regex

from core.errors import Invalid

LIMIT_S = 0.25
"""Longest match of one pattern on one text."""
LONGEST = 2_000
"""Most characters in a pattern."""
TOO_SLOW = f"The pattern took longer than {LIMIT_S:g} s on this answer."


@functools.lru_cache(maxsize=256)
def compiled(pattern: str, ignore_case: bool = False) -> regex.Pattern[str]:
    """The pattern, compiled; raises Invalid with the place of the error."""
    if not pattern:
        raise Invalid("The pattern is empty.", field="pattern")
    if len(pattern) > LONGEST:
        raise Invalid(f"The pattern has more than {LONGEST} characters.", field="pattern")
    try:
        return regex.compile(pattern, regex.IGNORECASE if ignore_case else 0)
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        raise Invalid(f"The pattern cannot be read: {error}.", field="pattern") from None


def search(expression: regex.Pattern[str], text: str, *, whole: bool = False) -> str | None:
    """The text of the first match, or None; raises TimeoutError past the limit."""
    find = expression.fullmatch if whole else expression.search
    match = find(text, timeout=LIMIT_S)
    return None if match is None else str(match.group())


@functools.lru_cache(maxsize=64)
def validator(schema: str) -> Any:
    """A jsonschema validator for the schema text; raises Invalid when it is no schema.

    References resolve inside the schema only: nothing is fetched.
    """
    from jsonschema.exceptions import SchemaError
    from referencing import Registry

    try:
        parsed = json.loads(schema)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"The schema is not JSON: {error}.", field="schema") from None
    if not isinstance(parsed, dict | bool):
        raise Invalid("The schema must be an object.", field="schema")
    kind = _validator_class()
    try:
        kind.check_schema(parsed)
    except SchemaError as error:
        raise Invalid(f"This is not a JSON schema: {error.message}.", field="schema") from None
    for pattern in _patterns_in(parsed):
        compiled(pattern)
    return kind(parsed, registry=Registry())


def first_problem(schema: str, value: Any) -> str | None:
    """Where and how the value breaks the schema, or None; raises TimeoutError past the limit."""
    from referencing.exceptions import Unresolvable

    try:
        error = next(validator(schema).iter_errors(value), None)
    except Unresolvable as missing:
        return f"The schema refers to {missing.ref!r}, which is not in it."
    except RecursionError:
        return "The answer is nested too deeply to be checked."
    if error is None:
        return None
    return f"{error.json_path}: {error.message}"[:500]


@functools.cache
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    return extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {"pattern": _pattern, "patternProperties": _pattern_properties}
    )


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and search(compiled(pattern), instance) is None:
        yield ValidationError(f"{instance[:80]!r} does not match {pattern!r}")


def _pattern_properties(
    checker: Any, properties: dict[str, Any], instance: Any, _: Any
) -> Iterator[Any]:
    if not isinstance(instance, dict):
        return
    for pattern, subschema in properties.items():
        for key, value in instance.items():
            if search(compiled(pattern), key) is not None:
                yield from checker.descend(value, subschema, path=key, schema_path=pattern)


def _patterns_in(schema: Any) -> Iterator[str]:
    """Every pattern a schema may run, so that a bad one is refused before the run."""
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        if isinstance(schema.get("patternProperties"), dict):
            yield from schema["patternProperties"]
        for value in schema.values():
            yield from _patterns_in(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _patterns_in(value)
