"""What is to be imported: a file, a path, or an address.

Knows: the choice. Does not know: how it was made, what is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be imported."""

    key: str
    """Another for each file, query or dataset of the hub."""
    filename: str
    data: bytes | str
    """An upload that is small, the path of a file on the machine that Lathe runs on, or an
    address as core.datasets.locations has them."""
    format: str = ""
    """Where it is known before anything is read."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """How it is read, where that was part of the choice."""
    password: str | None = field(default=None, repr=False)

    @property
    def is_small(self) -> bool:
        """Whether it may be imported while one waits."""
        return isinstance(self.data, bytes)
