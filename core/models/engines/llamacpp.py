"""The llama.cpp engine: GGUF files through llama.cpp's own server code, inside this process.

Knows: what its requests and answers look like. Does not know: how it computes.
Its own HTTP listener is used only for rendering, on loopback and behind a random key.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core.errors import Invalid, LatheError, Upstream
from core.models import gguf_file
from core.models.engines import Delta, Finished, Progress, Rendered, Request, Sink
from core.models.spec import WorkerSpec

KV_BYTES = 1536 * 1024**2
"""Most key/value memory that all slots take together; one slot always has the whole context."""
MOST_SLOTS = 8
"""More slots than this made llama.cpp slower on the machines measured (see DECISIONS)."""
CACHE_BYTES_PER_NUMBER = 2  # llama.cpp keeps keys and values as f16

# llama.cpp's defaults cut the distribution: here the parameters mean what they say
PLAIN_SAMPLING = {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0}


class LlamaCppEngine:
    """A GGUF model. Each request waits in a thread of its own while llama.cpp batches them all."""

    supports = frozenset({"chat", "seed", "logprobs", "completions", "json_schema"})

    def __init__(self, spec: WorkerSpec, progress: Progress) -> None:
        import httpx
        import xllamacpp

        if not spec.gguf_path:
            raise Invalid("The llama.cpp engine needs a GGUF file.", field="engine")
        progress("loading weights", 0.1)
        header = gguf_file.read(Path(spec.gguf_path))
        most = header.size("context_length", spec.context_length)
        self.context_length = min(spec.context_length, most)
        self.slots = _slots(spec, self.context_length, header)
        threads = spec.threads or len(os.sched_getaffinity(0))
        self._key = secrets.token_urlsafe(24)
        params = xllamacpp.CommonParams()
        params.model.path = spec.gguf_path
        params.n_ctx = self.context_length * self.slots
        params.n_parallel = self.slots
        params.cpuparams.n_threads = threads
        params.cpuparams_batch.n_threads = threads
        params.n_gpu_layers = 0 if spec.device == "cpu" else 999
        params.api_keys = [self._key]
        params.ui = False
        params.offline = True
        params.verbosity = 1
        params.n_threads_http = 2
        self._server = xllamacpp.Server(params)
        self._http = httpx.Client(
            base_url=self._server.listening_address,
            headers={"authorization": f"Bearer {self._key}"},
            trust_env=False,
            timeout=60,
        )
        self.facts: dict[str, Any] = {
            "device": spec.device,
            "dtype": header.file_type,
            "batching": f"llama.cpp, {self.slots} slots",
        }

    def submit(self, request: Request, sink: Sink) -> None:
        threading.Thread(target=self._answer, args=(request, sink), daemon=True).start()

    def render(self, request: Request) -> Rendered:
        text = request.prompt
        if text is None:
            text = self._post("/apply-template", {"messages": list(request.messages or ())})[
                "prompt"
            ]
        tokens = self._post(
            "/tokenize", {"content": text, "add_special": True, "parse_special": True}
        )["tokens"]
        return Rendered(text, len(tokens))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise Invalid("This is a chat model: it has no embeddings.", field="model")

    def close(self) -> None:
        self._http.close()

    def _answer(self, request: Request, sink: Sink) -> None:
        answer = _Answer(request, sink)
        handle: Callable[..., Any] = (
            self._server.handle_completions
            if request.messages is None
            else self._server.handle_chat_completions
        )
        try:
            handle(json.dumps(_body(request)), answer.take)
            sink(answer.finished())
        except LatheError as error:
            sink(error)
        except ValueError as error:
            sink(Invalid(f"llama.cpp refused the request: {error}"))
        except Exception as error:  # the thread's edge: whatever it is, the asker is told
            sink(Upstream(f"llama.cpp failed: {type(error).__name__}: {error}"))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        response = self._http.post(path, json=body)
        if response.status_code >= 400:
            raise Invalid(f"llama.cpp refuses these messages: {response.text[:500]}")
        return response.json()


class _Answer:
    """One answer as its pieces arrive."""

    def __init__(self, request: Request, sink: Sink) -> None:
        self._request = request
        self._sink = sink
        self._began = time.perf_counter()
        self._first_at: float | None = None
        self._count = 0
        self._reason: str | None = None
        self._usage: dict[str, Any] = {}
        self._timings: dict[str, Any] = {}

    def take(self, data: Any) -> bool:
        """Called by llama.cpp for each piece; True asks it to stop."""
        chunk = json.loads(data) if isinstance(data, str | bytes) else data
        if "error" in chunk:
            raise _refusal(chunk["error"])
        self._usage = chunk.get("usage") or self._usage
        self._timings = chunk.get("timings") or self._timings
        for choice in chunk.get("choices", ()):
            self._reason = choice.get("finish_reason") or self._reason
            text = (choice.get("delta") or {}).get("content") or choice.get("text") or ""
            if text:
                self._count += 1
                self._first_at = self._first_at or time.perf_counter()
                told = (choice.get("logprobs") or {}).get("content") or ()
                self._sink(Delta(text, 1, tuple(told)))
        return self._request.cancelled.is_set()

    def finished(self) -> Finished:
        now = time.perf_counter()
        waited_ms = ((self._first_at or now) - self._began) * 1000
        prefill_ms = min(float(self._timings.get("prompt_ms", waited_ms)), waited_ms)
        details = self._usage.get("prompt_tokens_details") or {}
        cancelled = self._request.cancelled.is_set() and self._reason is None
        return Finished(
            reason="cancelled" if cancelled else self._reason or "stop",
            prompt_token_count=int(self._usage.get("prompt_tokens", 0)),
            completion_token_count=int(self._usage.get("completion_tokens", self._count)),
            queue_ms=waited_ms - prefill_ms,
            prefill_ms=prefill_ms,
            cached_token_count=int(details.get("cached_tokens", 0)),
        )


def _body(request: Request) -> dict[str, Any]:
    generation = request.generation
    body: dict[str, Any] = {
        **PLAIN_SAMPLING,
        "max_tokens": generation.max_tokens,
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
        "cache_prompt": True,
    }
    if generation.seed is not None:
        body["seed"] = generation.seed % 2**32
    if generation.stop:
        body["stop"] = list(generation.stop)
    if generation.json_schema:
        schema = {"schema": json.loads(generation.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.messages is None:
        return {**body, "prompt": request.prompt, **_logprobs(request, "n_probs")}
    return {**body, "messages": list(request.messages), **_logprobs(request, "top_logprobs")}


def _logprobs(request: Request, name: str) -> dict[str, Any]:
    if request.top_logprobs is None:
        return {}
    if name == "n_probs":
        return {"logprobs": max(1, request.top_logprobs)}
    return {"logprobs": True, "top_logprobs": request.top_logprobs}


def _refusal(error: Any) -> LatheError:
    message = error.get("message") if isinstance(error, dict) else str(error)
    code = error.get("code") if isinstance(error, dict) else None
    if code == 400 or code is None:
        return Invalid(f"llama.cpp refused the request: {message}")
    return Upstream(f"llama.cpp failed: {message}")


def _slots(spec: WorkerSpec, context_length: int, header: gguf_file.GgufHeader) -> int:
    """As many slots as the key/value budget admits, each with the whole context."""
    heads = header.size("attention.head_count", 1)
    shared = header.size("attention.head_count_kv", heads)
    size = header.size("attention.key_length", header.size("embedding_length") // max(1, heads))
    per_token = 2 * header.size("block_count", 1) * shared * size * CACHE_BYTES_PER_NUMBER
    fitting = KV_BYTES // max(1, per_token * context_length)
    return max(1, min(spec.slots, MOST_SLOTS, fitting))
