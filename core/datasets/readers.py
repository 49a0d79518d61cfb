"""Files, folders and queries as streams of rows, each row with what is wrong with it.

A source is opened anew for every reading, and one row is in memory at a time (a thousand, for
Parquet, Arrow and databases). A bad row does not end the reading: it comes as a Record without
values.

Knows: which format a file is in. Does not know: how a format is read (formats), roles, versions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from core.datasets.formats import FORMATS, OPTIONS, PACKED_SUFFIXES, packed, sql, text
from core.datasets.formats import databases as db
from core.datasets.formats.arrow_rows import Arrow, Parquet
from core.datasets.formats.chat import CHAT_FORMATS, AsChat
from core.datasets.formats.csv_rows import Csv, guess_delimiter
from core.datasets.formats.excel import Excel, sheets_of
from core.datasets.formats.folder import read_folder
from core.datasets.formats.hub import PREFIX, Hub
from core.datasets.formats.json_document import JsonDocument, held
from core.datasets.formats.json_rows import Jsonl, json_object
from core.datasets.records import (
    MAX_COLUMNS,
    MAX_LINE_BYTES,
    Data,
    Reader,
    Record,
    opened,
    unreadable,
)
from core.datasets.table import quoted
from core.errors import Invalid

__all__ = [
    "MAX_COLUMNS", "MAX_FILE_BYTES", "MAX_LINE_BYTES", "SUFFIXES", "Reader", "Record", "Source",
    "checked_options", "finished", "open_hub", "open_query", "open_source", "unreadable",
]  # fmt: skip

MAX_FILE_BYTES = 64 * 1024**3
HEAD_BYTES = 64 * 1024
SUFFIXES: dict[str, str] = {
    suffix: found.name for found in FORMATS.values() for suffix in found.suffixes
} | dict.fromkeys(PACKED_SUFFIXES, "packed")
"""Suffix -> format, of everything that can be uploaded."""
_MAGIC = {
    b"%PDF": "The file is a PDF. Save the rows as CSV.",
    b"\x89PNG": "The file is a picture.",
    b"\x7fELF": "The file is a program.",
    b"BZh": "The file is packed with bzip2. Unpack it first.",
    b"\xfd7zXZ": "The file is packed with xz. Unpack it first.",
    b"7z\xbc\xaf": "The file is packed with 7-Zip. Unpack it first.",
    b"Rar!": "The file is packed with RAR. Unpack it first.",
}
_TEXT = ("csv", "tsv", "jsonl", "json")


@dataclass(frozen=True, slots=True)
class Source:
    """Something to import; make it by `open_source`, `open_query` or `open_hub`."""

    filename: str
    """How a version's manifest names it: no path, no password."""
    data: Data | None = field(repr=False)
    format: str
    """A name in core.datasets.formats.FORMATS."""
    reader: Reader = field(repr=False)
    delimiter: str = ","
    encoding: str = text.UTF8
    packing: str = ""
    """gzip, zstd or zip, for a packed text file."""
    notes: tuple[str, ...] = ()
    """What was found out or guessed that a person should know, a sentence each."""
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Option -> what this file offers for it: sheets, tables, keys."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the manifest keeps beside the name: sheet, table, query, key, chat."""

    def records(self) -> Iterator[Record]:
        """Every row from the start. Raises Invalid where the file as a whole cannot be read."""
        return self.reader.records()

    def columns(self) -> list[str]:
        """The columns that the file declares; none for JSON, where every row has its own."""
        return self.reader.columns()

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """The bytes: unpacked, and in UTF-8 where it is text."""
        if self.data is None:
            raise unreadable("A query has no file.", "Read its rows instead.")
        return _stream(self.data, self.packing, self.encoding)


def open_source(filename: str, data: Data, *, options: Mapping[str, Any] | None = None) -> Source:
    """Find out what a file or folder is, by its content first and its suffix second.

    `options` are those of core.datasets.formats.OPTIONS; Invalid names one that does not go with
    the format, and a file that cannot be read at all.
    """
    asked = checked_options(options)
    name = clean_name(filename)
    if isinstance(data, Path) and data.is_dir():
        source = _folder(name, data, asked)
    else:
        source = _file(name, data, asked)
    return finished(source, asked)


