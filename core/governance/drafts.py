"""Drafts: what a person has typed and not yet saved, so that a reload loses nothing.

Knows: the table drafts, JSON by key and user. Does not know: what a draft means.
"""

from __future__ import annotations

import json
from typing import Any

from core.clock import utc_now
from core.errors import Invalid
from core.governance.permissions import Actor, action
from core.store.database import Store

MAX_BYTES = 1_000_000


class Drafts:
    """The actor's own drafts; nobody else can read them. Not in the audit log: not yet done."""

    noun = "drafts"

    def __init__(self, store: Store) -> None:
        self._store = store

    @action
    def get(self, actor: Actor, key: str) -> Any:
        """What was put under the key, or None."""
        found = self._store.row(
            "SELECT value FROM drafts WHERE user_id = $user AND key = $key",
            {"user": actor.id, "key": key},
        )
        return json.loads(found["value"]) if found else None

    @action
    def put(self, actor: Actor, key: str, value: Any) -> None:
        """Keep a JSON value under the key; None removes it. Invalid above a megabyte.

        Writing what is there already writes nothing, so pages may put at every rerun.
        """
        if len(key) > 200:
            raise Invalid("A draft's key has at most 200 characters.", field="key")
        text = json.dumps(value, ensure_ascii=False)
        if len(text.encode()) > MAX_BYTES:
            raise Invalid("The draft is too large to keep.", hint="Save it as a version instead.")
        if self.get(actor, key) == json.loads(text):
            return
        parameters = {"user": actor.id, "key": key, "value": text, "now": utc_now()}
        if value is None:
            del parameters["value"], parameters["now"]
            self._store.execute(
                "DELETE FROM drafts WHERE user_id = $user AND key = $key", parameters
            )
            return
        self._store.execute(
            "INSERT OR REPLACE INTO drafts (user_id, key, value, updated_at)"
            " VALUES ($user, $key, $value, $now)",
            parameters,
        )
