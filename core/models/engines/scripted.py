"""The scripted engine: a real worker whose answers are written beforehand.

Knows: a script. Does not know: any model. It ships, because a workbench that cannot be tried
without weights cannot be tested in seconds.

A script is JSON: {"replies": {"text in the last message": "answer"}, "default": "answer",
"delay_ms": 0, "fail_on": "text", "crash_on": "text"}; without one it repeats the last message.
A token is a word with the space before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

from core.errors import Invalid, Upstream
from core.models.engines import Delta, Finished, Rendered, Request, Sink
from core.models.spec import WorkerSpec


class ScriptedEngine:
    """Answers from its script, one thread a request."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._script: dict[str, Any] = json.loads(spec.script or "{}")
        self.slots = spec.slots
        self.context_length = spec.context_length
        self.supports = frozenset({"chat", "seed", "completions", "json_schema"})
        self.facts: dict[str, Any] = {"device": "cpu", "dtype": "none"}

    def submit(self, request: Request, sink: Sink) -> None:
        threading.Thread(target=self._work, args=(request, sink), daemon=True).start()

    def render(self, request: Request) -> Rendered:
        if request.prompt is not None:
            text = request.prompt
        else:
            text = "".join(f"<{m['role']}>{m['content']}</>" for m in request.messages or ())
        return Rendered(text, len(_words(text)))

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [_direction(text) for text in texts]

    def close(self) -> None:
        pass

    def _work(self, request: Request, sink: Sink) -> None:
        try:
            self._answer(request, sink)
        except (AttributeError, TypeError, ValueError) as error:
            sink(Invalid(f"The script has the wrong shape: {error}."))

    def _answer(self, request: Request, sink: Sink) -> None:
        started = time.perf_counter()
        asked = request.prompt or (request.messages or ({"content": ""},))[-1]["content"]
        if self._named("fail_on", asked):
            sink(Upstream(f"The script fails on {self._script['fail_on']!r}."))
            return
        crash = self._named("crash_on", asked)
        reply = self._reply(asked)
        for stop in request.generation.stop:
            reply = reply.split(stop)[0]
        words = _words(reply)
        kept = words[: request.generation.max_tokens]
        first_ms = 0.0
        reason = "stop" if len(kept) == len(words) else "length"
        sent = 0
        for word in kept:
            time.sleep(float(self._script.get("delay_ms", 0)) / 1000)
            if request.cancelled.is_set():
                reason = "cancelled"
                break
            if crash and sent == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            first_ms = first_ms or (time.perf_counter() - started) * 1000
            sink(Delta(word))
            sent += 1
        sink(Finished(reason, self.render(request).token_count, sent, 0.0, first_ms))

    def _named(self, key: str, asked: str) -> bool:
        return key in self._script and self._script[key] in asked

    def _reply(self, asked: str) -> str:
        for part, reply in self._script.get("replies", {}).items():
            if part in asked:
                return str(reply)
        return str(self._script.get("default", asked))


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+", text)


def _direction(text: str, size: int = 16) -> list[float]:
    """A unit vector that is equal for texts with the same words, near for texts that share some."""
    vector = [0.0] * size
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.sha256(word.encode()).digest()
        for i in range(size):
            vector[i] += digest[i] / 127.5 - 1
    length = sum(v * v for v in vector) ** 0.5 or 1.0
    return [v / length for v in vector]
