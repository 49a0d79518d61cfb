"""Exports: each shape as its readers expect it, splits, manifests, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.curation.exports import FORMATS, MOST_FILES
from core.curation.shapes import Skipped, plain_prompt, shaped, why_not
from core.datasets.files import Column
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.governance.permissions import Actor
from core.store.database import Row
from core.workbench import OWNER, Workbench

TICKETS = [
    {"subject": "Bill", "body": "Too high", "label": "billing", "split": "train"},
    {"subject": "Dark", "body": "=No power", "label": "outage", "split": "test"},
    {"subject": "Odd", "body": "Hm", "label": None, "split": "train"},
]
TICKET_ROLES = {
    "subject": "input", "body": "input", "label": "expected", "split": "metadata",
}  # fmt: skip


def imported(workbench: Workbench, rows: list[dict[str, Any]], roles: dict[str, Any]) -> Row:
    return workbench.datasets.import_rows(
        OWNER,
        name="Exported",
        filename="rows.jsonl",
        data="\n".join(json.dumps(row) for row in rows).encode(),
        mapping=roles,
    )


def lines(made: Row) -> list[dict[str, Any]]:
    (name,) = [file["name"] for file in made["files"]]
    text = (Path(made["folder"]) / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_messages_end_with_the_expected_answer_and_rows_without_one_are_counted(
    workbench: Workbench,
) -> None:
    version = imported(workbench, TICKETS, TICKET_ROLES)
    made = workbench.exports.write(OWNER, version["id"], shape="messages")
    assert lines(made) == [
        {
            "messages": [
                {"role": "user", "content": "subject: Bill\n\nbody: Too high"},
                {"role": "assistant", "content": "billing"},
            ]
        },
        {
            "messages": [
                {"role": "user", "content": "subject: Dark\n\nbody: =No power"},
                {"role": "assistant", "content": "outage"},
            ]
        },
    ]
    assert made["skipped"] == {"there is no expected answer": 1}
    assert made["row_count"] == 2
    manifest = json.loads((Path(made["folder"]) / "manifest.json").read_text())
    assert manifest["content_hash"] == version["content_hash"]
    data = (Path(made["folder"]) / made["files"][0]["name"]).read_bytes()
    assert made["files"][0]["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_prompt_version_makes_the_prompt(workbench: Workbench) -> None:
    version = imported(workbench, TICKETS[:1], TICKET_ROLES)
    prompt_id = workbench.prompts.create(OWNER, "Triage")
    prompt = workbench.prompts.save_version(
        OWNER, prompt_id, system_template="Sort it.", user_template="{{subject}}!"
    )
    made = workbench.exports.write(
        OWNER, version["id"], shape="prompt-completion", prompt_version_id=prompt["id"]
    )
    assert lines(made) == [
        {
            "prompt": [
                {"role": "system", "content": "Sort it."},
                {"role": "user", "content": "Bill!"},
            ],
            "completion": [{"role": "assistant", "content": "billing"}],
        }
    ]


def test_splits_become_files_or_one_is_taken(workbench: Workbench) -> None:
    version = imported(workbench, TICKETS, TICKET_ROLES)
    made = workbench.exports.write(OWNER, version["id"], by_split=True)
    assert made["rows_by_file"] == {"train": 2, "test": 1}
    assert [file["name"] for file in made["files"]] == [
        "exported-v1-test.jsonl",
        "exported-v1-train.jsonl",
    ]
    one = workbench.exports.write(OWNER, version["id"], split="test")
    assert [row["label"] for row in lines(one)] == ["outage"]
    with pytest.raises(Invalid, match="No row"):
        workbench.exports.write(OWNER, version["id"], split="golden")


def test_a_spreadsheet_runs_nothing(workbench: Workbench) -> None:
    version = imported(workbench, TICKETS, TICKET_ROLES)
    made = workbench.exports.write(OWNER, version["id"], format="csv")
    path = workbench.exports.path(OWNER, made["id"], made["files"][0]["name"])
    rows = list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"))))
    assert [row["body"] for row in rows] == ["Too high", "'=No power", "Hm"]


def test_parquet_and_hugging_face_read_back_the_same(workbench: Workbench) -> None:
    import datasets
    import pyarrow.parquet as pq

    version = imported(workbench, TICKETS, TICKET_ROLES)
    expected = lines(workbench.exports.write(OWNER, version["id"], shape="messages"))
    parquet = workbench.exports.write(OWNER, version["id"], shape="messages", format="parquet")
    path = workbench.exports.path(OWNER, parquet["id"], parquet["files"][0]["name"])
    assert pq.read_table(path).to_pylist() == expected
    folder = workbench.exports.write(
        OWNER, version["id"], shape="messages", format="hf", by_split=True
    )
    found = datasets.load_from_disk(str(Path(folder["folder"]) / "dataset"))
    assert {name: len(rows) for name, rows in found.items()} == {"train": 1, "test": 1}
    assert found["train"][0] == expected[0]


def test_a_field_that_only_a_late_turn_has_is_kept_in_parquet(workbench: Workbench) -> None:
    import pyarrow.parquet as pq

    plain = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    call = [plain[0], {"role": "assistant", "content": "", "tool_calls": [{"id": "c1"}]}]
    rows = [{"n": n, "messages": plain} for n in range(5_000)] + [{"n": 5_000, "messages": call}]
    version = imported(workbench, rows, {"n": "metadata", "messages": "input"})
    made = workbench.exports.write(OWNER, version["id"], shape="messages", format="parquet")
    path = workbench.exports.path(OWNER, made["id"], made["files"][0]["name"])
    last = pq.read_table(path).to_pylist()[-1]["messages"]
    assert last[1]["tool_calls"] == [{"id": "c1"}]


def test_splits_whose_names_read_alike_are_files_of_their_own(workbench: Workbench) -> None:
    import datasets

    splits = ["a b", "a-b", "a b", "All", "all", None]
    rows = [{"q": str(n), "split": split} for n, split in enumerate(splits)]
    version = imported(workbench, rows, {"q": "input", "split": "metadata"})
    made = workbench.exports.write(OWNER, version["id"], by_split=True)
    assert made["rows_by_file"] == {"a b": 2, "a-b": 1, "All": 1, "all": 1, "no-split": 1}
    found = {
        file["name"]: (Path(made["folder"]) / file["name"]).read_text().count("\n")
        for file in made["files"]
    }
    assert found == {
        "exported-v1-a-b.jsonl": 2,
        "exported-v1-a-b-2.jsonl": 1,
        "exported-v1-All.jsonl": 1,
        "exported-v1-all-2.jsonl": 1,
        "exported-v1-no-split.jsonl": 1,
    }
    folder = workbench.exports.write(OWNER, version["id"], format="hf", by_split=True)["folder"]
    loaded = datasets.load_from_disk(str(Path(folder) / "dataset"))
    assert {name: len(rows) for name, rows in loaded.items()} == {
        "a_b": 2, "a_b_": 1, "All": 1, "all": 1, "no_split": 1,
    }  # fmt: skip


@pytest.mark.parametrize("format", ["parquet", "hf"])
def test_text_stays_text_whatever_it_looks_like(workbench: Workbench, format: str) -> None:
    import datasets
    import pyarrow.parquet as pq

    rows = [
        {
            "day": "2024-01-01",
            "at": "2024-01-01T10:00:00Z",
            "id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "told": [{"DATE": "10:00:00", "it's": "2024-01-01 10:00:00", "NULL": 1}],
            "n": 1,
        }
    ]
    roles: dict[str, Any] = dict.fromkeys(rows[0], "metadata") | {"day": "input"}
    version = imported(workbench, rows, roles)
    made = workbench.exports.write(OWNER, version["id"], format=format)
    folder = Path(made["folder"])
    if format == "hf":
        found = list(datasets.load_from_disk(str(folder / "dataset"))["train"])
    else:
        found = pq.read_table(folder / made["files"][0]["name"]).to_pylist()
    assert found == rows


def test_preferences_and_single_verdicts(workbench: Workbench) -> None:
    rows = [
        {"prompt": "2+2?", "chosen": "4", "rejected": "5"},
        {"prompt": "Hi", "chosen": "Same", "rejected": "Same"},
        {"prompt": "Hm", "chosen": "Only", "rejected": None},
    ]
    roles = {"prompt": "input", "chosen": "expected", "rejected": "metadata"}
    version = imported(workbench, rows, roles)
    made = workbench.exports.write(OWNER, version["id"], shape="preference")
    answer = {"role": "assistant", "content": "4"}
    assert lines(made) == [
        {
            "prompt": [{"role": "user", "content": "2+2?"}],
            "chosen": [answer],
            "rejected": [{"role": "assistant", "content": "5"}],
        }
    ]
    assert made["skipped"] == {
        "the two answers are the same": 1,
        "one of the two answers is missing": 1,
    }
    verdicts = lines(workbench.exports.write(OWNER, version["id"], shape="kto"))
    assert [(v["completion"][0]["content"], v["label"]) for v in verdicts] == [
        ("4", True),
        ("5", False),
    ]


def test_conversations_stay_whole(workbench: Workbench) -> None:
    chat = [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]
    version = imported(
        workbench, [{"messages": chat}, {"messages": chat[:2]}], {"messages": "input"}
    )
    made = workbench.exports.write(OWNER, version["id"], shape="messages")
    assert lines(made) == [{"messages": chat}]
    assert made["skipped"] == {"the conversation has no answer": 1}
    pair = lines(workbench.exports.write(OWNER, version["id"], shape="prompt-completion"))[0]
    assert pair == {"prompt": chat[:2], "completion": chat[2:]}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"shape": "sonnet"}, "shape"),
        ({"format": "pdf"}, "format"),
        ({"shape": "preference"}, "shape"),
        ({"shape": "messages", "format": "csv"}, "format"),
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_nothing(
    workbench: Workbench, asked: dict[str, str], field: str
) -> None:
    version = imported(workbench, TICKETS, TICKET_ROLES)
    with pytest.raises(Invalid) as caught:
        workbench.exports.write(OWNER, version["id"], **asked)
    assert caught.value.field == field
    assert workbench.exports.list(OWNER, version["id"]) == []


def test_unreviewed_rows_do_not_leave(workbench: Workbench) -> None:
    version = imported(workbench, TICKETS, TICKET_ROLES)
    workbench.reviews.require(OWNER, version["dataset_id"], True)
    with pytest.raises(Conflict, match="looked for personal data"):
        workbench.exports.write(OWNER, version["id"])
    assert not (workbench.settings.home / "exports").exists()


def test_who_may_not_write_does_not_export_and_paths_stay_inside(workbench: Workbench) -> None:
    version = imported(workbench, TICKETS, TICKET_ROLES)
    with pytest.raises(Forbidden):
        workbench.exports.write(Actor("u", "Lea", "lead"), version["id"])
    made = workbench.exports.write(OWNER, version["id"])
    for name in ("../../lathe.duckdb", "nothing.jsonl"):
        with pytest.raises((NotFound, Invalid)):
            workbench.exports.path(OWNER, made["id"], name)
    assert [row["id"] for row in workbench.exports.list(OWNER, version["id"])] == [made["id"]]
    assert set(FORMATS) == {"jsonl", "parquet", "csv", "hf"}


COLUMNS = [Column("q", "input", "text"), Column("a", "expected", "text")]


@given(st.text(max_size=20), st.none() | st.text(max_size=20))
def test_a_pair_is_whole_or_left_out(question: str, answer: str | None) -> None:
    row = {"q": question, "a": answer, "row_index": 0}
    (found,) = shaped("prompt-completion", row, COLUMNS, plain_prompt(COLUMNS))
    if answer is None or not answer.strip():
        assert isinstance(found, Skipped)
    else:
        assert found["completion"][0]["content"] == answer
        assert found["prompt"][0]["content"] == (question if question.strip() else "")


def test_each_shape_says_what_it_takes() -> None:
    text = [Column("q", "input", "text")]
    assert why_not("rows", text) is None
    for shape in ("messages", "prompt-completion", "preference", "kto"):
        assert "takes" in str(why_not(shape, text))
    assert why_not("kto", [*COLUMNS, Column("good", "metadata", "boolean")]) is None


def test_splits_without_number_are_no_files_without_number(workbench: Workbench) -> None:
    rows = [{"q": f"row {n}", "split": f"s{n}"} for n in range(MOST_FILES + 1)]
    version = imported(workbench, rows, {"q": "input", "split": "metadata"})
    with pytest.raises(Invalid, match="101 splits") as caught:
        workbench.exports.write(OWNER, version["id"], shape="rows", format="jsonl", by_split=True)
    assert caught.value.field == "by_split"
    made = workbench.exports.write(OWNER, version["id"], shape="rows", format="jsonl")
    assert len(lines(made)) == MOST_FILES + 1
