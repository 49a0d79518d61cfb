"""Adapters in their base's process: each name answers as its model does, swaps lose no request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from core.errors import Conflict, Invalid, NotFound
from core.generation import Generation
from core.governance.permissions import OWNER
from core.models.adapter_http import AdapterHost
from core.models.client import stream
from core.models.engines.hosting import Host
from core.models.engines.transformers import TransformersEngine
from core.models.pool import WorkerPool
from core.models.spec import WorkerSpec
from core.workbench import Workbench
from tests.models.test_adapter_engine import by_peft, greedy
from tests.models.test_service import wait_for
from tests.models.test_transformers_engine import WORDS, ask
from tests.models.tiny import save_tiny_adapter, save_tiny_model

ASKED = [{"role": "user", "content": "fox dog fox"}]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("adapters")
    return [save_tiny_adapter(root / str(seed), base, seed=seed) for seed in (1, 2)]


@pytest.fixture
def hosting(
    base: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[TransformersEngine, Host]]:
    spec = WorkerSpec("m", "Base", "transformers", getattr(request, "param", "fp32"),
                      path=str(base), context_length=256, slots=8)  # fmt: skip
    engine = TransformersEngine(spec, lambda text, share: None)
    host = Host(spec, engine)
    yield engine, host
    host.close()
    engine.close()


@pytest.mark.parametrize("hosting", ["fp32", "nf4", "int8"], indirect=True)
def test_base_and_adapters_answer_side_by_side_as_if_alone(
    hosting: Any, base: Path, adapters: list[Path], request: pytest.FixtureRequest
) -> None:
    quantization = request.node.callspec.params["hosting"]
    engine, host = hosting
    before = [ask(engine, word, max_tokens=12) for word in WORDS[:3]]
    for _, sink in before:
        sink.finished()  # layers have their layout for the CPU from here on
    for number, folder in enumerate(adapters):
        assert host.attach(f"A{number}", str(folder)) > 0
    engines = [engine, host.engine("A0"), host.engine("A1")]
    asked = [[ask(each, word, max_tokens=12) for word in WORDS[:3]] for each in engines]
    for _, sink in (pair for pairs in [before, *asked] for pair in pairs):
        sink.finished()
    texts = [[sink.text for _, sink in pairs] for pairs in asked]
    assert texts[0] == [sink.text for _, sink in before], "the base answers as before"
    for number, folder in enumerate(adapters, start=1):
        plain = by_peft(base, folder, quantization)
        assert texts[number] == [greedy(plain, engine, request) for request, _ in asked[number]]
    assert texts[0] != texts[1] != texts[2]


@pytest.mark.parametrize("hosting", ["nf4"], indirect=True)
def test_beside_quantized_weights_the_layers_are_the_bases_own(
    hosting: Any, adapters: list[Path]
) -> None:
    engine, host = hosting
    host.attach("A", str(adapters[0]))
    mine = engine._model.model.layers[0].self_attn.q_proj
    theirs = host.engine("A")._model.model.layers[0].self_attn.q_proj
    assert type(mine).__name__ == "Linear4bit", "the base is as it was"
    assert theirs.layer is mine
    assert theirs.layer.weight.data_ptr() == mine.weight.data_ptr()


def test_a_swap_under_one_name_loses_no_request(hosting: Any, adapters: list[Path]) -> None:
    engine, host = hosting
    host.attach("A", str(adapters[0]))
    with host.asking("A") as old:
        _, sink = ask(old, "fox", max_tokens=60)
        host.attach("A", str(adapters[1]))
        new = host.engine("A")
        assert new is not old
        assert sink.finished().completion_token_count >= 1
        _, after = ask(old, "fox", max_tokens=60)
        after.finished()
        assert sink.text == after.text, "it was answered by what it was asked of"
    wait_for(lambda: not old._batcher._thread.is_alive(), 30)
    _, sink_of_new = ask(new, "fox", max_tokens=60)
    sink_of_new.finished()
    assert sink_of_new.text != sink.text
    host.detach("A")
    assert host.list() == []
    wait_for(lambda: not new._batcher._thread.is_alive(), 30)
    with pytest.raises(NotFound):
        host.detach("A")
    with pytest.raises(Conflict, match="name of the base"):
        host.attach("Base", str(adapters[0]))
    assert engine._batcher._thread.is_alive()


@pytest.mark.slow
def test_an_adapter_of_a_loaded_base_is_attached_to_its_worker(
    workbench: Workbench, base: Path, adapters: list[Path], home: Path
) -> None:
    models = workbench.models
    base_id = models.add(OWNER, "Tiny", "directory", str(base))
    model_id = models.add(OWNER, "Tuned 1/2", "adapter", str(adapters[0]), base=base_id)
    spec, own = models.resolve(OWNER, model_id), models.resolve(OWNER, base_id)
    text = stream(models.load(OWNER, spec), ASKED, Generation(max_tokens=12)).text
    fresh_ms = models.states(OWNER, model_id=model_id)[0]["load_ms"]
    models.unload(OWNER, spec.key)
    at = models.load(OWNER, own)
    text_of_base = stream(at, ASKED, Generation(max_tokens=12)).text
    began = time.perf_counter()
    endpoint = models.load(OWNER, spec)
    swap_s = time.perf_counter() - began
    assert endpoint.base_url == at.base_url, "one worker answers for both"
    assert stream(endpoint, ASKED, Generation(max_tokens=12)).text == text != text_of_base
    assert stream(at, ASKED, Generation(max_tokens=12)).text == text_of_base
    (state,) = models.states(OWNER, model_id=model_id)
    assert (state["state"], state["message"]) == ("ready", "in the worker of Tiny")
    assert WorkerPool(home).find(spec) is not None, "another process finds it there too"
    print(f"attached in {swap_s:.2f} s, a worker of its own loaded in {fresh_ms / 1000:.2f} s")
    models.unload(OWNER, spec.key)
    assert models.states(OWNER, model_id=model_id)[0]["state"] == "unloaded"
    assert models.states(OWNER, model_id=base_id)[0]["state"] == "ready"
    models.start(OWNER, spec)
    wait_for(lambda: models.states(OWNER, model_id=model_id)[0]["state"] == "ready")
    models.unload(OWNER, own.key)
    assert models.states(OWNER, model_id=model_id)[0]["state"] == "unloaded", "it went along"
    again = models.load(OWNER, spec)
    assert stream(again, ASKED, Generation(max_tokens=12)).text == text, "by one of its own"
    models.unload(OWNER, spec.key)


def test_only_adapters_of_the_home_can_be_attached(
    hosting: Any, adapters: list[Path], tmp_path: Path
) -> None:
    import asyncio

    from starlette.requests import Request

    async def attach(path: str) -> Any:
        async def receive() -> dict[str, Any]:
            body = f'{{"model": "A", "adapter_path": "{path}"}}'.encode()
            return {"type": "http.request", "body": body, "more_body": False}

        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        return await AdapterHost(hosting[1], tmp_path)._attach(request)

    for path in (str(adapters[0]), "../elsewhere"):
        with ThreadPoolExecutor(1) as thread:  # this one may run a loop, for a browser
            answer = thread.submit(asyncio.run, attach(path))
            with pytest.raises(Invalid, match="outside of its folder"):
                answer.result()
