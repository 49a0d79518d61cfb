"""The one client: how everything in Lathe talks to a model, ours or anybody's.

Knows: OpenAI-compatible HTTP, server-sent events, what is measured on the way.
Does not know: what is behind the endpoint, nor what the answer is for.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.clock import utc_now
from core.errors import Invalid, LatheError, ModelUnavailable, OutOfMemory, Upstream
from core.generation import Generation
from core.models.spec import Endpoint

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
SILENCE_S = 600.0
"""Longest wait for the next byte: a long queue on a small CPU is slow, not broken."""
DETAILS_HEADER = "x-lathe-details"

OnToken = Callable[[str], None]
Messages = Sequence[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Completion:
    """What happened in one request. Times as seen here, in milliseconds."""

    text: str
    finish_reason: str
    """stop, length, or cancelled when this side stopped it."""
    prompt_token_count: int | None
    completion_token_count: int
    started_at: datetime
    """UTC, when the request was sent."""
    e2e_ms: float
    ttft_ms: float | None = None
    """Request sent to first non-empty text; None when there was none."""
    itl_ms: tuple[float, ...] = ()
    """The gaps between tokens."""
    queue_ms: float | None = None
    prefill_ms: float | None = None
    compute_ms: float | None = None
    """This request's share of the time the model was busy; only our own workers tell."""
    cached_token_count: int | None = None
    rendered_prompt: str | None = None
    """The exact text after the chat template; only our own workers tell."""


@dataclass(slots=True)
class _Stream:
    """What has arrived so far."""

    began: float
    text: list[str] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)
    reason: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def take(self, chunk: dict[str, Any], on_token: OnToken | None) -> None:
        if "error" in chunk:
            raise _error_from(chunk, 500)
        self.usage = chunk.get("usage") or self.usage
        self.details = chunk.get("lathe") or self.details
        for choice in chunk.get("choices") or ():
            piece = (choice.get("delta") or {}).get("content") or ""
            self.reason = choice.get("finish_reason") or self.reason
            if piece:
                self.stamps.append(time.perf_counter())
                self.text.append(piece)
                if on_token is not None:
                    on_token(piece)

    def completion(self, started_at: datetime, *, stopped: bool) -> Completion:
        stamps = self.stamps
        gaps = tuple((b - a) * 1000 for a, b in itertools.pairwise(stamps))
        if stopped:
            reason = "cancelled"
        elif self.reason is None:
            raise ModelUnavailable(
                "The model's worker ended in the middle of the answer.",
                hint="Run it again: a new worker is started on demand.",
            )
        else:
            reason = self.reason
        return Completion(
            text="".join(self.text),
            finish_reason=reason,
            prompt_token_count=self.usage.get("prompt_tokens"),
            completion_token_count=self.usage.get("completion_tokens", len(stamps)),
            started_at=started_at,
            e2e_ms=(time.perf_counter() - self.began) * 1000,
            ttft_ms=(stamps[0] - self.began) * 1000 if stamps else None,
            itl_ms=gaps,
            queue_ms=self.details.get("queue_ms"),
            prefill_ms=self.details.get("prefill_ms"),
            compute_ms=self.details.get("compute_ms"),
            cached_token_count=self.details.get("cached_token_count"),
            rendered_prompt=self.details.get("rendered_prompt"),
        )


def stream(
    endpoint: Endpoint,
    messages: Messages,
    generation: Generation,
    *,
    cancelled: Callable[[], bool] | None = None,
    on_token: OnToken | None = None,
) -> Completion:
    """Complete a chat, token by token; blocks until it has ended.

    `on_token` gets each new text as it arrives, `cancelled` is asked after each: when it says
    yes the connection is closed, which stops the generation at the other end too.
    Raises ModelUnavailable, Upstream, OutOfMemory, or Invalid naming a refused parameter.
    """
    import httpx

    body = request_body(endpoint, messages, generation)
    started_at = utc_now()
    seen = _Stream(time.perf_counter())
    stopped = False
    try:
        with contextlib.closing(
            _send(endpoint, "/chat/completions", body, stream=True)
        ) as response:
            if response.status_code >= 400:
                response.read()
                raise _error(response)
            for line in response.iter_lines():
                if cancelled is not None and cancelled():
                    stopped = True
                    break
                if line.startswith("data:") and line[5:].strip() != "[DONE]":
                    seen.take(json.loads(line[5:]), on_token)
    except (httpx.HTTPError, OSError) as error:
        raise _unreachable(endpoint, error) from error
    except ValueError as error:
        raise Upstream(f"{endpoint.base_url} sent something that is not JSON: {error}.") from error
    return seen.completion(started_at, stopped=stopped)


