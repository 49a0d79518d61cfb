"""The transformers engine against plain `generate`: the same tokens, however rows come and go."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Invalid, LatheError
from core.generation import Generation
from core.models.engines import Delta, Event, Finished, Request
from core.models.engines.transformers import TransformersEngine
from core.models.spec import WorkerSpec
from tests.models.tiny import save_tiny_model

WORDS = ["fox", "dog", "quick", "über", "jumps", "🦊", "lazy", "the", "over", "seven"]


class Collected:
    """What an engine told about one request."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.end: Finished | LatheError | None = None
        self._done = threading.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Delta):
            self.deltas.append(event)
        else:
            self.end = event
            self._done.set()

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    def finished(self) -> Finished:
        assert self._done.wait(60), "the engine did not answer"
        assert isinstance(self.end, Finished), self.end
        return self.end


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


def spec(folder: Path, **changes: Any) -> WorkerSpec:
    return WorkerSpec("tiny", "tiny", "transformers", "fp32", path=str(folder)).with_changes(
        context_length=256, slots=8, **changes
    )


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[TransformersEngine]:
    loaded = TransformersEngine(spec(folder), lambda text, share: None)
    yield loaded
    loaded.close()


def ask(engine: TransformersEngine, text: str, **generation: Any) -> tuple[Request, Collected]:
    messages = ({"role": "system", "content": "the quick brown fox " * 8}, _user(text))
    request = Request(messages, None, Generation(**generation))
    sink = Collected()
    engine.submit(request, sink)
    return request, sink


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def plain(engine: TransformersEngine, request: Request) -> str:
    """The same by `generate`, one row alone, with transformers' own attention."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(engine._model.name_or_path, dtype=torch.float32)
    ids = engine._ids(engine.render(request).text)
    with torch.inference_mode():
        out = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=request.generation.max_tokens,
            do_sample=False,
        )
    new = out[0, len(ids) :].tolist()
    return engine._decode([token for token in new if token != 1])


def test_rows_of_all_lengths_answer_as_if_they_were_alone(engine: TransformersEngine) -> None:
    draw = random.Random(7)
    asked = []
    for _ in range(40):
        text = " ".join(draw.choices(WORDS, k=draw.randint(1, 40)))
        asked.append(ask(engine, text, max_tokens=draw.randint(1, 40)))
        if draw.random() < 0.2:
            time.sleep(0.01)  # so that rows join while others decode
    ends = [sink.finished() for _, sink in asked]
    assert [sink.text for _, sink in asked] == [plain(engine, request) for request, _ in asked]
    assert max(end.cached_token_count for end in ends) > 32, "the shared beginning was not shared"


def test_cancelled_rows_leave_and_the_others_do_not_notice(engine: TransformersEngine) -> None:
    asked = [ask(engine, word * 3, max_tokens=30) for word in WORDS]
    for request, _ in asked[::3]:
        request.cancelled.set()
    for i, (request, sink) in enumerate(asked):
        end = sink.finished()
        if i % 3 == 0:
            assert end.reason in ("cancelled", "stop", "length")
        else:
            assert sink.text == plain(engine, request)


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(engine: TransformersEngine) -> None:
    _, sink = ask(engine, "fox", max_tokens=30)
    sink.finished()
    stop = sink.text[5:8]
    _, stopped = ask(engine, "fox", max_tokens=30, stop=(stop,))
    assert stopped.finished().reason == "stop"
    assert stopped.text == sink.text[: sink.text.index(stop)]


def test_a_seed_repeats_itself_and_another_one_does_not(engine: TransformersEngine) -> None:
    def text(seed: int) -> str:
        _, sink = ask(engine, "dog", max_tokens=20, temperature=1.5, top_p=0.9, seed=seed)
        sink.finished()
        return sink.text

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(5)}) > 1


def test_log_probabilities_are_those_of_the_model(engine: TransformersEngine) -> None:
    request = Request((_user("fox"),), None, Generation(max_tokens=4), top_logprobs=3)
    sink = Collected()
    engine.submit(request, sink)
    sink.finished()
    entries = [entry for delta in sink.deltas for entry in delta.logprobs]
    assert len(entries) >= 1
    for entry in entries:
        best = [top["logprob"] for top in entry["top_logprobs"]]
        assert best == sorted(best, reverse=True)
        assert entry["logprob"] == pytest.approx(best[0]), "greedy takes the likeliest"


def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(
    engine: TransformersEngine,
) -> None:
    with pytest.raises(Invalid, match=r"tokens; the model is loaded with a context of 256"):
        ask(engine, "fox " * 300)


def test_a_prompt_longer_than_one_step_is_read_in_parts(folder: Path) -> None:
    engine = TransformersEngine(spec(folder), lambda text, share: None)
    engine._batcher._step_tokens = 16
    asked = [ask(engine, "fox dog " * n, max_tokens=12) for n in (3, 20, 1, 9)]
    for request, sink in asked:
        sink.finished()
        assert sink.text == plain(engine, request)
    engine.close()


@pytest.mark.parametrize("quantization", ["int8", "nf4", "nf4-dq", "bf16"])
def test_bitsandbytes_quantizations_really_run(folder: Path, quantization: str) -> None:
    engine = TransformersEngine(
        spec(folder).with_changes(quantization=quantization), lambda text, share: None
    )
    _, sink = ask(engine, "fox", max_tokens=5)
    assert sink.finished().completion_token_count >= 1
    kinds = {type(module).__name__ for module in engine._model.modules()}
    wanted = {"int8": "Linear8bitLt", "nf4": "Linear4bit", "nf4-dq": "Linear4bit"}
    assert wanted.get(quantization, "Linear") in kinds
    engine.close()


def test_models_with_sliding_attention_run_row_by_row_and_agree(tmp_path: Path) -> None:
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    save_tiny_model(tmp_path)
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=400, hidden_size=48, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, sliding_window=16,
        max_position_embeddings=512, initializer_range=0.4, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(tmp_path)
    engine = TransformersEngine(spec(tmp_path), lambda text, share: None)
    assert engine.facts["batching"] == "one row at a time"
    asked = [ask(engine, word, max_tokens=20) for word in WORDS[:3]]
    for request, sink in asked:
        sink.finished()
        assert sink.text == plain(engine, request)
    engine.close()
