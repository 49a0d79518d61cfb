"""Files to import that are on this machine: uploads that were put down, and paths people name.

Knows: which files may be read. Does not know: what is in them.
"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from core.datasets.files import disk_full, is_disk_full
from core.datasets.readers import SUFFIXES, clean_name
from core.errors import Forbidden, Invalid, NotFound
from core.ids import new_id

FOLDER = "uploads"
ANYWHERE = (Path("/"),)
KEPT_S = 7 * 24 * 3600
"""An upload nobody has imported goes after a week."""


def keep_upload(home: Path, filename: str, file: BinaryIO | bytes) -> Path:
    """Write an upload into the home, block by block, for a job to read; its path."""
    sweep(home)
    folder = home / FOLDER / new_id("upload")
    folder.mkdir(parents=True, mode=0o700)
    path = folder / clean_name(filename)
    try:
        with path.open("xb") as target:
            shutil.copyfileobj(io.BytesIO(file) if isinstance(file, bytes) else file, target, 2**20)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if is_disk_full(error):
            raise disk_full() from error
        raise
    return path


def drop_upload(home: Path, path: Path) -> None:
    """Remove an upload and its folder; any other path is left alone."""
    if path.is_relative_to((home / FOLDER).resolve()):
        shutil.rmtree(path.parent, ignore_errors=True)


def sweep(home: Path) -> None:
    """Remove uploads that are older than a week."""
    for folder in (home / FOLDER).glob("*"):
        if time.time() - folder.stat().st_mtime > KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)


def readable(
    home: Path, path: Path | str, folders: Sequence[Path], *, trusted: bool = False
) -> Path:
    """The path of a file or folder that may be imported, without links in it.

    It is absolute and in one of `folders`, its name ends as data does, it is no hidden file nor in
    a hidden folder, and neither in the workspace, uploads apart, nor around it: keys and the
    workspace's own files stay unread. Who is `trusted`, the owner at the shell, could read it
    anyway. Where it is not let through, nothing is said of whether it is there.
    """
    given = Path(path).expanduser()
    if not given.is_absolute():
        raise Invalid(f"{str(path)!r} is not a whole path.", field="path", hint="Begin with /.")
    found = given.resolve()
    if trusted and found.exists():
        return found
    if not found.is_relative_to((home / FOLDER).resolve()):
        _refuse_others(home.resolve(), found, folders)
    if not found.exists():
        raise NotFound(f"There is no file {str(path)!r} on the machine that Lathe runs on.")
    if found.is_file():
        if found.suffix.lower() not in SUFFIXES:
            raise Invalid(
                f"{found.name} does not end as a data file does.",
                field="path",
                hint=f"Such as {', '.join(sorted(SUFFIXES))}.",
            )
    elif not found.is_dir():
        raise Invalid(f"{found.name} is neither a file nor a folder.", field="path")
    return found


def _refuse_others(home: Path, found: Path, folders: Sequence[Path]) -> None:
    if not any(found.is_relative_to(folder.resolve()) for folder in folders):
        raise Forbidden(
            "This is not in a folder that you may import from.",
            hint="Upload the file, or have its folder added to LATHE_IMPORT_FOLDERS.",
        )
    if found.is_relative_to(home) or home.is_relative_to(found):
        raise Forbidden("Files of the workspace itself are not imported.")
    if any(part.startswith(".") for part in found.parts):
        raise Forbidden("Hidden files, and files in hidden folders, are not imported.")


def stamp(path: Path) -> list[int] | None:
    """What changes when a file does; None for a folder."""
    found: Any = path.stat()
    return [found.st_size, found.st_mtime_ns] if path.is_file() else None
