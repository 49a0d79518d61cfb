"""From a dataset version to rows to train on: shapes, prompts, and what is held out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.datasets.files import Column
from core.errors import Invalid
from core.settings import Settings
from core.training import data
from core.training.config import HoldOut
from core.training.data import Asked, divide, plain_template, question_key, records
from core.workbench import OWNER, Workbench

LABELS = ("billing", "shipping", "account", "bug")


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    home = tmp_path_factory.mktemp("data") / "home"
    with Workbench.open(Settings(home=home), background=False) as opened:
        yield opened


def asked(workbench: Workbench, rows: list[dict[str, Any]], **more: Any) -> Asked:
    roles: dict[str, Any] = {
             "text": {"role": "input", "optional": True}, "subject": "input",
             "label": "expected", "split": "metadata",
             "chosen": "metadata", "rejected": "metadata", "good": "metadata",
             "messages": "input"}  # fmt: skip
    count = len(workbench.datasets.list(OWNER))
    version = workbench.datasets.import_rows(
        OWNER, name=f"rows {count}",
        filename="rows.jsonl", data="\n".join(map(json.dumps, rows)).encode(),
        mapping={k: v for k, v in roles.items() if any(k in row for row in rows)},
    )  # fmt: skip
    from core.datasets.table import Table

    given: dict[str, Any] = {
        "method": "sft", "seed": 42, "hold_out": HoldOut(share=0.25), "user": "{{text}}", **more
    }  # fmt: skip
    return Asked(table=Table.of(version), **given)


def sides(one: Asked) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"train": [], "eval": []}
    for side, record in records(one, divide(one)):
        found[side].append(record)
    return found


def tickets(count: int) -> list[dict[str, Any]]:
    return [{"text": f"ticket {i}", "label": LABELS[i % 4]} for i in range(count)]


def test_rows_go_through_the_prompt_and_keep_their_ids(workbench: Workbench) -> None:
    one = asked(workbench, tickets(8), system="Label it.", user="Text: {{text}}")
    found = sides(one)
    assert (len(found["train"]), len(found["eval"])) == (6, 2)
    first = found["train"][0]
    assert first["messages"][0] == {"role": "system", "content": "Label it."}
    assert first["messages"][1]["content"].startswith("Text: ticket ")
    assert first["messages"][2]["role"] == "assistant"
    ids = {row.row_id for row in workbench.datasets.examples(OWNER, _version(workbench, one))}
    assert {r["id"] for part in found.values() for r in part} == ids


def _version(workbench: Workbench, one: Asked) -> str:
    for row in workbench.datasets.list(OWNER):
        version = workbench.datasets.version(OWNER, row["newest_version_id"])
        if Path(version["path"]) == one.table.path:
            return str(version["id"])
    raise AssertionError


def test_each_label_is_held_out_in_proportion(workbench: Workbench) -> None:
    rows = [{"text": f"t {i}", "label": "rare" if i % 10 == 0 else "usual"} for i in range(100)]
    found = sides(asked(workbench, rows, hold_out=HoldOut(share=0.2)))
    labels = Counter(record["messages"][-1]["content"] for record in found["eval"])
    assert labels == {"rare": 2, "usual": 18}


def test_rows_that_ask_the_same_never_straddle(workbench: Workbench) -> None:
    rows = [{"text": f"Question {i // 3}" + " " * (i % 3), "label": LABELS[i % 4]}
            for i in range(60)]  # fmt: skip
    found = sides(asked(workbench, rows))
    keys = {side: {question_key(record) for record in part} for side, part in found.items()}
    assert keys["eval"]
    assert not keys["train"] & keys["eval"]


def test_what_is_held_out_hangs_on_the_seed_not_on_the_order(workbench: Workbench) -> None:
    rows = tickets(40)
    one = {r["messages"][0]["content"] for r in sides(asked(workbench, rows))["eval"]}
    turned = {r["messages"][0]["content"] for r in sides(asked(workbench, rows[::-1]))["eval"]}
    other = {r["messages"][0]["content"] for r in sides(asked(workbench, rows, seed=7))["eval"]}
    assert one == turned
    assert one != other


def test_splits_of_the_dataset_are_taken_as_they_are(workbench: Workbench) -> None:
    rows = [{**row, "split": ("train", "test", "dev")[i % 3]} for i, row in enumerate(tickets(30))]
    held = HoldOut(split="test")
    found = sides(asked(workbench, rows, hold_out=held))
    assert (len(found["train"]), len(found["eval"])) == (20, 10)
    only = divide(asked(workbench, rows, hold_out=held, train_split="train"))
    assert dict(only.counts) == {"train": 10, "eval": 10}
    assert only.splits == {"dev": 10, "test": 10, "train": 10}


def test_nothing_is_held_out_where_the_share_is_none(workbench: Workbench) -> None:
    assert dict(divide(asked(workbench, tickets(9), hold_out=HoldOut(share=0.0))).counts) == {
        "train": 9
    }


def test_rows_without_an_answer_are_left_out_and_told(workbench: Workbench) -> None:
    rows = [*tickets(8), {"text": "no answer", "label": None}]
    found = divide(asked(workbench, rows))
    assert dict(found.skipped) == {"there is no expected answer": 1}
    with pytest.raises(Invalid, match="No row can be trained on") as raised:
        divide(asked(workbench, [{"text": "a", "label": None}, {"text": "b", "label": None}]))
    assert "no expected answer (2)" in str(raised.value.hint)


def test_a_value_that_the_prompt_needs_is_missing(workbench: Workbench) -> None:
    rows = [*tickets(8), {"text": None, "label": "bug"}]
    found = divide(asked(workbench, rows))
    assert sum(found.counts.values()) == 8
    assert "cannot be filled in" in next(iter(found.skipped))


def test_conversations_are_taken_whole(workbench: Workbench) -> None:
    def chat(number: int) -> dict[str, Any]:
        said = [("user", f"hello {number}"), ("assistant", "hi"), ("user", "bye"),
                ("assistant", "so long")]  # fmt: skip
        return {"messages": [{"role": role, "content": text} for role, text in said]}

    found = sides(asked(workbench, [chat(n) for n in range(8)], user=None))
    assert [turn["role"] for turn in found["train"][0]["messages"]] == [
        "user", "assistant", "user", "assistant",
    ]  # fmt: skip


def test_preferences_and_verdicts(workbench: Workbench) -> None:
    rows = [{"text": f"q {n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in range(8)]
    rows.append({"text": "tie", "chosen": "same", "rejected": "same"})
    pairs = asked(workbench, rows, method="dpo")
    assert dict(divide(pairs).skipped) == {"the two answers are the same": 1}
    first = sides(pairs)["train"][0]
    assert set(first) == {"id", "prompt", "chosen", "rejected"}
    assert first["chosen"][0]["content"].startswith("good")
    verdicts = asked(workbench, rows, method="kto")
    found = divide(verdicts)
    assert dict(found.counts) == {"train": 12, "eval": 4}, "two of each pair, on one side"
    assert {r["label"] for r in sides(verdicts)["train"]} == {True, False}
    with pytest.raises(Invalid, match="cannot be trained on by DPO"):
        divide(asked(workbench, tickets(4), method="dpo"))


def test_a_job_is_told_the_same(workbench: Workbench) -> None:
    one = asked(workbench, tickets(4), train_split=None, system="s")
    assert Asked.of(json.loads(json.dumps(one.to_dict()))) == one


def test_without_a_prompt_the_inputs_stand_as_they_are() -> None:
    def columns(*names: str) -> list[Column]:
        return [Column(name, "input", "text") for name in names]

    assert plain_template(columns("text")) == "{{text}}"
    several = plain_template(columns("subject", "body"))
    from core.prompts.template import parse

    assert several is not None
    render = parse(several).render
    assert render({"subject": "Hi", "body": "there"}) == "subject: Hi\n\nbody: there"
    assert render({"subject": "Hi", "body": None}) == "subject: Hi"
    assert plain_template(columns("a.b")) is None, "no template can name it"
    assert plain_template([]) is None


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), min_size=2, max_size=80),
    st.floats(0.05, 0.9),
    st.integers(0, 3),
)
def test_a_draw_is_near_its_share_and_leaves_something_on_both_sides(
    rows: list[tuple[int, int]], share: float, seed: int
) -> None:
    groups: dict[str, list[tuple[str, int]]] = {}
    answers: dict[str, str] = {}
    for number, (question, answer) in enumerate(rows):
        groups.setdefault(str(question), []).append((str(number), 1))
        answers.setdefault(str(question), str(answer))
    table = Asked.of({"table": {"path": "none", "columns": []}, "method": "sft", "seed": seed,
                      "hold_out": {"share": share}, "train_split": None, "system": "",
                      "user": None})  # fmt: skip
    held = data._drawn(groups, answers, table)
    assert held <= groups.keys()
    assert abs(len(held) - share * len(groups)) <= 1 or len(held) in (1, len(groups) - 1)
    assert len(held) < len(groups)
    assert held or len(groups) == 1
