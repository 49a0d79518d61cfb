"""The loss counts the assistant's turns and nothing else, in the templates people use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import trl
from hypothesis import given
from hypothesis import strategies as st

from core.training.script.params import Params
from core.training.script.rows import (
    TemplateMismatch,
    compare_templates,
    encode,
    prepare,
)
from tests.training.folders import turns

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
CHATML = (  # SmolLM2's, as its model card has it
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MISTRAL = (  # of 7B-Instruct-v0.2: no system turn, the answer behind a space, its end is </s>
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != "
    "(loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate "
    "user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'] + eos_token }}{% else %}{{ raise_exception('Only user and "
    "assistant roles are supported!') }}{% endif %}{% endfor %}"
)
SPECIAL = {
    "chatml": ["<|im_start|>", "<|im_end|>", "<|endoftext|>"],
    "llama3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma": ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
    "mistral": ["<s>", "</s>", "[INST]", "[/INST]"],
    "phi3": ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"],
    "qwen3": ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>"],
}
# template, special tokens, bos, eos, what ends a turn, what the model writes before an answer that
# is the last turn (an empty thinking block, which inference does not send)
MODELS = {
    "SmolLM2": (CHATML, "chatml", None, "<|im_end|>", "<|im_end|>", ""),
    "Qwen 2.5": ("qwen2_5.jinja", "chatml", None, "<|im_end|>", "<|im_end|>", ""),
    "Qwen 3": ("qwen3.jinja", "qwen3", None, "<|im_end|>", "<|im_end|>", "<think>\n\n</think>\n\n"),
    "Llama 3": ("llama3.jinja", "llama3", "<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>", ""),
    "Llama 3.2": ("llama3_2.jinja", "llama3", "<|begin_of_text|>", "<|eot_id|>", "<|eot_id|>", ""),
    "Gemma": ("gemma.jinja", "gemma", "<bos>", "<eos>", "<end_of_turn>", ""),
    "Mistral": (MISTRAL, "mistral", "<s>", "</s>", "</s>", " "),
    "Phi 3": ("phi3.jinja", "phi3", None, "<|endoftext|>", "<|end|>", ""),
}
NO_SYSTEM = ("Gemma", "Mistral")


def tokenizer_for(
    template: str, special: list[str], *, bos: str | None = None, eos: str | None = None
) -> Any:
    """A byte-level tokenizer with the special tokens and the template of a real one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<pad>", *special], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    inner.train_from_iterator(
        ["the sky is blue", "what colour has the sea", "user system"], trainer
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token=bos, eos_token=eos
    )
    tokenizer.chat_template = (
        (TEMPLATES / template).read_text() if template.endswith(".jinja") else template
    )
    return tokenizer


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> tuple[str, Any, str, str]:
    """(name, tokenizer, what ends a turn, what the model writes before a last answer)"""
    template, special, bos, eos, end, lead = MODELS[request.param]
    return request.param, tokenizer_for(template, SPECIAL[special], bos=bos, eos=eos), end, lead


def trained_texts(tokenizer: Any, messages: list[dict[str, str]]) -> list[str]:
    """The texts that the loss counts, each run of tokens by itself."""
    row = encode(tokenizer, messages)
    assert len(row.labels) == len(row.input_ids)
    assert row.input_ids == tokenizer(row.text, add_special_tokens=False)["input_ids"]
    runs: list[list[int]] = []
    for before, label in zip([-100, *row.labels], row.labels, strict=False):
        if label == -100:
            continue
        if before == -100:
            runs.append([])
        runs[-1].append(label)
    return [tokenizer.decode(run, skip_special_tokens=False) for run in runs]


def test_the_loss_counts_the_answer_and_its_end_alone(model: tuple[str, Any, str, str]) -> None:
    _, tokenizer, end, lead = model
    assert trained_texts(tokenizer, turns("what colour has the sea?", "It is blue.")) == [
        f"{lead}It is blue.{end}"
    ]


def test_every_answer_of_a_conversation_counts(model: tuple[str, Any, str, str]) -> None:
    name, tokenizer, end, lead = model
    talk = turns("the sky?", "blue") + turns("and the sea?", "blue, too") + turns("a?", "b c")
    inner = lead if name == "Mistral" else ""
    assert trained_texts(tokenizer, talk) == [
        f"{inner}blue{end}", f"{inner}blue, too{end}", f"{lead}b c{end}",
    ]  # fmt: skip


def test_a_system_turn_is_no_answer_or_is_refused_in_words(
    model: tuple[str, Any, str, str],
) -> None:
    name, tokenizer, end, lead = model
    asked = turns("the sky?", "blue", system="Answer in one word.")
    if name in NO_SYSTEM:
        with pytest.raises(TemplateMismatch, match="put its text into the first user turn"):
            encode(tokenizer, asked)
    else:
        assert trained_texts(tokenizer, asked) == [f"{lead}blue{end}"]


def test_training_and_inference_send_the_same_up_to_the_answer(
    model: tuple[str, Any, str, str],
) -> None:
    _, tokenizer, _, _ = model
    talk = turns("the sky?", "blue") + turns("and the sea?", "blue, too")
    found = compare_templates(tokenizer, talk)
    assert found["same"]
    assert found["differs_at"] is None
    assert found["training"] == found["inference"]
    asked = tokenizer.apply_chat_template(talk[:-1], tokenize=False, add_generation_prompt=True)
    assert found["inference"] == asked


def test_the_whole_text_counts_when_asked(model: tuple[str, Any, str, str]) -> None:
    _, tokenizer, _, _ = model
    row = encode(tokenizer, turns("the sky?", "blue"), assistant_only=False)
    assert row.labels == row.input_ids


