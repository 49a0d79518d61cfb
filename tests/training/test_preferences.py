"""DPO, ORPO and KTO: what becomes of the rows, that they learn, and that they are TRL's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.training.script import preferences
from core.training.script.params import BadParam, Params
from core.training.script.rows import TemplateMismatch
from tests.models.tiny import save_tiny_model
from tests.training.folders import events, result, run_folder, train_here, weights
from tests.training.preference_rows import Row, pair, pairs, turn, verdict, verdicts

DPO = Params(method="dpo")
KTO = Params(method="kto")
LEARNS = {"epochs": 2.0, "batch_size": 8, "learning_rate": 5e-3, "sample_count": 0}


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("preferences") / "base")


@pytest.fixture(scope="session")
def tokenizer(base: Path) -> Any:
    from core.training.script.loading import load_tokenizer

    return load_tokenizer(base)


def prepare(tokenizer: Any, rows: list[Row], params: Params = DPO) -> tuple[Any, dict[str, int]]:
    return preferences.prepare(tokenizer, rows, params)


# rows


def test_a_pair_becomes_what_inference_sends_and_two_answers_through_their_end(
    tokenizer: Any,
) -> None:
    (row,), dropped = prepare(tokenizer, [pair("fox?", "yes", "no way", "a")])
    assert tokenizer.decode(row.prompt_ids) == "<|user|>fox?<|end|><|assistant|>"
    assert tokenizer.decode(row.chosen_ids) == "yes<|end|>"
    assert tokenizer.decode(row.rejected_ids) == "no way<|end|>"
    assert (row.id, row.label, dropped) == ("a", True, {})


def test_what_a_template_puts_behind_the_end_of_a_turn_is_not_trained_on(tokenizer: Any) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = tokenizer.chat_template.replace("<|end|>{%", "<|end|>\n{%")
    (row,), _ = prepare(other, [pair("fox?", "yes", "no")])
    assert other.decode(row.prompt_ids) == "<|user|>fox?<|end|>\n<|assistant|>"
    assert other.decode(row.chosen_ids) == "yes<|end|>"


def test_answers_within_the_prompt_are_no_answers(tokenizer: Any) -> None:
    row = pair("and now?", "yes", "no")
    row["prompt"] = [turn("fox?", "user"), turn("a fox"), *row["prompt"]]
    (found,), _ = prepare(tokenizer, [row])
    assert tokenizer.decode(found.prompt_ids).endswith(
        "a fox<|end|><|user|>and now?<|end|><|assistant|>"
    )
    assert tokenizer.decode(found.chosen_ids) == "yes<|end|>"


def test_a_verdict_becomes_one_answer_with_its_label(tokenizer: Any) -> None:
    rows = [verdict("fox?", "yes", True, "a"), verdict("dog?", "no", False, "b")]
    found, _ = prepare(tokenizer, rows, KTO)
    assert [(tokenizer.decode(r.chosen_ids), r.rejected_ids, r.label) for r in found] == [
        ("yes<|end|>", [], True), ("no<|end|>", [], False),
    ]  # fmt: skip


def test_what_teaches_nothing_is_dropped_and_counted(tokenizer: Any) -> None:
    rows = [
        pair("fox?", "yes", "no"),
        pair("fox?", "the same", " the same "),
        pair("fox?", "", "no"),
        {**pair("fox?", "yes", "no"), "rejected": []},
        {**pair("fox?", "yes", "no"), "prompt": []},
        pair("fox " * 400, "yes", "no"),
        pair("fox?", "yes " * 400, "no"),
        pair("x" * 1_000_000, "yes", "no"),
    ]
    found, dropped = prepare(tokenizer, rows, Params(method="dpo", max_length=256))
    assert len(found) == 1
    assert dropped == {"same answers": 1, "empty answer": 2, "no turns": 1, "too long": 3}


def test_opposite_verdicts_cancel_one_for_one(tokenizer: Any) -> None:
    yes, no = pair("fox?", "yes", "no"), pair("fox?", "no", "yes")
    found, dropped = prepare(tokenizer, [yes, no, yes, pair("dog?", "no", "yes")])
    assert dropped == {"tied": 2}
    assert [tokenizer.decode(row.chosen_ids) for row in found] == ["yes<|end|>", "no<|end|>"]
    good, bad = verdict("fox?", "yes", True), verdict("fox?", "yes", False)
    found, dropped = prepare(tokenizer, [bad, good, bad], KTO)
    assert dropped == {"tied": 2}
    assert [row.label for row in found] == [False]


def test_cut_rows_keep_the_prompt_and_lose_what_is_cut_off_whole(tokenizer: Any) -> None:
    params = Params(method="dpo", max_length=32, too_long="truncate")
    short = pair("fox?", "yes " * 50, "no " * 50)
    found, dropped = prepare(tokenizer, [short, pair("fox " * 100, "yes", "no")], params)
    assert dropped == {"answer cut off": 1}
    assert found[0].length == 32
    assert tokenizer.decode(found[0].prompt_ids).endswith("<|assistant|>")


def test_a_template_that_inference_would_fill_differently_is_refused_by_row(
    tokenizer: Any,
) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = tokenizer.chat_template.replace("<|assistant|>", "<|system|>")
    with pytest.raises(TemplateMismatch, match=r"Row r7: .*differ before answer 1"):
        prepare(other, [pair("fox?", "yes", "no", "r7")])


words = st.text("abc ?", min_size=1, max_size=12)


@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=8), st.booleans())
def test_every_row_is_kept_or_counted_and_both_answers_follow_the_same_prompt(
    tokenizer: Any, texts: list[tuple[str, str, str]], cut: bool
) -> None:
    params = Params(method="dpo", max_length=16, too_long="truncate" if cut else "drop")
    rows = [pair(*given, row_id=str(number)) for number, given in enumerate(texts)]
    found, dropped = prepare(tokenizer, rows, params)
    assert len(found) + sum(dropped.values()) == len(rows)
    for row in found:
        assert row.length <= 16
        assert row.chosen_ids
        assert row.rejected_ids
        assert row.chosen_ids != row.rejected_ids
        prompt, chosen, _ = texts[int(row.id)]
        whole = f"<|user|>{prompt}<|end|><|assistant|>{chosen}<|end|>"
        assert whole.startswith(tokenizer.decode(row.prompt_ids + row.chosen_ids))


def some(*answers: int) -> list[preferences.Preference]:
    return [preferences.Preference([1], [answer], [], label=answer < 5) for answer in answers]


def test_kto_measures_its_distance_on_the_answers_of_neighbours() -> None:
    assert preferences.mismatched(some(1, 2, 3, 4, 5), 2) == [[2], [1], [4], [3], [4]]
    assert preferences.mismatched(some(1, 2, 3), 3) == [[3], [1], [2]]


@given(st.integers(1, 50), st.integers(1, 50))
def test_good_and_bad_verdicts_weigh_as_the_paper_says(good: int, bad: int) -> None:
    weight_good, weight_bad = preferences.verdict_weights(some(*[1] * good, *[9] * bad))
    assert 1 - 1e-9 <= weight_good * good / (weight_bad * bad) <= 4 / 3 + 1e-9


def test_kto_takes_batches_of_two_or_more() -> None:
    with pytest.raises(BadParam, match="two or more"):
        Params.from_dict({"method": "kto", "batch_size": 1})


# training


@pytest.fixture(scope="session")
def trained(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each method, trained."""
    found = {}
    for method, made in (("dpo", pairs), ("orpo", pairs), ("kto", verdicts)):
        found[method] = run_folder(
            tmp_path_factory.mktemp(method) / method, base=base, rows=made(64),
            held_out=made(24, seed=1), method=method, **LEARNS,
        )  # fmt: skip
        assert train_here(found[method]) == 0
    return found


