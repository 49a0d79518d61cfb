"""The official openai client against every engine: one class, every engine passes it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from core.models.pool import WorkerPool
from core.models.spec import Endpoint, WorkerSpec
from core.settings import Settings
from tests.jobs.test_jobs import wait_for
from tests.models.tiny import save_tiny_model

CHAT = [{"role": "user", "content": "the quick brown fox jumps"}]
LLAMA_CPP = pytest.param("llama.cpp", marks=pytest.mark.starter)


def make_spec(engine: str, folder: Path) -> WorkerSpec:
    if engine == "scripted":
        script = json.dumps({"default": "the quick brown fox " * 100, "delay_ms": 5})
        return WorkerSpec("m", "tester", engine, "fp32", script=script)
    if engine == "transformers":
        path = str(save_tiny_model(folder / "tiny"))
        return WorkerSpec("m", "tester", engine, "fp32", path=path)
    from core.models.starter import ensure_starter

    ensure_starter(folder / "home", cache=Settings.from_env().cache)
    gguf = next((folder / "home").rglob("*.gguf"))
    return WorkerSpec("m", "tester", engine, "gguf", gguf_path=str(gguf), slots=4)


@pytest.fixture(scope="module", params=["scripted", "transformers", LLAMA_CPP])
def endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("contract")
    pool = WorkerPool(folder / "home")
    yield pool.ensure(make_spec(request.param, folder))
    pool.stop_all()


@pytest.fixture
def client(endpoint: Endpoint) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key, max_retries=0) as made:
        yield made


def chat(client: openai.OpenAI, **more: Any) -> Any:
    asked: dict[str, Any] = {"model": "tester", "messages": CHAT, "temperature": 0, **more}
    return client.chat.completions.create(**asked)


class TestContract:
    def test_the_model_is_listed(self, client: openai.OpenAI) -> None:
        assert [model.id for model in client.models.list()] == ["tester"]

    def test_a_chat_answers(self, client: openai.OpenAI) -> None:
        answer = chat(client, max_tokens=5)
        assert answer.choices[0].finish_reason in ("length", "stop")
        assert 1 <= answer.usage.completion_tokens <= 5
        assert answer.usage.prompt_tokens > 4
        assert answer.choices[0].message.role == "assistant"

    def test_a_stream_says_the_same_as_the_whole(self, client: openai.OpenAI) -> None:
        whole = chat(client, max_tokens=12).choices[0].message.content
        chunks = list(
            chat(client, max_tokens=12, stream=True, stream_options={"include_usage": True})
        )
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == whole
        assert chunks[-1].usage.completion_tokens >= 1
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] in ("length", "stop")

    def test_stop_texts(self, client: openai.OpenAI) -> None:
        whole = chat(client, max_tokens=12).choices[0].message.content
        stop = whole[3:6]
        answer = chat(client, max_tokens=12, stop=[stop])
        assert answer.choices[0].message.content == whole[: whole.index(stop)]
        assert answer.choices[0].finish_reason == "stop"

    def test_a_seed_repeats(self, client: openai.OpenAI) -> None:
        texts = {
            chat(client, max_tokens=8, temperature=1.2, top_p=0.9, seed=4)
            .choices[0]
            .message.content
            for _ in range(2)
        }
        assert len(texts) == 1

    def test_plain_completions(self, client: openai.OpenAI) -> None:
        answer = client.completions.create(
            model="tester", prompt="the quick", max_tokens=4, temperature=0
        )
        assert answer.usage is not None
        assert 1 <= answer.usage.completion_tokens <= 4

    def test_log_probabilities_or_a_refusal(
        self, client: openai.OpenAI, endpoint: Endpoint
    ) -> None:
        if endpoint.spec.engine == "scripted":
            with pytest.raises(openai.BadRequestError, match="cannot honour logprobs"):
                chat(client, logprobs=True)
            return
        answer = chat(client, max_tokens=3, logprobs=True, top_logprobs=2)
        entries = answer.choices[0].logprobs.content
        assert len(entries) == answer.usage.completion_tokens
        assert all(len(entry.top_logprobs) == 2 and entry.logprob <= 0 for entry in entries)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n", 2),
            ("frequency_penalty", 0.5),
            ("logit_bias", {"3": 1}),
            ("tools", [{"type": "function", "function": {"name": "f"}}]),
            ("temperature", 7),
            ("max_tokens", 0),
            ("top_logprobs", 3),
        ],
    )
    def test_what_it_cannot_honour_is_refused_by_name(
        self, client: openai.OpenAI, name: str, value: Any
    ) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            chat(client, **{name: value})
        assert name in str(refused.value)
        assert refused.value.param == name

    def test_a_json_schema_is_followed_or_refused(
        self, client: openai.OpenAI, endpoint: Endpoint
    ) -> None:
        schema = {
            "type": "object",
            "properties": {"label": {"enum": ["billing", "bug"]}},
            "required": ["label"],
            "additionalProperties": False,
        }
        asked = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        if endpoint.spec.engine == "transformers":
            with pytest.raises(openai.BadRequestError, match="response_format"):
                chat(client, response_format=asked)
        elif endpoint.spec.engine == "llama.cpp":
            answer = chat(client, response_format=asked, max_tokens=30)
            told = json.loads(answer.choices[0].message.content)
            assert told["label"] in ("billing", "bug")

    def test_a_wrong_key_and_a_wrong_model_are_refused(self, endpoint: Endpoint) -> None:
        with (
            openai.OpenAI(base_url=endpoint.base_url, api_key="wrong", max_retries=0) as wrong,
            pytest.raises(openai.AuthenticationError),
        ):
            wrong.models.list()
        with (
            openai.OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key) as client,
            pytest.raises(openai.NotFoundError),
        ):
            chat(client, model="another")

    def test_leaving_a_stream_stops_the_generation(
        self, client: openai.OpenAI, endpoint: Endpoint
    ) -> None:
        stream = chat(client, max_tokens=400, stream=True)
        for i, _ in enumerate(stream):
            if i == 3:
                break
        stream.close()
        health = endpoint.base_url.removesuffix("/v1") + "/health"
        began = time.monotonic()
        wait_for(lambda: httpx.get(health).json()["in_flight"] == 0, seconds=5)
        assert time.monotonic() - began < 5

    def test_embeddings_are_refused_by_a_chat_model(
        self, client: openai.OpenAI, endpoint: Endpoint
    ) -> None:
        if endpoint.spec.engine != "scripted":
            with pytest.raises(openai.BadRequestError, match="chat model"):
                client.embeddings.create(model="tester", input="fox")
