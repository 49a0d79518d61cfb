"""Scorers: what an answer is checked for, as frozen records parsed from plain dicts.

    {"kind": "exact_match", "name": "label", "ignore_case": true}

Knows: kinds, their options, how each judges one answer. Does not know: runs, rows, models.
A verdict without `passed` is a measurement, or could not be made: the explanation says which.
A row passes when every verdict that has a `passed` is True and there is at least one; an answer
that failed is not a pass (see `core.evals.service`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Protocol

from core.errors import Invalid
from core.evals import patterns
from core.evals.text import normalise, parse_json


@dataclass(frozen=True, slots=True)
class Answer:
    """What a scorer sees of a result."""

    output: str
    expected: str | None = None
    e2e_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scorer says of one answer."""

    value: float | None
    passed: bool | None
    text: str | None = None
    explanation: str | None = None


class Scorer(Protocol):
    """A parsed scorer; `decides` is False for one that only measures."""

    kind: ClassVar[str]

    @property
    def name(self) -> str: ...

    @property
    def decides(self) -> bool: ...

    def score(self, answer: Answer) -> Verdict: ...


def _verdict(passed: bool, explanation: str | None = None, text: str | None = None) -> Verdict:
    return Verdict(1.0 if passed else 0.0, passed, text, None if passed else explanation)


NOTHING_EXPECTED = Verdict(None, None, None, "The row has no expected answer.")


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """The answer is the expected answer."""

    kind: ClassVar[str] = "exact_match"
    decides: ClassVar[bool] = True

    name: str = "exact match"
    ignore_case: bool = False
    ignore_punctuation: bool = False
    ignore_whitespace: bool = True
    """Ends trimmed, runs of blanks and line ends taken as one."""

    def score(self, answer: Answer) -> Verdict:
        """Compare after the same normalisation of both sides."""
        if answer.expected is None:
            return NOTHING_EXPECTED
        found, wanted = (self._normalised(text) for text in (answer.output, answer.expected))
        return _verdict(found == wanted, f"Expected {_short(wanted)}, got {_short(found)}.")

    def _normalised(self, text: str) -> str:
        return normalise(
            text,
            case=self.ignore_case,
            punctuation=self.ignore_punctuation,
            whitespace=self.ignore_whitespace,
        )


@dataclass(frozen=True, slots=True)
class Contains:
    """The answer contains a text: the expected answer, or one given here."""

    kind: ClassVar[str] = "contains"
    decides: ClassVar[bool] = True

    name: str = "contains"
    text: str | None = None
    """What to look for; the row's expected answer when empty."""
    ignore_case: bool = True
    absent: bool = False
    """Passes when the text is not there."""

    def score(self, answer: Answer) -> Verdict:
        """Look for the text, blanks taken as one."""
        wanted = self.text or answer.expected
        if not wanted:
            return NOTHING_EXPECTED
        needle, hay = (normalise(t, case=self.ignore_case) for t in (wanted, answer.output))
        found = needle in hay
        said = "contains" if found else "does not contain"
        return _verdict(found != self.absent, f"The answer {said} {_short(wanted)}.")


@dataclass(frozen=True, slots=True)
class Regex:
    """A regular expression matches somewhere in the answer."""

    kind: ClassVar[str] = "regex"
    decides: ClassVar[bool] = True

    name: str = "regex"
    pattern: str = ""
    ignore_case: bool = False
    whole: bool = False
    """Has to match the whole answer, ends trimmed."""
    absent: bool = False
    """Passes when it does not match."""

    def __post_init__(self) -> None:
        patterns.compiled(self.pattern, self.ignore_case)

    def score(self, answer: Answer) -> Verdict:
        """Match within `patterns.LIMIT_S`; a pattern that takes longer gives no verdict."""
        expression = patterns.compiled(self.pattern, self.ignore_case)
        try:
            match = patterns.search(expression, answer.output.strip(), whole=self.whole)
        except TimeoutError:
            return Verdict(None, None, None, patterns.TOO_SLOW)
        said = "matches" if match is not None else "does not match"
        return _verdict(
            (match is not None) != self.absent,
            f"The answer {said} {_short(self.pattern)}.",
            text=None if match is None else match[:1000],
        )


