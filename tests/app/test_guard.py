"""The guard, over a real Starlette app: who is let through, and who is told what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.guard import COOKIE, Guard, content_policy, is_loopback
from core.governance.permissions import NEWCOMER, Actor

ACTORS = {
    "good": Actor("u1", "ann", "engineer"),
    "new": Actor("u2", "bob", NEWCOMER),
}
HTML = {"accept": "text/html"}
SIGNED_IN = {"cookie": f"{COOKIE}=good"}
HOST = {"host": "127.0.0.1:8501"}  # the test client gives WebSockets a host of its own


def reached(request: Request) -> PlainTextResponse:
    return PlainTextResponse("reached")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("reached")
    await websocket.close()


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = Starlette(
        routes=[
            WebSocketRoute("/_stcore/stream", socket),
            Route("/{path:path}", reached, methods=["GET", "POST", "PUT", "DELETE"]),
        ],
        middleware=[
            Middleware(Guard, hosts=["lathe.example"], find_actor=lambda t: ACTORS.get(t or ""))
        ],
    )
    with TestClient(app, base_url="http://127.0.0.1:8501", follow_redirects=False) as opened:
        yield opened


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8501", "localhost", "LOCALHOST:1", "[::1]:8501", "lathe.example"]
)
def test_our_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.", "", "lathe.example.evil", "0.0.0.0"],
)
def test_another_name_is_refused_before_anything_else(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"host": host, **SIGNED_IN}).status_code == 421
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/_stcore/stream", headers={"host": host, **SIGNED_IN}),
    ):
        pass


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "http://127.0.0.1",
        "file://",
        "http://127.0.0.1:8501@evil.example",
        "chrome-extension://127.0.0.1:8501",
    ],
)
def test_a_page_of_another_site_can_do_nothing(client: TestClient, origin: str) -> None:
    headers = {"origin": origin, **SIGNED_IN}
    assert client.post("/sign-out", headers=headers).status_code == 403
    assert client.get("/jobs", headers=headers).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/_stcore/stream", headers=headers),
    ):
        pass


def test_changing_something_needs_an_origin_or_a_token(client: TestClient) -> None:
    ours = {"origin": "http://127.0.0.1:8501", **SIGNED_IN}
    assert client.post("/sign-out", headers=ours).status_code == 200
    assert client.post("/sign-out", headers=SIGNED_IN).status_code == 403
    assert client.delete("/_stcore/upload_file/x", headers=SIGNED_IN).status_code == 403
    bearer = {"authorization": "Bearer x"}
    assert client.post("/api/actions/a/b", headers=bearer).status_code == 200


def test_a_proxy_with_tls_is_the_same_origin(client: TestClient) -> None:
    headers = {"host": "lathe.example", "origin": "https://lathe.example", **SIGNED_IN}
    assert client.post("/sign-out", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/jobs", "/_stcore/host-config", "/_stcore/metrics", "/media/x", "/static", "/x"]
)
def test_without_a_session_nothing_of_ours_is_shown(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers={"cookie": f"{COOKIE}=bad"}).status_code == 401
    there = client.get(path, headers=HTML)
    assert there.status_code == 303
    assert there.headers["location"].startswith("/sign-in")


def test_the_way_back_is_kept(client: TestClient) -> None:
    there = client.get("/jobs?state=failed&kind=run", headers=HTML)
    assert there.headers["location"] == "/sign-in?next=/jobs%3Fstate%3Dfailed%26kind%3Drun"


def test_the_stream_needs_a_session(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/_stcore/stream", headers=HOST),
    ):
        pass
    with client.websocket_connect("/_stcore/stream", headers={**HOST, **SIGNED_IN}) as stream:
        assert stream.receive_text() == "reached"


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/link", "/healthz", "/static/js/x.js"])
def test_public_is_what_the_table_says_and_the_plain_assets(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/sign-in/", "/healthz/x", "/sign-in/link/x", "//sign-in"])
def test_near_a_public_path_is_not_public(client: TestClient, path: str) -> None:
    assert client.get(f"http://127.0.0.1:8501{path}").status_code == 401


def test_a_newcomer_is_led_to_set_a_password(client: TestClient) -> None:
    newcomer = {"cookie": f"{COOKIE}=new", **HTML}
    assert client.get("/users", headers=newcomer).headers["location"] == "/account"
    assert client.get("/account", headers=newcomer).status_code == 200


def test_every_answer_carries_the_headers_refusals_too(client: TestClient) -> None:
    for answer in (client.get("/healthz"), client.get("/"), client.get("/", headers={"host": "x"})):
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "connect-src 'self'" in answer.headers["content-security-policy"]


def test_the_policy_allows_streamlits_own_inline_script_by_its_hash() -> None:
    assert "'sha256-" in content_policy()
    assert "'unsafe-inline'" not in content_policy().split("style-src")[0]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("lathe.example", False)],
)  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
