"""The tags of a version, of a prompt or of a dataset: set, moved and removed.

Knows: the form. Does not know: whose versions they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from app import text, ui
from core.store.database import Row


def badges(version: Row) -> str:
    """A version's tags, in Markdown."""
    return " ".join(f":violet-badge[:material/sell: {tag}]" for tag in version["tags"])


def draw(
    version: Row,
    versions: Sequence[Row],
    *,
    suggested: Sequence[str],
    tag: Callable[[str], object],
    untag: Callable[[str], object],
) -> None:
    """A popover; each button says from where to where. `tag` and `untag` do it, by the tag's name.

    `versions` are all that the tags may point at.
    """
    with st.popover("Tags", icon=":material/sell:", width="content"):
        where = {name: row["number"] for row in versions for name in row["tags"]}
        number = version["number"]
        options = [
            name for name in dict.fromkeys([*where, *suggested]) if where.get(name) != number
        ]
        st.caption("A tag points at one version. Whoever asks for the tag gets that version.")
        key = f"tag-of-{version['id']}"
        typed = st.selectbox(
            "Tag", options, index=None, accept_new_options=True, key=key,
            placeholder="Choose one or type a new one",
        )  # fmt: skip
        if typed:
            at, shown = where.get(typed), text.escape(typed)
            st.button(
                f"Move {shown} from v{at} to v{number}" if at else f"Tag v{number} as {shown}",
                type="primary", key="set-tag",
                on_click=ui.guarded(_set), args=(tag, typed, number, key),
            )  # fmt: skip
        for name in version["tags"]:
            st.button(
                f"Remove {name} from v{number}", icon=":material/close:", key=f"untag-{name}",
                on_click=ui.guarded(_remove), args=(untag, name),
            )  # fmt: skip


def _set(tag: Callable[[str], object], typed: str, number: int, key: str) -> None:
    name = typed.strip().lower()
    tag(name)
    st.session_state[key] = None
    ui.done(f"{name} points at v{number}")


def _remove(untag: Callable[[str], object], name: str) -> None:
    untag(name)
    ui.done(f"{name} removed")
