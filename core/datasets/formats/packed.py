"""Packed files as streams: gzip, zstd, and a zip of one file, each held to a bound.

Knows: packings, how much may come out of one. Does not know: what is inside.

A few kilobytes can unpack to terabytes: what comes out is counted, and more than RATIO times what
went in, past the first FREE_BYTES, ends the reading with a clear error. Nothing is ever unpacked
to a name that an archive gives.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from core.datasets.records import Data, opened, unreadable

FREE_BYTES = 64 * 1024**2
RATIO = 200
MAX_DIRECTORY_BYTES = 1024**2  # of a zip: one file in it needs a hundred bytes
GZIP, ZSTD, ZIP = "gzip", "zstd", "zip"
MAGIC = {b"\x1f\x8b": GZIP, b"\x28\xb5\x2f\xfd": ZSTD, b"PK\x03\x04": ZIP, b"PK\x05\x06": ZIP}
SUFFIXES = {".gz": GZIP, ".gzip": GZIP, ".zst": ZSTD, ".zstd": ZSTD, ".zip": ZIP}
_CLUTTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")


def packing_of(head: bytes) -> str | None:
    """How a file is packed, by its first bytes."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def inner_name(filename: str, packing: str, data: Data) -> str:
    """The name of the file inside; Invalid for a zip that does not hold exactly one."""
    if packing == ZIP:
        with zip_file(data) as archive:
            return PurePath(_only(archive).filename.replace("\\", "/")).name
    name = PurePath(filename)
    return name.stem if name.suffix.lower() in SUFFIXES else filename


@contextlib.contextmanager
def unpacked(data: Data, packing: str) -> Iterator[BinaryIO]:
    """The bytes inside, as a stream that ends in Invalid where it is damaged or grows too far."""
    if not packing:
        with opened(data) as file:
            yield file
        return
    size = data.stat().st_size if isinstance(data, Path) else len(data)
    with contextlib.ExitStack() as stack:
        if packing == ZIP:
            archive = stack.enter_context(zip_file(data))
            inner: Any = stack.enter_context(_member(archive))
        else:
            file = stack.enter_context(opened(data))
            inner = stack.enter_context(_gzip(file) if packing == GZIP else _zstd(file))
        yield io.BufferedReader(Bounded(inner, size), 256 * 1024)


class Bounded(io.RawIOBase):
    """What comes out of a packing, counted; Invalid for a bomb and for damage."""

    def __init__(self, inner: Any, packed_bytes: int) -> None:
        self._inner, self._packed_bytes, self.count = inner, packed_bytes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            chunk: bytes = self._inner.read(len(buffer))
        except EOFError:
            raise unreadable("The packed file ends too early.", "Copy it again.") from None
        except (OSError, zlib.error, zipfile.BadZipFile, ValueError) as error:
            raise unreadable(f"The packed file is damaged: {error}.", "Pack it again.") from None
        self.count += len(chunk)
        check_ratio(self.count, self._packed_bytes)
        buffer[: len(chunk)] = chunk
        return len(chunk)


def check_ratio(unpacked_bytes: int, packed_bytes: int) -> None:
    """Invalid where so much has come out of so little that it looks like a zip bomb."""
    if unpacked_bytes > FREE_BYTES and unpacked_bytes > RATIO * packed_bytes:
        raise unreadable(
            f"The file unpacks to more than {RATIO} times its size: that looks like a zip bomb.",
            "Unpack it yourself and import what is inside.",
        )


@contextlib.contextmanager
def zip_file(data: Data) -> Iterator[zipfile.ZipFile]:
    """A zip whose directory is of a sane size; Invalid otherwise."""
    with opened(data) as file:
        _check_directory(file)
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except (zipfile.BadZipFile, NotImplementedError, struct.error, ValueError) as error:
            raise unreadable(f"The zip file is damaged: {error}.", "Pack it again.") from None


def _check_directory(file: BinaryIO) -> None:
    """The directory is read into memory as a whole, so its size is looked at before."""
    end = file.seek(0, io.SEEK_END)
    file.seek(max(0, end - 66_000))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise unreadable("The zip file ends too early.", "Copy it again.")
    (size,) = struct.unpack("<L", tail[at + 12 : at + 16])
    at64 = tail.rfind(b"PK\x06\x06")
    if tail[max(0, at - 20) : at].startswith(b"PK\x06\x07") and at64 >= 0:
        record = tail[at64 : at64 + 56]
        size = struct.unpack("<Q", record[40:48])[0] if len(record) == 56 else end
    if size > MAX_DIRECTORY_BYTES:
        raise unreadable("The zip file lists too many files.", "Pack only the one to import.")


def _only(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    found = [
        info
        for info in archive.infolist()
        if not info.is_dir()
        and not info.filename.startswith(_CLUTTER[0])
        and PurePath(info.filename).name not in _CLUTTER[1:]
    ]
    if len(found) != 1:
        what = "no file" if not found else f"{len(found):,} files"
        raise unreadable(f"The zip holds {what}; it has to be one.", "Import them one by one.")
    if found[0].flag_bits & 1:
        raise unreadable("The zip is protected by a password.", "Unpack it first.")
    return found[0]


@contextlib.contextmanager
def _member(archive: zipfile.ZipFile) -> Iterator[Any]:
    try:
        file = archive.open(_only(archive))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise unreadable(f"The zip file is damaged: {error}.", "Pack it again.") from None
    with file:
        yield file


@contextlib.contextmanager
def _gzip(file: BinaryIO) -> Iterator[Any]:
    with gzip.GzipFile(fileobj=file) as inner:
        yield inner


@contextlib.contextmanager
def _zstd(file: BinaryIO) -> Iterator[Any]:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd") as inner:
        yield inner
