"""The rows of Compare, filtered and paged by key, and the one that the drawer shows.

    rows = compare_rows.Rows(run_id, show="failures", search="refund")
    rows.page()["rows"]; rows.counts(); rows.further(); rows.back(); rows.step(+1)

Knows: which page is open (session state; other filters begin at the first), `?row=ID`.
Does not know: how rows look.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app import queries, ui
from core.evals.results import FILTERS
from core.store.database import Row

PER_PAGE = 50
STATE, END = "compare-pages", "row-end"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a run that match."""

    run_id: str
    show: str
    search: str

    def page(self) -> Row:
        """The open page as `runs.grid` gives it."""
        keys = self._keys()
        return self._grid(keys[-1] if keys else None)

    def counts(self) -> dict[str, int]:
        """How many rows each filter would show, with this search."""
        return {show: self._grid(None, show=show, limit=1)["total_count"] for show in FILTERS}

    def place(self) -> int | None:
        """How many pages are before the open one; None when a link led into the middle."""
        return None if st.session_state[STATE]["linked"] else len(self._keys())

    def further(self) -> None:
        """Open the next page; for a callback."""
        after = self.page()["after"]
        if after is not None:
            self._keys().append(after)

    def back(self) -> None:
        """Open the page before."""
        keys = self._keys()
        if keys:
            keys.pop()
        st.session_state[STATE]["linked"] = False

    def begin_at(self, row_index: int) -> None:
        """Open the page that begins with this row: for a link to one row."""
        keys = self._keys()
        keys[:] = [row_index - 1]
        st.session_state[STATE]["linked"] = True

    def step(self, by: int) -> None:
        """Show the next row (1) or the one before (-1), over the edge of a page too."""
        ids = self._ids()
        shown = ui.param("row")
        target = ids.index(shown) + by if shown in ids else 0
        if target >= len(ids):
            self.further()
            fresh = self._ids()
            if fresh and fresh != ids:
                ui.set_params(row=fresh[0])
                return
            if not fresh:
                self.back()  # the last page was full: there is none after it
        elif target < 0 and self._keys():
            self.back()
            ui.set_params(row=self._ids()[-1])
            return
        elif target >= 0:
            ui.set_params(row=ids[target])
            return
        st.session_state[END] = True

    def _ids(self) -> list[str]:
        return [row["row_id"] for row in self.page()["rows"]]

    def _keys(self) -> list[int]:
        asked = (self.run_id, self.show, self.search)
        state = st.session_state.get(STATE)
        if state is None or state["asked"] != asked:
            state = st.session_state[STATE] = {"asked": asked, "keys": [], "linked": False}
        keys: list[int] = state["keys"]
        return keys

    def _grid(self, after: int | None, *, show: str | None = None, limit: int = PER_PAGE) -> Row:
        found: Row = queries.read(
            "runs", "grid", self.run_id, show=show or self.show, search=self.search,
            after=after, limit=limit,
        )  # fmt: skip
        return found
