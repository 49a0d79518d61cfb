"""Who is looking: from the cookie to the actor, on every rerun.

Knows: the cookie's name. Does not know: how it was set (app/sign_in.py) or what a role may do.
"""

from __future__ import annotations

import streamlit as st

from app import resources
from app.guard import COOKIE
from core.errors import Forbidden
from core.governance.permissions import Actor


def token() -> str | None:
    """The session token that the browser sent when it connected."""
    return st.context.cookies.get(COOKIE)


def find_actor() -> Actor | None:
    """The signed-in user, or None: asked anew each time, so ending a session works at once."""
    return resources.workbench().sessions.actor(token())


def actor() -> Actor:
    """The signed-in user; raises Forbidden when there is none."""
    found = find_actor()
    if found is None:
        raise Forbidden("Your session has ended.", title="Sign in first", hint="Open /sign-in.")
    return found
