"""The check before a start: what blocks, what is worth knowing, and five rows as trained."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Conflict, Invalid
from core.settings import Settings
from core.training.checks import examine
from core.training.script.params import Params
from core.workbench import OWNER, Workbench
from tests.models.tiny import _tokenizer
from tests.training.finetuning import LABELS, Tuning, wait_for

SYLLABLES = ("ba", "ke", "lo", "mu", "ri", "sa", "te", "vo", "zi", "nu", "pa", "do")


def row(number: int, answer: str | None = None, question: str | None = None) -> dict[str, Any]:
    """A ticket that shares few words with any other."""
    chance = random.Random(number)
    words = ["".join(chance.choices(SYLLABLES, k=4)) for _ in range(9)]
    asked = question or " ".join(words)
    said = LABELS[number % 4] if answer is None else answer
    return {
        "id": f"r{number}",
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}],
    }


def found(train: list[Any], held: list[Any], tmp_path: Path, **params: Any) -> Any:
    asked = Params.from_dict({"max_length": 256, **params})
    return examine(_tokenizer(), train, held, asked, cache=tmp_path / "cache")


def codes(report: Any) -> set[str]:
    return {one["code"] for one in report.warnings}


@pytest.fixture
def train() -> list[dict[str, Any]]:
    return [row(n) for n in range(60)]


@pytest.fixture
def held() -> list[dict[str, Any]]:
    return [row(n) for n in range(100, 124)]


def test_good_rows_are_met_with_silence(train: Any, held: Any, tmp_path: Path) -> None:
    report = found(train, held, tmp_path)
    assert (report.blocks, report.warnings) == ([], [])
    assert report.template["same"]
    assert report.template["training"].endswith("<|assistant|>")


def test_five_rows_are_shown_as_tokens_with_the_answer_marked(
    train: Any, held: Any, tmp_path: Path
) -> None:
    report = found(train, held, tmp_path)
    assert len(report.examples) == 5
    first = report.examples[0]
    assert [one["trained"] for one in first["pieces"]] == [False, True]
    assert first["pieces"][1]["text"] == "billing<|end|>"
    assert 0 < first["trained_tokens"] < first["tokens"]
    everything = found(train, held, tmp_path, assistant_only=False).examples[0]
    assert [one["trained"] for one in everything["pieces"]] == [True]


def test_a_template_that_changes_earlier_turns_blocks(
    train: Any, held: Any, tmp_path: Path
) -> None:
    tokenizer = _tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if not loop.last %}old {% endif %}<|{{ m['role'] }}|>"
        "{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>"
        "{% endif %}"
    )
    report = examine(tokenizer, train, held, Params(), cache=tmp_path)
    [block] = report.blocks
    assert block["code"] == "template"
    assert not report.template["same"]
    assert report.template["differs_at"] == 0


def test_a_model_without_a_template_blocks(train: Any, held: Any, tmp_path: Path) -> None:
    tokenizer = _tokenizer()
    tokenizer.chat_template = None
    [block] = examine(tokenizer, train, held, Params(), cache=tmp_path).blocks
    assert "no chat template" in block["message"]


def test_rows_that_are_too_long_are_counted_and_all_of_them_block(
    train: Any, held: Any, tmp_path: Path
) -> None:
    long = row(70, question="the quick brown fox " * 2_000)
    report = found([*train, long], held, tmp_path)
    assert "too_long" in codes(report)
    assert report.dropped == {"too long": 1}
    assert report.kept_rows == 60
    assert report.lengths["truncated_share"] == pytest.approx(1 / 61)
    [block] = found(train, held, tmp_path, max_length=16).blocks
    assert block["code"] == "empty"


def test_copies_contradictions_and_leaks_are_told(train: Any, held: Any, tmp_path: Path) -> None:
    again = {**train[3], "id": "again"}
    torn = {**row(5, answer="something else"), "id": "torn"}
    leak = {**train[8], "id": "leak"}
    question = row(9, question=" ".join(f"word{n}" for n in range(40)))
    near = {**row(9, question=question["messages"][0]["content"] + " more"), "id": "near"}
    report = found([*train, question, again, torn], [*held, leak, near], tmp_path)
    assert {"duplicates", "contradictions", "leakage", "leakage_near"} <= codes(report)
    said = {one["code"]: one["message"] for one in report.warnings}
    assert said["leakage"].startswith("1 row ")
    assert "near" in said["leakage_near"]


def test_a_prompts_own_words_make_no_near_copies(tmp_path: Path) -> None:
    """All rows share a long prompt; that is no leak."""
    shared = "You sort tickets. " * 30

    def asked(number: int) -> dict[str, Any]:
        plain = row(number)
        content = f"{shared}\n{plain['messages'][0]['content']}\nAnswer with the label."
        return row(number, question=content)

    report = found([asked(n) for n in range(60)], [asked(n) for n in range(100, 124)], tmp_path,
                   max_length=1024)  # fmt: skip
    assert "leakage_near" not in codes(report)


def test_answers_of_one_kind_empty_ones_and_odd_turns_are_told(
    train: Any, held: Any, tmp_path: Path
) -> None:
    same = [row(n, answer="bug") for n in range(60)]
    assert {"imbalance", "unseen"} <= codes(found(same, held, tmp_path))
    empty = row(80, answer=" ")
    odd = row(81)
    odd["messages"] = [odd["messages"][0], odd["messages"][0], odd["messages"][1]]
    report = found([*train, empty, odd], held, tmp_path)
    assert {"chat_format", "dropped"} <= codes(report)
    assert report.dropped == {"empty answer": 1}


def test_few_rows_are_told(tmp_path: Path) -> None:
    assert {"few_rows", "no_held_out"} <= codes(found([row(n) for n in range(8)], [], tmp_path))
    some = found([row(n) for n in range(8)], [row(n) for n in range(50, 55)], tmp_path)
    assert "few_held_out" in codes(some)


def pair(number: int, chosen: str, rejected: str) -> dict[str, Any]:
    def turn(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    prompt = row(number)["messages"][:1]
    return {"id": f"p{number}", "prompt": prompt, "chosen": turn(chosen),
            "rejected": turn(rejected)}  # fmt: skip


def test_preferences_for_the_longer_answer_are_told(tmp_path: Path) -> None:
    pairs = [pair(n, "a much longer answer than that", "short") for n in range(60)]
    assert "length_bias" in codes(found(pairs, [], tmp_path, method="dpo"))


def test_verdicts_of_one_kind_block_kto(tmp_path: Path) -> None:
    rows = [{"id": f"k{n}", "prompt": row(n)["messages"][:1], "label": True,
             "completion": row(n)["messages"][1:]} for n in range(60)]  # fmt: skip
    [block] = found(rows, [], tmp_path, method="kto").blocks
    assert block["code"] == "one_verdict"


@pytest.fixture(scope="module")
def tuning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuning]:
    folder = tmp_path_factory.mktemp("checked")
    with Workbench.open(Settings(home=folder / "home", threads=1)) as workbench:
        yield Tuning.make(workbench, folder)


@pytest.mark.slow
def test_a_check_as_a_job_measures_and_estimates(tuning: Tuning) -> None:
    job_id = tuning.finetunes.check(OWNER, {**tuning.config(), "measure": True})
    wait_for(lambda: tuning.finetunes.report(OWNER, job_id) is not None)
    report = tuning.finetunes.report(OWNER, job_id)
    assert report["ok"], report["blocks"]
    assert (report["train_rows"], report["eval_rows"], report["steps"]) == (18, 6, 5)
    assert report["measured"]["seconds_per_step"] > 0
    assert report["seconds_estimate"] > report["measured"]["load_seconds"]
    assert report["template"]["inference"].startswith("<|system|>Say the label.<|end|><|user|>")
    assert report["memory"]["fits"]
    kept = tuning.settings.home / "jobs" / job_id
    assert not (kept / "run").exists(), "nothing of the rows is left"


def test_what_can_be_known_at_once_needs_no_job(tuning: Tuning) -> None:
    outline = tuning.finetunes.outline(OWNER, tuning.config())
    assert (outline["train_rows"], outline["eval_rows"], outline["steps"]) == (18, 6, 5)
    assert outline["why_not"] is None
    forecast = tuning.finetunes.forecast(OWNER, tuning.config())
    assert forecast["fits"]
    assert sum(part["bytes"] for part in forecast["parts"]) == forecast["total_bytes"]


def test_a_dataset_that_has_to_be_reviewed_is_refused(tuning: Tuning) -> None:
    version_id = tuning.import_rows([{"text": "write to jo@example.org", "label": "bug"}] * 8,
                                    name="unseen")  # fmt: skip
    dataset_id = tuning.workbench.datasets.version(OWNER, version_id)["dataset_id"]
    tuning.workbench.reviews.require(OWNER, dataset_id, True)
    config = tuning.config(dataset_version_id=version_id)
    with pytest.raises(Conflict, match="Nobody has looked"):
        tuning.finetunes.start(OWNER, config)
    with pytest.raises(Conflict):
        tuning.finetunes.check(OWNER, config)
    assert "Nobody has looked" in tuning.finetunes.outline(OWNER, config)["why_not"]


def test_a_prompt_that_needs_another_column_is_refused(tuning: Tuning) -> None:
    prompt_id = tuning.workbench.prompts.create(OWNER, "other")
    prompt = tuning.workbench.prompts.save_version(
        OWNER, prompt_id, system_template="", user_template="{{subject}}"
    )
    with pytest.raises(Invalid, match=r"needs \{\{subject\}\}"):
        tuning.finetunes.start(OWNER, tuning.config(prompt_version_id=prompt["id"]))