def finished(source: Source, asked: Mapping[str, str]) -> Source:
    """The source, in the shape of a chat where that is asked; Invalid names a misplaced option."""
    _refuse_misplaced(asked, source.format)
    chat = asked.get("chat")
    if chat is None:
        return source
    reader = AsChat(source.reader, CHAT_FORMATS[chat], source.format in ("csv", "tsv"))
    return replace(source, reader=reader, details={**source.details, "chat": chat})


def open_query(
    kind: str, location: str | Path, statement: str, *, password: str | None = None
) -> Source:
    """The rows of one SELECT statement on a database that is only read.

    `kind` is duckdb, sqlite (a path, which is the caller's to trust) or postgres (a connection
    string). A password in the string is taken out of it: neither `filename` nor `details` has it.
    """
    if kind not in (sql.DUCKDB, sql.SQLITE, sql.POSTGRES):
        raise Invalid(f"There is no database {kind!r}.", field="kind",
                      hint="There are duckdb, sqlite and postgres.")  # fmt: skip
    query = sql.checked_select(statement, kind)
    if kind != sql.POSTGRES:
        path = Path(location)
        if not path.is_file():
            raise unreadable(f"There is no file {path.name!r}.", "Check its name.", "location")
        return _query(kind, clean_name(path.name), path, query)
    server, secret = db.split_location(str(location))
    reader = db.Postgres(server, query, password or secret)
    return Source(db.shown_location(server), None, kind, reader, details={"sql": query})


def open_hub(
    hub_id: str, *, config: str | None = None, split: str | None = None, revision: str | None = None
) -> Source:
    """A dataset on the Hugging Face hub; Forbidden, when it is read, where downloads are off."""
    reader = Hub(hub_id.removeprefix(PREFIX), config, split, revision)
    details = {"config": config, "split": split, "revision": revision}
    kept = {name: value for name, value in details.items() if value is not None}
    return Source(f"{PREFIX}{reader.hub_id}"[:200], None, "hub", reader, details=kept)


def clean_name(filename: str) -> str:
    """The last part of a file's name without what a terminal or a page could trip over."""
    name = PurePath(filename.replace("\\", "/")).name
    shown = "".join(char if char.isprintable() else "_" for char in name).strip()
    return shown.encode(errors="replace").decode()[-200:] or "upload"


def checked_options(options: Mapping[str, Any] | None) -> dict[str, str]:
    """Those that are given, as text; Invalid names one that there is not."""
    asked = {name: str(value) for name, value in (options or {}).items() if value not in (None, "")}
    for name in asked:
        if name not in OPTIONS:
            raise unreadable(f"There is no option {name!r}.", f"There are {', '.join(OPTIONS)}.",
                             name)  # fmt: skip
    if asked.get("chat", "openai") not in CHAT_FORMATS:
        hint = f"There are {', '.join(CHAT_FORMATS)}."
        raise unreadable(f"There is no chat format {asked['chat']!r}.", hint, "chat")
    if len(asked.get("delimiter", ",")) != 1 or asked.get("delimiter") in ('"', "\n", "\r", "\0"):
        raise unreadable("The separator has to be one character.", 'Not " either.', "delimiter")
    return asked


def _refuse_misplaced(asked: Mapping[str, str], name: str) -> None:
    for option in asked:
        if option not in FORMATS[name].options:
            raise unreadable(
                f"The option {option!r} does not go with {FORMATS[name].title}.",
                "Leave it out.", option,
            )  # fmt: skip


def _folder(name: str, data: Path, asked: dict[str, str]) -> Source:
    inner = {key: value for key, value in asked.items() if key in ("encoding", "delimiter")}
    kind, parts = read_folder(data, lambda path: open_source(path.name, path, options=inner).reader)
    splits = sorted({part.split for part in parts.parts if part.split})
    notes = (f"The splits {', '.join(splits)} are in the column 'split'.",) if splits else ()
    return Source(name, data, kind, parts, notes=notes)


