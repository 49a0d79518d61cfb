"""Cached reads: the one module with `st.cache_data`.

    rows = queries.read("prompts", "list", search=search)

is `workbench.prompts.list(actor, search=search)`, asked again only after something was written:
the store's revision is part of the key. Permissions are checked, the actor is part of the key.
Knows: revision, actor, arguments. Does not know: what any of it means.

Only for what is in the database. What lives in folders and processes (a job's log, the states of
models) changes without a new revision: call the workbench for those. What a job has found about a
version lies in files too, but the job's own rows follow each of them.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import auth, resources
from core.governance.permissions import Actor


def read(noun: str, verb: str, /, *args: Any, **kwargs: Any) -> Any:
    """The answer of `workbench.<noun>.<verb>(actor, *args, **kwargs)`; a copy, free to change."""
    actor = auth.actor()
    revision = resources.workbench().store.revision
    return _read(revision, actor, noun, verb, args, kwargs)


@st.cache_data(max_entries=300, ttl="1h", show_spinner=False, hash_funcs={Actor: repr})
def _read(
    revision: int, actor: Actor, noun: str, verb: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    return getattr(getattr(resources.workbench(), noun), verb)(actor, *args, **kwargs)
