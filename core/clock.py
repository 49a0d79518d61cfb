"""Time as Lathe keeps it: UTC, everywhere."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time, naive and in UTC: the shape DuckDB's TIMESTAMP columns hold and give."""
    return datetime.now(UTC).replace(tzinfo=None)


def iso(moment: datetime) -> str:
    """ISO 8601 with microseconds, for files; naive values are taken as UTC."""
    return moment.isoformat(timespec="microseconds")


def utc_iso() -> str:
    """The current time as `iso` writes it."""
    return iso(utc_now())
