"""What a step takes: names, kinds, limits, so that a recipe is checked before anything runs.

A step's module says it: `ARGUMENTS = {"trim": (Argument("columns", "columns", ...),)}`, and, for
what no kind can say, `CHECKS = {"replace": function(arguments)}`. Forms are drawn from the same.

Knows: kinds of arguments. Does not know: rows, columns that exist.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from core.curation.steps import STEPS
from core.datasets.mapping import fields_of
from core.errors import Invalid

OPTIONS = ("step", "note")
"""Keys of a step that are no arguments: its name, and why it is there."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a step."""

    name: str
    kind: str
    """A key of KINDS."""
    label: str
    help: str = ""
    required: bool = True
    default: Any = None
    choices: tuple[str, ...] = ()
    """For the kind `choice`."""
    least: float | None = None
    """For numbers: the smallest value."""
    most: float | None = None


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _names(value: Any) -> bool:
    return _words(value) and bool(value)


def _records(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "text": ("text", lambda value: isinstance(value, str)),
    "long_text": ("text", lambda value: isinstance(value, str)),
    "choice": ("one of the choices", lambda value: isinstance(value, str)),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "integer": ("a whole number", _integer),
    "number": ("a number", _number),
    "any": ("a value", lambda value: True),
    "column": ("a column's name", lambda value: isinstance(value, str) and bool(value)),
    "columns": ("a list of column names", _names),
    "words": ("a list of words", _names),
    "some": ("a list of words", _words),  # it may be empty
    "rows": ("a list of row ids", _words),
    "records": ("a list of entries", _records),
    "object": ("an entry of names and values", lambda value: isinstance(value, Mapping)),
}
"""What a person is told is expected, and whether a value is that."""


def checked_column_name(name: str, field: str = "column") -> str:
    """A name that a new column may have; Invalid says why not."""
    try:
        return fields_of({name: "input"})[0].name
    except Invalid as error:
        raise Invalid(error.message, field=field, hint="Choose another name.") from None


@functools.cache
def module_of(step: str) -> Any:
    """The module a step lives in; imported when somebody asks."""
    return importlib.import_module(STEPS[step].function.partition(":")[0])


def arguments_of(step: str) -> tuple[Argument, ...] | None:
    """What a step takes; None where its module does not say."""
    found: tuple[Argument, ...] | None = getattr(module_of(step), "ARGUMENTS", {}).get(step)
    return found


def check_step(step: Mapping[str, Any]) -> None:
    """Raise Invalid, its field the argument, for a step that could not run on any rows."""
    name = step.get("step")
    if not isinstance(name, str) or name not in STEPS:
        raise Invalid(
            f"There is no step {name!r}." if name else "It does not say which step it is.",
            field="step",
            hint=f"Steps are {', '.join(sorted(STEPS))}.",
        )
    declared = arguments_of(name)
    if declared is not None:
        _check_arguments(name, step, declared)
    further = getattr(module_of(name), "CHECKS", {}).get(name)
    if further is not None:
        further(dict(step))


def _check_arguments(name: str, step: Mapping[str, Any], declared: tuple[Argument, ...]) -> None:
    known = {argument.name: argument for argument in declared}
    for given in step:
        if given not in known and given not in OPTIONS:
            raise Invalid(
                f"The step {name} takes no {given!r}.",
                field=str(given),
                hint=f"It takes {', '.join(known)}." if known else "It takes no arguments.",
            )
    for argument in declared:
        value = step.get(argument.name)
        if value is None:
            if argument.required:
                raise Invalid(
                    f"The step {name} needs {argument.name!r}: {KINDS[argument.kind][0]}.",
                    field=argument.name,
                )
            continue
        _check_value(name, argument, value)


def _check_value(name: str, argument: Argument, value: Any) -> None:
    said, fits = KINDS[argument.kind]
    if not fits(value):
        raise Invalid(
            f"{argument.name!r} of the step {name} has to be {said}, not {value!r:.80}.",
            field=argument.name,
        )
    if argument.choices and value not in argument.choices:
        raise Invalid(
            f"{argument.name!r} of the step {name} cannot be {value!r:.80}.",
            field=argument.name,
            hint=f"Choose from {', '.join(argument.choices)}.",
        )
    low, high = argument.least, argument.most
    if (low is not None and value < low) or (high is not None and value > high):
        between = f"at least {low:g}" if high is None else f"{low or 0:g} to {high:g}"
        raise Invalid(
            f"{argument.name!r} of the step {name} is {value}; it has to be {between}.",
            field=argument.name,
        )
