"""Every format gives the same rows, wherever they come from, and says what it found out."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import datasets as hf
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.datasets.formats import FORMATS, OPTIONS
from core.datasets.readers import SUFFIXES, open_hub, open_source
from core.datasets.service import Datasets
from core.errors import Forbidden, Invalid
from core.governance.permissions import OWNER
from core.store.database import Store
from tests.datasets.making import faults, gzipped, jsonl, values, workbook, zipped, zstd

ROWS: list[dict[str, Any]] = [
    {"question": "Où est-ce?", "answer": "là"},
    {"question": '“quoted”, "twice"\nand a line', "answer": "東京 👍🏽"},
]
CSV = b"question,answer\na,b\n"


def csv_of(rows: list[dict[str, Any]]) -> str:
    cells = [[*rows[0]], *([*row.values()] for row in rows)]
    return "".join(",".join('"' + c.replace('"', '""') + '"' for c in row) + "\n" for row in cells)


@pytest.mark.parametrize(
    ("filename", "data", "name"),
    [
        ("r.jsonl", jsonl(*ROWS), "jsonl"),
        ("r.csv", csv_of(ROWS).encode(), "csv"),
        ("r.csv", csv_of(ROWS).encode("utf-8-sig"), "csv"),
        ("r.csv", csv_of(ROWS).encode("utf-16"), "csv"),
        ("r.csv", csv_of(ROWS).encode("utf-16-le"), "csv"),
        ("r.tsv", csv_of(ROWS).replace('","', '"\t"').encode("utf-32"), "tsv"),
        ("r.json", json.dumps(ROWS).encode(), "json"),
        ("r.json", json.dumps(ROWS, indent=2, ensure_ascii=False).encode(), "json"),
        ("r.json", json.dumps({"version": [1], "data": ROWS, "n": {"x": []}}).encode(), "json"),
        ("r.json", "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(), "json"),
        ("r.json", jsonl(*ROWS), "jsonl"),
        ("r.json", json.dumps(ROWS).encode("utf-16"), "json"),
        ("r.jsonl.gz", gzipped(jsonl(*ROWS)), "jsonl"),
        ("r.csv.gz", gzipped(csv_of(ROWS).encode("utf-16")), "csv"),
        ("r.jsonl.zst", zstd(jsonl(*ROWS)), "jsonl"),
        ("r.json.zst", zstd(json.dumps(ROWS).encode()), "json"),
        ("r.zip", zipped({"in/r.jsonl": jsonl(*ROWS), "__MACOSX/._r": b"x"}), "jsonl"),
        ("r.xlsx", workbook({"S": [[], list(ROWS[0]), *(row.values() for row in ROWS)]}), "excel"),
    ],
)
def test_the_same_rows_come_from_every_format(filename: str, data: bytes, name: str) -> None:
    source = open_source(filename, data)
    assert values(source) == ROWS
    assert values(source) == ROWS  # a second reading starts anew
    assert (source.format, source.filename) == (name, filename)


def test_a_path_is_read_as_bytes_are(tmp_path: Path) -> None:
    for name, data in {
        "r.xlsx": workbook({"S": [["question"], ["a"]]}),
        "r.csv.gz": gzipped(b"question\na\n"),
        "r.zip": zipped({"r.csv": b"question\na\n"}),
        "r.json": b'[{"question": "a"}]',
    }.items():
        (tmp_path / name).write_bytes(data)
        assert values(open_source(name, tmp_path / name)) == [{"question": "a"}]


def test_a_spreadsheets_cells_keep_their_kinds_and_rows_their_numbers() -> None:
    when = dt.datetime(2024, 1, 31, 12, 30)
    header, beyond = ["q", "n", "x", "at", "ok", None], ["b", None, None, None, None, "beyond"]
    sheets = {"A": [header, ["a", 3, 2.5, when, True], [], beyond], "B": [["z"], ["1"]]}
    book = workbook(sheets)
    source = open_source("a.xlsx", book)
    first, second = source.records()
    assert first.values == {"q": "a", "n": 3, "x": 2.5, "at": "2024-01-31T12:30:00", "ok": True}
    assert (first.line, second.line, second.index) == (2, 4, 1)
    assert "to the right of the last column, 'ok'" in second.faults[0].message
    assert (source.choices, source.details) == ({"sheet": ("A", "B")}, {"sheet": "A"})
    assert source.notes == ("The sheet 'A' is read; there is also B.",)
    assert values(open_source("a.xlsx", book, options={"sheet": "B"})) == [{"z": "1"}]


def test_a_document_of_several_arrays_asks_which() -> None:
    data = b'{"train": [{"q": "a"}], "test": [{"q": "b"}]}'
    with pytest.raises(Invalid, match="2 arrays of objects") as caught:
        open_source("a.json", data)
    assert (caught.value.field, caught.value.hint) == (
        "key",
        "Choose the key of one: train, test.",
    )
    source = open_source("a.json", data, options={"key": "test"})
    assert (values(source), source.details) == ([{"q": "b"}], {"key": "test"})


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b'[{"a": 1} {"a": 2}]', [(1, "a comma is missing")]),
        (b'[{"a": 1},, {"a": 2}]', [(1, "there is a comma too many")]),
        (b'[{"a": 1}, 5, "x,y", [2]]', [(1, "the value is a number, not an object"),
         (2, "the value is a text, not an object"), (3, "the value is an array, not an object")]),
        (b'[{"a": 1}, {"a": "\xff"}]', [(1, "the value in line 1 is not UTF-8 text")]),
        (b'[{"a": 1},\n{"a', [(1, "the file ends within a value begun in line 2")]),
        (b'[{"a": 1}', [(1, "the file ends within the array begun in line 1")]),
        (b'[{"a": 1}] {"a": 2}', [(1, "there is something after the end of the array")]),
        (b'[{"a": 1}, {"a": 1,}]', [(1, "the value is not JSON")]),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_document_is_named(data: bytes, found: list[tuple[int, str]]) -> None:
    said = faults(open_source("a.json", data))
    assert [row for row, _ in said] == [row for row, _ in found]
    assert all(text.startswith(start) for (_, text), (_, start) in zip(said, found, strict=True))


def test_values_across_the_chunks_of_a_document_stay_whole() -> None:
    rows = [{"n": n, "text": 'a "{[' * 60_000, "in": [{"x": "]}\\"}]} for n in range(12)]
    assert values(open_source("a.json", json.dumps(rows).encode())) == rows
    assert values(open_source("a.json", json.dumps({"r": rows}, indent=1).encode())) == rows


def test_a_saved_dataset_comes_with_its_splits_and_class_names(tmp_path: Path) -> None:
    features = hf.Features({"q": hf.Value("string"), "label": hf.ClassLabel(names=["no", "yes"])})
    parts = {
        name: hf.Dataset.from_dict({"q": [f"{name} {n}" for n in range(3)], "label": [0, 1, 1]},
                                   features=features)
        for name in ("train", "test")
    }  # fmt: skip
    hf.DatasetDict(parts).save_to_disk(tmp_path / "both")
    source = open_source("both", tmp_path / "both")
    rows = values(source)
    assert rows[1] == {"q": "train 1", "label": "yes", "split": "train"}
    assert [row["split"] for row in rows] == ["train"] * 3 + ["test"] * 3
    assert source.columns() == ["q", "label", "split"]
    assert (source.format, source.notes) == (
        "datasets",
        ("The splits test, train are in the column 'split'.",),
    )
    parts["test"].save_to_disk(tmp_path / "one")
    assert values(open_source("one", tmp_path / "one"))[2] == {"q": "test 2", "label": "yes"}


def test_a_folder_of_data_files_is_one_source(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "train").mkdir(parents=True)
    pq.write_table(pa.table({"q": ["a"]}), folder / "train" / "part-0.parquet")
    pq.write_table(pa.table({"q": ["b"], "x": [1]}), folder / "validation-00000-of-00001.parquet")
    (folder / "dataset_infos.json").write_text("{}")
    (folder / "README.md").write_text("# about")
    rows = values(open_source("data", folder))
    assert rows == [{"q": "a", "split": "train"}, {"q": "b", "x": 1, "split": "validation"}]

    (folder / "extra.csv").write_text("q\nc\n")
    with pytest.raises(Invalid, match=r"mixes \.csv, \.parquet"):
        open_source("data", folder)
    loose = tmp_path / "loose"
    loose.mkdir()
    with pytest.raises(Invalid, match="no data in the folder"):
        open_source("loose", loose)
    (loose / "b.jsonl").write_text('{"q": 1}\n{\n')
    (loose / "a.jsonl").write_text('{"q": 0}\n')
    records = list(open_source("loose", loose).records())
    assert [record.values for record in records] == [{"q": 0}, {"q": 1}, {}]
    assert records[2].faults[0].row == 2
    assert records[2].faults[0].message.endswith("(in b.jsonl)")


def test_nothing_outside_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_text('{"secret": 1}\n')
    linked, saved = tmp_path / "linked", tmp_path / "saved"
    linked.mkdir()
    (linked / "a.jsonl").symlink_to(tmp_path / "secret.jsonl")
    saved.mkdir()
    (saved / "state.json").write_text('{"_data_files": [{"filename": "../secret.jsonl"}]}')
    for folder in (linked, saved):
        with pytest.raises(Invalid, match="leads out of the folder"):
            open_source(folder.name, folder)


def test_the_hub_is_refused_where_downloads_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATHE_OFFLINE", "1")
    source = open_hub("hf://owner/name", split="train")
    assert (source.filename, source.details) == ("hf://owner/name", {"split": "train"})
    with pytest.raises(Forbidden, match="set to work offline"):
        list(source.records())
    monkeypatch.setenv("LATHE_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Forbidden, match="owner/name is not downloaded"):
        source.columns()
    with pytest.raises(Invalid, match="not the id of a dataset"):
        list(open_hub("../../etc/passwd").records())


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("question,answer\nOù est le café?,à côté\n“quoi”,c’est l’été – déjà\n", "cp1252"),
        ("Frage,Antwort\nWie heißt die größte Stadt?,München ist schön\n", "cp1252"),
        ("a,b\n1,é\n", "cp1252"),
        ("price,b\n5 €,x\n", "cp1252"),
        ("вопрос,ответ\nкак дела,хорошо\nчто это такое,не знаю\n", "cp1251"),
        ("pytanie,odpowiedź\nzażółć gęślą jaźń,łódź\n", "cp1250"),
        ("質問,回答\n東京はどこですか,日本の首都です\n", "cp932"),
        ("问题,答案\n北京在哪里,中国的首都\n", "gb18030"),
    ],
)
def test_an_encoding_is_guessed_and_said(text: str, encoding: str) -> None:
    source = open_source("a.csv", text.encode(encoding))
    header, *rows = (line.split(",") for line in text.splitlines())
    assert values(source) == [dict(zip(header, row, strict=True)) for row in rows]
    assert source.encoding == encoding
    assert "looks like" in source.notes[0]


def test_an_encoding_late_in_a_file_is_found_and_one_asked_for_is_used() -> None:
    data = b"q\n" + b"plain\n" * 300_000 + "café\n".encode("cp1252")
    assert values(open_source("a.csv", data))[-1] == {"q": "café"}
    asked = open_source("a.csv", "q\nжук\n".encode("koi8_r"), options={"encoding": "KOI8-R"})
    assert (values(asked), asked.notes) == ([{"q": "жук"}], ())
    with pytest.raises(Invalid, match="no encoding 'base64'"):
        open_source("a.csv", CSV, options={"encoding": "base64"})
    bad = open_source("a.csv", b"q\nb\xe9d\n", options={"encoding": "ascii"})
    assert faults(bad) == [(0, "line 2 is not ascii text")]


def test_options_are_checked_and_listed() -> None:
    for options, words in (
        ({"shet": "A"}, "no option 'shet'"),
        ({"sheet": "A"}, "'sheet' does not go with CSV"),
        ({"delimiter": ",,"}, "one character"),
        ({"chat": "irc"}, "no chat format 'irc'"),
    ):
        with pytest.raises(Invalid, match=words) as caught:
            open_source("a.csv", CSV, options=options)
        assert caught.value.field == next(iter(options))
    semi = open_source("a.csv", b"a,b;c\n1,2;3\n", options={"delimiter": ";", "encoding": ""})
    assert values(semi) == [{"a,b": "1,2", "c": "3"}]
    for found in FORMATS.values():
        assert set(found.options) <= set(OPTIONS)
        assert all(SUFFIXES[suffix] == found.name for suffix in found.suffixes)


def test_a_new_format_is_imported_like_any_other(store: Store) -> None:
    datasets = Datasets(store)
    mapping = {"question": "input", "answer": "expected"}
    ids = {
        datasets.import_rows(OWNER, name="Q", filename=name, data=data, mapping=mapping)["id"]
        for name, data in {
            "r.jsonl": jsonl(*ROWS),
            "r.xlsx": workbook({"S": [list(ROWS[0]), *(row.values() for row in ROWS)]}),
            "r.csv.gz": gzipped(csv_of(ROWS).encode("utf-16")),
            "r.json": json.dumps(ROWS).encode(),
        }.items()
    }
    assert len(ids) == 1  # the same content is the same version
