"""The own account: who I am here, and my password."""

from __future__ import annotations

import streamlit as st

from app import auth, shell, text, ui
from core.governance.passwords import MIN_LENGTH
from core.governance.permissions import ROLES

page = ui.page("Your account", "Who you are here, and how you sign in.", key="account")
me = ui.workbench().users.me(page.actor)

if me["must_set_password"]:
    st.info(
        "Choose a password to go on: the link you came by works only once.",
        icon=":material/key:",
    )
else:
    ui.facts(
        {
            "Name": text.escape(me["name"]),
            "Role": f"{me['role']}: {ROLES[me['role']].lower()}",
            "Member since": text.absolute(me["created_at"]),
        }
    )

with st.form("password", width=440):
    st.subheader("Set a password" if me["must_set_password"] else "Change the password")
    current = ""
    if not me["must_set_password"]:
        current = st.text_input(
            "Current password", type="password", autocomplete="current-password"
        )
    new = st.text_input(
        "New password",
        type="password",
        autocomplete="new-password",
        help=f"At least {MIN_LENGTH} characters.",
    )
    again = st.text_input("New password again", type="password", autocomplete="new-password")
    asked = st.form_submit_button("Set password", type="primary")
    st.caption("Every other session of yours ends then.")

if asked and new != again:
    st.error("The two new passwords differ.", icon=":material/error:")
elif asked:
    with ui.errors():
        ui.workbench().users.set_password(
            page.actor, new, current=current, keep_session=auth.token() or ""
        )
        ui.done("Password set")
        if me["must_set_password"]:
            shell.start_over()
        st.rerun()
