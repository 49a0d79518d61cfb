"""Signing in and out over plain HTTP: only here is the session cookie set and taken away.

Knows: forms, cookies, where to go next. Does not know: passwords, how pages look.
"""

from __future__ import annotations

import http
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from app import plain_pages
from app.guard import COOKIE
from core.errors import Forbidden, Invalid, LatheError
from core.governance.sessions import SESSION_LIFE
from core.workbench import Workbench

MAX_FORM_BYTES = 16 * 1024


class SignIn:
    """The routes over one workbench."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench

    def routes(self) -> list[Route]:
        """What the server mounts; the permissions table names each."""
        return [
            Route("/sign-in", self.form, methods=["GET"]),
            Route("/sign-in", self.sign_in, methods=["POST"]),
            Route("/sign-in/link", self.confirm, methods=["GET"]),
            Route("/sign-in/link", self.redeem, methods=["POST"]),
            Route("/sign-out", self.sign_out, methods=["POST"]),
        ]

    async def form(self, request: Request) -> Response:
        """GET /sign-in; who is signed in already is led on."""
        there = local_path(request.query_params.get("next", ""))
        if await self._actor(request) is not None:
            return _redirect(there)
        return plain_pages.sign_in(there=there)

    async def sign_in(self, request: Request) -> Response:
        """POST /sign-in with name, password and next."""
        form: FormData | None = None
        try:
            form = await _form(request)
            token = await run_in_threadpool(
                self._workbench.sessions.sign_in,
                _text(form, "name"),
                _text(form, "password"),
                client=_client(request),
            )
        except LatheError as error:
            name, there = (_text(form, "name"), _text(form, "next")) if form else ("", "")
            return plain_pages.sign_in(error=error, name=name, there=local_path(there))
        actor = await run_in_threadpool(self._workbench.sessions.actor, token)
        newcomer = actor is not None and actor.role == "newcomer"
        there = "/account" if newcomer else local_path(_text(form, "next"))
        return _with_cookie(_redirect(there), token, request)

    async def confirm(self, request: Request) -> Response:
        """GET /sign-in/link: a button, so that opening the link does not use it up."""
        return plain_pages.confirm_link(request.query_params.get("token", ""))

    async def redeem(self, request: Request) -> Response:
        """POST /sign-in/link: signed in, and on to setting a password."""
        try:
            form = await _form(request)
            token = await run_in_threadpool(
                self._workbench.sessions.redeem_link, _text(form, "token"), client=_client(request)
            )
        except LatheError as error:
            return plain_pages.refused(error)
        return _with_cookie(_redirect("/account"), token, request)

    async def sign_out(self, request: Request) -> Response:
        """POST /sign-out: the session ends on the server, whatever the browser keeps."""
        actor = await self._actor(request)
        if actor is None:
            return plain_pages.refused(Forbidden("You are not signed in.", title="Sign in first"))
        await run_in_threadpool(
            self._workbench.sessions.sign_out, actor, request.cookies.get(COOKIE, "")
        )
        response = _redirect("/sign-in")
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    async def _actor(self, request: Request) -> Any:
        return await run_in_threadpool(self._workbench.sessions.actor, request.cookies.get(COOKIE))


def link_url(url: str, token: str) -> str:
    """The address that redeems a one-time token, at the app's own address."""
    return f"{url}/sign-in/link?token={token}"


def local_path(text: str) -> str:
    """A path on this server to go to next; anything else becomes the start page."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\", "/sign-"))
    return text if plain and text.isprintable() and "\\" not in text else "/"


async def _form(request: Request) -> FormData:
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_FORM_BYTES:
        raise Invalid("That form is too large.")
    return await request.form(max_files=0, max_fields=10)


def _text(form: FormData | None, name: str) -> str:
    value = form.get(name) if form is not None else None
    return value if isinstance(value, str) else ""


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def _redirect(there: str) -> RedirectResponse:
    return RedirectResponse(there, http.HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})


def _with_cookie(response: Response, token: str, request: Request) -> Response:
    # The guard has let the origin through, so https in it means the browser came by TLS.
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(SESSION_LIFE.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=request.headers.get("origin", "").startswith("https://"),
    )
    return response
