"""OpenAI request bodies, parsed: what is asked, or an error that names the parameter.

Knows: every parameter, and which an engine has to support. Does not know: HTTP.
A parameter that would change the answer and cannot be honoured is refused, never ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from core.errors import Invalid
from core.generation import Generation
from core.models.engines import Engine, Message, Request

ROLES = ("system", "user", "assistant")
COMMON = {"model", "max_tokens", "temperature", "top_p", "seed", "stop", "stream",
          "stream_options", "logprobs", "n", "user", "metadata", "store"}  # fmt: skip
CHAT = COMMON | {"messages", "max_completion_tokens", "top_logprobs", "response_format"}
COMPLETION = COMMON | {"prompt", "echo", "best_of", "suffix"}
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,), "best_of": (1,), "echo": (False,), "suffix": ("",), "frequency_penalty": (0,),
    "presence_penalty": (0,), "logit_bias": ({},), "tools": ([],), "store": (False,),
}  # fmt: skip
"""Parameters that are taken only at the value that changes nothing (null is that everywhere)."""


@dataclass(frozen=True, slots=True)
class ChatBody:
    """A parsed body."""

    request: Request
    model: str
    stream: bool
    include_usage: bool


def parse_chat(body: dict[str, Any], engine: Engine) -> ChatBody:
    """`POST /v1/chat/completions`; raises Invalid naming the parameter."""
    body = _known(body, CHAT)
    if "chat" not in engine.supports:
        raise Invalid("This is an embedding model: it does not chat.", field="messages")
    top = None
    if body.get("logprobs"):
        _need(engine, "logprobs", "logprobs")
        top = _integer(body, "top_logprobs", 0, 20) or 0
    elif body.get("top_logprobs"):
        raise Invalid("top_logprobs needs logprobs to be true.", field="top_logprobs")
    request = Request(_messages(body.get("messages")), None, _generation(body, engine), top)
    return _asked(body, request)


def parse_completion(body: dict[str, Any], engine: Engine) -> ChatBody:
    """`POST /v1/completions`; one prompt of text a request."""
    body = _known(body, COMPLETION)
    _need(engine, "completions", "prompt")
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise Invalid("prompt must be one non-empty text.", field="prompt")
    top = _integer(body, "logprobs", 0, 20)
    if top is not None:
        _need(engine, "logprobs", "logprobs")
    body.setdefault("max_tokens", 16)  # OpenAI's own default for this endpoint
    return _asked(body, Request(None, prompt, _generation(body, engine), top))


def parse_embeddings(body: dict[str, Any]) -> list[str]:
    """`POST /v1/embeddings`: the texts."""
    body = _known(body, {"model", "input", "encoding_format", "user"})
    # the official client asks for base64 by itself and reads floats as well
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise Invalid("input must be a text or a list of texts.", field="input")
    return texts


def _known(body: dict[str, Any], names: set[str]) -> dict[str, Any]:
    for name, value in body.items():
        if value is None or (name in NEUTRAL and value in NEUTRAL[name]):
            continue
        if name not in names or name in NEUTRAL:
            raise Invalid(f"{name}={json.dumps(value)[:80]} is not supported here.", field=name)
    return {k: v for k, v in body.items() if v is not None and k in names}


def _need(engine: Engine, feature: str, name: str) -> None:
    if feature not in engine.supports:
        raise Invalid(f"The engine of this model cannot honour {name}.", field=name)


def _asked(body: dict[str, Any], request: Request) -> ChatBody:
    options = body.get("stream_options") or {}
    return ChatBody(
        request=request,
        model=str(body.get("model", "")),
        stream=bool(body.get("stream", False)),
        include_usage=bool(options.get("include_usage", False)),
    )


def _generation(body: dict[str, Any], engine: Engine) -> Generation:
    most = body.get("max_completion_tokens", body.get("max_tokens"))
    stop = body.get("stop", ())
    if body.get("seed") is not None:
        _need(engine, "seed", "seed")
    return Generation.from_dict(
        {
            "max_tokens": engine.context_length if most is None else most,
            "temperature": body.get("temperature", 1.0),
            "top_p": body.get("top_p", 1.0),
            "seed": _integer(body, "seed", 0, 2**63 - 1),
            "stop": (stop,) if isinstance(stop, str) else tuple(stop),
            "json_schema": _schema(body.get("response_format"), engine),
        }
    )


def _schema(asked: Any, engine: Engine) -> str | None:
    if asked is None or asked == {"type": "text"}:
        return None
    _need(engine, "json_schema", "response_format")
    if asked == {"type": "json_object"}:
        return '{"type": "object"}'
    try:
        if asked["type"] == "json_schema":
            return json.dumps(asked["json_schema"]["schema"])
    except (KeyError, TypeError):
        pass
    raise Invalid("response_format must be text, json_object or json_schema with a schema.",
                  field="response_format")  # fmt: skip


def _integer(body: dict[str, Any], name: str, low: int, high: int) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Invalid(f"{name} must be a whole number from {low} to {high}.", field=name)
    return value


def _messages(value: Any) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise Invalid("messages must be a non-empty list.", field="messages")
    return tuple(_message(entry, i) for i, entry in enumerate(value))


def _message(entry: Any, index: int) -> Message:
    name = f"messages[{index}]"
    if not isinstance(entry, dict) or entry.get("role") not in ROLES:
        raise Invalid(f"{name}.role must be one of {', '.join(ROLES)}.", field=f"{name}.role")
    content = entry.get("content")
    if isinstance(content, list) and all(
        isinstance(p, dict) and p.get("type") == "text" for p in content
    ):
        content = "".join(str(p.get("text", "")) for p in content)
    if not isinstance(content, str):
        raise Invalid(f"{name}.content must be text.", field=f"{name}.content")
    return {"role": str(entry["role"]), "content": content}
