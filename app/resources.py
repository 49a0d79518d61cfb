"""The workbench of this process: the one module with `st.cache_resource`.

Knows: who opened it, the server or the first script run. Does not know: what is done with it.
"""

from __future__ import annotations

import streamlit as st

from core.workbench import Workbench

_provided: Workbench | None = None


def provide(workbench: Workbench | None) -> None:
    """Hand over the workbench that the server, or a test, has opened and will close."""
    global _provided
    _provided = workbench


def workbench() -> Workbench:
    """The open workbench; opens the one of the environment when nobody provided another."""
    return _provided if _provided is not None else _opened()


@st.cache_resource(show_spinner="Opening the workspace")
def _opened() -> Workbench:
    return Workbench.open()
