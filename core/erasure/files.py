"""Files of the home other than versions and the database: which hold it, and what becomes of them.

    jobs/<id>           the folder of an ended job goes; of one that runs the erasure is refused
    exports/<id>        goes
    uploads/<id>        goes
    datasets/*/.staged  an import that waits to be accepted is discarded
    *.findings, *.diffs go: they are computed again when somebody looks
    workers/*/*.log     are emptied
    others              lose the lines that have it

Knows: kinds of files, how each is searched. Does not know: tables, versions.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.datasets.files import STAGED
from core.datasets.staging import DIFF_FILES, DIFFERS
from core.datasets.table import connect, quoted
from core.erasure.identifier import Identifier
from core.errors import LatheError
from core.store.database import literal
from core.store.files import read_json, write_atomic

SKIPPED = {"keys", "secrets", "models", "certificates", "pseudonyms", "tmp"}
"""Folders of the home that hold no text about people, or are looked at by others."""
SKIPPED_NAMES = re.compile(r"lathe\.(duckdb.*|lock)|cli-token|.*\.lock|lock")
WEIGHTS = {".safetensors", ".gguf", ".npy", ".bin", ".png", ".pt", ".pth"}
PACKED = {".gz", ".zst", ".zip", ".xlsx", ".xls"}
BLOCK = 4 * 1024 * 1024
OVERLAP = 1_000
RAW_BYTES = 64 * 1024 * 1024
"""Files up to here are looked through byte by byte at the end."""
FOLDERS = {"jobs": "Jobs", "exports": "Exports", "uploads": "Uploads"}


@dataclass(frozen=True, slots=True)
class Held:
    """A file that has it, and the folder or file that is cleared for it."""

    place: str
    unit: Path
    path: Path


def held(home: Path, identifier: Identifier) -> Iterator[Held]:
    """Every unit of the home that has it, once."""
    seen: set[Path] = set()
    for path in files_of(home):
        place, unit = unit_of(home, path)
        if unit in seen or not has(path, identifier):
            continue
        seen.add(unit)
        yield Held(place, unit, path)


def files_of(home: Path) -> Iterator[Path]:
    """The files that are searched: no weights, no keys, no versions' rows, no database."""
    for folder, names, files in os.walk(home):
        here = Path(folder)
        if here == home:
            names[:] = sorted(set(names) - SKIPPED)
        for name in sorted(files):
            path = here / name
            if here == home and SKIPPED_NAMES.fullmatch(name):
                continue
            if path.suffix in WEIGHTS or SKIPPED_NAMES.fullmatch(name) or path.is_symlink():
                continue
            if _is_version(home, path) or (here.parent.name == "workers" and name == "spec.json"):
                continue
            yield path


def unit_of(home: Path, path: Path) -> tuple[str, Path]:
    """The place in words, and what is cleared as one: a folder, or the file itself."""
    parts = path.relative_to(home).parts
    if parts[0] in FOLDERS and len(parts) > 2:
        return FOLDERS[parts[0]], home / parts[0] / parts[1]
    if parts[0] == "datasets" and len(parts) > 2:
        beside = home.joinpath(*parts[:3])
        if parts[2].startswith(STAGED):
            return "Imports that wait", beside.with_suffix(".json")
        if beside.is_dir():
            return "Findings and comparisons", beside
    if parts[0] == "cache":
        return "Caches", path
    return "Logs and other files", path


def clear(home: Path, found: Held) -> None:
    """Take it out of what `held` found."""
    unit = found.unit
    if found.place == "Imports that wait":
        for name in staged_files(unit):
            (unit.parent / name).unlink(missing_ok=True)
    elif unit.is_dir():
        shutil.rmtree(unit, ignore_errors=True)
    elif found.place == "Caches":
        for path in unit.parent.glob(f"{unit.name}*"):
            path.unlink(missing_ok=True)
    elif unit.suffix == ".log":
        with contextlib.suppress(FileNotFoundError):
            os.truncate(unit, 0)  # a process may have it open: it goes on at the start
    else:
        unit.unlink(missing_ok=True)


def staged_files(unit: Path) -> list[str]:
    """The names of the files of an import that waits; the mark first, as whoever discards it."""
    job_id = unit.stem.removeprefix(STAGED)
    differs = [f"{DIFFERS}{job_id}{suffix}" for suffix in DIFF_FILES]
    return [unit.name, unit.with_suffix(".parquet").name, *differs]


