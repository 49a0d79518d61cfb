"""Hostile packed and binary files: zip bombs, paths in zips, damage, lies about sizes."""

from __future__ import annotations

import io
import os
import struct
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.datasets.formats import packed
from core.datasets.readers import clean_name, open_source
from core.errors import Invalid
from tests.datasets.making import gzipped, outcome, values, workbook, zipped, zstd

MIB = 1024**2
ROWS = b"q,a\n" + b"x,y\n" * 200
WORKBOOK = workbook({"S": [["q", "a"], ["x", 1], ["y", None]]})


def parquet(columns: int = 2) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({f"c{n}": ["x", "y"] for n in range(columns)}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [gzipped, zstd, lambda data: zipped({"a.csv": data})])
def test_a_zip_bomb_is_stopped_early(pack: object) -> None:
    """100 MiB from 100 kB or less, in lines that a reader would gladly go on reading."""
    data = pack(b"q\n" + b"x\n" * (50 * MIB))  # type: ignore[operator]
    assert len(data) < 200 * 1024
    began = time.monotonic()
    assert "zip bomb" in outcome("a.csv.gz", data)
    assert time.monotonic() - began < 60


def test_a_bomb_in_one_line_is_stopped_by_the_length_of_a_line() -> None:
    noise = os.urandom(MIB).hex().encode()  # so that it packs to half, not to a thousandth
    assert "64 MiB" in outcome("a.csv.zst", zstd(b"q\n" + noise * 33))


def test_a_bomb_in_a_spreadsheet_ends_its_process_not_this_one() -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "q", "far"
    buffer = io.BytesIO()
    book.save(buffer)
    with pytest.raises(Invalid, match="more memory or time") as caught:
        open_source("a.xlsx", buffer.getvalue())
    assert "far from the others" in str(caught.value.hint)


def test_entities_in_a_spreadsheet_are_not_expanded() -> None:
    """A billion laughs in the sheet's XML."""
    laughs = '<!DOCTYPE x [<!ENTITY a "ha">' + "".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12)
    )
    files = {}
    with zipfile.ZipFile(io.BytesIO(WORKBOOK)) as archive:
        for name in archive.namelist():
            files[name] = archive.read(name)
    sheet = "xl/worksheets/sheet1.xml"
    body = files[sheet].decode()
    files[sheet] = (laughs + "]>" + body.replace("<v>1</v>", "<v>&m;</v>")).encode()
    outcome("a.xlsx", zipped(files))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "holds no file"),
        ({"a.csv": ROWS, "b.csv": ROWS}, "holds 2 files"),
        ({"a.csv": gzipped(ROWS)}, "not text"),
        ({"a.zip": zipped({"a.csv": ROWS})}, "not text"),
        ({"a.parquet": parquet()}, "not text"),
        ({"a.csv": b""}, "is empty"),
        ({"folder/": b""}, "holds no file"),
        ({f"{n}.csv": b"" for n in range(20_000)}, "too many files"),
    ],
)
def test_a_zip_of_anything_but_one_text_is_refused(files: dict[str, bytes], words: str) -> None:
    assert words in outcome("a.zip", zipped(files))


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd.csv", "/etc/cron.d/x.csv", "C:\\windows\\x.csv", "..\\x.csv", "a\0b.csv",
     "\x1b[2Jx.csv", "<script>.csv", "x" * 60_000 + ".csv", "con.csv", "é\u202eвс.csv"],
)  # fmt: skip
def test_a_path_in_a_zip_is_never_followed(name: str, tmp_path: Path) -> None:
    path = tmp_path / "in.zip"
    path.write_bytes(zipped({name: ROWS}))
    before = sorted(os.listdir(tmp_path))
    source = open_source("in.zip", path)
    assert len(values(source)) == 200
    assert source.filename == "in.zip"
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.csv", "passwd.csv"),
        ("C:\\x\\y.csv", "y.csv"),
        ("a\nb\x1b[2J.csv", "a_b_[2J.csv"),
        ("a\0.csv", "a_.csv"),
        ("\u202evsc.exe", "_vsc.exe"),
        ("\ud800.csv", "_.csv"),
        ("", "upload"),
        ("..", ".."),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
    ],
)
def test_a_hostile_file_name_is_shown_clean(name: str, shown: str) -> None:
    assert clean_name(name) == shown
    assert open_source(name, ROWS).filename == shown


def test_a_zip_that_lies_about_sizes_is_refused() -> None:
    good = bytearray(zipped({"a.csv": ROWS}))
    directory = good.rfind(b"PK\x01\x02")
    for change in (
        (directory + 24, struct.pack("<L", 10)),  # unpacked bytes: fewer than there are
        (directory + 16, struct.pack("<L", 1)),  # checksum
        (directory + 42, struct.pack("<L", 9_999)),  # where it begins
        (directory + 8, struct.pack("<H", 1)),  # encrypted
        (directory + 10, struct.pack("<H", 99)),  # an unknown method
        (good.rfind(b"PK\x05\x06") + 12, struct.pack("<L", 2**31)),  # a huge directory
    ):
        at, bytes_ = change
        bad = bytearray(good)
        bad[at : at + len(bytes_)] = bytes_
        assert outcome("a.zip", bytes(bad)) != "rows"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv.gz", gzipped(ROWS)),
        ("a.csv.zst", zstd(ROWS)),
        ("a.zip", zipped({"a.csv": ROWS})),
        ("a.parquet", parquet()),
        ("a.xlsx", WORKBOOK),
    ],
)
def test_a_file_cut_short_anywhere_is_refused_or_named(name: str, data: bytes) -> None:
    cuts = range(1, len(data) - 1, max(1, len(data) // (4 if name == "a.xlsx" else 25)))
    for cut in cuts:
        outcome(name, data[:cut])
    assert outcome(name, data) == "rows"


@given(st.sampled_from(["a.csv.gz", "a.csv.zst", "a.zip", "a.parquet"]), st.data())
@settings(max_examples=120, deadline=None)
def test_a_packed_file_with_bytes_changed_is_read_or_refused(
    name: str, data: st.DataObject
) -> None:
    damaged = bytearray(GOOD[name])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    outcome(name, bytes(damaged))


GOOD = {
    "a.csv.gz": gzipped(ROWS),
    "a.csv.zst": zstd(ROWS),
    "a.zip": zipped({"a.csv": ROWS}),
    "a.parquet": parquet(),
}


def test_too_many_columns_in_parquet_and_sheets_are_refused() -> None:
    assert "has 5,000 columns" in outcome("a.parquet", parquet(5_000))
    wide = workbook({"S": [[f"c{n}" for n in range(2_000)]]})
    assert "has 2,000 columns" in outcome("a.xlsx", wide)
    assert "named 'q'" in outcome("a.xlsx", workbook({"S": [["q", "q"], [1, 2]]}))
    assert "no header" in outcome("a.xlsx", workbook({"S": []}))


def test_deep_values_in_parquet_are_named() -> None:
    kind, value = pa.string(), "x"
    for _ in range(80):
        kind, value = pa.list_(kind), [value]  # type: ignore[assignment]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"q": pa.array([value], kind)}), buffer)
    outcome("a.parquet", buffer.getvalue())


def test_ordinary_files_that_pack_well_are_not_taken_for_bombs() -> None:
    data = b"q\n" + b"the same long line again and again and a hundred times over\n" * 100_000
    assert len(gzipped(data)) * packed.RATIO < len(data) < packed.FREE_BYTES
    assert len(values(open_source("a.csv.gz", gzipped(data)))) == 100_000
