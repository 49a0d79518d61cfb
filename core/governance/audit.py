"""The audit log: who did what to which object, when. Append-only.

Knows: the audit_log table. Does not know: why.
"""

from __future__ import annotations

import json
from typing import Any

from core.clock import utc_now
from core.governance.permissions import Actor, action
from core.ids import new_id
from core.store.database import Row, Store


class Audit:
    """Written by every service that changes something, read by admins and leads."""

    noun = "audit"

    def __init__(self, store: Store) -> None:
        self._store = store

    @action
    def list(
        self,
        actor: Actor,
        *,
        user_id: str | None = None,
        action_prefix: str = "",
        before: str | None = None,
        limit: int = 200,
    ) -> list[Row]:
        """Newest first, with the user's name; `before` is the last id of the page before."""
        return self._store.rows(
            """
            SELECT a.*, coalesce(u.name, a.user_id) AS user_name
            FROM audit_log a LEFT JOIN users u ON u.id = a.user_id
            WHERE ($user_id IS NULL OR a.user_id = $user_id)
              AND starts_with(a.action, $prefix)
              AND ($before IS NULL OR a.id < $before)
            ORDER BY a.id DESC LIMIT $limit
            """,
            {"user_id": user_id, "prefix": action_prefix, "before": before, "limit": limit},
        )


def record(
    store: Store, actor: Actor | None, what: str, object_id: str = "", **detail: Any
) -> None:
    """Add one line; `what` is the action's name as the permissions table has it."""
    store.insert(
        "audit_log",
        {
            "id": new_id("audit"),
            "recorded_at": utc_now(),
            "user_id": actor.id if actor else None,
            "action": what,
            "object_id": object_id,
            "detail": json.dumps(detail, default=str),
        },
    )
