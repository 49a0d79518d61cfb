"""The guard in front of everything: who may speak to this server at all, deny by default.

In this order, for HTTP and WebSocket alike:
    Host      one of ours, or 421: a page elsewhere cannot reach us by a name of its own (rebinding)
    Origin    the same host, or 403; missing is fine for reading, and with a Bearer token
    session   needed for all but the public routes of the permissions table and the plain assets;
              a browser is led to /sign-in, everything else gets 401

Knows: hosts, origins, cookies, response headers. Does not know: what is behind.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import http
import ipaddress
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.governance.permissions import NEWCOMER, PUBLIC, ROUTES, Actor

COOKIE = "lathe_session"
ASSETS = ("/static/", "/app/static/", "/favicon.png")  # fonts, scripts and styles: nothing of ours
OWN_CHECK = ("/api/actions/",)  # these routes look at Bearer tokens too, and refuse by themselves
ACCOUNT = "/account"  # where a newcomer sets a password; nothing else is open before
LOOPBACK = ("127.0.0.1", "localhost", "::1")
READING = ("GET", "HEAD", "OPTIONS")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
# 'self' everywhere: even a script that got in could send nothing anywhere.
CONTENT_POLICY = (
    "default-src 'self'; script-src 'self' {scripts} 'wasm-unsafe-eval' blob:; "
    "worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-src 'self' blob: data:; frame-ancestors 'none'"
)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware; `find_actor` maps a session token to its user, or None."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        find_actor: Callable[[str | None], Actor | None],
    ) -> None:
        self._app = app
        self._hosts = {host.casefold() for host in (*LOOPBACK, *hosts)}
        self._find_actor = find_actor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = self._refuse_stranger(connection) or await self._refuse_signed_out(connection)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before accept: HTTP 403
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refuse_stranger(self, connection: HTTPConnection) -> Response | None:
        host = connection.headers.get("host", "")
        if len(connection.headers.getlist("host")) != 1 or _name(host) not in self._hosts:
            return _plain(421, "This name does not lead to this server. See LATHE_ALLOWED_HOSTS.")
        origin = connection.headers.get("origin")
        if origin is not None:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or parts.netloc.casefold() != host.casefold():
                return _plain(403, "A page of another site asked for this.")
        elif not _reads(connection) and bearer(connection) is None:
            return _plain(403, "A request that changes something must name its origin.")
        return None

    async def _refuse_signed_out(self, connection: HTTPConnection) -> Response | None:
        path, method = connection.url.path, connection.scope.get("method", "GET")
        if ROUTES.get(f"{method} {path}") == PUBLIC or path.startswith((*ASSETS, *OWN_CHECK)):
            return None
        token = connection.cookies.get(COOKIE)
        actor = await run_in_threadpool(self._find_actor, token) if token else None
        for_eyes = method == "GET" and "text/html" in connection.headers.get("accept", "")
        if actor is not None:
            if for_eyes and actor.role == NEWCOMER and path != ACCOUNT:
                return RedirectResponse(ACCOUNT, http.HTTPStatus.SEE_OTHER)
            return None
        if for_eyes:
            query = connection.url.query
            there = quote(path + (f"?{query}" if query else ""))
            return RedirectResponse(
                "/sign-in" if path == "/" and not query else f"/sign-in?next={there}",
                http.HTTPStatus.SEE_OTHER,
            )
        return _plain(401, "Sign in first.")


def bearer(connection: HTTPConnection) -> str | None:
    """The token of an `Authorization: Bearer` header."""
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.casefold() == "bearer" else None


def _reads(connection: HTTPConnection) -> bool:
    # A browser always sends Origin with a WebSocket; who does not is no browser.
    return connection.scope.get("method", "GET") in READING


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].casefold()
    return host.rpartition(":")[0].casefold() if ":" in host else host.casefold()


def _plain(status: int, text: str) -> Response:
    return PlainTextResponse(text + "\n", status)


@functools.cache
def content_policy() -> str:
    """The policy, with the hashes of the scripts that stand inside of Streamlit's own page."""
    import streamlit

    index = Path(streamlit.__file__).parent / "static" / "index.html"
    inline = re.findall(r"<script>(.*?)</script>", index.read_text(encoding="utf-8"), re.S)
    digests = (base64.b64encode(hashlib.sha256(code.encode()).digest()) for code in inline)
    return CONTENT_POLICY.format(scripts=" ".join(f"'sha256-{d.decode()}'" for d in digests))


def _with_headers(send: Send) -> Send:
    async def call(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Content-Security-Policy", content_policy())
        await send(message)

    return call
