"""Imports: whole or not at all, versioned by content, with every bad row named."""

from __future__ import annotations

import csv
import io
import json
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.datasets.faults import MOST_LISTED, BadRows
from core.datasets.mapping import guess
from core.datasets.service import Datasets
from core.errors import Conflict, Forbidden, Invalid, NotFound
from core.governance.audit import Audit
from core.governance.permissions import OWNER, Actor
from core.store.database import Store

QA = {"question": "input", "answer": "expected"}
LEAD = Actor("lead", "Lea", "lead")


@pytest.fixture
def datasets(store: Store) -> Datasets:
    return Datasets(store)


def jsonl(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def qa(*questions: str) -> bytes:
    return jsonl(*({"question": q, "answer": q.upper()} for q in questions))


def load(datasets: Datasets, data: bytes | Path, filename: str = "rows.jsonl", **more: Any) -> Any:
    asked = {"name": "Questions", "mapping": QA, **more}
    return datasets.import_rows(OWNER, filename=filename, data=data, **asked)


def refused(datasets: Datasets, data: bytes, filename: str, **more: Any) -> BadRows:
    with pytest.raises(BadRows) as caught:
        load(datasets, data, filename, **more)
    return caught.value


def files(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in (home / "datasets").rglob("*"))


def test_an_import_is_a_version_with_its_file_and_manifest(datasets: Datasets, home: Path) -> None:
    version = load(datasets, qa("a", "b"), message=" first ", license="CC0-1.0", description="d")
    assert (version["number"], version["row_count"], version["is_new"]) == (1, 2, True)
    assert (version["inputs"], version["expected"]) == (["question"], "answer")
    assert version["label"] == "Questions v1"
    assert version["source"] == "rows.jsonl (jsonl)"
    dataset = datasets.get(OWNER, version["dataset_id"])
    assert (dataset["license"], dataset["version_count"]) == ("CC0-1.0", 1)
    manifest = json.loads(Path(version["path"]).with_suffix(".json").read_text())
    assert (manifest["row_count"], manifest["message"]) == (2, "first")
    assert len(files(home)) == 3  # the folder, the Parquet file, the manifest


def test_the_same_content_is_the_same_version_whatever_its_format(datasets: Datasets) -> None:
    first = load(datasets, qa("a", "b"))
    again = load(datasets, b"answer,question\r\nA,a\r\nB,b\r\n", "rows.csv")
    assert (again["id"], again["number"], again["is_new"]) == (first["id"], 1, False)
    second = load(datasets, qa("a", "b", "c"))
    assert (second["number"], second["parent_number"]) == (2, 1)
    assert load(datasets, qa("a", "b"))["number"] == 1
    assert [v["number"] for v in datasets.versions(OWNER, first["dataset_id"])] == [2, 1]


def test_another_role_or_order_is_another_version(datasets: Datasets) -> None:
    load(datasets, qa("a", "b"))
    assert load(datasets, qa("b", "a"))["number"] == 2
    assert load(datasets, qa("a", "b"), mapping={"question": "input"})["number"] == 3


def test_a_row_keeps_its_id_across_versions_and_twins_are_told_apart(datasets: Datasets) -> None:
    first = load(datasets, qa("a", "b", "a"))
    second = load(datasets, jsonl({"question": "z"}, {"question": "a", "answer": "other"},
                                  {"question": "a"}, {"question": "b"}))  # fmt: skip

    def ids(version: Any) -> list[str]:
        return [example.row_id for example in datasets.examples(OWNER, version["id"])]

    a, b, twin = ids(first)
    assert twin == f"{a}-2"
    assert ids(second)[1:] == [a, twin, b]


def test_examples_carry_inputs_expected_and_metadata(datasets: Datasets) -> None:
    data = jsonl(
        {"q": "x", "docs": ["one", {"t": 1}], "n": 1, "gold": 4.0, "skip": "s"},
        {"q": "y", "docs": [], "n": 2.5, "gold": True, "ok": False},
    )
    version = load(datasets, data, mapping={
        "q": {"role": "input", "name": "question"}, "docs": {"role": "input", "optional": True},
        "n": "metadata", "ok": "metadata", "gold": "expected", "skip": "ignore",
    })  # fmt: skip
    one, two = datasets.examples(OWNER, version["id"])
    assert one.inputs == {"question": "x", "docs": ["one", {"t": 1}]}
    assert (one.expected, two.expected) == ("4", "true")
    assert (one.metadata, two.metadata) == ({"n": 1.0, "ok": None}, {"n": 2.5, "ok": False})
    assert [e.row_index for e in datasets.examples(OWNER, version["id"], limit=1)] == [0]
    kinds = {column["name"]: column["type"] for column in version["columns"]}
    assert kinds == {"question": "text", "docs": "json", "n": "number", "ok": "boolean",
                     "gold": "text"}  # fmt: skip


def test_parquet_comes_in_with_times_and_missing_values(datasets: Datasets) -> None:
    table = pa.table({
        "question": ["a", "b"],
        "answer": pa.array([1.0, float("nan")]),
        "at": pa.array([0, None], pa.timestamp("s")),
        "tags": pa.array([["x"], None], pa.list_(pa.string())),
    })  # fmt: skip
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    mapping = {**QA, "at": "metadata", "tags": "metadata"}
    version = load(datasets, buffer.getvalue(), "rows.bin", mapping=mapping)
    one, two = datasets.examples(OWNER, version["id"])
    assert (one.expected, two.expected) == ("1", None)
    assert one.metadata == {"at": "1970-01-01T00:00:00", "tags": ["x"]}
    assert two.metadata == {"at": None, "tags": None}


def test_a_thousand_malformed_rows_are_all_reported_and_none_imported(
    datasets: Datasets, home: Path
) -> None:
    """Good rows between bad ones of every sort, in both text formats."""
    bad_csv = ["only one cell", "a,b,c", '"x"y,z', " ,no question", "nul\0l,x"]
    lines = ["question,answer"]
    for number in range(1_000):
        lines += [f"good {number},yes", bad_csv[number % len(bad_csv)]]
    error = refused(datasets, "\n".join(lines).encode(), "rows.csv")
    assert [fault.row for fault in error.errors] == list(range(1, 2_000, 2))
    assert error.errors[0].line == 3
    assert "1,000 rows have something wrong" in error.message

    bad_json = [
        b"{", b"[1]", b"word", b'{"question": NaN}', b'{"answer": "a"}', b'{"question": "\xff"}',
        b'{"question": "a", "question": "b"}', b'{"question": "\\ud800"}',
    ]  # fmt: skip
    pieces = []
    for number in range(1_000):
        pieces += [b'{"question": "good"}', bad_json[number % len(bad_json)]]
    error = refused(datasets, b"\n".join(pieces), "rows.jsonl", mapping={"question": "input"})
    assert [fault.row for fault in error.errors] == list(range(1, 2_000, 2))
    assert all(fault.message and fault.hint for fault in error.errors)

    assert datasets.list(OWNER) == []
    assert not (home / "datasets").exists()


def test_a_flood_of_faults_is_counted_to_the_end(datasets: Datasets) -> None:
    error = refused(datasets, b"{\n" * (MOST_LISTED + 5), "rows.jsonl")
    assert (len(error.errors), error.count) == (MOST_LISTED, MOST_LISTED + 5)
    assert error.to_dict()["type"] == "Invalid"
    assert len(error.to_dict()["errors"]) == MOST_LISTED


@pytest.mark.parametrize(
    ("filename", "data", "row", "words"),
    [
        ("a.csv", b"question,answer\na,b\nc\n", 1, "the row has 1 cell, the header has 2"),
        ("a.csv", b'question,answer\n"a,b\nc,d\n', 0, "quote opened in line 2 is never closed"),
        ("a.csv", b'question,answer\n"a"b,c\n', 0, "text after a closing quote"),
        ("a.csv", b"question,answer\na,b\n\n\xe9,c\n\xc3\xa9,d", 1, "line 4 is not UTF-8 text"),
        ("a.csv", b'question,answer\n"a\n\xff",\xc3\xa9\n', 0, "line 3 is not UTF-8 text"),
        ("a.csv", b"question,answer\na\0,c\n", 0, "contains a null byte"),
        ("a.csv", b"question,answer\n,c\n", 0, "the input 'question' is blank"),
        ("a.jsonl", b'{"question": "a"}\n{"question": 1,}\n', 1, "not JSON: "),
        ("a.jsonl", b'{"question": "a"}\n\n"text"\n', 1, "the line is a text, not an object"),
        ("a.jsonl", b'{"question": "a\\u0000"}', 0, "contains a null byte"),
        ("a.jsonl", b'{"question": 1e999}', 0, "not a finite number"),
        ("a.jsonl", b'{"question": ' + b"[" * 90 + b"]" * 90 + b"}", 0, "nested too deep"),
        ("a.jsonl", b'{"question": ' + b"[" * 100_000, 0, "nested too deep"),
        ("a.jsonl", b'{"question": "a", " question": "b"}', 0, "stands there twice"),
    ],
)  # fmt: skip
def test_a_bad_row_says_what_is_wrong_and_what_to_do(
    datasets: Datasets, filename: str, data: bytes, row: int, words: str
) -> None:
    error = refused(datasets, data, filename, mapping={"question": "input"})
    assert (error.errors[0].row, error.row) == (row, row)
    assert words in error.errors[0].message
    assert error.hint


@pytest.mark.parametrize(
    ("filename", "data", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b" \n \n", "is empty"),
        ("a.csv", b"question,answer\n", "has no rows"),
        ("a.csv", b"question,question\na,b\n", "More than one column is named 'question'"),
        ("a.csv", b"question,\na,b\n", "Column 2 of 2 has no name"),
        ("a.csv", b"a,b\n1,2\n", "has no column 'question'"),
        ("a.csv", b"%PDF-1.7 ....", "is not text"),
        ("a.xlsx", b"PK\x03\x04....", "ends too early"),
        ("a.json", b"[]", "has no rows"),
        ("a.parquet", b"not parquet", "is not a Parquet file"),
        ("a.parquet", b"PAR1 broken PAR1", "Parquet file is damaged"),
        ("a.csv", b"question\n" + b"," * 600, "the row has 601 cells"),
        ("a.csv", b",".join(b"c%d" % n for n in range(501)) + b"\n", "has 501 columns"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why(
    datasets: Datasets, filename: str, data: bytes, words: str
) -> None:
    with pytest.raises(Invalid) as caught:
        load(datasets, data, filename, mapping={"question": "input"})
    assert words in caught.value.message
    assert datasets.list(OWNER) == []


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({}, "No column is an input"),
        ({"question": "metadata"}, "No column is an input"),
        ({"question": "inputs"}, "is not a role"),
        ({"question": "expected", "answer": "expected"}, "No column is an input"),
        ({"question": {"role": "input", "name": "a.b"}}, "cannot be named 'a.b'"),
        ({"question": {"role": "input", "name": "Row_ID"}}, "Lathe uses that name itself"),
        ({"question": "input", "answer": {"role": "metadata", "name": "Question"}}, "both be"),
        ({"question": "input", "nothing": "metadata"}, "no column 'nothing'"),
    ],
)  # fmt: skip
def test_a_mapping_that_cannot_work_is_refused(
    datasets: Datasets, mapping: dict[str, Any], words: str
) -> None:
    with pytest.raises(Invalid) as caught:
        load(datasets, qa("a"), mapping=mapping)
    assert words in caught.value.message


def test_a_preview_shows_rows_a_guess_and_every_fault(datasets: Datasets) -> None:
    rows = [{"id": n, "question": f"q{n}", "label": "x"} for n in range(60)]
    rows[55]["question"] = " "
    rows.append({"question": "late", "note": "late\0"})
    preview = datasets.preview(OWNER, "folder/rows.jsonl", jsonl(*rows) + b"{\n")
    assert (preview["format"], preview["row_count"], len(preview["rows"])) == ("jsonl", 62, 50)
    roles = {column: asked["role"] for column, asked in preview["mapping"].items()}
    assert roles == {"id": "metadata", "question": "input", "label": "expected", "note": "metadata"}
    assert [(fault.row, fault.field) for fault in preview["errors"]] == [
        (55, "question"),
        (61, None),
    ]
    assert preview["columns"][0] == {"name": "id", "type": "integer"}
    assert datasets.list(OWNER) == []
    load(datasets, jsonl(*rows[:50]), mapping=preview["mapping"] | {"note": "ignore"})


def test_a_preview_of_nothing_but_bad_rows_still_lists_them(datasets: Datasets) -> None:
    preview = datasets.preview(OWNER, "rows.jsonl", b"{\n[]\n")
    assert (preview["mapping"], preview["rows"], preview["error_count"]) == ({}, [], 2)


def test_pages_and_search_read_from_the_file(datasets: Datasets) -> None:
    data = jsonl(*({"question": f"Q{n} 50%", "answer": "it's", "n": n} for n in range(120)))
    version_id = load(datasets, data, mapping={**QA, "n": "metadata"})["id"]
    assert [row["n"] for row in datasets.page(OWNER, version_id, offset=100)] == [*range(100, 120)]
    found = datasets.page(OWNER, version_id, search="q11 IT'S 50%", limit=3)
    assert [row["row_index"] for row in found] == [11, 110, 111]
    assert datasets.count(OWNER, version_id, search="q11 50%") == 11
    assert datasets.count(OWNER, version_id) == 120
    assert datasets.page(OWNER, version_id, search=found[0]["row_id"])[0]["n"] == 11
    assert datasets.page(OWNER, version_id, search='"; DROP TABLE datasets') == []


def test_column_names_with_spaces_and_other_scripts_work_in_search(datasets: Datasets) -> None:
    data = '"my question",größe\nhow many?,12\n'.encode()
    version = load(
        datasets, data, "rows.csv", mapping={"my question": "input", "größe": "metadata"}
    )
    assert datasets.page(OWNER, version["id"], search="many 12")[0]["größe"] == "12"


def test_a_path_is_imported_like_bytes(datasets: Datasets, tmp_path: Path) -> None:
    file = tmp_path / "rows.tsv"
    file.write_bytes('\ufeffquestion\tanswer\na, b\t"c\nd"\n'.encode())
    version = load(datasets, file, file.name)
    assert datasets.page(OWNER, version["id"])[0]["answer"] == "c\nd"


def test_long_cells_and_other_separators(datasets: Datasets) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=";").writerows([["question", "answer"], ["x" * 200_000, "a,b"]])
    version = load(datasets, buffer.getvalue().encode(), "rows.csv")
    (example,) = datasets.examples(OWNER, version["id"])
    assert (len(example.inputs["question"]), example.expected) == (200_000, "a,b")