def _file(name: str, data: Data, asked: dict[str, str]) -> Source:
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    if size > MAX_FILE_BYTES:
        raise unreadable(f"{name} has {size / 1024**3:.1f} GiB; the most is 64 GiB.", "Split it.")
    with opened(data) as file:
        head = file.read(HEAD_BYTES)
    if not head.removeprefix(text.BOM).strip():
        raise unreadable(f"{name} is empty.", "Choose another file.")
    if source := _binary(name, data, head, asked):
        return source
    packing = packed.packing_of(head)
    if packing is None:
        return _text(name, data, head, "", asked)
    inner = clean_name(packed.inner_name(name, packing, data))
    with packed.unpacked(data, packing) as file:
        head = file.read(HEAD_BYTES)
    if packed.packing_of(head) or _binary_kind(head):
        raise unreadable(f"{name} holds a file that is not text.", "Unpack it first.")
    if not head.removeprefix(text.BOM).strip():
        raise unreadable(f"{inner} in {name} is empty.", "Choose another file.")
    return replace(_text(inner, data, head, packing, asked), filename=name)


def _binary_kind(head: bytes) -> str | None:
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1") or head.startswith(b"\xff\xff\xff\xff"):
        return "arrow"
    if head.startswith(b"SQLite format 3\0"):
        return sql.SQLITE
    if head[8:12] == b"DUCK":
        return sql.DUCKDB
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return "excel"
    return None


def _binary(name: str, data: Data, head: bytes, asked: dict[str, str]) -> Source | None:
    """A source that is not text, or None for one that is, or is packed."""
    for magic, hint in _MAGIC.items():
        if head.startswith(magic):
            raise unreadable(f"{name} is not text that can be imported.", hint)
    kind = _binary_kind(head)
    if head.startswith(b"PK\x03\x04") and _is_workbook(data):
        kind = "excel"
    if kind == "parquet":
        return Source(name, data, kind, Parquet(functools.partial(opened, data)))
    if kind == "arrow":
        if not isinstance(data, Path):
            raise unreadable(f"{name} is an Arrow file.", "Save it as Parquet.")
        return Source(name, data, kind, Arrow(data))
    if kind == "excel":
        return _excel(name, data, asked)
    if kind in (sql.SQLITE, sql.DUCKDB):
        return _database(kind, name, data, asked)
    declared = SUFFIXES.get(PurePath(name).suffix.lower())
    if declared in ("parquet", "arrow", "excel", sql.SQLITE, sql.DUCKDB):
        title = FORMATS[declared].title
        raise unreadable(f"{name} is not a {title} file.", "Check how it was written.")
    return None


def _is_workbook(data: Data) -> bool:
    with packed.zip_file(data) as archive:
        names = set(archive.namelist())
    return "[Content_Types].xml" in names or {"mimetype", "content.xml"} <= names


def _excel(name: str, data: Data, asked: dict[str, str]) -> Source:
    sheets, sheet = sheets_of(data, asked.get("sheet"))
    others = [other for other in sheets if other != sheet]
    notes = (f"The sheet {sheet!r} is read; there {'are' if others[1:] else 'is'} also"
             f" {', '.join(others[:10])}.",) if others and "sheet" not in asked else ()  # fmt: skip
    return Source(name, data, "excel", Excel(data, sheet), notes=notes,
                  choices={"sheet": tuple(sheets)}, details={"sheet": sheet})  # fmt: skip


def _database(kind: str, name: str, data: Data, asked: dict[str, str]) -> Source:
    """A database file: the query or the table that was asked for, or the only table there is."""
    tables = db.tables_of(kind, data)
    table = asked.get("table") or (tables[0] if len(tables) == 1 else None)
    if statement := asked.get("sql"):
        query = sql.checked_select(statement, kind)
    elif table in tables:
        query = f"SELECT * FROM {quoted(str(table))}"
    else:
        what = f"no table {table!r}" if table else f"{len(tables)} tables"
        listed = f" There are {', '.join(tables[:20])}." if tables else ""
        raise unreadable(f"{name} has {what}.", f"Choose a table, or write a query.{listed}",
                         "table")  # fmt: skip
    return replace(_query(kind, name, data, query), choices={"table": tuple(tables)})