@pytest.mark.slow
def test_dpo_raises_the_margin_on_preferences_that_it_has_not_seen(
    trained: dict[str, Path],
) -> None:
    base_eval, *later = events(trained["dpo"], "eval")
    assert (base_eval["margin"], base_eval["accuracy"], base_eval["base"]) == (0.0, 0.5, True)
    assert base_eval["loss"] == pytest.approx(0.6931, abs=1e-4)
    assert later[-1]["margin"] > 2
    assert later[-1]["accuracy"] == 1.0
    assert later[-1]["margin"] >= later[0]["margin"]
    first, last = (events(trained["dpo"], "step")[at] for at in (0, -1))
    assert first["margin"] == 0.0
    assert last["margin"] > 2
    assert first["loss"] == pytest.approx(0.6931, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["orpo", "kto"])
def test_orpo_and_kto_lower_their_loss_and_raise_the_margin(
    trained: dict[str, Path], method: str
) -> None:
    base_eval, *later = events(trained[method], "eval")
    assert later[-1]["loss"] < 0.9 * base_eval["loss"]
    assert later[-1]["margin"] > base_eval["margin"] + 0.3
    ended = result(trained[method])
    assert ended["loss_last"] < ended["loss_first"]
    assert ended["tokens"] == events(trained[method], "step")[-1]["tokens"] > 64 * 2 * 15


