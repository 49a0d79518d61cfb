"""Users: who may sign in, and as what."""

from __future__ import annotations

import streamlit as st

from app import queries, tables, text, ui
from app.sign_in import link_url
from core.governance.permissions import ROLES
from core.store.database import Row

COLUMNS = {
    "name": tables.text("Name"),
    "role": tables.text("Role"),
    "state": tables.badges(
        "State", {"active": "green", "invited": "blue", "disabled": "gray"}, width=110
    ),
    "last_seen_at": tables.time("Last sign-in"),
    "created_at": tables.time("Created"),
}


def state_of(user: Row) -> str:
    if user["disabled_at"] is not None:
        return "disabled"
    return "invited" if user["must_set_password"] else "active"


def show_link(name: str, token: str) -> None:
    st.success(f"Give this link to **{text.escape(name)}**. It works once, within a day.")
    st.code(link_url(str(st.context.url).rsplit("/", 1)[0], token), language=None, wrap_lines=True)
    st.caption("It is shown only now. Whoever opens it first is in.")


@st.dialog("New user")
def new_user() -> None:
    st.caption("The user gets a one-time link and chooses a password with it.")
    name = st.text_input("Name", placeholder="ann", max_chars=64)
    role = st.radio("Role", list(ROLES), index=1, captions=list(ROLES.values()))
    if st.button("Create user", type="primary"):
        with ui.errors():
            made = ui.workbench().users.create(ui.actor(), name, role)
            show_link(name, made["token"])


def detail(user: Row) -> None:
    users, actor = ui.workbench().users, ui.actor()
    ui.facts(
        {
            "State": state_of(user),
            "Id": f"`{user['id']}`",
            "Created": text.absolute(user["created_at"]),
            "Last sign-in": text.absolute(user["last_seen_at"]),
        }
    )
    roles = list(ROLES)
    role = st.radio("Role", roles, index=roles.index(user["role"]), captions=list(ROLES.values()))
    if st.button("Change role", disabled=role == user["role"]):
        with ui.errors():
            users.set_role(actor, user["id"], role)
            ui.done(f"{user['name']} is now {role}")
            st.rerun()
    st.divider()
    st.markdown("**Access**")
    if user["disabled_at"] is None:
        if st.button("Create a one-time link", icon=":material/link:"):
            with ui.errors():
                show_link(user["name"], users.create_link(actor, user["id"]))
        if st.button("Disable user", icon=":material/block:"):
            with ui.errors():
                users.disable(actor, user["id"])
                ui.done(f"{user['name']} is disabled")
                st.rerun()
        st.caption("Disabling ends every session at once. What the user made stays.")
    elif st.button("Enable user", icon=":material/check:"):
        with ui.errors():
            users.enable(actor, user["id"])
            ui.done(f"{user['name']} may sign in again")
            st.rerun()


page = ui.page("Users", "Who may sign in to this workspace, and as what.", key="users")
with page.actions:
    if st.button("New user", type="primary", icon=":material/person_add:"):
        new_user()

rows = [{**user, "state": [state_of(user)]} for user in queries.read("users", "list")]
picked = tables.pick(rows, COLUMNS, key="user", alt="Users with their roles and last sign-in")
if picked is not None:
    drawer = ui.drawer(text.escape(picked["name"]), clears="user")
    drawer(detail)(picked)
st.caption("Select a user to change the role, create a one-time link, or disable.")