def _query(kind: str, name: str, data: Data, query: str) -> Source:
    reader: Reader = db.Sqlite(data, query) if kind == sql.SQLITE else db.Duck(data, query)
    return Source(name, data, kind, reader, details={"sql": query})


@contextmanager
def _stream(data: Data, packing: str, encoding: str) -> Iterator[BinaryIO]:
    with packed.unpacked(data, packing) as file:
        yield text.recoded(file, encoding)


def _text(name: str, data: Data, head: bytes, packing: str, asked: dict[str, str]) -> Source:
    declared = SUFFIXES.get(PurePath(name).suffix.lower())
    marked = text.marked_encoding(head)
    encoding = text.checked_encoding(asked["encoding"]) if "encoding" in asked else marked
    is_json = declared in ("json", "jsonl")
    if encoding is None:
        encoding = text.UTF8  # JSON is UTF-8 by its standard: anything else in it is a fault
        if not is_json:
            with packed.unpacked(data, packing) as file:
                encoding = text.find_encoding(file)
    notes: tuple[str, ...] = ()
    if encoding != text.UTF8 and "encoding" not in asked:
        how = "is" if marked else "looks like"
        notes = (f"The file {how} {text.shown_encoding(encoding)}, and is read as that.",)
    opener = functools.partial(_stream, data, packing, encoding)
    with opener() as file:
        head = file.read(HEAD_BYTES)
    source = _json(name, data, head, opener, encoding, declared, asked)
    if source is None:
        kind = "tsv" if declared == "tsv" else "csv"
        guess = "\t" if kind == "tsv" else guess_delimiter(head)
        delimiter = asked.get("delimiter", guess)
        source = Source(name, data, kind, Csv(opener, delimiter, encoding), delimiter)
    return replace(source, encoding=encoding, packing=packing, notes=notes + source.notes)


def _json(
    name: str,
    data: Data,
    head: bytes,
    opener: Callable[[], AbstractContextManager[BinaryIO]],
    encoding: str,
    declared: str | None,
    asked: dict[str, str],
) -> Source | None:
    """A source of JSON lines or of a document; None where it is neither."""
    start = head.removeprefix(text.BOM).lstrip()
    line, _, after = start.partition(b"\n")
    lines = Source(name, data, "jsonl", Jsonl(opener, encoding))
    whole = _is_object(line)
    if start[:1] == b"[" and declared in ("json", "jsonl"):
        if declared == "jsonl" and after.strip() and _is_array(line):
            return lines  # rows that are arrays: each is a fault
        return Source(name, data, "json", JsonDocument(opener))
    if declared == "jsonl" or (whole and after.strip()):
        return lines
    if declared != "json" and not whole:
        return None
    if start[:1] != b"{":
        return lines
    with opener() as file:
        found = held(file)
    return _held(name, data, opener, lines, found, whole, asked)


def _held(
    name: str, data: Data, opener: Any, lines: Source, found: Any, whole: bool,
    asked: dict[str, str],
) -> Source:  # fmt: skip
    """A document that begins with an object: the array in it, or objects one after another."""
    if found.more or not found.arrays:
        return lines if whole else Source(name, data, "json", JsonDocument(opener, array=False))
    keys = list(found.arrays)
    key = asked.get("key") or (keys[0] if len(keys) == 1 else None)
    if key not in found.arrays:
        raise unreadable(
            f"{name} has {len(keys)} arrays of objects." if not key
            else f"{name} has no array {key!r}.",
            f"Choose the key of one: {', '.join(keys[:20])}.", "key",
        )  # fmt: skip
    reader = JsonDocument(opener, start=found.arrays[key])
    return Source(name, data, "json", reader, notes=(f"The rows are the array {key!r}.",),
                  choices={"key": tuple(keys)}, details={"key": key})  # fmt: skip


def _is_object(line: bytes) -> bool:
    try:
        json_object(line.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _is_array(line: bytes) -> bool:
    return line.rstrip().endswith(b"]")
