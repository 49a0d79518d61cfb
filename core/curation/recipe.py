"""Recipes: the steps that made a version, as YAML that replays on other rows.

    recipe: 1
    import: {mapping: {question: input}, options: {}}    # only when it begins with a file
    steps:
      - step: trim            # a name in STEPS
        columns: [question]   # the rest are its arguments

Knows: the notation, its check, its hash. Does not know: rows, versions.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.curation.arguments import check_step
from core.datasets.mapping import fields_of
from core.datasets.values import fault_in
from core.errors import Invalid
from core.ids import canonical_json

NOTATION = 1
KEYS = ("recipe", "import", "steps")
MOST_BYTES = 64 * 1024 * 1024
Step = dict[str, Any]


_YAML_BREAKS = {"\x85", "\u2028", "\u2029", "\ufeff"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Steps in order, and how the file before them is read."""

    steps: tuple[Step, ...]
    reads: Mapping[str, Any] | None = None
    """`{mapping, options}` of the import that it begins with."""

    @classmethod
    def parse(cls, given: str | bytes | Mapping[str, Any]) -> Recipe:
        """A recipe from YAML, JSON or what they read as. Invalid names the step and the field."""
        found = _loaded(given) if isinstance(given, str | bytes) else given
        if not isinstance(found, Mapping):
            raise Invalid("A recipe is `recipe: 1` and a list of steps.", field="recipe")
        for key in found:
            if key not in KEYS:
                raise Invalid(f"A recipe has no {key!r}.", field=str(key),
                              hint=f"It has {', '.join(KEYS)}.")  # fmt: skip
        if found.get("recipe") != NOTATION:
            raise Invalid(f"This Lathe reads recipes that begin with `recipe: {NOTATION}`.",
                          field="recipe")  # fmt: skip
        return cls(checked_steps(found.get("steps") or []), _checked_import(found.get("import")))

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        begins = {"import": dict(self.reads)} if self.reads is not None else {}
        return {"recipe": NOTATION, **begins, "steps": [dict(step) for step in self.steps]}

    def dump(self) -> str:
        """As YAML that `parse` reads as the same recipe."""
        import yaml

        class Dumper(yaml.SafeDumper):
            """Quotes what YAML takes for the end of a line, which PyYAML leaves bare."""

        def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
            style = '"' if _YAML_BREAKS & set(value) else None
            return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

        Dumper.add_representer(str, text)
        dumped: str = yaml.dump(
            self.to_dict(), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100,
            default_flow_style=False,
        )  # fmt: skip
        return dumped

    @property
    def content_hash(self) -> str:
        """sha256 over what it says; the order of a step's arguments does not count."""
        return hashlib.sha256(canonical_json(self.to_dict()).encode()).hexdigest()


def checked_steps(steps: Any) -> tuple[Step, ...]:
    """The steps, each of them able to run; Invalid says 'Step 3' and the field `steps.2.columns`
    of the first that is not."""
    if not isinstance(steps, Sequence) or isinstance(steps, str | bytes):
        raise Invalid("`steps` is a list.", field="steps")
    return tuple(_checked_step(number, step) for number, step in enumerate(steps))


def _checked_step(number: int, step: Any) -> Step:
    where = f"steps.{number}"
    if not isinstance(step, Mapping) or not all(isinstance(key, str) for key in step):
        raise Invalid(f"Step {number + 1} is not a step: it has to be `step: name` and arguments.",
                      field=where)  # fmt: skip
    if why := fault_in(step):
        raise Invalid(f"Step {number + 1} {why}.", field=where)
    try:
        canonical_json(step)
        check_step(step)
    except Invalid as error:
        raise Invalid(
            f"Step {number + 1}: {error.message}",
            field=f"{where}.{error.field}" if error.field else where,
            hint=error.hint,
        ) from None
    except (TypeError, ValueError) as error:
        raise Invalid(f"Step {number + 1} holds what JSON has no notation for: {error}.",
                      field=where) from None  # fmt: skip
    return dict(step)


def _checked_import(reads: Any) -> Mapping[str, Any] | None:
    if reads is None:
        return None
    if not isinstance(reads, Mapping) or not set(reads) <= {"mapping", "options"}:
        raise Invalid("`import` has `mapping` and `options`.", field="import")
    if not isinstance(reads.get("options", {}), Mapping):
        raise Invalid("The options of an import are names and values.", field="import.options")
    mapping = reads.get("mapping")
    if mapping is not None:
        if not isinstance(mapping, Mapping):
            raise Invalid("A mapping gives each column its role.", field="import.mapping")
        fields_of(mapping)
    return dict(reads)


def _loaded(text: str | bytes) -> Any:
    import yaml

    if len(text) > MOST_BYTES:
        raise Invalid("The recipe is too large to read.", field="recipe")
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(text)  # not by YAML: to it a pair of escapes is two halves of a character
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise Invalid(f"The recipe is not YAML{where}: {problem}.", field="recipe") from None
