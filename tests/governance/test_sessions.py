"""Signing in: once by a link, in the same words whatever is wrong, not too often."""

from __future__ import annotations

import threading

import pytest

from core.errors import Forbidden
from core.governance.attempts import MAX_KEYS, Attempts
from core.governance.audit import Audit
from core.governance.permissions import OWNER
from core.governance.sessions import Sessions
from core.governance.users import Users
from core.store.database import Store


def test_a_link_works_once_even_for_two_at_the_same_time(users: Users, sessions: Sessions) -> None:
    link = users.create(OWNER, "ann", "lead")["token"]
    outcomes: list[str] = []
    barrier = threading.Barrier(8)

    def redeem() -> None:
        barrier.wait()
        try:
            sessions.redeem_link(link)
            outcomes.append("in")
        except Forbidden:
            outcomes.append("refused")

    threads = [threading.Thread(target=redeem) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in", *["refused"] * 7]


def test_who_does_not_exist_is_told_the_same_as_who_mistypes(
    users: Users, sessions: Sessions
) -> None:
    users._first_admin()
    with pytest.raises(Forbidden) as mistyped:
        sessions.sign_in("admin", "wrong")
    with pytest.raises(Forbidden) as nobody:
        sessions.sign_in("nobody", "wrong")
    assert mistyped.value.to_dict() == nobody.value.to_dict()


def test_guessing_is_stopped_by_name_and_by_address(users: Users, sessions: Sessions) -> None:
    first = users._first_admin()
    assert first is not None
    name, password, link = first
    for n in range(10):
        with pytest.raises(Forbidden, match="not right"):
            sessions.sign_in(name, f"guess {n}", client=f"10.0.0.{n}")
    with pytest.raises(Forbidden, match="too many"):
        sessions.sign_in(name, password, client="10.0.0.99")
    for n in range(30):
        with pytest.raises(Forbidden, match="used, or is too old"):
            sessions.redeem_link(f"guess {n}", client="10.0.1.1")
    with pytest.raises(Forbidden, match="too many"):
        sessions.redeem_link(link, client="10.0.1.1")
    assert sessions.redeem_link(link, client="10.0.1.2")  # the way out for who is locked out


def test_attempts_are_forgotten_after_a_while_and_never_fill_the_memory() -> None:
    now = [0.0]
    attempts = Attempts(2, 60, clock=lambda: now[0])
    attempts.failed("a")
    now[0] = 30.0
    attempts.failed("a")
    with pytest.raises(Forbidden) as error:
        attempts.check("a")
    assert "30 seconds" in (error.value.hint or "")
    now[0] = 61.0
    attempts.check("a")
    attempts.failed("a")
    attempts.forget("a")
    attempts.check("a")
    for n in range(MAX_KEYS + 50):
        attempts.failed(str(n))
    assert len(attempts._failures) == MAX_KEYS


def test_signing_out_ends_the_own_session_only(users: Users, sessions: Sessions) -> None:
    tokens = {
        name: sessions.redeem_link(users.create(OWNER, name, "lead")["token"])
        for name in ("ann", "bob")
    }
    ann = sessions.actor(tokens["ann"])
    assert ann is not None
    sessions.sign_out(ann, tokens["bob"])
    assert sessions.actor(tokens["bob"]) is not None
    sessions.sign_out(ann, tokens["ann"])
    assert sessions.actor(tokens["ann"]) is None


@pytest.mark.parametrize("token", [None, "", "x", "ü" * 10_000])
def test_a_made_up_token_is_nobody(sessions: Sessions, token: str | None) -> None:
    assert sessions.actor(token) is None


def test_signing_in_and_out_is_in_the_audit_log(
    users: Users, sessions: Sessions, store: Store
) -> None:
    token = sessions.redeem_link(users.create(OWNER, "ann", "lead")["token"])
    ann = sessions.actor(token)
    assert ann is not None
    sessions.sign_out(ann, token)
    lines = Audit(store).list(OWNER, action_prefix="sessions.")
    assert [line["action"] for line in lines] == ["sessions.sign_out", "sessions.sign_in"]
    assert {line["user_name"] for line in lines} == {"ann"}
