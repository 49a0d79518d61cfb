"""OpenAI-compatible HTTP over one engine: what a model worker listens to.

Knows: the wire format, the API key, how a request that nobody waits for is stopped.
Does not know: what the engine is. https://platform.openai.com/docs/api-reference
Beyond OpenAI: `/v1/tokenize`, and with the header `x-lathe-details` a `lathe` object beside
`usage`, with the times the engine measured and the rendered prompt.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from core.errors import Forbidden, Invalid, LatheError, NotFound
from core.ids import new_id
from core.models.adapter_http import AdapterHost
from core.models.client import DETAILS_HEADER
from core.models.engines import Delta, Engine, Event, Finished, Request
from core.models.meter import Meter
from core.models.openai_body import ChatBody, parse_chat, parse_completion, parse_embeddings

PING_S = 0.25
PING = ": still here\n\n"
"""A comment in the stream while nothing is ready: lets both ends notice that the other left."""


class ModelServer:
    """The routes over one engine. `last_used_at` is monotonic, for whoever unloads idle models."""

    def __init__(
        self, engine: Engine, model: str, api_key: str, *, host: AdapterHost | None = None
    ) -> None:
        self.engine = engine
        self.host = host
        self.model = model
        self.last_used_at = time.monotonic()
        self.in_flight_count = 0
        self._api_key = api_key
        self._meter = Meter()

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/health", self._health),
                Route("/v1/models", self._guarded(self._models)),
                Route("/v1/chat/completions", self._guarded(self._chat), methods=["POST"]),
                Route("/v1/completions", self._guarded(self._completions), methods=["POST"]),
                Route("/v1/embeddings", self._guarded(self._embeddings), methods=["POST"]),
                Route("/v1/tokenize", self._guarded(self._tokenize), methods=["POST"]),
                *(self.host.routes(self._guarded) if self.host is not None else ()),
            ]
        )

    def _guarded(self, handler: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
        async def guarded(request: HttpRequest) -> Response:
            self.last_used_at = time.monotonic()
            try:
                self._check_key(request)
                response: Response = await handler(request)
                return response
            except LatheError as error:
                return _error_response(error)

        return guarded

    def _check_key(self, request: HttpRequest) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._api_key and not secrets.compare_digest(given.encode(), self._api_key.encode()):
            raise Forbidden("The API key is missing or wrong.")

    async def _health(self, request: HttpRequest) -> Response:
        return JSONResponse({"status": "ok", "in_flight": self.in_flight_count})

    async def _models(self, request: HttpRequest) -> Response:
        names = [self.model, *(self.host.names() if self.host is not None else ())]
        entry = {"object": "model", "created": 0, "owned_by": "lathe"}
        return JSONResponse({"object": "list", "data": [{"id": n, **entry} for n in names]})

    async def _tokenize(self, request: HttpRequest) -> Response:
        body = await _json(request)
        asked = parse_chat({**body, "model": self.model}, self.engine)
        rendered = await run_in_threadpool(self.engine.render, asked.request)
        return JSONResponse(
            {
                "rendered_prompt": rendered.text,
                "token_count": rendered.token_count,
                "context_length": self.engine.context_length,
            }
        )

    async def _embeddings(self, request: HttpRequest) -> Response:
        texts = parse_embeddings(await _json(request))
        with self._working():
            vectors = await run_in_threadpool(self.engine.embed, texts)
        data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
        usage = {"prompt_tokens": 0, "total_tokens": 0}
        return JSONResponse({"object": "list", "model": self.model, "data": data, "usage": usage})

    async def _chat(self, request: HttpRequest) -> Response:
        return await self._answer(request, parse_chat(await _json(request), self.engine), _Chat)

    async def _completions(self, request: HttpRequest) -> Response:
        asked = parse_completion(await _json(request), self.engine)
        return await self._answer(request, asked, _Text)

    async def _answer(self, http: HttpRequest, asked: ChatBody, shape: type[_Shape]) -> Response:
        name = asked.model or self.model
        if name != self.model and (self.host is None or name not in self.host.names()):
            raise NotFound(f"This worker has {self.model!r}, not {asked.model!r}.")
        wire = shape(name)
        details = http.headers.get(DETAILS_HEADER) == "1"
        events = self._events(asked.request, name)
        if asked.stream:
            # an error that comes at once is a status, not a broken stream
            first = await anext(events)
            if isinstance(first, LatheError):
                raise first
            body = self._sse(first, events, asked, wire, details)
            return StreamingResponse(body, media_type="text/event-stream")
        return await self._whole(http, events, asked, wire, details)

    async def _events(self, request: Request, model: str) -> AsyncIterator[Event | None]:
        """What the engine tells, in this event loop; None when it is silent for a while.

        Leaving early stops the engine's work.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event] = asyncio.Queue()

        def sink(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody listens
                loop.call_soon_threadsafe(queue.put_nowait, event)

        with self._working(), self._engine_of(model) as engine:
            try:
                engine.submit(request, sink)
                while True:
                    try:
                        event = await asyncio.wait_for(queue.get(), PING_S)
                    except TimeoutError:
                        yield None
                        continue
                    yield event
                    if not isinstance(event, Delta):
                        return
            finally:
                request.cancelled.set()

    @contextlib.contextmanager
    def _engine_of(self, model: str) -> Iterator[Engine]:
        """The engine that answers for a name, kept until the request is over."""
        if model == self.model or self.host is None:
            yield self.engine
            return
        with self.host.asking(model) as engine:
            if engine is None:
                raise NotFound(f"{model!r} has just been unloaded.")
            yield engine

    @contextlib.contextmanager
    def _working(self) -> Any:
        self.in_flight_count += 1
        try:
            yield
        finally:
            self.in_flight_count -= 1
            self.last_used_at = time.monotonic()

    async def _sse(
        self,
        first: Event | None,
        events: AsyncIterator[Event | None],
        asked: ChatBody,
        wire: _Shape,
        details: bool,
    ) -> AsyncIterator[str]:
        with self._meter.measure() as share:
            try:
                yield _data(wire.opening())
                event = first
                while event is None or isinstance(event, Delta):
                    yield PING if event is None else _data(wire.chunk(event))
                    event = await anext(events)
                if isinstance(event, LatheError):
                    yield _data(_error_body(event))
                    return
                yield _data(wire.closing(event.reason))
                if asked.include_usage or details:
                    extra = await self._details(event, asked, share()) if details else None
                    yield _data(wire.usage(event, extra))
                yield "data: [DONE]\n\n"
            finally:
                asked.request.cancelled.set()

    async def _whole(
        self,
        http: HttpRequest,
        events: AsyncIterator[Event | None],
        asked: ChatBody,
        wire: _Shape,
        details: bool,
    ) -> Response:
        watcher = asyncio.create_task(_cancel_when_gone(http, asked.request))
        deltas: list[Delta] = []
        with self._meter.measure() as share:
            try:
                async for event in events:
                    if event is None:
                        continue
                    if isinstance(event, Delta):
                        deltas.append(event)
                    elif isinstance(event, LatheError):
                        raise event
                    else:
                        extra = await self._details(event, asked, share()) if details else None
                        return JSONResponse(wire.whole(deltas, event, extra))
            finally:
                watcher.cancel()
        raise LatheError("The engine ended without an answer.")

    async def _details(self, event: Finished, asked: ChatBody, compute_ms: float) -> dict[str, Any]:
        rendered = await run_in_threadpool(self.engine.render, asked.request)
        return {
            "queue_ms": event.queue_ms,
            "prefill_ms": event.prefill_ms,
            "compute_ms": compute_ms,
            "cached_token_count": event.cached_token_count,
            "rendered_prompt": rendered.text,
        }


class _Shape:
    """How answers look on the wire; one subclass for each of the two endpoints."""

    prefix = ""
    whole_object = ""
    chunk_object = ""

    def __init__(self, model: str) -> None:
        self._base = {"id": new_id(self.prefix), "created": int(time.time()), "model": model}

    def _choice(self, text: str | None, reason: str | None, logprobs: Any) -> dict[str, Any]:
        raise AssertionError("a shape says how a choice looks")

    def _message(self, text: str, reason: str, logprobs: Any) -> dict[str, Any]:
        return self._choice(text, reason, logprobs)

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {**self._base, "object": self.chunk_object, "choices": choices, **more}

    def opening(self) -> dict[str, Any]:
        return self._chunk([self._choice("", None, None)])

    def chunk(self, delta: Delta) -> dict[str, Any]:
        return self._chunk([self._choice(delta.text, None, list(delta.logprobs) or None)])

    def closing(self, reason: str) -> dict[str, Any]:
        return self._chunk([self._choice(None, reason, None)])

    def usage(self, event: Finished, details: dict[str, Any] | None) -> dict[str, Any]:
        more = {"lathe": details} if details else {}
        return self._chunk([], usage=_usage(event), **more)

    def whole(
        self, deltas: list[Delta], event: Finished, details: dict[str, Any] | None
    ) -> dict[str, Any]:
        logprobs = [entry for delta in deltas for entry in delta.logprobs] or None
        choice = self._message("".join(d.text for d in deltas), event.reason, logprobs)
        answer = {
            **self._base,
            "object": self.whole_object,
            "choices": [choice],
            "usage": _usage(event),
        }
        return {**answer, "lathe": details} if details else answer


class _Chat(_Shape):
    prefix = "chatcmpl"
    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def _choice(self, text: str | None, reason: str | None, logprobs: Any) -> dict[str, Any]:
        delta = {} if text is None else {"role": "assistant", "content": text}
        return {
            "index": 0,
            "delta": delta,
            "finish_reason": reason,
            "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
        }

    def _message(self, text: str, reason: str, logprobs: Any) -> dict[str, Any]:
        choice = self._choice(text, reason, logprobs)
        choice["message"] = {**choice.pop("delta"), "refusal": None}
        return choice


class _Text(_Shape):
    prefix = "cmpl"
    whole_object = "text_completion"
    chunk_object = "text_completion"

    def _choice(self, text: str | None, reason: str | None, logprobs: Any) -> dict[str, Any]:
        told = None
        if logprobs:
            told = {
                "tokens": [entry["token"] for entry in logprobs],
                "token_logprobs": [entry["logprob"] for entry in logprobs],
                "top_logprobs": [
                    {top["token"]: top["logprob"] for top in entry["top_logprobs"]}
                    for entry in logprobs
                ],
                "text_offset": [],
            }
        return {"index": 0, "text": text or "", "finish_reason": reason, "logprobs": told}


def _usage(event: Finished) -> dict[str, Any]:
    return {
        "prompt_tokens": event.prompt_token_count,
        "completion_tokens": event.completion_token_count,
        "total_tokens": event.prompt_token_count + event.completion_token_count,
        "prompt_tokens_details": {"cached_tokens": event.cached_token_count},
    }


async def _cancel_when_gone(http: HttpRequest, request: Request) -> None:
    while not await http.is_disconnected():
        await asyncio.sleep(0.05)
    request.cancelled.set()


async def _json(request: HttpRequest) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise Invalid(f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise Invalid("The body must be a JSON object.")
    return body


def _data(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _error_body(error: LatheError) -> dict[str, Any]:
    return {
        "error": {
            "message": f"{error.message} {error.hint or ''}".strip(),
            "type": "invalid_request_error" if error.status < 500 else "server_error",
            "param": getattr(error, "field", None),
            "code": type(error).__name__,
        }
    }


def _error_response(error: LatheError) -> JSONResponse:
    status = 401 if isinstance(error, Forbidden) else error.status
    status = 400 if status == 422 else status
    return JSONResponse(_error_body(error), status_code=status)
