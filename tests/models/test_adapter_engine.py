"""The engine over an adapter: merged and beside quantized weights, the same as plain PEFT gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.models.engines.adapting import AdaptedLinear, lay_over
from core.models.engines.fusing import FusedLayer
from core.models.engines.precision import load_arguments
from core.models.engines.transformers import TransformersEngine
from core.models.spec import WorkerSpec
from tests.models.test_transformers_engine import WORDS, ask
from tests.models.tiny import save_tiny_adapter, save_tiny_model

CLOSE = 2e-4


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_adapter(tmp_path_factory.mktemp("adapter") / "adapter", base)


@pytest.fixture
def engine(base: Path, adapter: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    spec = WorkerSpec(
        "tuned", "tuned", "transformers", request.param, path=str(base),
        adapter_path=str(adapter), context_length=256, slots=8,
    )  # fmt: skip
    loaded = TransformersEngine(spec, lambda text, share: None)
    yield loaded
    loaded.close()


def by_peft(base: Path, adapter: Path, quantization: str) -> Any:
    """The same by plain PEFT and transformers alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, **load_arguments(quantization, "cpu"))
    return PeftModel.from_pretrained(model, adapter).eval()


def greedy(model: Any, engine: TransformersEngine, request: Any) -> str:
    import torch

    ids = engine._ids(engine.render(request).text)
    with torch.inference_mode():
        out = model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=request.generation.max_tokens,
            do_sample=False,
        )
    return engine._decode([token for token in out[0, len(ids) :].tolist() if token != 1])


@pytest.mark.parametrize("engine", ["fp32", "int8", "nf4"], indirect=True)
def test_a_batch_with_an_adapter_answers_as_plain_peft_does(
    engine: TransformersEngine, base: Path, adapter: Path, request: pytest.FixtureRequest
) -> None:
    quantization = request.node.callspec.params["engine"]
    assert engine.facts["batching"] == "ragged"
    kinds = {type(module) for module in engine._model.modules()}
    assert (FusedLayer if quantization == "fp32" else AdaptedLinear) in kinds
    asked = [ask(engine, word * (n + 1), max_tokens=12) for n, word in enumerate(WORDS[:6])]
    for _, sink in asked:
        sink.finished()
    plain = by_peft(base, adapter, quantization)
    texts = [greedy(plain, engine, request) for request, _ in asked]
    assert [sink.text for _, sink in asked] == texts
    with plain.disable_adapter():
        alone = [greedy(plain, engine, request) for request, _ in asked]
    assert sum(a != b for a, b in zip(alone, texts, strict=True)) >= 4, "the adapter does nothing"


@pytest.mark.parametrize("quantization", ["fp32", "int8", "nf4", "nf4-dq"])
def test_the_scores_are_those_of_plain_peft(base: Path, adapter: Path, quantization: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, **load_arguments(quantization, "cpu"))
    laid = lay_over(model, str(adapter), merge=quantization == "fp32")
    assert type(laid).__name__ == "LlamaForCausalLM"
    ids = torch.arange(5, 60)[None]
    with torch.inference_mode():
        difference = laid(ids).logits - by_peft(base, adapter, quantization)(ids).logits
    assert difference.abs().max() < CLOSE


def test_dora_is_merged_as_peft_merges_it(base: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    folder = save_tiny_adapter(tmp_path / "dora", base, use_dora=True)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    laid = lay_over(model, str(folder), merge=True)
    ids = torch.arange(5, 60)[None]
    with torch.inference_mode():
        difference = laid(ids).logits - by_peft(base, folder, "fp32")(ids).logits
    assert difference.abs().max() < CLOSE
