"""Text piece by piece is the text as a whole, whatever the tokens cut through."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from core.models.engines.text import TextAssembler


def decode(tokens: Sequence[int]) -> str:
    """A byte-level tokenizer in one line: every token is a byte."""
    return bytes(tokens).decode(errors="replace")


def assembled(text: str, stop: Sequence[str] = ()) -> tuple[list[str], TextAssembler]:
    assembler = TextAssembler(decode, stop)
    pieces = []
    for token in text.encode():
        pieces.append(assembler.push(token))
        if assembler.stopped:
            return pieces, assembler
    return [*pieces, assembler.flush()], assembler


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufffd")))
def test_the_pieces_join_to_the_text(text: str) -> None:
    pieces, _ = assembled(text)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


@given(st.text(alphabet="ab é"), st.lists(st.text(alphabet="ab é", min_size=1), max_size=3))
def test_no_stop_text_gets_out(text: str, stops: list[str]) -> None:
    pieces, assembler = assembled(text, stops)
    out = "".join(pieces)
    assert not any(stop in out for stop in stops)
    assert assembler.stopped == any(stop in text for stop in stops)
    assert text.startswith(out)
    if not assembler.stopped:
        assert out == text


def test_what_may_become_a_stop_text_is_held_back_until_it_does_not() -> None:
    assembler = TextAssembler(decode, ("END",))
    assert [assembler.push(b) for b in b"xEN!"] == ["x", "", "", "EN!"]