def test_thinking_that_a_row_brings_is_part_of_its_answer() -> None:
    template, special, bos, eos, _, _ = MODELS["Qwen 3"]
    tokenizer = tokenizer_for(template, SPECIAL[special], bos=bos, eos=eos)
    asked = turns("the sky?", "<think>\nlook up\n</think>\n\nblue")
    assert trained_texts(tokenizer, asked) == ["<think>\nlook up\n</think>\n\nblue<|im_end|>"]


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)
CHATML_TOKENIZER = tokenizer_for(CHATML, SPECIAL["chatml"], eos="<|im_end|>")


@given(questions=st.lists(TEXT, min_size=1, max_size=3), answer=TEXT)
def test_any_text_at_all_is_masked_exactly(questions: list[str], answer: str) -> None:
    """Also when an answer repeats its question, or one turn's text stands in another's."""
    talk = [turn for question in questions for turn in turns(question, answer)]
    row = encode(CHATML_TOKENIZER, talk)
    assert [row.text[start:end] for start, end in row.spans] == [answer + "<|im_end|>"] * len(
        questions
    )
    if "<|im_" not in answer + "".join(questions):
        assert trained_texts(CHATML_TOKENIZER, talk) == [answer + "<|im_end|>"] * len(questions)


def tiny(template: str | None) -> Any:
    made = tokenizer_for("", SPECIAL["chatml"], eos="<|im_end|>")
    made.chat_template = template
    return made


def test_a_base_model_without_a_template_is_refused() -> None:
    with pytest.raises(TemplateMismatch, match="no chat template"):
        encode(tiny(None), turns("a", "b"))


def test_a_template_that_leaves_answers_out_is_refused() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
    )
    with pytest.raises(TemplateMismatch, match="leaves the assistant's turns out"):
        encode(tiny(template), turns("a", "b"))


def test_a_template_that_differs_at_inference_is_refused_and_shown() -> None:
    """The generation prompt opens a thinking block that the text trained on does not have."""
    template = CHATML.replace("assistant\n' }}{% endif %}", "assistant\n<think>\n' }}{% endif %}")
    with pytest.raises(TemplateMismatch, match="differ before answer 1"):
        encode(tiny(template), turns("a", "b"))
    found = compare_templates(tiny(template), turns("a", "b"))
    assert not found["same"]
    at = found["differs_at"]
    assert found["inference"][:at] == found["training"][:at]
    assert found["inference"][at:] == "<think>\n"
    assert found["training"].endswith("<|im_start|>assistant\n")


def test_tokenizers_without_offsets_mask_by_prefix() -> None:
    """A slow tokenizer gives the same labels as the fast one it is made from."""

    class Slow:
        """Delegates, without offsets."""

        is_fast = False

        def __init__(self, fast: Any) -> None:
            self.fast = fast

        def __getattr__(self, name: str) -> Any:
            return getattr(self.fast, name)

        def __call__(self, text: Any, **named: Any) -> Any:
            assert not named.pop("return_offsets_mapping", False)
            return self.fast(text, **named)

    talk = turns("the sky?", "blue") + turns("and the sea?", "blue, too")
    assert encode(Slow(CHATML_TOKENIZER), talk).labels == encode(CHATML_TOKENIZER, talk).labels


def params(**changes: Any) -> Params:
    return Params.from_dict({"max_length": 32, **changes})


def rows(*lengths: int) -> list[dict[str, Any]]:
    return [{"id": f"r{n}", "messages": turns("sky " * n, "blue")} for n in lengths]


@pytest.fixture
def short() -> Any:
    """A tokenizer whose template adds little."""
    return tiny(CHATML.replace("if loop.first", "if false"))


def test_rows_that_are_too_long_are_dropped_and_counted(short: Any) -> None:
    kept, dropped = prepare(short, rows(1, 2, 40), params())
    assert [row.id for row in kept] == ["r1", "r2"]
    assert dropped == {"too long": 1}


def test_rows_cut_before_their_answer_are_dropped_and_counted(short: Any) -> None:
    talk = [{"id": "long", "messages": turns("sky", "blue") + turns("sky " * 40, "blue")}]
    kept, dropped = prepare(short, [*rows(1, 40), *talk], params(too_long="truncate"))
    assert [row.id for row in kept] == ["r1", "long"]
    assert dropped == {"answer cut off": 1}
    assert len(kept[1].input_ids) == len(kept[1].labels) == 32
    assert kept[1].trained  # its first answer


def test_rows_that_teach_nothing_are_dropped_and_counted(short: Any) -> None:
    bad = [
        {"id": "a", "messages": []},
        {"id": "b", "messages": turns("x", "y")[:1]},
        {"id": "c", "messages": turns("x", " ")},
    ]
    kept, dropped = prepare(short, [*bad, *rows(1)], params())
    assert len(kept) == 1
    assert dropped == {"no turns": 1, "no answer": 1, "empty answer": 1}


def test_a_template_that_refuses_a_row_names_it(short: Any) -> None:
    short.chat_template = MISTRAL
    with pytest.raises(TemplateMismatch, match=r"Row r1: .*refuses these turns"):
        prepare(short, [{"id": "r1", "messages": turns("x", "y", system="z")}], params())


@pytest.mark.parametrize("too_long", ["drop", "truncate"])
def test_a_row_of_a_million_tokens_costs_nothing(short: Any, too_long: str) -> None:
    huge = {"id": "huge", "messages": turns("sky is blue " * 400_000, "blue")}
    before = time.process_time()
    kept, dropped = prepare(short, [huge, *rows(1)], params(too_long=too_long))
    assert time.process_time() - before < 2
    assert [row.id for row in kept] == ["r1"]
    assert sum(dropped.values()) == 1