def drop_lines(path: Path, identifier: Identifier) -> None:
    """Keep the lines of a small text file that do not have it, nor a part of it: a name may begin
    on one line and end on the next."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if not identifier.found(line)]
    text = "".join(kept)
    if identifier.found(text):  # only where lines meet
        kept = _without_parts(kept, [match.span() for match in identifier.pattern.finditer(text)])
    write_atomic(path, "" if identifier.found("".join(kept)) else "".join(kept))


def _without_parts(lines: list[str], spans: list[tuple[int, int]]) -> list[str]:
    """The lines that none of these spans of their joined text touches."""
    kept, at = [], 0
    for line in lines:
        end = at + len(line)
        if not any(start < end and at < stop for start, stop in spans):
            kept.append(line)
        at = end
    return kept


def exports_of(home: Path, version_ids: set[str]) -> list[Path]:
    """The folders of exports of these versions, whatever their format."""
    manifests = (home / "exports").glob("*/manifest.json")
    return [p.parent for p in manifests if (read_json(p) or {}).get("version_id") in version_ids]


def has(path: Path, identifier: Identifier) -> bool:
    """Whether a file has it; a packed one that cannot be read counts as one that has."""
    if identifier.found(path.name):
        return True
    try:
        if path.suffix == ".parquet":
            return _in_parquet(path, identifier)
        if path.suffix == ".sqlite":
            return _in_sqlite(path, identifier)
        if path.suffix in PACKED:
            return _in_packed(path, identifier)
        return any(identifier.found(block) for block in _blocks(path))
    except FileNotFoundError:
        return False


def raw(home: Path, identifier: Identifier) -> list[str]:
    """The small files of the home, the database too, in whose bytes it stands; their names."""
    texts = {identifier.text, identifier.text.lower(), identifier.text.upper()}
    told = b"|".join(re.escape(text.encode()) for text in sorted(texts))
    wanted = re.compile(rb"(?<![0-9A-Za-z_])(?:" + told + rb")(?![0-9A-Za-z_])", re.IGNORECASE)
    found = []
    for path in sorted(home.rglob("*")):
        skipped = path.suffix in WEIGHTS or path.relative_to(home).parts[0] == "models"
        if skipped or not path.is_file() or path.stat().st_size > RAW_BYTES:
            continue
        if wanted.search(path.read_bytes()):
            found.append(path.relative_to(home).as_posix())
    return found


def _blocks(path: Path) -> Iterator[str]:
    """The text of a file, in parts that overlap."""
    left = ""
    with path.open("r", encoding="utf-8", errors="replace", newline="") as file:
        while block := file.read(BLOCK):
            yield left + block
            left = block[-OVERLAP:]


def _in_parquet(path: Path, identifier: Identifier) -> bool:
    import duckdb

    name = literal(path)
    with contextlib.closing(connect()) as connection:
        try:
            described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({name})")
        except duckdb.Error:
            return False  # not whole: being written, or cut off
        columns = [row[0] for row in described.fetchall()]
        likely = " OR ".join(identifier.likely(quoted(column)) for column in columns)
        cells = ", ".join(f"CAST({quoted(column)} AS VARCHAR)" for column in columns)
        found = connection.execute(
            f"SELECT {cells} FROM read_parquet({name}) WHERE {likely}",
            {"needle": identifier.needle},
        )
        while batch := found.fetchmany(1_000):
            if any(identifier.found(cell) for row in batch for cell in row):
                return True
    return False


def _in_sqlite(path: Path, identifier: Identifier) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in tables.fetchall():
                for row in connection.execute(f"SELECT * FROM {quoted(table)}"):
                    if any(identifier.found(cell) for cell in row if isinstance(cell, str)):
                        return True
    except sqlite3.DatabaseError:
        return True  # damaged: it is a cache
    return False


def _in_packed(path: Path, identifier: Identifier) -> bool:
    from core.datasets.readers import open_source

    try:
        source = open_source(path.name, path)
        return any(identifier.found(str(record)) for record in source.records())
    except LatheError:
        return True


def _is_version(home: Path, path: Path) -> bool:
    parts: Any = path.relative_to(home).parts
    return (
        parts[0] == "datasets"
        and len(parts) == 3
        and not path.name.startswith(STAGED)
        and path.suffix in (".parquet", ".json")
    )
