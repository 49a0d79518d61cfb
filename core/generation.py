"""Generation parameters: what a prompt version, a variant and a request all mean by the same words.

Knows: names, ranges and defaults. Does not know: which engine honours what.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

from core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Generation:
    """How an answer is drawn. Greedy by default, so that two runs can be compared."""

    max_tokens: int = 256
    """Most new tokens; at least 1."""
    temperature: float = 0.0
    """0 takes the most likely token, always; up to 2."""
    top_p: float = 1.0
    """Nucleus: sample from the smallest set of tokens with this share of the probability."""
    seed: int | None = None
    """Makes sampling repeatable on the same engine, precision and device."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; up to four, none of them part of it."""
    json_schema: str | None = None
    """A JSON schema, as text, that the answer has to follow; llama.cpp and some endpoints can."""

    def __post_init__(self) -> None:
        _within("max_tokens", self.max_tokens, 1, 131_072)
        _within("temperature", self.temperature, 0, 2)
        _within("top_p", self.top_p, 0, 1)
        if self.top_p == 0:
            raise Invalid("top_p must be above 0.", field="top_p")
        if len(self.stop) > 4 or not all(self.stop):
            raise Invalid("stop takes up to four texts, none of them empty.", field="stop")
        if self.json_schema is not None:
            _check_schema(self.json_schema)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Parse what `to_dict` wrote; raises Invalid naming an unknown or ill-typed field."""
        known = {field.name for field in fields(cls)}
        for name in data:
            if name not in known:
                raise Invalid(
                    f"There is no generation parameter {name!r}.",
                    field=name,
                    hint=f"There are {', '.join(sorted(known))}.",
                )
        values = dict(data)
        if isinstance(values.get("stop"), str):
            values["stop"] = (values["stop"],)
        if "stop" in values:
            values["stop"] = tuple(values["stop"] or ())
        try:
            return cls(**values)
        except TypeError as error:
            raise Invalid(f"A generation parameter has the wrong type: {error}.") from None

    def to_dict(self) -> dict[str, Any]:
        """As JSON, defaults included: the record has to stand on its own."""
        return {**asdict(self), "stop": list(self.stop)}

    def with_changes(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)


def _within(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid(f"{name} must be a number, not {value!r}.", field=name)
    if not low <= value <= high:
        raise Invalid(f"{name} must lie between {low} and {high}, not {value}.", field=name)


def _check_schema(text: str) -> None:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise Invalid(f"The JSON schema is not JSON: {error}.", field="json_schema") from None
    if not isinstance(parsed, dict):
        raise Invalid("The JSON schema must be an object.", field="json_schema")
