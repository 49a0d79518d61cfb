"""Conditions on rows, as a person builds them: column, operator, value.

    [{"column": "question", "op": "contains", "value": "refund"}, {"column": "tier", "op": "empty"}]

Knows: operators, and the SQL they mean; values are bound, never written into it. Does not know:
which rows there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.datasets.files import Column
from core.datasets.table import quoted
from core.datasets.values import BOOLEAN, INTEGER, NUMBER
from core.errors import Invalid

KEYS = {"column", "op", "value"}
ROW_ID, ROW_NUMBER = "row_id", "row_index"


@dataclass(frozen=True, slots=True)
class Operator:
    """One way to ask about a cell."""

    label: str
    sql: str
    """With {text} for the cell as text, {cell} for the cell, {value} for the parameter."""
    takes: str = "text"
    """text, number, list (of texts), pattern, or nothing."""


OPERATORS: dict[str, Operator] = {
    "contains": Operator("contains", "contains(lower({text}), lower({value}))"),
    "not_contains": Operator(
        "does not contain", "NOT coalesce(contains(lower({text}), lower({value})), false)"
    ),
    "equals": Operator("is", "{text} IS NOT DISTINCT FROM {value}"),
    "not_equals": Operator("is not", "{text} IS DISTINCT FROM {value}"),
    "one_of": Operator("is one of", "list_contains({value}::VARCHAR[], {text})", "list"),
    "starts_with": Operator("begins with", "starts_with({text}, {value})"),
    "ends_with": Operator("ends with", "ends_with({text}, {value})"),
    "matches": Operator("matches the pattern", "regexp_matches({text}, {value})", "pattern"),
    "empty": Operator("is empty", "trim(coalesce({text}, '')) = ''", "nothing"),
    "not_empty": Operator("is not empty", "trim(coalesce({text}, '')) <> ''", "nothing"),
    "greater": Operator("is more than", "TRY_CAST({cell} AS DOUBLE) > {value}", "number"),
    "less": Operator("is less than", "TRY_CAST({cell} AS DOUBLE) < {value}", "number"),
    "at_least": Operator("is at least", "TRY_CAST({cell} AS DOUBLE) >= {value}", "number"),
    "at_most": Operator("is at most", "TRY_CAST({cell} AS DOUBLE) <= {value}", "number"),
    "longer": Operator("is longer than", "length({text}) > {value}", "number"),
    "shorter": Operator(
        "is shorter than", "length(coalesce({text}, '')) < {value}", "number"
    ),
    "has_tag": Operator(
        "has the tag",
        "list_contains(CAST(TRY_CAST({text} AS JSON) AS VARCHAR[]), {value})",
    ),
}  # fmt: skip
MATCHES = ("all", "any")


def check_conditions(conditions: Any, field: str = "where") -> None:
    """Invalid names the first condition that cannot be asked of any rows."""
    if not isinstance(conditions, Sequence) or isinstance(conditions, str) or not conditions:
        raise Invalid("Name at least one condition.", field=field)
    for number, condition in enumerate(conditions):
        _check_condition(condition, f"{field}.{number}")


def where_sql(
    conditions: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    match: str = "all",
    field: str = "where",
) -> tuple[str, dict[str, Any]]:
    """The SQL condition and its parameters (`w0`, `w1` ...).

    Invalid for a column that is not there. A cell without a value meets no condition but `empty`,
    `not_equals`, `not_contains` and `shorter`.
    """
    check_conditions(conditions, field)
    if match not in MATCHES:
        raise Invalid(f"Rows match all or any, not {match!r}.", field="match")
    kinds = {ROW_ID: "text", ROW_NUMBER: INTEGER, **{c.name: c.type for c in columns}}
    parts, parameters = [], {}
    for number, condition in enumerate(conditions):
        name = condition["column"]
        if name not in kinds:
            raise Invalid(f"There is no column {name!r}.", field=f"{field}.{number}.column",
                          hint=f"There are {', '.join(c.name for c in columns)}.")  # fmt: skip
        operator = OPERATORS[condition["op"]]
        cell = quoted(name)
        text = cell if kinds[name] not in (INTEGER, NUMBER, BOOLEAN) else f"CAST({cell} AS VARCHAR)"
        parts.append(f"({operator.sql.format(cell=cell, text=text, value=f'$w{number}')})")
        if operator.takes != "nothing":
            parameters[f"w{number}"] = _parameter(condition["value"], operator, kinds[name])
    joined = (" AND " if match == "all" else " OR ").join(parts)
    return f"({joined})", parameters


def _check_condition(condition: Any, where: str) -> None:
    if not isinstance(condition, Mapping) or not set(condition) <= KEYS:
        raise Invalid("A condition has a column, an op and a value.", field=where)
    if not isinstance(condition.get("column"), str):
        raise Invalid("A condition names a column.", field=f"{where}.column")
    operator = OPERATORS.get(str(condition.get("op")))
    if operator is None:
        raise Invalid(f"There is no op {condition.get('op')!r}.", field=f"{where}.op",
                      hint=f"There are {', '.join(OPERATORS)}.")  # fmt: skip
    value, takes = condition.get("value"), operator.takes
    if takes == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise Invalid(f"{operator.label!r} takes a number.", field=f"{where}.value")
    if takes == "list" and not (isinstance(value, list) and value):
        raise Invalid(f"{operator.label!r} takes a list of values.", field=f"{where}.value")
    if takes in ("text", "pattern") and not isinstance(value, str | int | float):
        raise Invalid(f"{operator.label!r} takes a value.", field=f"{where}.value")
    if takes == "pattern":
        _check_pattern(str(value), f"{where}.value")


def _check_pattern(pattern: str, field: str) -> None:
    """By the engine that will run it (RE2: linear time, so no pattern can take for ever)."""
    import duckdb

    try:
        with duckdb.connect() as connection:
            connection.execute("SELECT regexp_matches('', $pattern)", {"pattern": pattern})
    except duckdb.Error as error:
        said = str(error).splitlines()[0]
        raise Invalid(f"The pattern {pattern!r} cannot be read: {said}.", field=field) from None


def _parameter(value: Any, operator: Operator, kind: str) -> Any:
    if operator.takes == "number":
        return float(value)
    if operator.takes == "list":
        return [_as_text(item, kind) for item in value]
    return _as_text(value, kind)


def _as_text(value: Any, kind: str) -> str:
    """As DuckDB casts the cell: 2 in a column of numbers is 2.0, true is true."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind == NUMBER:
        try:
            return str(float(value))
        except (TypeError, ValueError):
            return str(value)
    if kind == BOOLEAN:
        return str(value).lower()
    return str(value)
