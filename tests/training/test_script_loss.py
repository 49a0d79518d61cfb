"""The loss and its gradients are TRL's, in every layout of a batch, and packs do not leak."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.training.script.params import Params
from core.training.script.rows import Encoded, prepare
from tests.models.tiny import save_tiny_model
from tests.training.folders import sft_rows

SYSTEM = "answer with one colour and nothing else, all in small letters please"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def params(**changes: Any) -> Params:
    small = {"rank": 4, "alpha": 8, "batch_size": 8, "max_length": 256, "max_steps": 1}
    return Params.from_dict({**small, **changes})


def ours(base: Path, asked: Params, rows: list[dict[str, Any]], scratch: Path) -> Any:
    """Our trainer, its adapter no longer the zero it starts from."""
    from core.training.script import loading, session

    tokenizer = loading.load_tokenizer(base)
    encoded, dropped = prepare(tokenizer, rows, asked)
    assert not dropped
    model = loading.add_adapter(loading.load_base(base, asked), asked, None)
    stir(model)
    return session.make(asked, model, tokenizer, encoded, encoded, scratch, [])


def stir(model: Any) -> None:
    import torch

    drawn = torch.Generator().manual_seed(3)
    for name, weight in sorted(model.named_parameters()):
        if weight.requires_grad:
            weight.data = torch.randn(weight.shape, generator=drawn) * 0.05
            assert "lora" in name


def plain_trl(base: Path, asked: Params, rows: list[dict[str, Any]], scratch: Path) -> Any:
    """TRL as its documentation has it: prompts, completions, its own tokenization and loss."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    pairs = [{"prompt": r["messages"][:-1], "completion": r["messages"][-1:]} for r in rows]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        args=SFTConfig(
            output_dir=str(scratch), use_cpu=True, bf16=False, completion_only_loss=True,
            per_device_train_batch_size=asked.batch_size, max_length=256, report_to="none",
            gradient_accumulation_steps=asked.accumulation, activation_checkpointing=False,
            neftune_noise_alpha=asked.neftune or None, shuffle_dataset=False,
        ),
        train_dataset=Dataset.from_list(pairs),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(r=asked.rank, lora_alpha=asked.alpha, target_modules="all-linear"),
    )  # fmt: skip
    stir(trainer.model)
    return trainer


