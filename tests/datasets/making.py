"""Files for tests, made in code: packed, spread over folders, wrong in many ways."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from core.datasets.readers import Source, open_source
from core.errors import Invalid


def jsonl(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def workbook(sheets: Mapping[str, Sequence[Sequence[Any]]]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data)


def zstd(data: bytes) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def values(source: Source) -> list[dict[str, Any]]:
    """The rows, none of which may have a fault."""
    records = list(source.records())
    assert [record.faults for record in records] == [()] * len(records)
    assert [record.index for record in records] == list(range(len(records)))
    return [record.values for record in records]


def faults(source: Source) -> list[tuple[int, str]]:
    return [(fault.row, fault.message) for record in source.records() for fault in record.faults]


def outcome(filename: str, data: bytes, options: Mapping[str, Any] | None = None) -> str:
    """'rows', or the message of the refusal; anything else is raised and fails the test."""
    try:
        source = open_source(filename, data, options=options)
        source.columns()
        for record in source.records():
            assert all(fault.message and fault.hint for fault in record.faults)
    except Invalid as error:
        said = (error.message, error.hint, error.field)
    else:
        return "rows"
    assert all(said), said
    return said[0]