@dataclass(frozen=True, slots=True)
class IsJson:
    """The answer is one JSON value and nothing else."""

    kind: ClassVar[str] = "is_json"
    decides: ClassVar[bool] = True

    name: str = "is JSON"
    fenced: bool = False
    """A ```json fence around it is taken off first."""

    def score(self, answer: Answer) -> Verdict:
        """Parse strictly: NaN and trailing text are not JSON."""
        try:
            parse_json(answer.output, fenced=self.fenced)
        except ValueError as error:
            return _verdict(False, f"Not JSON: {error}")
        return _verdict(True)


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """The answer is JSON that follows a schema (draft 2020-12, no references to elsewhere)."""

    kind: ClassVar[str] = "json_schema"
    decides: ClassVar[bool] = True

    name: str = "JSON schema"
    schema: str = "{}"
    """The schema, as JSON text."""
    fenced: bool = False

    def __post_init__(self) -> None:
        patterns.validator(self.schema)

    def score(self, answer: Answer) -> Verdict:
        """Validate; the explanation names the first place that does not follow the schema."""
        try:
            value = parse_json(answer.output, fenced=self.fenced)
        except ValueError as error:
            return _verdict(False, f"Not JSON: {error}")
        try:
            problem = patterns.first_problem(self.schema, value)
        except TimeoutError:
            return Verdict(None, None, None, patterns.TOO_SLOW)
        return _verdict(problem is None, problem)


@dataclass(frozen=True, slots=True)
class Length:
    """The answer's length in characters or words; within limits, where there are some."""

    kind: ClassVar[str] = "length"

    name: str = "length"
    unit: str = "words"
    """words or chars."""
    min: int | None = None
    max: int | None = None

    def __post_init__(self) -> None:
        if self.unit not in ("words", "chars"):
            raise Invalid(f"unit is words or chars, not {self.unit!r}.", field="unit")
        low, high = self.min, self.max
        if any(limit is not None and limit < 0 for limit in (low, high)):
            raise Invalid("min and max must not be negative.", field="min")
        if low is not None and high is not None and low > high:
            raise Invalid("min must not be above max.", field="min")

    @property
    def decides(self) -> bool:
        """Only with a limit."""
        return self.min is not None or self.max is not None

    def score(self, answer: Answer) -> Verdict:
        """Count after trimming the ends."""
        trimmed = answer.output.strip()
        count = len(trimmed.split()) if self.unit == "words" else len(trimmed)
        if not self.decides:
            return Verdict(float(count), None)
        low, high = self.min or 0, self.max
        passed = low <= count and (high is None or count <= high)
        wanted = f"at least {low}" if high is None else f"{low} to {high}"
        return Verdict(
            float(count), passed, None, None if passed else f"{count} {self.unit}, wanted {wanted}."
        )


