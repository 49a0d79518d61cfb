"""Pace: how long a run still takes, from what it has measured so far.

Knows: counts and seconds per model. Does not know: clocks (it is told the time), jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Group:
    pending: int
    done: int = 0
    began_s: float | None = None
    busy_s: float = 0.0

    @property
    def per_row_s(self) -> float | None:
        return self.busy_s / self.done if self.done else None


class Pace:
    """Rows left per model and how fast each went; loading time does not count."""

    def __init__(self, pending: Mapping[str, int]) -> None:
        self._groups = {name: _Group(count) for name, count in pending.items()}

    def begin(self, name: str, now_s: float) -> None:
        """A model is loaded and its first requests go out."""
        self._groups[name].began_s = now_s

    def note(self, name: str, now_s: float) -> None:
        """One of its rows is done."""
        group = self._groups[name]
        group.done += 1
        group.pending = max(0, group.pending - 1)
        group.busy_s = now_s - (now_s if group.began_s is None else group.began_s)

    def eta_s(self) -> float | None:
        """Seconds left; a model not reached yet is taken to be as fast as the others so far."""
        known = [g.per_row_s for g in self._groups.values() if g.per_row_s is not None]
        if not known:
            return None
        usual = sum(known) / len(known)
        return sum(
            g.pending * (usual if g.per_row_s is None else g.per_row_s)
            for g in self._groups.values()
        )
