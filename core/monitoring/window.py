"""What a figure is asked about: a window of time cut into buckets, filters, and the SQL of both.

Knows: buckets, the columns one can filter and group by, the WHERE clause. Does not know: figures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Self

from core.clock import utc_now
from core.errors import Invalid
from core.store.database import literal

DIMENSIONS: dict[str, str] = {
    "model": "model_name",
    "quantization": "quantization",
    "prompt version": "prompt_label",
    "engine": "engine",
    "source": "source",
}
"""What one can group by, in words, and the column of `traces` it stands for."""

LADDER = (
    *(timedelta(minutes=n) for n in (1, 5, 15, 30)),
    *(timedelta(hours=n) for n in (1, 3, 6, 12)),
    *(timedelta(days=n) for n in (1, 2, 7)),
)
MOST_BUCKETS = 60
EPOCH = datetime.fromisoformat("2000-01-03T00:00:00")
"""A Monday: where DuckDB's time_bucket counts from, so that our buckets are its buckets."""


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` up to but not including `end`, UTC, in buckets of one length."""

    start: datetime
    end: datetime
    bucket: timedelta

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise Invalid("The range ends before it begins.", field="end")

    @classmethod
    def between(cls, start: datetime, end: datetime) -> Self:
        """A window with the shortest bucket that gives at most 60 of them."""
        span = end - start
        bucket = next((step for step in LADDER if span / step <= MOST_BUCKETS), LADDER[-1])
        return cls(start, end, bucket)

    @classmethod
    def last(cls, span: timedelta, now: datetime | None = None) -> Self:
        """The window that ends with the current minute, so that a cache can keep it that long.

        It begins with a whole bucket, so it may reach back a little further than asked: a first
        bucket cut in two would look like a rise.
        """
        now = now or utc_now()
        end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        asked = cls.between(end - span, end)
        return replace(asked, start=asked.buckets()[0])

    @property
    def previous(self) -> Self:
        """The window of the same length just before: what a change is measured against."""
        return replace(self, start=self.start - (self.end - self.start), end=self.start)

    @property
    def seconds(self) -> float:
        """The length."""
        return (self.end - self.start).total_seconds()

    def buckets(self) -> list[datetime]:
        """The start of every bucket that the window touches; the first and last may be partial."""
        first = self.start - (self.start - EPOCH) % self.bucket
        count = -(-(self.end - first) // self.bucket)
        return [first + n * self.bucket for n in range(count)]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which traces: per column the values let through, where empty lets all through."""

    source: tuple[str, ...] = ()
    state: tuple[str, ...] = ()
    model_name: tuple[str, ...] = ()
    quantization: tuple[str, ...] = ()
    engine: tuple[str, ...] = ()
    prompt_label: tuple[str, ...] = ()
    run_id: tuple[str, ...] = ()
    search: str = field(default="")
    """Found anywhere in the previews of input or output, whatever the case."""


COLUMNS = tuple(f.name for f in fields(Filters) if f.name != "search")


@dataclass(frozen=True, slots=True)
class Query:
    """SQL with its named parameters: run as it is, or read by a person who copies it."""

    sql: str
    parameters: Mapping[str, Any]

    def text(self) -> str:
        """The statement with its values written in, ready for any DuckDB prompt."""
        names = "|".join(sorted(map(re.escape, self.parameters), key=len, reverse=True))
        if not names:
            return self.sql
        return re.sub(rf"\$({names})\b", lambda m: _literal(self.parameters[m[1]]), self.sql)


def where(
    window: Window, filters: Filters, *, at: str = "started_at", alias: str = "t"
) -> tuple[str, dict[str, Any]]:
    """The condition on rows of `traces` and its parameters; only filters in use are in it."""
    prefix = f"{alias}." if alias else ""
    parts = [f"{prefix}{at} >= $start AND {prefix}{at} < $end"]
    values: dict[str, Any] = {"start": window.start, "end": window.end}
    for column in COLUMNS:
        wanted = getattr(filters, column)
        if wanted:  # one slot a value: DuckDB pushes such a list into the scan, a subquery not
            slots = {f"{column}_{place}": value for place, value in enumerate(wanted)}
            parts.append(f"{prefix}{column} IN ({', '.join(f'${slot}' for slot in slots)})")
            values.update(slots)
    if filters.search:
        parts.append(
            f"(contains(lower({prefix}input_preview), lower($search))"
            f" OR contains(lower({prefix}output_preview), lower($search)))"
        )
        values["search"] = filters.search
    return "\n  AND ".join(parts), values


def column_of(dimension: str) -> str:
    """The column behind a dimension; Invalid names what there is."""
    try:
        return DIMENSIONS[dimension]
    except KeyError:
        known = ", ".join(DIMENSIONS)
        raise Invalid(
            f"One cannot group by {dimension!r}.", field="dimension", hint=f"There are {known}."
        ) from None


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, datetime):
        return f"TIMESTAMP '{value.isoformat(sep=' ')}'"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_literal(item) for item in value)}]"
    return literal(value)
