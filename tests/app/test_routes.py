"""Our own routes in front of a real workbench, without Streamlit: forms, cookies, actions."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from app import plain_pages, server
from app.guard import COOKIE, Guard
from app.sign_in import local_path
from core.governance.permissions import ACTIONS
from core.workbench import OWNER, Workbench

PASSWORD = "turned on a lathe"
OWNER_TOKEN = "the card's token"
BASE = "http://127.0.0.1:8501"
BEARER = {"Authorization": f"Bearer {OWNER_TOKEN}"}


@pytest.fixture
def client(workbench: Workbench) -> Iterator[TestClient]:
    app = Starlette(
        routes=server.routes(workbench, OWNER_TOKEN),
        middleware=[Middleware(Guard, hosts=(), find_actor=workbench.sessions.actor)],
    )
    headers = {"Origin": BASE}
    with TestClient(app, base_url=BASE, headers=headers, follow_redirects=False) as opened:
        yield opened


def invite(workbench: Workbench, role: str = "engineer", name: str = "ann") -> str:
    return workbench.users.create(OWNER, name, role)["token"]


def enter(client: TestClient, workbench: Workbench, role: str = "engineer") -> None:
    client.post("/sign-in/link", data={"token": invite(workbench, role)})
    call(client, "users", "set_password", PASSWORD, keep_session=client.cookies[COOKIE])


def call(
    client: TestClient, noun: str, verb: str, *args: Any, _headers: Any = None, **kwargs: Any
) -> httpx.Response:
    body = {"args": list(args), "kwargs": kwargs}
    return client.post(f"/api/actions/{noun}/{verb}", json=body, headers=_headers)


def test_healthz(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_opening_a_link_does_not_use_it_up_redeeming_does(
    client: TestClient, workbench: Workbench
) -> None:
    token = invite(workbench)
    for _ in range(2):
        shown = client.get("/sign-in/link", params={"token": token})
        assert token in shown.text
        assert COOKIE not in client.cookies
    done = client.post("/sign-in/link", data={"token": token})
    assert (done.status_code, done.headers["location"]) == (303, "/account")
    cookie = done.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age="))
    assert "Secure" not in cookie
    again = client.post("/sign-in/link", data={"token": token})
    assert again.status_code == 403
    assert "has been used" in again.text


def test_a_browser_that_came_by_tls_gets_a_secure_cookie(workbench: Workbench) -> None:
    app = Starlette(
        routes=server.routes(workbench, OWNER_TOKEN),
        middleware=[
            Middleware(Guard, hosts=["lathe.example"], find_actor=workbench.sessions.actor)
        ],
    )
    with TestClient(app, base_url="http://lathe.example", follow_redirects=False) as client:
        done = client.post(
            "/sign-in/link",
            data={"token": invite(workbench)},
            headers={"Origin": "https://lathe.example"},
        )
    assert "Secure" in done.headers["set-cookie"]


def test_signing_in_by_password_leads_where_one_wanted(
    client: TestClient, workbench: Workbench
) -> None:
    enter(client, workbench)
    client.cookies.clear()
    form = {"name": "Ann", "password": PASSWORD, "next": "/jobs?state=failed"}
    done = client.post("/sign-in", data=form)
    assert (done.status_code, done.headers["location"]) == (303, "/jobs?state=failed")
    assert client.get("/sign-in").headers["location"] == "/"
    assert client.post("/sign-out").headers["location"] == "/sign-in"
    assert COOKIE not in client.cookies
    assert client.get("/sign-in").status_code == 200


def test_what_does_not_fit_is_said_in_the_form(client: TestClient) -> None:
    form = {"name": '"><script>', "password": "wrong", "next": "//evil.example"}
    answer = client.post("/sign-in", data=form)
    assert answer.status_code == 403
    assert "not right" in answer.text
    assert "<script" not in answer.text
    assert "evil.example" not in answer.text
    assert "wrong" not in answer.text


def test_too_many_guesses_are_stopped(client: TestClient) -> None:
    for _ in range(10):
        client.post("/sign-in", data={"name": "ann", "password": "x"})
    assert "too many" in client.post("/sign-in", data={"name": "ann", "password": "x"}).text


def test_a_form_that_is_too_large_is_not_read(client: TestClient) -> None:
    answer = client.post("/sign-in", data={"name": "ann", "password": "x" * 20_000})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("/jobs?state=failed", "/jobs?state=failed"),
        ("", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("/jobs\r\nSet-Cookie: a=b", "/"),
        ("/x\\y", "/"),
        ("javascript:alert(1)", "/"),
        ("/sign-out", "/"),
    ],
)
def test_after_signing_in_one_stays_on_this_server(asked: str, given: str) -> None:
    assert local_path(asked) == given


def test_the_pages_have_both_appearances_no_script_and_a_matching_policy() -> None:
    page = plain_pages.sign_in()
    text = bytes(page.body).decode()
    assert "prefers-color-scheme: dark" in text
    assert "<script" not in text
    assert re.search(r"style-src 'sha256-\S+'", page.headers["content-security-policy"])
    assert page.headers["cache-control"] == "no-store"


def test_actions_are_done_as_the_session_s_user(client: TestClient, workbench: Workbench) -> None:
    enter(client, workbench)
    assert call(client, "users", "me").json()["result"]["name"] == "ann"
    assert call(client, "drafts", "put", "k", {"a": 1}).json() == {"result": None}
    assert call(client, "drafts", "get", key="k").json()["result"] == {"a": 1}
    refused = call(client, "users", "list")
    assert refused.status_code == 403
    assert refused.json()["type"] == "Forbidden"


def test_a_session_token_works_as_bearer_and_the_card_s_token_is_the_owner(
    client: TestClient, workbench: Workbench
) -> None:
    enter(client, workbench)
    session = {"Authorization": f"Bearer {client.cookies[COOKIE]}"}
    client.cookies.clear()
    del client.headers["Origin"]
    assert call(client, "users", "me", _headers=session).json()["result"]["name"] == "ann"
    assert [u["name"] for u in call(client, "users", "list", _headers=BEARER).json()["result"]] == [
        "ann"
    ]
    assert call(client, "users", "list").status_code == 403  # neither origin nor token


def test_a_newcomer_may_set_a_password_and_nothing_else(
    client: TestClient, workbench: Workbench
) -> None:
    client.post("/sign-in/link", data={"token": invite(workbench, "admin")})
    assert call(client, "users", "list").status_code == 403
    assert call(client, "users", "set_password", PASSWORD).status_code == 200


def test_who_is_nobody_gets_401(client: TestClient) -> None:
    assert call(client, "users", "me").status_code == 401
    wrong = {"Authorization": "Bearer wrong"}
    assert call(client, "jobs", "list", _headers=wrong).status_code == 401


@pytest.mark.parametrize(
    ("noun", "verb"),
    [
        ("sessions", "sign_in"),
        ("sessions", "actor"),
        ("store", "execute"),
        ("users", "_first_admin"),
        ("users", "noun"),
        ("users", "__class__"),
        ("settings", "from_env"),
        ("nothing", "there"),
    ],
)
def test_what_is_not_on_the_list_is_not_there(client: TestClient, noun: str, verb: str) -> None:
    assert call(client, noun, verb, _headers=BEARER).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"args": {}}',
        b'{"kwargs": []}',
        b'{"args": [{"$": "os.system", "v": "id"}]}',
        b'{"args": ["too", "many", "for", "it"]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_none_is_refused_with_a_reason(client: TestClient, body: bytes) -> None:
    answer = client.post("/api/actions/users/me", content=body, headers=BEARER)
    assert answer.status_code == 422
    assert answer.json()["message"]


def test_bytes_and_job_payloads_are_for_the_owner(client: TestClient, workbench: Workbench) -> None:
    enter(client, workbench)
    data = {"$": "bytes", "v": "aGVsbG8="}
    assert call(client, "drafts", "put", "k", data).status_code == 422
    job = ("selftest", "Self test", {"steps": 1})
    assert call(client, "jobs", "start", *job).status_code == 403
    assert call(client, "jobs", "start", *job, _headers=BEARER).status_code == 200


def test_an_unexpected_error_shows_an_id_and_nothing_else(
    client: TestClient, workbench: Workbench, caplog: pytest.LogCaptureFixture
) -> None:
    workbench.store.execute("DROP TABLE drafts")
    with caplog.at_level(logging.ERROR):
        answer = call(client, "drafts", "get", "k", _headers=BEARER)
    assert answer.status_code == 500
    error_id = re.search(r"err_\w+", answer.json()["hint"])
    assert error_id is not None
    assert error_id[0] in caplog.text
    assert "drafts failed" not in answer.text
    assert "Catalog" not in answer.text


def test_every_action_of_the_table_is_either_callable_or_named_as_never() -> None:
    from app.actions import ALLOWED, NEVER, OWNER_ONLY

    assert set(ACTIONS) == ALLOWED | NEVER
    assert OWNER_ONLY <= ALLOWED
