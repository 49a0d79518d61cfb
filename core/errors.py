"""The one error tree. The UI renders title, message and hint; HTTP maps `status`.

LatheError
├── NotFound           404  an id or name that is not there
├── Conflict           409  the name is taken, or the state does not allow it
├── Invalid            422  a value is wrong: names the row and the field
├── Forbidden          403  the actor's role does not permit the action
├── StoreLocked        423  another process has this home open
├── ModelUnavailable   503  a model worker is not there, or died
├── OutOfMemory        507  it does not fit, known before or found out
├── JobFailed          500  a job ended in an error
└── Upstream           502  an endpoint that is not ours answered badly

Knows: what went wrong, in words for the person at the screen. Does not know: how it is shown.
"""

from __future__ import annotations

from typing import Any


class LatheError(Exception):
    """An error that a person can act on: what happened, and what to do next."""

    status = 500
    default_title = "Something went wrong"

    def __init__(self, message: str, *, title: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.title = title or self.default_title
        self.hint = hint

    def to_dict(self) -> dict[str, Any]:
        """The error as JSON, for a job's result file and for HTTP; see `from_dict`."""
        return {
            "type": type(self).__name__,
            "title": self.title,
            "message": self.message,
            "hint": self.hint,
        }


class NotFound(LatheError):
    status = 404
    default_title = "Not found"


class Conflict(LatheError):
    status = 409
    default_title = "That does not go together"


class Invalid(LatheError):
    """A value that cannot be used. `row` is zero-based in the input, `field` its name."""

    status = 422
    default_title = "Check this value"

    def __init__(
        self,
        message: str,
        *,
        row: int | None = None,
        field: str | None = None,
        title: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, title=title, hint=hint)
        self.row = row
        self.field = field

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "row": self.row, "field": self.field}


class Forbidden(LatheError):
    status = 403
    default_title = "Not permitted"


class StoreLocked(LatheError):
    status = 423
    default_title = "This workspace is open elsewhere"


class ModelUnavailable(LatheError):
    status = 503
    default_title = "The model is not available"


class OutOfMemory(LatheError):
    status = 507
    default_title = "Not enough memory"


class JobFailed(LatheError):
    default_title = "The job failed"


class Upstream(LatheError):
    status = 502
    default_title = "The endpoint answered with an error"


_BY_NAME: dict[str, type[LatheError]] = {
    kind.__name__: kind
    for kind in (
        LatheError,
        NotFound,
        Conflict,
        Invalid,
        Forbidden,
        StoreLocked,
        ModelUnavailable,
        OutOfMemory,
        JobFailed,
        Upstream,
    )
}


def from_dict(data: dict[str, Any]) -> LatheError:
    """Rebuild an error that crossed a process boundary; unknown types become LatheError."""
    kind = _BY_NAME.get(str(data.get("type")), LatheError)
    extra: dict[str, Any] = {}
    if kind is Invalid:
        extra = {"row": data.get("row"), "field": data.get("field")}
    return kind(
        str(data.get("message", "")), title=data.get("title"), hint=data.get("hint"), **extra
    )
