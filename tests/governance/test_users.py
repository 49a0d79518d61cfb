"""Users, their passwords and links."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.clock import utc_now
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.governance import passwords
from core.governance.permissions import OWNER, Actor
from core.governance.sessions import Sessions
from core.governance.users import Users
from core.store.database import Store

PASSWORD = "turned on a lathe"


def member(users: Users, sessions: Sessions, name: str = "ann", role: str = "engineer") -> Actor:
    token = sessions.redeem_link(users.create(OWNER, name, role)["token"])
    actor = sessions.actor(token)
    assert actor is not None
    users.set_password(actor, PASSWORD, keep_session=token)
    actor = sessions.actor(token)
    assert actor is not None
    return actor


def test_the_first_start_makes_one_admin_and_only_once(users: Users, sessions: Sessions) -> None:
    first = users._first_admin()
    assert first is not None
    name, password, token = first
    by_password = sessions.actor(sessions.sign_in(name, password))
    assert by_password is not None
    assert by_password.role == "newcomer"
    assert sessions.redeem_link(token)
    assert users._first_admin() is None


def test_names_are_folded_checked_and_taken_once(users: Users) -> None:
    users.create(OWNER, " Ann ", "lead")
    with pytest.raises(Conflict, match="'ann'"):
        users.create(OWNER, "ANN", "lead")
    for bad in ("", "-x", "a b", "ann<script>", "x" * 65):
        with pytest.raises(Invalid):
            users.create(OWNER, bad, "lead")
    with pytest.raises(Invalid, match="no role 'root'"):
        users.create(OWNER, "bob", "root")


def test_a_list_shows_no_secrets(users: Users, sessions: Sessions) -> None:
    member(users, sessions)
    row = users.list(OWNER)[0]
    assert "password_hash" not in row
    assert row["last_seen_at"] is not None
    assert users.me(Actor(row["id"], "ann", "engineer"))["name"] == "ann"


def test_only_admins_manage_users(users: Users, sessions: Sessions) -> None:
    ann = member(users, sessions)
    for call in (
        lambda: users.list(ann),
        lambda: users.create(ann, "bob", "admin"),
        lambda: users.set_role(ann, ann.id, "admin"),
        lambda: users.create_link(ann, ann.id),
    ):
        with pytest.raises(Forbidden):
            call()


def test_the_last_admin_stays(users: Users) -> None:
    first = users.create(OWNER, "first", "admin")["id"]
    with pytest.raises(Conflict, match="only admin"):
        users.set_role(OWNER, first, "lead")
    with pytest.raises(Conflict, match="only admin"):
        users.disable(OWNER, first)
    second = users.create(OWNER, "second", "admin")["id"]
    users.disable(OWNER, first)
    with pytest.raises(Conflict):
        users.disable(OWNER, second)


def test_a_role_changes_in_the_running_session(users: Users, sessions: Sessions) -> None:
    ann = member(users, sessions)
    token = sessions.sign_in("ann", PASSWORD)
    users.set_role(OWNER, ann.id, "lead")
    again = sessions.actor(token)
    assert again is not None
    assert again.role == "lead"


def test_a_password_needs_the_present_one_and_ends_other_sessions(
    users: Users, sessions: Sessions
) -> None:
    ann = member(users, sessions)
    here, there = sessions.sign_in("ann", PASSWORD), sessions.sign_in("ann", PASSWORD)
    with pytest.raises(Forbidden, match="current password"):
        users.set_password(ann, "another long one", current="wrong")
    with pytest.raises(Invalid, match="present one"):
        users.set_password(ann, PASSWORD, current=PASSWORD)
    users.set_password(ann, "another long one", current=PASSWORD, keep_session=here)
    assert sessions.actor(here) is not None
    assert sessions.actor(there) is None
    with pytest.raises(Forbidden):
        sessions.sign_in("ann", PASSWORD)


@pytest.mark.parametrize("bad", ["", "short", "aaaaaaaaaaaa", "x" * 2000, "ann-the-great"])
def test_passwords_that_are_too_easy_are_refused(bad: str) -> None:
    with pytest.raises(Invalid):
        passwords.check_new_password(bad, name="Ann-The-Great")


def test_hashes_are_salted_and_compared_whole() -> None:
    first, second = passwords.hash_password("grün"), passwords.hash_password("grün")
    assert first != second
    assert passwords.verify_password("grün", first)
    assert not passwords.verify_password("grun", first)
    assert not passwords.verify_password("", None)
    assert len(passwords.random_password()) == 23


def test_a_new_link_ends_the_one_before(users: Users, sessions: Sessions) -> None:
    made = users.create(OWNER, "ann", "lead")
    second = users.create_link(OWNER, made["id"])
    with pytest.raises(Forbidden):
        sessions.redeem_link(made["token"])
    assert sessions.redeem_link(second)
    with pytest.raises(NotFound):
        users.create_link(OWNER, "user_none")


def test_disabling_ends_everything_and_enabling_brings_no_session_back(
    users: Users, sessions: Sessions
) -> None:
    member(users, sessions, "root", "admin")
    ann = member(users, sessions)
    token, link = sessions.sign_in("ann", PASSWORD), users.create_link(OWNER, ann.id)
    users.disable(OWNER, ann.id)
    assert sessions.actor(token) is None
    with pytest.raises(Forbidden):
        sessions.redeem_link(link)
    with pytest.raises(Forbidden, match="not right"):
        sessions.sign_in("ann", PASSWORD)
    with pytest.raises(Conflict, match="disabled"):
        users.create_link(OWNER, ann.id)
    users.enable(OWNER, ann.id)
    assert sessions.actor(token) is None
    assert sessions.sign_in("ann", PASSWORD)


def test_no_token_and_no_password_is_in_the_database(
    users: Users, sessions: Sessions, store: Store
) -> None:
    link = users.create(OWNER, "ann", "lead")["token"]
    token = sessions.redeem_link(link)
    actor = sessions.actor(token)
    assert actor is not None
    users.set_password(actor, PASSWORD)
    for table in ("users", "sessions", "sign_in_links", "audit_log"):
        content = str(store.rows(f"SELECT * FROM {table}"))
        assert not any(secret in content for secret in (link, token, PASSWORD))


def test_links_and_sessions_grow_old(users: Users, sessions: Sessions, store: Store) -> None:
    link = users.create(OWNER, "ann", "lead")["token"]
    past = {"past": utc_now() - timedelta(seconds=1)}
    store.execute("UPDATE sign_in_links SET expires_at = $past", past)
    with pytest.raises(Forbidden, match="too old"):
        sessions.redeem_link(link)
    ann = member(users, sessions, "bob")
    token = sessions.sign_in("bob", PASSWORD)
    store.execute("UPDATE sessions SET expires_at = $past", past)
    assert sessions.actor(token) is None
    sessions.sign_in("bob", PASSWORD)
    left = store.row("SELECT count(*) AS n FROM sessions WHERE user_id = $id", {"id": ann.id})
    assert left == {"n": 1}  # the old ones are swept out


def test_whoever_reads_the_workspace_learns_names_and_nothing_else(
    users: Users, sessions: Sessions
) -> None:
    ann = member(users, sessions)
    assert users.names(ann) == {OWNER.id: OWNER.name, ann.id: "ann"}
    assert users.names(Actor("x", "x", "lead")) == users.names(ann)
    with pytest.raises(Forbidden):
        users.names(Actor("x", "x", "reviewer"))
