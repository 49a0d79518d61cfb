"""HTTP for the adapters of a worker: /v1/adapters lists, loads and unloads them.

    GET    /v1/adapters                                        what can be asked beside the base
    POST   /v1/adapters  {"model": NAME, "adapter_path": DIR}  load; answers when it can be asked
    DELETE /v1/adapters/NAME                                   unload once its requests are done

Knows: the wire format, which folders may be loaded. Does not know: engines.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.errors import Invalid
from core.store.files import inside

if TYPE_CHECKING:
    from core.models.engines.hosting import Host

Handler = Callable[[Request], Any]


class AdapterHost:
    """The routes over one host. `root` holds the adapters that may be loaded: ours alone."""

    def __init__(self, host: Host, root: Path) -> None:
        self._host = host
        self._root = root

    def routes(self, guarded: Callable[[Handler], Handler]) -> list[Route]:
        """The routes, each behind the worker's key."""
        return [
            Route("/v1/adapters", guarded(self._list), methods=["GET"]),
            Route("/v1/adapters", guarded(self._attach), methods=["POST"]),
            Route("/v1/adapters/{model:path}", guarded(self._detach), methods=["DELETE"]),
        ]

    def names(self) -> list[str]:
        """What can be asked beside the base."""
        return [row["model"] for row in self._host.list()]

    def asking(self, model: str) -> AbstractContextManager[Any]:
        """The adapter's engine for the length of a request."""
        return self._host.asking(model)

    def close(self) -> None:
        """End all adapters."""
        self._host.close()

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"data": self._host.list()})

    async def _attach(self, request: Request) -> Response:
        try:
            body = await request.json()
            model, path = str(body["model"]), str(body["adapter_path"])
        except (ValueError, KeyError, TypeError):
            raise Invalid("Give model and adapter_path.") from None
        folder = inside(self._root, path)
        load_ms = await run_in_threadpool(self._host.attach, model, str(folder))
        return JSONResponse({"model": model, "load_ms": load_ms})

    async def _detach(self, request: Request) -> Response:
        self._host.detach(unquote(request.path_params["model"]))
        return JSONResponse({})
