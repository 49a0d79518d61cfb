"""Which column plays which part: the roles, their check, and a first guess.

Knows: roles and names. Does not know: formats, versions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.datasets.values import BOOLEAN, INTEGER, NUMBER, is_blank, kind_of, text_of
from core.errors import Invalid

ROLES: dict[str, str] = {
    "input": "goes into the prompt",
    "expected": "what an answer is scored against",
    "metadata": "stays beside the row, for filters",
    "ignore": "is not imported",
}
RESERVED = ("row_id", "row_index")

EXPECTED_NAMES = (
    "expected", "expected_output", "expected_answer", "expected_label", "ground_truth",
    "reference_answer", "reference", "label", "answer", "answers", "target", "output",
    "completion", "response", "gold", "category", "class", "intent", "sentiment",
)  # fmt: skip
METADATA_NAMES = frozenset(
    {
        "id", "uuid", "guid", "key", "index", "idx", "row", "source", "url", "link", "origin",
        "created_at", "updated_at", "date", "time", "timestamp", "split", "lang", "language",
        "locale", "author", "user", "channel", "tier", "tag", "tags", "meta", "metadata",
        "license", "version", "score", "rating", "difficulty", "topic", "domain", "priority",
        "status", "note", "notes", "comment", "comments", "remark", "remarks", "annotator",
        "labeler", "labeller", "reviewer", "agent", "region", "country", "department",
    }
)  # fmt: skip

_USABLE = re.compile(r"\w(?:[\w -]{0,62}\w)?")  # what a template can name
_WORD = re.compile(r"[^a-z0-9]+")

ColumnMapping = Mapping[str, "str | Mapping[str, Any]"]


@dataclass(frozen=True, slots=True)
class Field:
    """One column to import."""

    column: str
    """Its name in the file."""
    role: str
    """input, expected or metadata."""
    name: str
    """Its name in the dataset, and in templates."""
    optional: bool = False
    """An input that may be blank."""


def fields_of(mapping: ColumnMapping) -> tuple[Field, ...]:
    """The columns to import. A value is a role, or `{"role", "name", "optional"}`.

    Raises Invalid with the column as its field: an unknown role, no input, two expected columns,
    a name that a template could not use, two columns of one name (in any case).
    """
    fields = tuple(
        field
        for column, asked in mapping.items()
        if (field := _field(column, asked)).role != "ignore"
    )
    if not any(field.role == "input" for field in fields):
        raise Invalid("No column is an input.", field="mapping", hint="Choose at least one.")
    expected = [field.column for field in fields if field.role == "expected"]
    if len(expected) > 1:
        raise Invalid(
            f"Two columns are expected: {', '.join(expected)}.",
            field=expected[1],
            hint="Make one of them metadata.",
        )
    seen: dict[str, str] = {}
    for field in fields:
        _check_name(field)
        other = seen.setdefault(field.name.lower(), field.column)
        if other != field.column:
            raise Invalid(
                f"The columns {other!r} and {field.column!r} would both be named {field.name!r}.",
                field=field.column,
                hint="Give one of them another name.",
            )
    return fields


def check_present(fields: Iterable[Field], columns: Sequence[str]) -> None:
    """Raise Invalid for the first mapped column that the file does not have."""
    for field in fields:
        if field.column not in columns:
            raise Invalid(
                f"The file has no column {field.column!r}.",
                field=field.column,
                hint=f"It has {', '.join(columns)}." if columns else None,
            )


def guess(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """A first mapping from the names and the first rows; what it gets wrong, a person corrects."""
    expected = _guess_expected(columns, rows)
    roles = {
        column: "expected" if column == expected else _guess_role(column, rows)
        for column in columns
    }
    _set_aside(roles, rows)
    if "input" not in roles.values():
        spare = [column for column in columns if column != expected]
        texts = [c for c in spare if any(isinstance(row.get(c), str) for row in rows)]
        for column in (texts or spare or [*columns])[:1]:
            roles[column] = "input"
    taken: set[str] = set()
    return {
        column: {
            "role": role,
            "name": _guess_name(column, taken),
            "optional": role == "input" and _often_blank(column, rows),
        }
        for column, role in roles.items()
    }


def _field(column: str, asked: str | Mapping[str, Any]) -> Field:
    options: Mapping[str, Any] = {"role": asked} if isinstance(asked, str) else asked
    role = options.get("role")
    if role not in ROLES:
        raise Invalid(
            f"{role!r} is not a role for the column {column!r}.",
            field=column,
            hint=f"Roles are {', '.join(ROLES)}.",
        )
    name = str(options.get("name") or column).strip()
    return Field(column, role, name, bool(options.get("optional", False)))


def _check_name(field: Field) -> None:
    if not _USABLE.fullmatch(field.name) or field.name.lower() in RESERVED:
        why = (
            "Lathe uses that name itself"
            if field.name.lower() in RESERVED
            else "names have letters, digits, spaces, _ and -, at most 64 of them"
        )
        raise Invalid(
            f"The column {field.column!r} cannot be named {field.name!r}: {why}.",
            field=field.column,
            hint="Give it another name in the mapping.",
        )


def _guess_expected(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str | None:
    if len(columns) < 2:
        return None
    names = {_key(column): column for column in reversed(columns)}
    filled = [names[name] for name in EXPECTED_NAMES if name in names]
    return next((c for c in filled if not rows or any(not is_blank(r.get(c)) for r in rows)), None)


def _guess_role(column: str, rows: Sequence[Mapping[str, Any]]) -> str:
    key = _key(column)
    values = [row[column] for row in rows if not is_blank(row.get(column))]
    if rows and not values:
        return "ignore"
    words = key.split("_")
    if key in METADATA_NAMES or words[-1] in ("id", "url", "at", "tier", "date", "source"):
        return "metadata"
    if values and all(_is_number(value) for value in values):
        return "metadata"
    texts = [text_of(value) or "" for value in values]
    few_words = len(texts) >= 20 and len(set(texts)) <= len(texts) // 5
    return "metadata" if few_words and max(map(len, texts)) <= 32 else "input"


def _set_aside(roles: dict[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Beside a column of texts, one of short words that come again and again is no input."""
    inputs = [column for column, role in roles.items() if role == "input"]
    texts = {c: [text_of(r[c]) or "" for r in rows if not is_blank(r.get(c))] for c in inputs}
    usual = {c: sorted(map(len, found))[len(found) // 2] for c, found in texts.items() if found}
    longest = max(usual.values(), default=0)
    for column, found in texts.items():
        repeated = len(found) >= 10 and 2 * len(set(found)) <= len(found)
        if repeated and 2 * usual[column] <= longest:
            roles[column] = "metadata"


def _is_number(value: Any) -> bool:
    if kind_of(value) in (INTEGER, NUMBER, BOOLEAN):
        return True
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _often_blank(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    """At least one row in five: then it is an optional column rather than a fault."""
    return bool(rows) and 5 * sum(is_blank(row.get(column)) for row in rows) >= len(rows)


def _guess_name(column: str, taken: set[str]) -> str:
    name = column.strip()
    if not _USABLE.fullmatch(name):
        name = re.sub(r"[^\w -]+", "_", name).strip(" -_")[:60].strip(" -_") or "column"
    if name.lower() in RESERVED:
        name = f"source_{name}"
    base, number = name, 2
    while name.lower() in taken:
        name = f"{base[:60]}_{number}"
        number += 1
    taken.add(name.lower())
    return name


def _key(column: str) -> str:
    return _WORD.sub("_", column.lower()).strip("_")