def request_body(endpoint: Endpoint, messages: Messages, generation: Generation) -> dict[str, Any]:
    """The JSON of a streamed chat request: only what was asked, so nothing is ignored silently."""
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": list(messages),
        "max_tokens": generation.max_tokens,
        "temperature": generation.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if generation.top_p < 1:
        body["top_p"] = generation.top_p
    if generation.seed is not None:
        body["seed"] = generation.seed
    if generation.stop:
        body["stop"] = list(generation.stop)
    if generation.json_schema:
        schema = {"name": "answer", "strict": True, "schema": json.loads(generation.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def tokenize(endpoint: Endpoint, messages: Messages) -> dict[str, Any]:
    """`rendered_prompt`, `token_count` and `context_length` of a chat, without computing it.

    Only our own workers can tell; raises Invalid for an endpoint of somebody else's.
    """
    if endpoint.spec.engine == "endpoint":
        raise Invalid("Only models that Lathe loads can show the rendered prompt.")
    return _post(endpoint, "/tokenize", {"messages": list(messages)})


def embed(endpoint: Endpoint, texts: Sequence[str]) -> list[list[float]]:
    """One vector a text, in order."""
    answer = _post(endpoint, "/embeddings", {"model": endpoint.model, "input": list(texts)})
    rows = sorted(answer["data"], key=lambda row: row["index"])
    return [row["embedding"] for row in rows]


def is_busy(endpoint: Endpoint) -> bool:
    """Whether a worker of ours has a request in it now; one that does not answer has none."""
    import httpx

    with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
        url = endpoint.base_url.removesuffix("/v1") + "/health"
        return int(httpx.get(url, timeout=2, trust_env=False).json()["in_flight"]) > 0
    return False


def _post(endpoint: Endpoint, path: str, body: dict[str, Any]) -> dict[str, Any]:
    import httpx

    try:
        response = _send(endpoint, path, body)
    except (httpx.HTTPError, OSError) as error:
        raise _unreachable(endpoint, error) from error
    if response.status_code >= 400:
        raise _error(response)
    try:
        found: dict[str, Any] = response.json()
    except ValueError as error:
        raise Upstream(f"{endpoint.base_url}{path} did not answer with JSON.") from error
    return found


def _send(
    endpoint: Endpoint, path: str, body: dict[str, Any], *, stream: bool = False
) -> httpx.Response:
    """The response, headers read. A kept connection that the other end has closed since is no
    answer: then once more, on a new one."""
    import httpx

    http = _http(endpoint)
    headers = {**_headers(endpoint), DETAILS_HEADER: "1"}
    for last in (False, True):
        request = http.build_request("POST", endpoint.base_url + path, json=body, headers=headers)
        try:
            return http.send(request, stream=stream)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if last:
                raise
    raise AssertionError("the loop returns or raises")


_clients: dict[bool, httpx.Client] = {}
_clients_guard = threading.Lock()


def _http(endpoint: Endpoint) -> httpx.Client:
    """One connection pool a process; proxies of the environment only for addresses not ours."""
    import httpx

    remote = endpoint.spec.engine == "endpoint"
    with _clients_guard:
        if remote not in _clients:
            _clients[remote] = httpx.Client(
                timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
                trust_env=remote,
                follow_redirects=False,  # a redirect would carry the key elsewhere
            )
            atexit.register(_clients[remote].close)
        return _clients[remote]


def _headers(endpoint: Endpoint) -> dict[str, str]:
    return {"authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}


def _unreachable(endpoint: Endpoint, error: Exception) -> LatheError:
    if endpoint.spec.engine == "endpoint":
        return Upstream(
            f"{endpoint.base_url} cannot be reached: {error or type(error).__name__}.",
            hint="Check the address on the Models page and that the server runs.",
        )
    return ModelUnavailable(
        f"The worker of {endpoint.spec.label} went away: {error or type(error).__name__}.",
        hint="Run it again: a new worker is started on demand.",
    )


def _error(response: httpx.Response) -> LatheError:
    try:
        data = response.json()
    except ValueError:
        data = {}
    return _error_from(data if isinstance(data, dict) else {}, response.status_code, response.text)


def _error_from(data: dict[str, Any], status: int, text: str = "") -> LatheError:
    """OpenAI's error shape, or whatever came instead, as one of ours."""
    error = data.get("error")
    if isinstance(error, str):
        error = {"message": error}
    error = error if isinstance(error, dict) else {}
    message = str(error.get("message") or text[:500] or f"HTTP status {status}")
    if error.get("code") == "OutOfMemory":
        return OutOfMemory(message)
    if status in (400, 404, 422):
        return Invalid(message, field=error.get("param"), title="The model refused the request")
    if status in (401, 403):
        return Upstream(message, hint="Set the endpoint's key on the Models page.")
    if status == 429:
        return Upstream(message, hint="The endpoint limits its requests: try again later.")
    return Upstream(message)