@pytest.mark.slow
def test_a_broken_dpo_goes_on_to_the_same_weights(trained: dict[str, Path], tmp_path: Path) -> None:
    whole, broken = trained["dpo"], tmp_path / "broken"
    shutil.copytree(whole, broken)
    checkpoints = sorted((broken / "checkpoints").iterdir(), key=lambda p: int(p.name[11:]))
    assert len(checkpoints) >= 2
    shutil.rmtree(checkpoints[-1])
    shutil.rmtree(broken / "adapter")
    assert train_here(broken) == 0
    assert events(broken, "start")[-1]["resumed_from"] == int(checkpoints[-2].name[11:])
    same_weights(whole, broken)


@pytest.mark.slow
def test_dpo_after_sft_is_held_near_the_tuned_model_and_saves_one_adapter(
    base: Path, trained: dict[str, Path], tmp_path: Path
) -> None:
    """The reference is the base with the adapter that it starts from, also when it is resumed."""
    folder = run_folder(
        tmp_path / "second", base=base, rows=pairs(32), held_out=pairs(8, seed=1),
        start_from=trained["orpo"] / "adapter", method="dpo", **{**LEARNS, "epochs": 1.0},
    )  # fmt: skip
    assert train_here(folder) == 0
    first = events(folder, "step")[0]
    assert (first["margin"], first["loss"]) == (0.0, pytest.approx(0.6931, abs=1e-4))
    names = {path.name for path in folder.rglob("*") if path.is_dir()}
    assert "ref" not in names, "the frozen copy is no part of what was trained"
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    shutil.rmtree(max((broken / "checkpoints").iterdir(), key=lambda p: int(p.name[11:])))
    assert train_here(broken) == 0
    same_weights(folder, broken)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers about its own arguments
