"""From tokens to text, piece by piece: whole characters only, and never a stop text.

Knows: a tokenizer's decode and the stop texts. Does not know: the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]
INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class TextAssembler:
    """The text of one answer as its tokens come.

    A token may end in the middle of a character, and a tokenizer may put a space between tokens:
    so each piece is the difference of two decodings over the last few tokens.
    """

    def __init__(self, decode: Decode, stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._tokens: list[int] = []
        self._from = 0
        self._read = 0
        self._held = ""
        self.stopped = False
        """True once a stop text was met: nothing more comes."""

    def push(self, token: int) -> str:
        """Add a token; the text that is certain now, often empty."""
        self._tokens.append(token)
        before = self._decode(self._tokens[self._from : self._read])
        now = self._decode(self._tokens[self._from :])
        if now.endswith(INCOMPLETE) or len(now) <= len(before):
            return ""
        self._from, self._read = self._read, len(self._tokens)
        return self._release(now[len(before) :])

    def flush(self) -> str:
        """What was held back, now that no token follows."""
        if self.stopped:
            return ""
        rest = self._decode(self._tokens[self._from :])
        done = self._decode(self._tokens[self._from : self._read])
        text = self._release(rest[len(done) :])
        held, self._held = self._held, ""
        return text + ("" if self.stopped else held)

    def _release(self, piece: str) -> str:
        if not self._stop:
            return piece
        text = self._held + piece
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that could be the beginning of `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
