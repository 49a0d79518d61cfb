"""Text of any encoding as lines of UTF-8, with the lines noted that are not what they should be.

Knows: encodings, how a file's own is found, lines. Does not know: what is in a line.

A mark at the start settles it. Without one, a file is UTF-8 unless it has bytes beyond ASCII and
not one of them is UTF-8: then the encoding is guessed (charset-normalizer) and the guess is said.
A file that is UTF-8 in part stays UTF-8, and its broken lines are faults.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from core.datasets.faults import Fault
from core.datasets.records import MAX_LINE_BYTES, unreadable

BOM = b"\xef\xbb\xbf"
UTF8 = "utf-8"
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (BOM, UTF8),
)
_CANDIDATES = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r", "cp932",
    "gb18030", "big5", "cp949",
]  # fmt: skip
NAMES = {
    "utf-8": "UTF-8", "utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16",
    "utf-32": "UTF-32", "cp1252": "Windows-1252 (Western)", "cp1250": "Windows-1250 (Central)",
    "cp1251": "Windows-1251 (Cyrillic)", "cp1253": "Windows-1253 (Greek)",
    "cp1254": "Windows-1254 (Turkish)", "cp1255": "Windows-1255 (Hebrew)",
    "cp1256": "Windows-1256 (Arabic)", "koi8_r": "KOI8-R", "cp932": "Shift JIS",
    "gb18030": "GB 18030", "big5": "Big5", "cp949": "Korean (cp949)", "latin-1": "ISO 8859-1",
}  # fmt: skip
_CHUNK = 1024**2
_SAMPLE_BYTES = 64 * 1024
_VALID = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)  # fmt: skip


def checked_encoding(name: str) -> str:
    """An encoding that was asked for, by Python's name of it; Invalid when there is none."""
    try:
        found = codecs.lookup(name.strip())
        found.incrementaldecoder(errors="strict").decode(b"", True)
        if not getattr(found, "_is_text_encoding", True):
            raise LookupError(name)
    except (LookupError, ValueError, TypeError):
        raise unreadable(
            f"There is no encoding {name!r}.", "Try utf-8, utf-16 or cp1252.", "encoding"
        ) from None
    return {"utf-8-sig": UTF8}.get(found.name, found.name)


def shown_encoding(name: str) -> str:
    """How people know it."""
    return NAMES.get(name, name)


def marked_encoding(head: bytes) -> str | None:
    """What the first bytes settle: a mark, or UTF-16 without one, by where its zeros are."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    pairs = head[: 4096 & ~1]
    if len(pairs) >= 8 and pairs.count(0) > len(pairs) // 3:
        even, odd = pairs[::2].count(0), pairs[1::2].count(0)
        if odd > 4 * max(even, 1):
            return "utf-16-le"
        if even > 4 * max(odd, 1):
            return "utf-16-be"
    return None


def find_encoding(file: BinaryIO) -> str:
    """The encoding of a whole file without a mark: utf-8, or the best guess. Reads to the end
    only where everything is UTF-8."""
    decoder = codecs.getincrementaldecoder(UTF8)()
    sample, proven = bytearray(), False
    while chunk := file.read(_CHUNK):
        try:
            proven |= not decoder.decode(chunk).isascii()
        except UnicodeDecodeError:
            sample += _telling(chunk)
            break
    if proven or not sample:
        return UTF8
    while len(sample) < _SAMPLE_BYTES and (chunk := file.read(_CHUNK)):
        sample += _telling(chunk)
    return _guess(bytes(sample[: 4 * _SAMPLE_BYTES]))


def _telling(chunk: bytes) -> bytes:
    """The lines that are not ASCII, up to a sample's worth."""
    found = bytearray()
    for line in chunk.splitlines(keepends=True):
        if not line.isascii():
            found += line
            if len(found) > _SAMPLE_BYTES:
                break
    return bytes(found)


def _guess(sample: bytes) -> str:
    if _VALID.search(sample) and not _is_double_byte(sample):
        return UTF8
    from charset_normalizer import from_bytes

    found = list(from_bytes(sample[:_SAMPLE_BYTES], cp_isolation=_CANDIDATES, threshold=0.4))
    if not found:
        return UTF8
    best = found[0]
    for match in found:  # several look alike in short texts; the Western one is by far commonest
        close = match.chaos <= best.chaos + 0.06 and match.coherence >= best.coherence - 0.05
        if close and "cp1252" in match.could_be_from_charset:
            return "cp1252"
    few = sum(byte >= 0x80 for byte in sample) < 4
    if few and _decodes(sample, "cp1252"):
        return "cp1252"
    return best.encoding


def _is_double_byte(sample: bytes) -> bool:
    """More of the bytes beyond ASCII are outside UTF-8's sequences than in them: Chinese, Japanese
    and Korean encodings hit one now and then."""
    high = sum(byte >= 0x80 for byte in sample)
    return 2 * sum(len(hit) for hit in _VALID.findall(sample)) < high


def _decodes(sample: bytes, name: str) -> bool:
    try:
        sample.decode(name)
    except UnicodeDecodeError:
        return False
    return True


class Recoded(io.RawIOBase):
    """A file in another encoding as a stream of UTF-8.

    What cannot be decoded comes out as bytes that are not UTF-8, so that whoever reads lines finds
    the fault where it is.
    """

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        wide = encoding.startswith(("utf-16", "utf-32"))
        self._errors = "surrogatepass" if wide else "surrogateescape"
        self._decoder: Any = codecs.getincrementaldecoder(encoding)(errors=self._errors)
        self._file, self._rest, self._ended = file, b"", False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._ended:
            chunk = self._file.read(256 * 1024)
            self._ended = not chunk
            try:
                text = self._decoder.decode(chunk, self._ended)
            except UnicodeDecodeError:  # half a character at the very end
                text = "\udcff"
                self._ended = True
            try:
                self._rest = text.encode()
            except UnicodeEncodeError:
                self._rest = text.encode(errors=self._errors)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def recoded(file: BinaryIO, encoding: str) -> BinaryIO:
    """The file as UTF-8; itself, if it is that already."""
    if encoding == UTF8:
        return file
    return io.BufferedReader(Recoded(file, encoding), 256 * 1024)


class Lines:
    """Decoded lines of a file, with the bad ones noted in `bad` for whoever reads rows."""

    def __init__(self, file: BinaryIO, encoding: str = UTF8) -> None:
        self._file = file
        self._name = shown_encoding(encoding)
        self.number = 0
        self.bad: list[int] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        raw = self._file.readline(MAX_LINE_BYTES + 1)
        if not raw:
            raise StopIteration
        self.number += 1
        if len(raw) > MAX_LINE_BYTES:
            raise unreadable(
                f"Line {self.number} is longer than 64 MiB.", "Check that it is the right file."
            )
        if self.number == 1:
            raw = raw.removeprefix(BOM)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.bad.append(self.number)
            return raw.decode(errors="replace")

    def take_fault(self, row: int, line: int) -> Fault | None:
        """The fault of the lines read since the last call, if they were not what they should be."""
        if not self.bad:
            return None
        numbers, self.bad = self.bad, []
        message = f"line {numbers[0]} is not {self._name} text"
        hint = "Save the file as UTF-8." if self._name == "UTF-8" else "Choose another encoding."
        return Fault(row, None, message, hint, line)
