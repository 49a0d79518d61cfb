"""Sources that are no file: a query on a Postgres server, a dataset on the Hugging Face hub.

    postgresql://user@host:5432/database    with the option `sql`
    hf://owner/name                         with the options `config`, `split`, `revision`

Knows: how an address looks, which of them who may reach. Does not know: how rows are fetched
(formats), versions. A password is apart from its address, in memory alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.datasets.formats import databases as db
from core.datasets.formats.hub import PREFIX
from core.datasets.formats.sql import POSTGRES
from core.datasets.readers import Source, checked_options, finished, open_hub, open_query
from core.errors import Forbidden, Invalid

HUB = "hub"
SCHEMES = ("postgresql://", "postgres://", PREFIX)
SQL = "sql"


@dataclass(frozen=True, slots=True)
class Location:
    """Where rows are."""

    kind: str
    """postgres or hub."""
    address: str
    """A connection string without a password, or the id of a dataset."""
    password: str | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """How people read it."""
        return db.shown_location(self.address) if self.kind == POSTGRES else PREFIX + self.address

    def to_dict(self) -> dict[str, str]:
        """What may be written down: everything but the password."""
        return {"kind": self.kind, "address": self.address}


def is_location(text: object) -> bool:
    """Whether it is an address and not a path."""
    return isinstance(text, str) and text.strip().lower().startswith(SCHEMES)


def location_of(text: str, *, password: str | None = None, trusted: bool = False) -> Location:
    """What an address means; a password in it is taken out of it.

    Who is not `trusted`, the owner at the shell, names the host: a socket of this machine would
    let them in as whoever Lathe runs as. Invalid never repeats what was given.
    """
    text = text.strip()
    if text.lower().startswith(PREFIX):
        return Location(HUB, text[len(PREFIX) :])
    server, secret = db.split_location(text)
    if not trusted and not db.is_remote(server):
        raise Forbidden("A database is reached by the name of its host.", hint="Name the host.")
    return Location(POSTGRES, server, password or secret or None)


def open_location(location: Location, options: Mapping[str, Any] | None = None) -> Source:
    """The rows there, read when they are asked for; the options are those of its format."""
    asked = checked_options(options)
    if location.kind == HUB:
        named = {name: asked.get(name) for name in ("config", "split", "revision")}
        return finished(open_hub(location.address, **named), asked)
    if SQL not in asked:
        raise Invalid("There is no query.", field=SQL, hint="Write one SELECT statement.")
    source = open_query(POSTGRES, location.address, asked[SQL], password=location.password)
    return finished(replace(source, filename=location.shown), asked)
