"""What stands around every page: the account's corner, the end of a session, the last error.

Knows: how these look. Does not know: any page.
"""

from __future__ import annotations

import logging

import streamlit as st

from app import auth, resources, text, ui
from core.errors import LatheError
from core.governance.permissions import NEWCOMER, Actor
from core.ids import new_id
from core.settings import PROJECT_ROOT

log = logging.getLogger(__name__)

STATIC = PROJECT_ROOT / "app" / "static"
MARK = str(STATIC / "lathe.svg")
CSS = PROJECT_ROOT / "app" / "injected.css"


def wordmark() -> str:
    """The name as an image, dark on light or light on dark; light until the browser has told."""
    appearance = "dark" if st.context.theme.type == "dark" else "light"
    return str(STATIC / f"wordmark-{appearance}.svg")


def account_menu(actor: Actor) -> None:
    """Who is signed in, and the way out, at the foot of the sidebar."""
    role = "set a password first" if actor.role == NEWCOMER else actor.role
    with st.sidebar.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    ):
        st.markdown(f":small[**{text.escape(actor.name)}** · {role}]", width="content")
        st.button("Sign out", type="tertiary", key="sign-out", on_click=_sign_out, args=(actor,))


def signed_out() -> None:
    """What is left of an open page once its session has ended."""
    st.title("You are signed out", anchor=False)
    st.write("Your session has ended. What you had typed is kept as a draft where a page says so.")
    # A plain link: the sign-in page is not part of Streamlit, and must open in this very tab.
    st.html('<a href="/sign-in" target="_self">Sign in</a>')


def start_over() -> None:
    """Run again and open the start page: the role, and with it the navigation, has changed."""
    st.session_state["_start_over"] = True
    st.rerun()


def starts_over() -> bool:
    """Whether the run before asked for the start page; asks once."""
    return bool(st.session_state.pop("_start_over", False))


def on_error(error: Exception) -> bool:
    """The edge of every script run: shown with an id to quote, the details are in the log."""
    if isinstance(error, LatheError):
        ui.show_error(error)
        return True
    error_id = new_id("err")
    log.error("error id %s", error_id, exc_info=error)
    st.error(
        f"**Something went wrong on our side.**  \nNothing you did before is lost. "
        f"The log has the details under `{error_id}`.",
        icon=":material/error:",
    )
    return True


def _sign_out(actor: Actor) -> None:
    resources.workbench().sessions.sign_out(actor, auth.token() or "")
