"""The client against servers with habits: kept connections that are closed, odd answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from core.errors import Invalid, LatheError, Upstream
from core.generation import Generation
from core.models import client
from core.models.spec import Endpoint, WorkerSpec

SAY = [{"role": "user", "content": "x"}]


class Habits(BaseHTTPRequestHandler):
    """Answers what `answer` says; closes the connection without a word when `slams`."""

    protocol_version = "HTTP/1.1"
    status: ClassVar[int] = 200
    answer: ClassVar[str] = ""
    slams: ClassVar[bool] = False
    asked: ClassVar[list[dict[str, object]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        type(self).asked.append(json.loads(body))
        data = self.answer.encode()
        self.send_response(self.status)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = self.slams  # and no header says so

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def habits() -> type[Habits]:
    """A class of its own for each test: what it is told stays in it."""
    return type("One", (Habits,), {"asked": []})


@pytest.fixture
def endpoint(habits: type[Habits]) -> Iterator[Endpoint]:
    with ThreadingHTTPServer(("127.0.0.1", 0), habits) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        yield Endpoint(url, "", "m", WorkerSpec("m", "far", "endpoint", "remote", base_url=url))
        server.shutdown()


def chunks(*pieces: object) -> str:
    return "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces) + "data: [DONE]\n\n"


def piece(text: str | None, reason: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]}


def test_a_kept_connection_that_was_closed_costs_no_request(
    endpoint: Endpoint, habits: type[Habits]
) -> None:
    habits.answer, habits.slams = chunks(piece("hi"), piece(None, "stop")), True
    texts = [client.stream(endpoint, SAY, Generation()).text for _ in range(5)]
    assert texts == ["hi"] * 5
    assert len(habits.asked) == 5


def test_only_what_was_asked_is_sent(endpoint: Endpoint, habits: type[Habits]) -> None:
    habits.answer = chunks(piece("hi", "stop"))
    client.stream(endpoint, SAY, Generation(max_tokens=7))
    assert set(habits.asked[0]) == {
        "model", "messages", "max_tokens", "temperature", "stream", "stream_options",
    }  # fmt: skip


def test_a_stream_that_ends_without_a_reason_is_an_error(
    endpoint: Endpoint, habits: type[Habits]
) -> None:
    habits.answer = f"data: {json.dumps(piece('half'))}\n\n"
    with pytest.raises(LatheError, match="middle of the answer"):
        client.stream(endpoint, SAY, Generation())


@pytest.mark.parametrize(
    ("status", "answer", "kind", "said"),
    [
        (200, "data: {nonsense\n\n", Upstream, "not JSON"),
        (401, '{"error": {"message": "bad key"}}', Upstream, "bad key"),
        (429, '{"error": "slow down"}', Upstream, "slow down"),
        (400, '{"error": {"message": "no such thing", "param": "seed"}}', Invalid, "no such thing"),
        (500, "<html>oops</html>", Upstream, "oops"),
        (200, 'data: {"error": {"message": "died"}}\n\n', Upstream, "died"),
    ],
)
def test_errors_are_told_in_the_endpoints_own_words(
    endpoint: Endpoint, habits: type[Habits], status: int, answer: str, kind: type, said: str
) -> None:
    habits.status, habits.answer = status, answer
    with pytest.raises(kind, match=said):
        client.stream(endpoint, SAY, Generation())
