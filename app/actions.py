"""POST /api/actions/{noun}/{verb}: the workbench's actions over HTTP, as app/remote.py calls them.

The body is `{"args": [...], "kwargs": {...}}` in the notation of app/wire.py, the answer
`{"result": ...}` or an error of the tree with its status. Who asks shows a session's cookie or
token, or the token in the home's card: that one acts as the owner of the files.

Knows: what may be asked from outside. Does not know: what any action does; each checks its own
permission.
"""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app import wire
from app.guard import COOKIE, bearer
from core.errors import Forbidden, Invalid, LatheError, NotFound
from core.governance.permissions import ACTIONS, OWNER, Actor, require
from core.ids import new_id
from core.workbench import Workbench

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024 * 1024
# Signing in has its own routes. What is left of the table is the allow-list.
NEVER = frozenset(name for name in ACTIONS if name.startswith("sessions."))
# These take raw bytes or payloads that name files: for who can read the home's files anyway.
OWNER_ONLY = frozenset({"jobs.start", "traces.record"})
ALLOWED = frozenset(ACTIONS) - NEVER


class ActionsRoute:
    """The route over one workbench; `owner_token` is what the card in the home says."""

    def __init__(self, workbench: Workbench, owner_token: str) -> None:
        self._workbench = workbench
        self._owner_token = owner_token

    def routes(self) -> list[Route]:
        """What the server mounts."""
        return [Route("/api/actions/{noun}/{verb}", self.call, methods=["POST"])]

    async def call(self, request: Request) -> JSONResponse:
        """Do one action and answer; nothing but the error tree reaches the caller."""
        name = f"{request.path_params['noun']}.{request.path_params['verb']}"
        try:
            actor = await run_in_threadpool(self._who, request)
            require(actor, "account.self", "use the API")
            method = self._method(name, actor)
            args, kwargs = self._arguments(await _body(request), actor)
            result = await run_in_threadpool(_call, method, actor, args, kwargs)
            return JSONResponse({"result": wire.encode(result)})
        except LatheError as error:
            return JSONResponse(error.to_dict(), 401 if _is_signed_out(error) else error.status)
        except Exception:  # the edge of the process: logged with an id that the caller can quote
            error_id = new_id("err")
            log.exception("%s failed, error id %s", name, error_id)
            error = LatheError(f"{name} failed unexpectedly.", hint=f"The log has {error_id}.")
            return JSONResponse(error.to_dict(), 500)

    def _who(self, request: Request) -> Actor | None:
        token = bearer(request)
        if token is not None and hmac.compare_digest(token.encode(), self._owner_token.encode()):
            return OWNER
        return self._workbench.sessions.actor(token or request.cookies.get(COOKIE))

    def _method(self, name: str, actor: Actor | None) -> Callable[..., Any]:
        noun, verb = name.split(".", 1)
        method = None
        if name in ALLOWED:
            method = getattr(getattr(self._workbench, noun, None), verb, None)
        if method is None:
            raise NotFound(f"There is no action {name!r} to call from outside.")
        if name in OWNER_ONLY and actor != OWNER:
            raise Forbidden(f"{name} is for the owner of this workspace's files.")
        found: Callable[..., Any] = method
        return found

    def _arguments(self, body: bytes, actor: Actor | None) -> tuple[list[Any], dict[str, Any]]:
        try:
            data = json.loads(body or b"{}")
            args = wire.decode(data.get("args", []))
            kwargs = wire.decode(data.get("kwargs", {}))
            if not isinstance(args, list) or not isinstance(kwargs, dict):
                raise TypeError("args is a list, kwargs an object")
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise Invalid(f"The body is not as app/wire.py has it: {error}.") from None
        if actor != OWNER and _holds_bytes([args, kwargs]):
            raise Invalid("Files are uploaded on the page, not sent here.", field="body")
        return args, kwargs


def _call(method: Callable[..., Any], actor: Actor, args: list[Any], kwargs: dict[str, Any]) -> Any:
    import inspect

    try:
        inspect.signature(method).bind(actor, *args, **kwargs)
    except TypeError as error:
        raise Invalid(f"The arguments do not fit: {error}.") from None
    return method(actor, *args, **kwargs)


async def _body(request: Request) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise Invalid("The request is too large.")
        chunks.append(chunk)
    return b"".join(chunks)


def _holds_bytes(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_holds_bytes(item) for item in value.values())
    if isinstance(value, list | tuple | set):
        return any(_holds_bytes(item) for item in value)
    return isinstance(value, bytes)


def _is_signed_out(error: LatheError) -> bool:
    return isinstance(error, Forbidden) and error.title == "Sign in first"
