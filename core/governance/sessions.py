"""Sessions: how a person at a browser becomes an actor.

Knows: the table sessions, and how to use up a one-time link. Does not know: cookies, HTTP.
The database keeps hashes of tokens only: who reads it can sign in as nobody.
"""

from __future__ import annotations

import secrets
from datetime import timedelta

from core.clock import utc_now
from core.errors import Forbidden
from core.governance import audit
from core.governance.attempts import Attempts
from core.governance.passwords import verify_password
from core.governance.permissions import NEWCOMER, Actor, action, open_action
from core.governance.users import Users, token_hash
from core.store.database import Row, Store

SESSION_LIFE = timedelta(days=14)


class Sessions:
    """Signing in by password or by one-time link, and out."""

    noun = "sessions"

    def __init__(self, store: Store, users: Users) -> None:
        self._store = store
        self._users = users
        self._by_name = Attempts(limit=10, window_s=300)
        self._by_client = Attempts(limit=30, window_s=300)

    @open_action
    def sign_in(self, name: str, password: str, *, client: str = "") -> str:
        """A new session's token; Forbidden, always in the same words, when it does not fit.

        `client` is the address that asks: guesses are limited by name and by address.
        """
        name = name.strip().casefold()
        self._by_name.check(name)
        self._by_client.check(client)
        user = self._users._by_name(name)
        fits = verify_password(password, user["password_hash"] if user else None)
        if user is None or not fits or user["disabled_at"] is not None:
            self._by_name.failed(name)
            self._by_client.failed(client)
            raise Forbidden("The name or the password is not right.", title="Not signed in")
        self._by_name.forget(name)
        return self._new(user, "password")

    @open_action
    def redeem_link(self, token: str, *, client: str = "") -> str:
        """Use up a one-time link and return a new session's token; the user sets a password next.

        Raises Forbidden when the link is unknown, used, too old, or its user is disabled.
        """
        self._by_client.check(client)
        with self._store.transaction() as connection:  # the lock makes "once" true
            link = self._store.row(
                """
                SELECT l.token_hash, u.* FROM sign_in_links l JOIN users u ON u.id = l.user_id
                WHERE l.token_hash = $hash AND l.used_at IS NULL AND l.expires_at > $now
                  AND u.disabled_at IS NULL
                """,
                {"hash": token_hash(token), "now": utc_now()},
            )
            if link is not None:
                connection.execute(
                    "UPDATE sign_in_links SET used_at = $now WHERE token_hash = $hash",
                    {"hash": link["token_hash"], "now": utc_now()},
                )
        if link is None:
            self._by_client.failed(client)
            raise Forbidden(
                "This link has been used, or is too old.",
                title="The link does not work",
                hint="Sign in with your password, or ask an admin for a new link.",
            )
        self._store.execute(
            "UPDATE users SET must_set_password = true WHERE id = $id", {"id": link["id"]}
        )
        return self._new(link, "link")

    @open_action
    def actor(self, token: str | None) -> Actor | None:
        """Whose session it is; None when it has ended, or never was.

        Who has still to set a password acts as a newcomer: nothing but the own account.
        """
        if not token:
            return None
        user = self._store.row(
            """
            SELECT u.id, u.name, u.role, u.must_set_password
            FROM sessions s JOIN users u ON u.id = s.user_id
            WHERE s.token_hash = $hash AND s.revoked_at IS NULL AND s.expires_at > $now
              AND u.disabled_at IS NULL
            """,
            {"hash": token_hash(token), "now": utc_now()},
        )
        if user is None:
            return None
        role = NEWCOMER if user["must_set_password"] else user["role"]
        return Actor(id=user["id"], name=user["name"], role=role)

    @action
    def sign_out(self, actor: Actor, token: str) -> None:
        """End the actor's session with that token; harmless when it has ended."""
        self._store.execute(
            """
            UPDATE sessions SET revoked_at = $now
            WHERE token_hash = $hash AND user_id = $user AND revoked_at IS NULL
            """,
            {"hash": token_hash(token), "user": actor.id, "now": utc_now()},
        )
        audit.record(self._store, actor, "sessions.sign_out", actor.id)

    def _new(self, user: Row, by: str) -> str:
        token = secrets.token_urlsafe(32)
        now = utc_now()
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM sessions WHERE expires_at < $now", {"now": now})
        self._store.insert(
            "sessions",
            {
                "token_hash": token_hash(token),
                "user_id": user["id"],
                "created_at": now,
                "expires_at": now + SESSION_LIFE,
            },
        )
        actor = Actor(id=user["id"], name=user["name"], role=user["role"])
        audit.record(self._store, actor, "sessions.sign_in", actor.id, by=by)
        return token
