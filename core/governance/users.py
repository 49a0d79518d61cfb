"""Users: names, roles, passwords and the one-time links that let them in.

Knows: the tables users and sign_in_links. Does not know: sessions, cookies, HTTP.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from typing import Any

from core.clock import utc_now
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.governance import audit
from core.governance.passwords import (
    check_new_password,
    hash_password,
    random_password,
    verify_password,
)
from core.governance.permissions import OWNER, ROLES, Actor, action
from core.ids import new_id
from core.store.database import Row, Store

LINK_LIFE = timedelta(hours=24)
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_PUBLIC_COLUMNS = "id, name, role, must_set_password, created_at, disabled_at"


class Users:
    """Who may sign in. Names are lower case; a user is disabled, never deleted."""

    noun = "users"

    def __init__(self, store: Store) -> None:
        self._store = store

    @action
    def list(self, actor: Actor) -> list[Row]:
        """By name, with `last_seen_at`, the newest sign-in, where there was one."""
        return self._store.rows(
            f"""
            SELECT {_PUBLIC_COLUMNS}, (
                SELECT max(created_at) FROM sessions s WHERE s.user_id = users.id
            ) AS last_seen_at
            FROM users ORDER BY name
            """  # noqa: S608
        )

    @action
    def me(self, actor: Actor) -> Row:
        """The actor's own row; NotFound for the local owner, who has none."""
        return self._get(actor.id)

    @action
    def names(self, actor: Actor) -> dict[str, str]:
        """Name by id, the local owner and disabled users included: to say who made something."""
        found = self._store.rows("SELECT id, name FROM users")
        return {OWNER.id: OWNER.name, **{row["id"]: row["name"] for row in found}}

    @action
    def create(self, actor: Actor, name: str, role: str) -> dict[str, str]:
        """A new user; returns `id`, and `token` for a one-time link that is shown once."""
        user_id = self._insert(name, role, password=None)
        audit.record(self._store, actor, "users.create", user_id, name=name, role=role)
        return {"id": user_id, "token": self._new_link(user_id)}

    @action
    def set_role(self, actor: Actor, user_id: str, role: str) -> None:
        """Give another role; Conflict when that would leave nobody who administers."""
        user = self._get(user_id)
        _check_role(role)
        if user["role"] == "admin" and role != "admin":
            self._keep_an_admin(user_id)
        self._update(user_id, role=role)
        audit.record(self._store, actor, "users.set_role", user_id, old=user["role"], new=role)

    @action
    def disable(self, actor: Actor, user_id: str) -> None:
        """Lock a user out: sessions and links end now, what they made stays."""
        user = self._get(user_id)
        if user["role"] == "admin":
            self._keep_an_admin(user_id)
        self._update(user_id, disabled_at=utc_now())
        self._end_links(user_id)
        audit.record(self._store, actor, "users.disable", user_id)

    @action
    def enable(self, actor: Actor, user_id: str) -> None:
        """Let a disabled user in again; old sessions stay ended."""
        self._get(user_id)
        self._store.execute(
            "UPDATE sessions SET revoked_at = $now WHERE user_id = $id AND revoked_at IS NULL",
            {"id": user_id, "now": utc_now()},
        )
        self._update(user_id, disabled_at=None)
        audit.record(self._store, actor, "users.enable", user_id)

    @action
    def create_link(self, actor: Actor, user_id: str) -> str:
        """The token of a new one-time link, valid for a day; earlier links end."""
        user = self._get(user_id)
        if user["disabled_at"] is not None:
            raise Conflict("This user is disabled.", hint="Enable the user first.")
        token = self._new_link(user_id)
        audit.record(self._store, actor, "users.create_link", user_id)
        return token

    @action
    def set_password(
        self, actor: Actor, password: str, *, current: str = "", keep_session: str = ""
    ) -> None:
        """Change the own password; ends every other session of the user.

        `current` is asked unless the user came by a one-time link. `keep_session` is the token
        of the session that goes on. Raises Forbidden when `current` is wrong.
        """
        row = self._store.get("users", actor.id, noun="user")
        check_new_password(password, name=row["name"])
        if not row["must_set_password"] and not verify_password(current, row["password_hash"]):
            raise Forbidden("The current password is not right.", title="Password not changed")
        if verify_password(password, row["password_hash"]):
            raise Invalid("Take a password that is not the present one.", field="password")
        self._update(actor.id, password_hash=hash_password(password), must_set_password=False)
        self._store.execute(
            """
            UPDATE sessions SET revoked_at = $now
            WHERE user_id = $id AND revoked_at IS NULL AND token_hash <> $keep
            """,
            {"id": actor.id, "now": utc_now(), "keep": token_hash(keep_session)},
        )
        self._end_links(actor.id)
        audit.record(self._store, actor, "users.set_password", actor.id)

    def _first_admin(self) -> tuple[str, str, str] | None:
        """(name, password, link token) of the admin made in an empty home; None later on."""
        if self._store.row("SELECT 1 AS one FROM users LIMIT 1") is not None:
            return None
        password = random_password()
        user_id = self._insert("admin", "admin", password=password)
        audit.record(self._store, None, "users.create", user_id, name="admin", role="admin")
        return "admin", password, self._new_link(user_id)

    def _by_name(self, name: str) -> Row | None:
        return self._store.row(
            "SELECT * FROM users WHERE name = $name", {"name": name.strip().casefold()}
        )

    def _insert(self, name: str, role: str, *, password: str | None) -> str:
        name = name.strip().casefold()
        if not _NAME.fullmatch(name):
            raise Invalid(
                "A name has up to 64 of a-z, 0-9 and . _ @ - and begins with a letter or digit.",
                field="name",
            )
        _check_role(role)
        with self._store.transaction():  # holds the write lock: two cannot take the name at once
            if self._by_name(name) is not None:
                raise Conflict(f"There is a user {name!r} already.", title="The name is taken")
            user_id = new_id("user")
            self._store.insert(
                "users",
                {
                    "id": user_id,
                    "name": name,
                    "role": role,
                    "password_hash": hash_password(password) if password else None,
                    "must_set_password": True,
                    "created_at": utc_now(),
                },
            )
        return user_id

    def _get(self, user_id: str) -> Row:
        found = self._store.row(
            f"SELECT {_PUBLIC_COLUMNS} FROM users WHERE id = $id",  # noqa: S608
            {"id": user_id},
        )
        if found is None:
            raise NotFound(f"There is no user with the id {user_id!r}.")
        return found

    def _update(self, user_id: str, **values: Any) -> None:
        settings = ", ".join(f"{name} = ${name}" for name in values)
        self._store.execute(
            f"UPDATE users SET {settings} WHERE id = $id",  # noqa: S608
            {**values, "id": user_id},
        )

    def _keep_an_admin(self, without: str) -> None:
        other = self._store.row(
            "SELECT 1 AS one FROM users"
            " WHERE role = 'admin' AND disabled_at IS NULL AND id <> $id LIMIT 1",
            {"id": without},
        )
        if other is None:
            raise Conflict("This is the only admin left.", hint="Make another user an admin first.")

    def _new_link(self, user_id: str) -> str:
        token = secrets.token_urlsafe(32)
        now = utc_now()
        self._end_links(user_id)
        self._store.insert(
            "sign_in_links",
            {
                "token_hash": token_hash(token),
                "user_id": user_id,
                "created_at": now,
                "expires_at": now + LINK_LIFE,
            },
        )
        return token

    def _end_links(self, user_id: str) -> None:
        self._store.execute(
            "UPDATE sign_in_links SET used_at = $now WHERE user_id = $id AND used_at IS NULL",
            {"id": user_id, "now": utc_now()},
        )


def token_hash(token: str) -> str:
    """What the database keeps of a token: tokens are random, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise Invalid(f"There is no role {role!r}.", field="role", hint=", ".join(ROLES))
