"""Folders as one source: what Hugging Face's `save_to_disk` writes, or data files side by side.

Knows: which files of a folder belong together, and what split each is. Does not know: formats.

Splits become the column `split`. Nothing outside the folder is read, wherever a link or a name in
a state file points.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.datasets.formats.arrow_rows import Arrow
from core.datasets.records import Reader, Record, checked_columns, unreadable

SPLIT = "split"
_MOST_FILES = 10_000
_DATA = (".parquet", ".pq", ".arrow", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
_SPLITS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation",
    "val": "validation", "dev": "validation", "test": "test", "eval": "test", "testing": "test",
}  # fmt: skip
_WORD = re.compile(r"[^a-z]+")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a folder."""

    name: str
    """Its path within the folder."""
    split: str | None
    reader: Reader


@dataclass(frozen=True, slots=True)
class Parts:
    """A reader of files one after another, as if they were one."""

    parts: tuple[Part, ...]

    def columns(self) -> list[str]:
        """The columns of all parts in order of appearance, and `split` where there are splits."""
        found: dict[str, None] = {}
        for part in self.parts:
            found |= dict.fromkeys(part.reader.columns())
        if found and any(part.split for part in self.parts):
            found[self._split_column(found)] = None
        return checked_columns(list(found))

    def records(self) -> Iterator[Record]:
        """Rows of every part; a fault names the file that it is in."""
        index = 0
        splits = any(part.split for part in self.parts)
        for part in self.parts:
            for record in part.reader.records():
                faults = tuple(
                    replace(fault, row=index, message=f"{fault.message} (in {part.name})")
                    for fault in record.faults
                )
                values = record.values
                if splits and not faults:
                    values = {**values, self._split_column(values): part.split}
                yield Record(index, record.line, values, faults)
                index += 1

    @staticmethod
    def _split_column(columns: Any) -> str:
        return SPLIT if SPLIT not in columns else "split_of_file"


def read_folder(folder: Path, open_file: Callable[[Path], Reader]) -> tuple[str, Parts]:
    """What a folder is and a reader of it; Invalid where no data is in it, or it names more than
    one kind of file. `open_file` reads a data file that is not Arrow."""
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits")
        names = [name for name in splits if isinstance(name, str)] if splits else []
        parts = [
            part for name in names for part in _saved(folder, _within(folder, folder / name), name)
        ]
        return "datasets", _checked(parts, folder)
    if (folder / "state.json").is_file():
        return "datasets", _checked(_saved(folder, folder, None), folder)
    return _loose(folder, open_file)


def _saved(root: Path, folder: Path, split: str | None) -> list[Part]:
    """The Arrow files that a saved dataset's state lists."""
    files = _json(folder / "state.json").get("_data_files")
    names = [file.get("filename") for file in files if isinstance(file, dict)] if files else []
    paths = [_within(root, folder / str(name)) for name in names]
    return [Part(str(path.relative_to(root.resolve())), split, Arrow(path)) for path in paths]


def _loose(folder: Path, open_file: Callable[[Path], Reader]) -> tuple[str, Parts]:
    paths = []
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in _DATA and not hidden and path.is_file():
            paths.append(path)
        if len(paths) > _MOST_FILES:
            raise unreadable(f"The folder has more than {_MOST_FILES:,} files.", "Join them.")
    kinds = {path.suffix.lower() for path in paths}
    if len(kinds) > 1 and kinds - {".json"}:  # beside data files a .json is a description
        paths = [path for path in paths if path.suffix.lower() != ".json"]
        kinds -= {".json"}
    if len(kinds) > 1:
        raise unreadable(
            f"The folder mixes {', '.join(sorted(kinds))} files.", "Leave one kind in it."
        )
    parts = []
    for path in sorted(paths):
        inner = _within(folder, path)
        reader = Arrow(inner) if inner.suffix.lower() == ".arrow" else open_file(inner)
        name = path.relative_to(folder)
        parts.append(Part(str(name), split_of(name), reader))
    return "folder", _checked(parts, folder)


def split_of(name: Path) -> str | None:
    """train, validation or test, where a file's name or folder says so."""
    for piece in reversed(name.parts):
        for word in _WORD.split(piece.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return None


def _checked(parts: list[Part], folder: Path) -> Parts:
    if not parts:
        raise unreadable(
            f"There is no data in the folder {folder.name!r}.",
            "It takes what save_to_disk wrote, or Parquet, Arrow, JSONL or CSV files.",
        )
    return Parts(tuple(parts))


def _within(folder: Path, path: Path) -> Path:
    root, found = folder.resolve(), path.resolve()
    if not found.is_relative_to(root):
        raise unreadable(
            f"{path.name!r} leads out of the folder.", "Put the file itself into the folder."
        )
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes()[: 16 * 1024**2])
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise unreadable(f"{path.name} is missing or damaged.", "Save the dataset again.")
    return found