def step(trainer: Any, batches: list[list[Any]]) -> tuple[float, dict[str, Any]]:
    """Loss and gradients of one optimizer step over batches."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = len(batches)
    made = [trainer.data_collator(batch) for batch in batches]
    count = trainer._get_num_items_in_batch(made, "cpu")
    loss = sum(float(trainer.training_step(trainer.model, one, count)) for one in made)
    return loss, {
        name: weight.grad
        for name, weight in trainer.model.named_parameters()
        if weight.requires_grad
    }


def assert_equal(left: tuple[float, dict[str, Any]], right: tuple[float, dict[str, Any]]) -> None:
    import torch

    assert left[0] == pytest.approx(right[0], rel=1e-5)
    assert left[1].keys() == right[1].keys()
    for name, gradient in left[1].items():
        torch.testing.assert_close(gradient, right[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("system", ["", SYSTEM])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_loss_and_gradients_are_those_of_plain_trl(
    base: Path, tmp_path: Path, system: str, accumulation: int
) -> None:
    """Also over accumulated batches with different counts of answer tokens; folded and padded."""
    rows = sft_rows(8 * accumulation, system=system)
    asked = params(accumulation=accumulation)
    mine, theirs = ours(base, asked, rows, tmp_path), plain_trl(base, asked, rows, tmp_path)
    their_rows = list(theirs.train_dataset)
    assert [r["input_ids"] for r in their_rows] == [r["input_ids"] for r in mine.items]
    assert [r["labels"] for r in their_rows] == [r["labels"] for r in mine.items]
    cut = [slice(at, at + 8) for at in range(0, len(rows), 8)]
    want = step(theirs, [their_rows[part] for part in cut])
    assert_equal(step(mine, [mine.items[part] for part in cut]), want)
    mine.model.zero_grad()
    mine.data_collator.fold = False
    assert_equal(step(mine, [mine.items[part] for part in cut]), want)


def test_neftune_draws_the_noise_that_trl_draws(base: Path, tmp_path: Path) -> None:
    import torch
    from transformers.integrations.neftune import activate_neftune

    rows, asked = sft_rows(8, system=SYSTEM), params(neftune=5.0)
    results = []
    for trainer in (ours(base, asked, rows, tmp_path), plain_trl(base, asked, rows, tmp_path)):
        activate_neftune(trainer.model, 5.0, trainer.accelerator)
        torch.manual_seed(0)
        results.append(step(trainer, [list(trainer.train_dataset)]))
    assert_equal(*results)


def test_rows_that_share_their_beginning_are_folded_and_cost_less(
    base: Path, tmp_path: Path
) -> None:
    trainer = ours(base, params(), sft_rows(8, system=SYSTEM), tmp_path)
    batch = trainer.data_collator(trainer.items)
    padded_tokens = 8 * max(len(item["input_ids"]) for item in trainer.items)
    assert batch["input_ids"].numel() < 0.7 * padded_tokens
    assert int(batch["seen"]) == sum(len(item["input_ids"]) for item in trainer.items)


def test_noise_of_its_own_keeps_each_row_by_itself(base: Path, tmp_path: Path) -> None:
    """A shared beginning would share its dropout and noise, too."""
    for changes in ({"dropout": 0.1}, {"neftune": 5.0}):
        trainer = ours(base, params(**changes), sft_rows(8, system=SYSTEM), tmp_path)
        assert not trainer.data_collator.share


def test_a_pack_does_not_leak_from_one_row_to_the_next(base: Path, tmp_path: Path) -> None:
    """Every state of a packed row is what it is when the row stands alone."""
    import torch

    from core.training.script.batches import folded

    trainer = ours(base, params(packing=True), sft_rows(12, system=SYSTEM), tmp_path)
    packs = [item["rows"] for item in trainer.items]
    assert len(packs) < 12
    assert all(sum(len(row["input_ids"]) for row in rows) <= 256 for rows in packs)
    model = trainer.model.eval()

    def logits(rows: list[list[dict[str, Any]]]) -> Any:
        batch = folded(rows, 0, share=False)
        named = {k: batch[k] for k in ("input_ids", "attention_mask", "position_ids")}
        return model(**named).logits

    with torch.no_grad():
        got = logits(packs)
        first, others = packs[0][0], packs[0][1:]
        changed = {**first, "input_ids": [9] * len(first["input_ids"])}
        again = logits([[changed, *others], *packs[1:]])
        at = len(first["input_ids"])
        assert not torch.allclose(again[0, :at], got[0, :at])
        assert torch.equal(again[0, at:], got[0, at:])  # to the bit
        for number, rows in enumerate(packs):
            at = 0
            for row in rows:
                ids = torch.tensor([row["input_ids"]])
                want = model(input_ids=ids).logits[0]
                error = (got[number, at : at + ids.shape[1]] - want).abs().max()
                assert float(error) < 1e-5 * float(want.abs().max())
                at += ids.shape[1]


def test_packed_and_unpacked_rows_have_the_same_loss_and_gradients(
    base: Path, tmp_path: Path
) -> None:
    rows = sft_rows(12, system=SYSTEM)
    plain = ours(base, params(), rows, tmp_path)
    pack = ours(base, params(packing=True), rows, tmp_path)
    assert_equal(step(pack, [pack.items]), step(plain, [plain.items]))


def test_packing_is_refused_where_rows_would_see_each_other(base: Path, tmp_path: Path) -> None:
    from core.training.script import loading, session
    from core.training.script.faults import Failure

    asked = params(packing=True)
    tokenizer = loading.load_tokenizer(base)
    encoded, _ = prepare(tokenizer, sft_rows(4), asked)
    model = loading.add_adapter(loading.load_base(base, asked), asked, None)
    model.config.layer_types = ["full_attention", "linear_attention"]
    with pytest.raises(Failure) as caught:
        session.make(asked, model, tokenizer, encoded, [], tmp_path, [])
    assert caught.value.changes == {"packing": False}


def test_the_evaluation_is_the_mean_over_all_answer_tokens(base: Path, tmp_path: Path) -> None:
    import torch

    trainer = ours(base, params(batch_size=3), sft_rows(7, system=SYSTEM), tmp_path)
    total, count = 0.0, 0
    model = trainer.model.eval()
    with torch.no_grad():
        for item in trainer.items:
            ids, labels = torch.tensor([item["input_ids"]]), torch.tensor(item["labels"])
            logits = model(input_ids=ids).logits[0, :-1]
            total += float(
                torch.nn.functional.cross_entropy(
                    logits, labels[1:], ignore_index=-100, reduction="sum"
                )
            )
            count += int((labels[1:] != -100).sum())
    assert trainer.evaluate()["eval_loss"] == pytest.approx(total / count, rel=1e-5)
    assert trainer.model.training is False


def test_chunks_of_the_head_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from core.training.script import loss

    torch.manual_seed(0)
    layer = torch.nn.Linear(16, 50, bias=False)
    head = object.__new__(loss.Head)
    head.layer, head.words, head.cap, head.scale = layer, 50, 5.0, 0.5
    hidden = torch.randn(40, 16, requires_grad=True)
    targets = torch.randint(0, 50, (40,))
    want = torch.nn.functional.cross_entropy(head(hidden), targets, reduction="sum")
    (want_gradient,) = torch.autograd.grad(want / 7, hidden)
    monkeypatch.setattr(loss, "CHUNK_BYTES", 4 * 50 * 6)
    got = loss.HeadLoss.apply(hidden, targets, head)
    (gradient,) = torch.autograd.grad(got / 7, hidden)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(gradient, want_gradient)


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    from core.training.script.batches import Order

    lengths = [7 * i % 31 + 1 for i in range(100)]
    one, other = (Order(lengths, 8, 42, by_length=True) for _ in range(2))
    one.set_epoch(0)
    list(one)
    one.set_epoch(1)
    other.set_epoch(1)
    assert list(one) == list(other)
    assert sorted(one) == list(range(100))
    first = list(one)
    one.set_epoch(2)
    assert list(one) != first
    assert lengths[first[0]] == max(lengths)  # what does not fit fails at once
    wasted = sum(
        8 * max(lengths[i] for i in first[at : at + 8])
        - sum(lengths[i] for i in first[at : at + 8])
        for at in range(0, 96, 8)
    )
    assert wasted < 0.15 * sum(lengths)


def test_encoded_rows_are_plain_data() -> None:
    row = Encoded([1, 2], [-100, 2], "ab", [(1, 2)])
    assert dataclasses.asdict(row)["labels"] == [-100, 2]
    assert row.trained == 1
