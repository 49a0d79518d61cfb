"""Differences as a person sees them: marked, escaped, and never by colour alone."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import diff
from core.prompts.diff import word_diff


def read(markup: str) -> str:
    """The text a browser would show for a piece of markup."""
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


@given(st.text(alphabet="ab <>&\"'\n\t", max_size=40), st.text(alphabet="ab <>&\n\t", max_size=40))
@settings(max_examples=80, deadline=None)
def test_a_side_shows_its_own_text_and_nothing_else(old: str, new: str) -> None:
    old, new = f"x{old}x", f"x{new}x"
    pieces = word_diff(old, new)
    signs = str.maketrans({"·": " ", "→": "", "↵": ""})
    assert read(diff.markup(pieces, side="old")).translate(signs) == old
    assert read(diff.markup(pieces, side="new")).translate(signs) == new


def test_what_people_typed_cannot_become_markup() -> None:
    drawn = diff.markup(word_diff("<b>old</b>", "<script>alert (1)</script>"), whitespace=True)
    assert set(re.findall(r"<(\w+)", drawn)) == {"div", "del", "ins", "wbr"}


def test_what_went_is_struck_through_and_what_came_underlined() -> None:
    drawn = diff.markup(word_diff("say yes now", "say no now"))
    assert re.search(r"<del [^>]*line-through[^>]*>yes</del>", drawn)
    assert re.search(r"<ins [^>]*underline[^>]*>no</ins>", drawn)


def test_white_space_is_shown_on_demand_and_where_it_is_the_change() -> None:
    assert "·" not in diff.markup(word_diff("a b", "a c"))
    assert "a·" in diff.markup(word_diff("a b", "a c"), whitespace=True)
    assert "↵" in diff.markup(word_diff("a b", "a\nb"))


def test_an_empty_text_says_so() -> None:
    assert read(diff.markup(word_diff("", ""))) == "Empty"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("a b", "a b", "No difference"),
        ("a b", "a  b", "Only white space or punctuation differs"),
        ("one", "one two", "1 word added"),
        ("one two three", "one", "2 words removed"),
        ("one two", "one three four", "2 words added, 1 removed"),
    ],
)
def test_the_summary_counts_words(old: str, new: str, said: str) -> None:
    assert diff.summary(word_diff(old, new)) == said
