"""Exports: a version as files that other tools read, with a manifest that says what they are.

    exports/<export id>/<name>.jsonl        the rows; one file a split where that was asked
    exports/<export id>/manifest.json       version, shape, rows, what was left out, sha256

Knows: formats, manifests. Does not know: how a row gets its shape (`shapes`), HTTP.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import itertools
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from core.clock import utc_iso
from core.curation.cards import licenses_of
from core.curation.licenses import warnings
from core.curation.reviews import Reviews
from core.curation.shapes import SHAPES, Render, Skipped, plain_prompt, shaped, why_not
from core.datasets.files import disk_full, is_disk_full
from core.datasets.service import Datasets
from core.datasets.table import Table, quoted
from core.datasets.values import escape_formula, loaded
from core.errors import Invalid, NotFound
from core.governance.audit import record
from core.governance.permissions import Actor, action
from core.ids import new_id
from core.prompts.service import Prompts
from core.prompts.template import render
from core.store.database import Row, Store, literal
from core.store.files import inside, read_json, write_json

FORMATS: dict[str, str] = {
    "jsonl": "JSON Lines",
    "parquet": "Parquet",
    "csv": "CSV",
    "hf": "Hugging Face dataset folder",
}
ALL = "all"
SPLIT = "split"
MOST_FILES = 100
"""Splits that are written to files of their own, all of them open at once."""
BATCH_ROWS = 2_000
Rows = list[Row]


class Exports:
    """What has left the workspace, and how."""

    noun = "exports"

    def __init__(
        self, store: Store, datasets: Datasets, prompts: Prompts, reviews: Reviews
    ) -> None:
        self._store = store
        self._datasets = datasets
        self._prompts = prompts
        self._reviews = reviews

    @action
    def shapes(self, actor: Actor, version_id: str) -> Rows:
        """Every shape with name, label, summary and `why_not` (None where it can be written)."""
        columns = Table.of(self._datasets.version(actor, version_id)).columns
        return [
            {"name": name, "label": shape.label, "summary": shape.summary,
             "why_not": why_not(name, columns)}
            for name, shape in SHAPES.items()
        ]  # fmt: skip

    @action
    def write(
        self,
        actor: Actor,
        version_id: str,
        *,
        shape: str = "rows",
        format: str = "jsonl",
        split: str | None = None,
        by_split: bool = False,
        prompt_version_id: str | None = None,
    ) -> Row:
        """Write a version into the workspace's exports; the manifest, with `id` and `files`.

        `split` takes the rows of one split alone; `by_split` writes a file for each. The prompt of
        the trainers' shapes is the inputs, or what a prompt version makes of them. Conflict where
        the dataset requires a review that the version has not had; Invalid where the version has
        no such shape, or no rows of that split.
        """
        version = self._datasets.version(actor, version_id)
        self._reviews.refuse_unreviewed(actor, version_id)
        table = Table.of(version)
        _check(shape, format, table, split=split, by_split=by_split)
        asked = {"shape": shape, "format": format, "split": split, "by_split": by_split,
                 "prompt_version_id": prompt_version_id}  # fmt: skip
        export_id = new_id("export")
        folder = self._store.home / "exports" / export_id
        try:
            made = _write(
                folder, version, table, asked, self._render(actor, prompt_version_id, table)
            )
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if is_disk_full(error):
                raise disk_full() from error
            raise
        dataset = self._datasets.get(actor, version["dataset_id"])
        licenses = licenses_of(self._store, version["dataset_id"])
        manifest = {
            "id": export_id,
            "dataset": version["dataset_name"],
            "version": version["number"],
            "version_id": version_id,
            "content_hash": version["content_hash"],
            "license": dataset["license"],
            "licenses": licenses,
            "license_warnings": [w.to_dict() for w in warnings(licenses, "redistribute")],
            **asked,
            **made,
            "columns": version["columns"],
            "created_at": utc_iso(),
            "created_by": actor.name,
        }
        write_json(folder / "manifest.json", manifest)
        record(self._store, actor, "exports.write", version_id, export_id=export_id,
               shape=shape, format=format, row_count=made["row_count"])  # fmt: skip
        return {**manifest, "folder": str(folder)}

    @action
    def list(self, actor: Actor, version_id: str) -> Rows:
        """The exports of a version, newest first, as `write` gives them."""
        found = [
            {**manifest, "folder": str(path.parent)}
            for path in (self._store.home / "exports").glob("*/manifest.json")
            if (manifest := read_json(path)) and manifest["version_id"] == version_id
        ]
        return sorted(found, key=lambda row: str(row["created_at"]), reverse=True)

    @action
    def path(self, actor: Actor, export_id: str, name: str) -> str:
        """Where one file of an export lies; NotFound when it was removed."""
        path = inside(self._store.home / "exports", export_id, name)
        if not path.is_file():
            raise NotFound(f"There is no file {name!r} in this export.")
        return str(path)

    def _render(self, actor: Actor, prompt_version_id: str | None, table: Table) -> Render:
        if prompt_version_id is None:
            return plain_prompt(table.columns)
        prompt = self._prompts.version(actor, prompt_version_id)
        inputs = table.names("input")

        def rendered(row: Mapping[str, Any]) -> list[dict[str, Any]]:
            values = {name: row[name] for name in inputs}
            found: list[dict[str, Any]] = [
                *render(prompt["system_template"], prompt["user_template"], values,
                        row=row["row_index"])
            ]  # fmt: skip
            return found

        return rendered


def _check(shape: str, format: str, table: Table, *, split: str | None, by_split: bool) -> None:
    if shape not in SHAPES:
        raise Invalid(f"There is no shape {shape!r}.", field="shape",
                      hint=f"There are {', '.join(SHAPES)}.")  # fmt: skip
    if format not in FORMATS:
        raise Invalid(f"There is no format {format!r}.", field="format",
                      hint=f"There are {', '.join(FORMATS)}.")  # fmt: skip
    if why := why_not(shape, table.columns):
        raise Invalid(f"These rows cannot be written as {SHAPES[shape].label.lower()}.",
                      field="shape", hint=why)  # fmt: skip
    if format == "csv" and shape != "rows":
        raise Invalid("CSV has no conversations.", field="format", hint="Take jsonl or parquet.")
    if (split or by_split) and SPLIT not in {column.name for column in table.columns}:
        raise Invalid("These rows are not split.", field="split",
                      hint="Split them on the Curate page first.")  # fmt: skip
    if by_split and (count := _split_count(table)) > MOST_FILES:
        raise Invalid(f"These rows have {count:,} splits: a file each would be too many.",
                      field="by_split", hint="Write one file, or one split of them.")  # fmt: skip


def _split_count(table: Table) -> int:
    with table.connect() as connection:
        found = connection.execute(f"SELECT count(DISTINCT {quoted(SPLIT)}) FROM rows").fetchone()
    return int(found[0]) if found else 0


def _write(
    folder: Path, version: Row, table: Table, asked: Mapping[str, Any], render: Render
) -> dict[str, Any]:
    """The files; `row_count`, `rows_by_file`, `skipped` (reason -> rows), `files` with sha256."""
    folder.mkdir(parents=True)
    stem = re.sub(r"[^\w-]+", "-", version["dataset_name"].lower()).strip("-") or "dataset"
    stem = f"{stem}-v{version['number']}"
    writers: dict[str, _Writer] = {}
    paths: dict[str, Path] = {}
    skipped: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    with contextlib.ExitStack() as opened:
        for row in _read(table):
            name = str(row.get(SPLIT) or "no-split") if asked["by_split"] else ALL
            if asked["split"] is not None and row.get(SPLIT) != asked["split"]:
                continue
            for found in shaped(asked["shape"], row, table.columns, render):
                if isinstance(found, Skipped):
                    skipped[found.reason] += 1
                    continue
                if name not in writers:
                    paths[name] = _path(
                        folder,
                        stem,
                        name if asked["by_split"] else "",
                        asked["format"],
                        taken=paths.values(),
                    )
                    writers[name] = opened.enter_context(_open(paths[name], asked["format"]))
                writers[name](found)
                counts[name] += 1
    if not counts:
        why = ", ".join(f"{reason} ({n})" for reason, n in skipped.items())
        raise Invalid("No row could be written.", field="split", hint=why or "There are no rows.")
    if asked["format"] == "hf":
        _as_hugging_face(folder, paths if asked["by_split"] else {"train": paths[ALL]})
    return {
        "row_count": counts.total(),
        "rows_by_file": dict(counts),
        "skipped": dict(skipped),
        "files": _listed(folder),
    }


def _read(table: Table) -> Iterator[dict[str, Any]]:
    kinds = {column.name: column.type for column in table.columns}
    for batch in table.batches(["row_id", "row_index", *kinds], BATCH_ROWS):
        for row in batch.to_pylist():
            yield {name: loaded(value, kinds.get(name, "")) for name, value in row.items()}


_Writer = Callable[[dict[str, Any]], None]


@contextlib.contextmanager
def _open(path: Path, format: str) -> Iterator[_Writer]:
    """Opens a file, gives the function that adds a record, and finishes the file."""
    if format in ("parquet", "hf"):
        with _parquet(path) as add:
            yield add
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _csv(file) if format == "csv" else _json_lines(file)
        file.flush()
        os.fsync(file.fileno())


def _json_lines(file: IO[str]) -> _Writer:
    def add(found: dict[str, Any]) -> None:
        file.write(json.dumps(found, ensure_ascii=False) + "\n")

    return add


def _csv(file: IO[str]) -> _Writer:
    """Nested values as JSON; what a spreadsheet would run gets an apostrophe before it."""
    writer = csv.writer(file, lineterminator="\n")
    heads: list[str] = []

    def add(found: dict[str, Any]) -> None:
        if not heads:
            heads.extend(found)
            writer.writerow([escape_formula(name) for name in heads])
        cells = [found[name] for name in heads]
        writer.writerow(
            escape_formula(json.dumps(c, ensure_ascii=False) if isinstance(c, dict | list) else c)
            for c in cells
        )

    return add


_READ_INTO_TEXT = re.compile(
    r'((?:"NULL"|DATE|TIME|TIMESTAMP(?:_NS| WITH TIME ZONE)?|UUID)(?![^\[,)]))|"(?:[^"]|"")*"'
)
"""What DuckDB makes of text that looks like a time or an id, or of no value; names in quotes."""


def _as_written(kind: str) -> str:
    """The type of a column, in a literal: text stays text, whatever it looks like."""
    kept = _READ_INTO_TEXT.sub(lambda found: "VARCHAR" if found[1] else found[0], kind)
    return kept.replace("'", "''")


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[_Writer]:
    """Through JSON lines: all of them decide the types, so that a field that only a late turn has
    is kept too."""
    from core.datasets.table import connect

    lines = path.with_suffix(".lines")
    longest = 0
    with lines.open("wb") as file:

        def add(found: dict[str, Any]) -> None:
            nonlocal longest
            line = json.dumps(found, ensure_ascii=False).encode() + b"\n"
            longest = max(longest, len(line))
            file.write(line)

        yield add
    try:
        with connect(temp=path.parent / ".tmp") as connection:
            read = f"format='newline_delimited', maximum_object_size={max(longest, 1_000_000)}"
            found = connection.execute(
                f"DESCRIBE FROM read_json($lines, sample_size=-1, {read})", {"lines": str(lines)}
            ).fetchall()
            columns = ", ".join(
                f"{quoted(name)}: '{_as_written(kind)}'" for name, kind, *_ in found
            )
            connection.execute(
                f"COPY (FROM read_json($lines, {read}, columns={{{columns}}}))"
                f" TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)",
                {"lines": str(lines)},
            )
    finally:
        lines.unlink()
        shutil.rmtree(path.parent / ".tmp", ignore_errors=True)


def _path(folder: Path, stem: str, split: str, format: str, *, taken: Iterable[Path]) -> Path:
    """The file of a split; two splits whose names make one file name get two files."""
    end = {"hf": "parquet"}.get(format, format)
    if split:
        stem += "-" + re.sub(r"[^\w-]+", "-", split)
    there = {path.name.lower() for path in taken}
    names = (
        f"{stem}{more}.{end}"
        for more in itertools.chain([""], (f"-{n}" for n in itertools.count(2)))
    )
    return folder / next(name for name in names if name.lower() not in there)


def _as_hugging_face(folder: Path, paths: Mapping[str, Path]) -> None:
    """What `datasets.load_from_disk` opens, in `<folder>/dataset`; the files it was made of go."""
    import datasets

    datasets.disable_progress_bars()
    cache = folder / ".cache"
    found = datasets.DatasetDict()
    for name, path in paths.items():
        split = re.sub(r"\W+", "_", name)  # what the Hub takes for the name of a split
        while split in found:
            split += "_"
        found[split] = datasets.Dataset.from_parquet(str(path), cache_dir=str(cache))
    found.save_to_disk(str(folder / "dataset"))
    shutil.rmtree(cache, ignore_errors=True)
    for path in paths.values():
        path.unlink()


def _listed(folder: Path) -> list[dict[str, Any]]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(folder).as_posix()
            found.append({"name": name, "bytes": path.stat().st_size, "sha256": sha256})
    return found
