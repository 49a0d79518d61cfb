"""The server: Streamlit and Lathe's own routes in one process, behind the guard.

Knows: how the parts are put together, started and stopped. Does not know: what they do.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import Any, NoReturn

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app import resources, shell
from app.actions import ActionsRoute
from app.guard import Guard, is_loopback
from app.remote import CARD, write_card
from app.sign_in import SignIn
from core.errors import Conflict, Invalid
from core.settings import PROJECT_ROOT, Settings
from core.workbench import Workbench

log = logging.getLogger(__name__)

GRACE_S = 3  # how long open connections may take to end


def bind(settings: Settings) -> socket.socket:
    """Take the port before anything else is opened; Conflict says who to look for when it is taken.

    Refuses, with Invalid, to listen beyond this machine unless LATHE_ALLOWED_HOSTS names the hosts
    that a reverse proxy with TLS answers for.
    """
    if not is_loopback(settings.host) and not settings.allowed_hosts:
        raise Invalid(
            f"{settings.host} can be reached from other machines.",
            field="LATHE_HOST",
            hint="Put a reverse proxy with TLS in front and name its hosts in LATHE_ALLOWED_HOSTS.",
        )
    found = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((settings.host, settings.port))
        found.listen(128)
    except OSError as error:
        found.close()
        raise Conflict(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}.",
            title="The port is taken",
            hint="Stop what uses it, or choose another with --port or LATHE_PORT.",
        ) from None
    return found


def url_of(settings: Settings, listening: socket.socket) -> str:
    """Where a browser on this machine finds the app."""
    port = listening.getsockname()[1]
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def routes(workbench: Workbench, owner_token: str) -> list[Route]:
    """Every route of ours; a test compares them with the permissions table."""

    def healthz(request: Request) -> JSONResponse:
        workbench.store.row("SELECT 1 AS one")
        return JSONResponse({"status": "ok"})

    return [
        Route("/healthz", healthz, methods=["GET"]),
        *SignIn(workbench).routes(),
        *ActionsRoute(workbench, owner_token).routes(),
    ]


def build(workbench: Workbench, owner_token: str, *, on_ready: Callable[[], Any] = int) -> Any:
    """The ASGI app over an open workbench; `on_ready` is called once it answers."""
    import streamlit as st

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        on_ready()
        yield

    settings = workbench.settings
    hosts = [*settings.allowed_hosts, *([settings.host] if is_loopback(settings.host) else [])]
    return st.App(
        PROJECT_ROOT / "app" / "main.py",
        routes=routes(workbench, owner_token),
        middleware=[
            Middleware(Guard, hosts=hosts, find_actor=workbench.sessions.actor),
        ],
        lifespan=lifespan,
        on_script_error=shell.on_error,
    )


def serve(
    workbench: Workbench, listening: socket.socket, *, on_ready: Callable[[], Any] = int
) -> None:
    """Serve until SIGTERM or Ctrl+C; the caller closes the workbench."""
    import uvicorn
    from streamlit.runtime.runtime_util import get_max_message_size_bytes

    settings = workbench.settings
    _configure_streamlit(settings, listening)
    card = write_card(settings.home, url_of(settings, listening))
    resources.provide(workbench)
    try:
        server = uvicorn.Server(
            uvicorn.Config(
                build(workbench, card.token, on_ready=on_ready),
                access_log=False,  # a one-time link's token is in its query
                log_level="warning",
                ws="websockets-sansio",
                ws_max_size=get_max_message_size_bytes(),
                timeout_graceful_shutdown=GRACE_S,
                server_header=False,
                proxy_headers=False,  # the address that asks is who we limit guesses by
            )
        )
        with _terminating_cleanly():
            server.run(sockets=[listening])
    finally:
        resources.provide(None)
        with contextlib.suppress(FileNotFoundError):
            (settings.home / CARD).unlink()


def _configure_streamlit(settings: Settings, listening: socket.socket) -> None:
    from streamlit.web.bootstrap import load_config_options

    os.chdir(PROJECT_ROOT)  # .streamlit/config.toml is looked for where we stand
    load_config_options(
        {
            "server.port": listening.getsockname()[1],
            "server.address": settings.host,
            "server.headless": True,
            "browser.gatherUsageStats": False,
            "server.corsAllowedOrigins": [f"https://{host}" for host in settings.allowed_hosts],
        }
    )


@contextlib.contextmanager
def _terminating_cleanly() -> Any:
    # uvicorn ends its work on a signal and then raises the signal again for the handler before it:
    # this one leaves through SystemExit, so that the workbench is closed on the way out.
    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(0)

    before = {s: signal.signal(s, leave) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