def test_dpo_gives_the_weights_that_plain_trl_gives(base: Path, tmp_path: Path) -> None:
    """All rows in one batch, so that order says nothing: the same tokens, steps, reference."""
    import torch
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from core.training.script.loading import add_adapter, load_base, load_tokenizer

    rows = pairs(12)
    params = Params(method="dpo", rank=4, alpha=8, batch_size=12, learning_rate=1e-3, max_steps=4,
                    schedule="constant", warmup_share=0.0)  # fmt: skip
    tokenizer = load_tokenizer(base)
    arguments: dict[str, Any] = dict(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, per_device_train_batch_size=12,
        max_steps=4, learning_rate=1e-3, lr_scheduler_type="constant", report_to="none",
        disable_tqdm=True, save_strategy="no", seed=params.seed, gradient_checkpointing=False,
        remove_unused_columns=False,
    )  # fmt: skip
    plain_model = add_adapter(load_base(base, params), params, None)
    plain = DPOTrainer(
        model=plain_model, args=DPOConfig(**arguments, beta=params.beta),
        train_dataset=Dataset.from_list([{k: v for k, v in r.items() if k != "id"} for r in rows]),
        processing_class=tokenizer,
    )  # fmt: skip
    kept, _ = preferences.prepare(tokenizer, rows, params)
    for mine, theirs in zip(kept, plain.train_dataset, strict=True):
        assert mine.prompt_ids == theirs["prompt_ids"]
        assert mine.chosen_ids == theirs["chosen_ids"]
        assert mine.rejected_ids == theirs["rejected_ids"]
    our_model = add_adapter(load_base(base, params), params, None)
    ours = preferences.build(params, our_model, tokenizer, kept, [], arguments, [])
    assert set(our_model.peft_config) == {"default"}, "the base is there without a copy"
    plain.train()
    ours.train()
    theirs_by_name = dict(plain_model.named_parameters())
    for name, weight in our_model.named_parameters():
        if weight.requires_grad:
            torch.testing.assert_close(weight, theirs_by_name[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_qlora_over_nf4_learns_on_a_cpu(
    base: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bitsandbytes
    import torch

    from core.training.script import loading

    seen: list[Any] = []
    load = loading.load_base
    monkeypatch.setattr(loading, "load_base", lambda *given: seen.append(load(*given)) or seen[0])
    rows = pairs(48) if method == "dpo" else conversations(48)
    held = pairs(8, seed=1) if method == "dpo" else conversations(8, seed=1)
    folder = run_folder(
        tmp_path / "q", base=base, rows=rows, held_out=held, method=method, quantization="nf4",
        **LEARNS,
    )  # fmt: skip
    assert train_here(folder) == 0
    layers = [m for m in seen[0].modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14
    assert {layer.weight.quant_type for layer in layers} == {"nf4"}
    assert all(layer.weight.quant_state.nested for layer in layers), "double quantization"
    base_eval, *later = events(folder, "eval")
    assert later[-1]["loss"] < 0.9 * base_eval["loss"]
    assert {tensor.dtype for tensor in weights(folder / "adapter").values()} == {torch.float32}


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_every_layer_still_gets_a_gradient_after_an_evaluation(
    base: Path, quantization: str
) -> None:
    """bitsandbytes packs 4-bit layers at an evaluation on some CPUs: then none below one would."""
    import torch

    from core.training.script.loading import add_adapter, load_base

    params = Params(quantization=quantization, rank=2)
    model = add_adapter(load_base(base, params), params, None)
    ids = torch.arange(8, 24).reshape(2, 8)
    model.eval()
    with torch.no_grad():
        model(input_ids=ids)
    model.train()
    model(input_ids=ids, labels=ids).loss.backward()
    trained = [(name, p) for name, p in model.named_parameters() if "lora_B" in name]
    assert len(trained) == 14
    for name, parameter in trained:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def conversations(count: int, seed: int = 0) -> list[Row]:
    """The prompts with the chosen answers."""
    return [
        {"id": row["id"], "messages": [*row["prompt"], *row["chosen"]]}
        for row in pairs(count, seed)
    ]


def same_weights(one: Path, other: Path) -> None:
    import torch

    left, right = weights(one / "adapter"), weights(other / "adapter")
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], rtol=0, atol=1e-6, msg=name)


@pytest.mark.slow
@pytest.mark.starter
@pytest.mark.timeout(600)  # a minute of one core; cores are shared
def test_the_starter_learns_the_preferences_of_the_sample(
    starter_home: Path, tmp_path: Path
) -> None:
    """The label alone over a sentence with the same label, on tickets that it has not seen."""
    from core.datasets.samples import FOLDER
    from core.models.starter import by_slug, home_folder

    lines = (FOLDER / "ticket-preferences.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [
        pair(f"{row['subject']}\nLabel:", row["chosen"], row["rejected"], row["id"])
        for row in map(json.loads, lines)
        if len(row["rejected"].split()) > 3
    ]
    starter = home_folder(starter_home, by_slug("smollm2-135m-instruct")) / "safetensors"
    folder = run_folder(
        tmp_path / "starter", base=starter, rows=rows[:8], held_out=rows[-6:], method="dpo",
        epochs=3.0, batch_size=4, threads=1, learning_rate=5e-4, rank=8, schedule="constant",
        warmup_share=0.0, group_by_length=False, eval_every=100, sample_count=0,
    )  # fmt: skip
    assert train_here(folder) == 0
    base_eval, last = events(folder, "eval")
    assert base_eval["margin"] == 0.0
    assert last["margin"] > 0.5
    assert last["accuracy"] > 0.8
