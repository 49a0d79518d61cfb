"""Model workers: real processes, found by anybody, really killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Invalid, LatheError, ModelUnavailable, OutOfMemory
from core.generation import Generation
from core.models import client
from core.models.pool import WorkerPool, WorkerState
from core.models.spec import WorkerSpec
from tests.jobs.test_jobs import wait_for
from tests.models.tiny import save_tiny_model


@pytest.fixture
def pool(home: Path) -> Iterator[WorkerPool]:
    made = WorkerPool(home)
    yield made
    made.stop_all()


def scripted(**script: Any) -> WorkerSpec:
    return WorkerSpec("m", "scripted", "scripted", "fp32", script=json.dumps(script))


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_worker_starts_answers_and_ends(pool: WorkerPool) -> None:
    seen: list[WorkerState] = []
    spec = scripted()
    endpoint = pool.ensure(spec, on_state=seen.append)
    answer = client.stream(endpoint, say("one two three"), Generation(max_tokens=2))
    assert (answer.text, answer.finish_reason) == ("one two", "length")
    state = pool.state(spec)
    assert (state.state, state.device) == ("ready", "cpu")
    assert state.resident_bytes
    pool.stop(spec.key)
    assert pool.state(spec).state == "unloaded"
    assert seen[-1].state == "ready"


def test_two_processes_share_one_worker(pool: WorkerPool, home: Path) -> None:
    spec = scripted()
    first = pool.ensure(spec)
    second = WorkerPool(home).ensure(spec)
    assert first.base_url == second.base_url


def test_many_who_ask_at_once_start_one_worker(pool: WorkerPool) -> None:
    spec = scripted()
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append(pool.ensure(spec).base_url)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_kill_9_in_mid_stream_is_told_and_the_next_request_restarts_it(pool: WorkerPool) -> None:
    spec = scripted(delay_ms=20)
    endpoint = pool.ensure(spec)
    pid = pool.state(spec).pid
    assert pid is not None
    heard: list[str] = []

    def kill_after_two(text: str) -> None:
        heard.append(text)
        if len(heard) == 2:
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(ModelUnavailable, match="worker"):
        client.stream(endpoint, say("w " * 200), Generation(), on_token=kill_after_two)
    wait_for(lambda: pool.state(spec).state == "crashed")
    again = pool.ensure(spec)
    assert client.stream(again, say("alive"), Generation()).text == "alive"


def test_cancelling_a_request_stops_the_generation(pool: WorkerPool) -> None:
    import httpx

    endpoint = pool.ensure(scripted(delay_ms=20))
    heard: list[str] = []
    answer = client.stream(
        endpoint,
        say("w " * 500),
        Generation(max_tokens=500),
        on_token=heard.append,
        cancelled=lambda: len(heard) >= 3,
    )
    assert answer.finish_reason == "cancelled"
    health = endpoint.base_url.removesuffix("/v1") + "/health"
    wait_for(lambda: httpx.get(health).json()["in_flight"] == 0, seconds=5)


def test_a_worker_nobody_uses_unloads_itself(pool: WorkerPool) -> None:
    spec = scripted().with_changes(idle_minutes=0.02)
    pool.ensure(spec)
    wait_for(lambda: pool.state(spec).state == "unloaded", seconds=15)


def test_a_worker_whose_home_was_removed_ends(pool: WorkerPool, home: Path) -> None:
    spec = scripted()
    pool.ensure(spec)
    pid = pool.state(spec).pid
    assert pid is not None
    shutil.rmtree(home)
    wait_for(lambda: not Path(f"/proc/{pid}/cmdline").exists() or _zombie(pid), seconds=10)


def _zombie(pid: int) -> bool:
    return "(zombie)" in Path(f"/proc/{pid}/status").read_text()


def test_a_model_that_does_not_load_says_why(pool: WorkerPool, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"no weights at all")
    spec = WorkerSpec("m", "broken", "transformers", "fp32", path=str(folder))
    with pytest.raises(LatheError) as caught:
        pool.ensure(spec)
    assert "broken" in caught.value.title
    assert pool.state(spec).state == "failed"


def test_loading_can_be_given_up(pool: WorkerPool, tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny")
    spec = WorkerSpec("m", "tiny", "transformers", "fp32", path=str(folder))
    with pytest.raises(ModelUnavailable, match="given up"):
        pool.ensure(spec, cancelled=lambda: True)


def test_errors_come_back_as_what_they_were(pool: WorkerPool) -> None:
    endpoint = pool.ensure(scripted(fail_on="boom"))
    with pytest.raises(LatheError, match="The script fails on 'boom'"):
        client.stream(endpoint, say("boom"), Generation())
    with pytest.raises(Invalid, match="seed") as refused:
        client._post(endpoint, "/chat/completions", {"messages": say("x"), "seed": -1})
    assert refused.value.field == "seed"
    wrong = type(endpoint)(endpoint.base_url, "wrong", endpoint.model, endpoint.spec)
    with pytest.raises(LatheError, match="API key"):
        client.stream(wrong, say("x"), Generation())


def test_a_script_of_the_wrong_shape_is_an_answer_not_a_silence(pool: WorkerPool) -> None:
    endpoint = pool.ensure(scripted(replies=["a list"]))
    with pytest.raises(LatheError, match="wrong shape"):
        client.stream(endpoint, say("x"), Generation())


def test_the_key_is_in_no_file_that_others_may_read(pool: WorkerPool, home: Path) -> None:
    endpoint = pool.ensure(scripted())
    for path in home.rglob("*"):
        if path.is_file() and endpoint.api_key in path.read_text(errors="replace"):
            assert path.stat().st_mode & 0o077 == 0, path
    assert endpoint.api_key not in repr(endpoint)


def test_an_endpoint_that_is_not_there_is_named(pool: WorkerPool) -> None:
    spec = WorkerSpec("m", "far", "endpoint", "remote", base_url="http://127.0.0.1:9/v1")
    began = time.monotonic()
    with pytest.raises(LatheError, match=r"http://127\.0\.0\.1:9/v1 cannot be reached"):
        client.stream(pool.ensure(spec), say("x"), Generation())
    assert time.monotonic() - began < 12


def test_out_of_memory_crosses_the_wire_as_itself() -> None:
    error = client._error_from({"error": {"message": "too big", "code": "OutOfMemory"}}, 507)
    assert isinstance(error, OutOfMemory)
