"""Runs a page's script as Streamlit does, as a user with a real session, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.settings import PROJECT_ROOT
from core.workbench import OWNER, Workbench

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest


class Pages:
    """One workbench, any role."""

    def __init__(self, workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workbench = workbench
        self._monkeypatch = monkeypatch
        self._tokens: dict[str, str] = {}

    def session(self, role: str) -> str:
        """A session token of a user with that role who has set a password."""
        if role not in self._tokens:
            made = self.workbench.users.create(OWNER, f"test-{role}", role)
            token = self.workbench.sessions.redeem_link(made["token"])
            # Straight to the row: a scrypt hash in every page's test would be most of its time.
            self.workbench.store.execute(
                "UPDATE users SET must_set_password = false WHERE id = $id", {"id": made["id"]}
            )
            self._tokens[role] = token
        return self._tokens[role]

    def open(self, name: str, *, role: str = "admin", timeout: float = 30, **query: str) -> AppTest:
        """`pages/<name>.py` after its first run; unexpected exceptions are the test's to check."""
        from streamlit.runtime.context import ContextProxy
        from streamlit.testing.v1 import AppTest

        from app import resources
        from app.guard import COOKIE

        resources.provide(self.workbench)
        cookies = {COOKIE: self.session(role)}
        self._monkeypatch.setattr(ContextProxy, "cookies", property(lambda _: cookies))
        test = AppTest.from_file(PROJECT_ROOT / "pages" / f"{name}.py", default_timeout=timeout)
        for key, value in query.items():
            test.query_params[key] = value
        return test.run()

    def close(self) -> None:
        """Leave no workbench and no cache behind for the next test."""
        import streamlit as st

        from app import resources

        resources.provide(None)
        st.cache_data.clear()
        st.cache_resource.clear()