@dataclass(frozen=True, slots=True)
class EmbeddingSimilarity:
    """The answer means what the expected answer means: cosine of their embeddings."""

    kind: ClassVar[str] = "embedding_similarity"

    name: str = "similarity"
    model_id: str | None = None
    """The embedding model; the workspace's own when empty."""
    threshold: float | None = 0.7
    """Passes from here on; None only measures."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise Invalid("threshold must lie between -1 and 1.", field="threshold")

    @property
    def decides(self) -> bool:
        """Only with a threshold."""
        return self.threshold is not None

    def score(self, answer: Answer) -> Verdict:
        """What can be said without a model: nothing to compare, or an empty answer."""
        if not answer.expected:
            return NOTHING_EXPECTED
        if not answer.output.strip():
            return self.judge(0.0)
        return Verdict(None, None, None, "Not measured yet.")

    def judge(self, cosine: float) -> Verdict:
        """The verdict for a measured cosine."""
        cosine = max(-1.0, min(1.0, cosine))
        if self.threshold is None:
            return Verdict(cosine, None)
        passed = cosine >= self.threshold
        said = None if passed else f"Similarity {cosine:.2f}, wanted {self.threshold:g} or more."
        return Verdict(cosine, passed, None, said)


@dataclass(frozen=True, slots=True)
class Latency:
    """The whole request took at most so many milliseconds; waiting in the batch included."""

    kind: ClassVar[str] = "latency"

    name: str = "latency"
    max_ms: float | None = None

    def __post_init__(self) -> None:
        if self.max_ms is not None and self.max_ms <= 0:
            raise Invalid("max_ms must be above 0.", field="max_ms")

    @property
    def decides(self) -> bool:
        """Only with a limit."""
        return self.max_ms is not None

    def score(self, answer: Answer) -> Verdict:
        """Compare the end-to-end time with the limit."""
        if answer.e2e_ms is None:
            return Verdict(None, None, None, "The time was not measured.")
        if self.max_ms is None:
            return Verdict(answer.e2e_ms, None)
        passed = answer.e2e_ms <= self.max_ms
        said = None if passed else f"{answer.e2e_ms:.0f} ms, wanted at most {self.max_ms:g} ms."
        return Verdict(answer.e2e_ms, passed, None, said)


KINDS: dict[str, Callable[..., Scorer]] = {
    ExactMatch.kind: ExactMatch,
    Contains.kind: Contains,
    Regex.kind: Regex,
    IsJson.kind: IsJson,
    JsonSchema.kind: JsonSchema,
    Length.kind: Length,
    EmbeddingSimilarity.kind: EmbeddingSimilarity,
    Latency.kind: Latency,
}


def parse(spec: dict[str, Any]) -> Scorer:
    """A scorer from its dict; raises Invalid naming an unknown kind, option or ill-typed value."""
    kind = spec.get("kind")
    make = KINDS.get(str(kind))
    if make is None:
        raise Invalid(
            f"There is no scorer {kind!r}.", field="kind", hint=f"There are {', '.join(KINDS)}."
        )
    types = {field.name: str(field.type) for field in fields(make)}  # type: ignore[arg-type]
    options = {name: value for name, value in spec.items() if name != "kind"}
    for name, value in options.items():
        if name not in types:
            raise Invalid(
                f"The scorer {kind} has no option {name!r}.",
                field=name,
                hint=f"It has {', '.join(types)}.",
            )
        if not _fits(value, types[name]):
            raise Invalid(f"{name} of the scorer {kind} cannot be {value!r}.", field=name)
    if not options.get("name", True):
        raise Invalid("A scorer needs a name.", field="name")
    return make(**options)


def parse_all(specs: Sequence[dict[str, Any]]) -> tuple[Scorer, ...]:
    """Several scorers; Invalid when two share a name, since scores are told apart by it."""
    found = tuple(parse(spec) for spec in specs)
    seen: set[str] = set()
    for scorer in found:
        if scorer.name in seen:
            raise Invalid(
                f"Two scorers are named {scorer.name!r}.",
                field="name",
                hint="Give one of them another name.",
            )
        seen.add(scorer.name)
    return found


def to_dict(scorer: Scorer) -> dict[str, Any]:
    """What `parse` reads, defaults included: the record has to stand on its own."""
    return {"kind": scorer.kind, **asdict(scorer)}  # type: ignore[call-overload]


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "None": (type(None),),
}


def _fits(value: Any, annotation: str) -> bool:
    """Whether a JSON value fits a field's type, such as 'float | None'; True is no number."""
    names = [part.strip() for part in annotation.split("|")]
    if isinstance(value, bool):
        return "bool" in names
    return any(isinstance(value, _TYPES[name]) for name in names)


def _short(text: str, length: int = 80) -> str:
    return repr(text if len(text) <= length else text[: length - 1] + "…")
