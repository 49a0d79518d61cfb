"""The steps of a recipe: name, what they do, and where their code is.

Knows: names. Does not know: how anything is done; the code is imported when it runs.
A step is `function(rows: Rows, arguments: dict, tools: Tools) -> Report`. It checks its arguments
itself (Invalid names the field) and does the same thing to the same rows every time: what depends
on chance takes a seed, what a person decided is in the arguments.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One kind of step."""

    function: str
    """`module:function`."""
    label: str
    """What a person reads in the list of steps."""
    summary: str
    """One sentence: what it does to the rows."""


STEPS: dict[str, Step] = {
    # text
    "trim": Step("core.curation.steps.text:trim", "Trim", "Takes white space off both ends."),
}
