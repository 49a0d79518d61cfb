"""What a detector or a step is given besides the rows: how to tell, to stop, to embed, to cache.

Knows: folders and callbacks. Does not know: jobs, the database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from core.curation.asking import Asking


def _silent(share: float, message: str) -> None:
    """Nobody listens."""


def _go_on() -> None:
    """Nobody asks to stop."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Made by the job, or by a page for a preview."""

    cache: Path
    """A folder for what may be computed again at any time, shared by all versions."""
    embedding_model: Path | None = None
    """A folder that sentence-transformers loads; None where there is none yet."""
    encode: Callable[[Sequence[str]], np.ndarray[Any, Any]] | None = None
    """Asked for vectors where this process may load no model; see `embedders`."""
    tell: Callable[[float, str], None] = _silent
    """How far this detector or step is, 0 to 1, and what it is doing."""
    check: Callable[[], None] = _go_on
    """Raises when somebody asked to stop: call it every few hundred milliseconds."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Settings of this detector, by name; each has a default."""
    others: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Other tables by label, as `Table.to_dict`: what leakage is looked for in."""
    query_timeout_s: float = 600.0
    """How long a query that a person typed may take in one step."""
    answer: Asking | None = None
    """Asks models of the workspace; None where no step may."""

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Unit vectors (n, size) float32 of the texts, each distinct text computed once ever.

        Raises ModelUnavailable where there is no embedding model.
        """
        from core.curation.embeddings import embedded

        return embedded(self, texts)