def test_importers_at_the_same_time_get_numbers_of_their_own(datasets: Datasets) -> None:
    threads = [threading.Thread(target=load, args=(datasets, qa(f"q{n}"))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (dataset,) = datasets.list(OWNER)
    versions = datasets.versions(OWNER, dataset["id"])
    assert [version["number"] for version in versions] == [6, 5, 4, 3, 2, 1]


def test_datasets_are_listed_found_renamed_archived_and_restored(datasets: Datasets) -> None:
    version = load(datasets, qa("a"), description="from the Field")
    dataset_id = version["dataset_id"]
    assert [row["row_count"] for row in datasets.list(OWNER, search="field QUEST")] == [1]
    assert datasets.list(OWNER, search="nothing") == []
    assert datasets.find(OWNER, "questions@1")["id"] == version["id"]
    with pytest.raises(NotFound, match="no version '7'"):
        datasets.find(OWNER, "questions@7")
    datasets.archive(OWNER, dataset_id)
    assert (datasets.list(OWNER), len(datasets.list(OWNER, archived=True))) == ([], 1)
    other = load(datasets, qa("a"))  # the name is free again
    assert other["dataset_id"] != dataset_id
    with pytest.raises(Conflict):
        datasets.restore(OWNER, dataset_id)
    datasets.rename(OWNER, other["dataset_id"], "Others", description="new")
    datasets.restore(OWNER, dataset_id)
    assert {row["name"] for row in datasets.list(OWNER)} == {"Questions", "Others"}
    with pytest.raises(Invalid):
        load(datasets, qa("a"), name="a@b")


def test_a_lost_file_is_named_and_healed_by_importing_again(datasets: Datasets) -> None:
    version = load(datasets, qa("a"))
    Path(version["path"]).unlink()
    with pytest.raises(NotFound, match="file of Questions v1 is missing"):
        datasets.page(OWNER, version["id"])
    assert load(datasets, qa("a"))["is_new"] is False
    assert len(datasets.page(OWNER, version["id"])) == 1


def test_a_lead_reads_and_changes_nothing(datasets: Datasets) -> None:
    version = load(datasets, qa("a"))
    assert len(datasets.page(LEAD, version["id"])) == 1
    with pytest.raises(Forbidden):
        datasets.preview(LEAD, "a.csv", b"a\n1\n")
    with pytest.raises(Forbidden):
        datasets.archive(LEAD, version["dataset_id"])


def test_every_change_is_in_the_audit_log(datasets: Datasets, store: Store) -> None:
    version = load(datasets, qa("a"))
    load(datasets, qa("a"))
    datasets.rename(OWNER, version["dataset_id"], "Other")
    datasets.archive(OWNER, version["dataset_id"])
    datasets.restore(OWNER, version["dataset_id"])
    verbs = [line["action"] for line in reversed(Audit(store).list(OWNER))]
    assert verbs == [f"datasets.{verb}" for verb in ("import_rows", "rename", "archive", "restore")]


def test_short_words_that_come_again_beside_texts_are_guessed_as_metadata() -> None:
    rows = [
        {
            "text": f"Customer {n} writes a message of some length about its order",
            "kind": "abc"[n % 3] * 4,
            "memo": "called back" if n % 2 else None,
            "title": f"Message {n}",
        }
        for n in range(40)
    ]
    roles = {name: options["role"] for name, options in guess([*rows[0]], rows).items()}
    assert roles == {"text": "input", "kind": "metadata", "memo": "metadata", "title": "input"}
