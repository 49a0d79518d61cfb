"""Imports from where there is no file to upload: a query on a database, the Hugging Face hub.

Knows: two forms, and what they were last sent with; a password is in this session alone, until the
dialog is closed. Does not know: drivers, what the rows are for.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import streamlit as st

from app import text
from app.dataset_chosen import Chosen
from core.datasets.formats.hub import PREFIX
from core.errors import Invalid
from core.ids import content_hash

SENT = "import-foreign"
KINDS = ["Postgres", "SQLite or DuckDB"]
QUERY = "SELECT question, answer FROM tickets WHERE closed"


def database(*, paths: bool) -> Chosen | None:
    """The query that was sent last, if one was; with `paths`, also one on a file by its path."""
    if not paths:
        return _kept(KINDS[0], _postgres())
    kind = st.segmented_control(
        "Database", KINDS, default=KINDS[0], required=True, key="import-database",
        label_visibility="collapsed",
    )  # fmt: skip
    sent = _postgres() if kind == KINDS[0] else _file()
    return _kept(str(kind), sent)


def hub(*, paths: bool) -> Chosen | None:
    """The dataset of the hub that was sent last, if one was; `paths` as for `database`."""
    with st.form("import-hub-form", border=False):
        name = st.text_input(
            "Dataset", key="import-hub", placeholder="owner/name",
            help="As the hub names it. Configuration, split and revision are under How it is read.",
        ).strip()  # fmt: skip
        st.caption(
            "Its rows come over the network, where this machine may download."
            + (" A folder that `save_to_disk` wrote is read without: take its path." * paths)
        )
        sent = st.form_submit_button("Look at the rows", icon=":material/search:")
    made = None
    if sent:
        hub_id = name.removeprefix(PREFIX).strip("/")
        if not hub_id:
            raise Invalid("There is no name.", field="name", hint="Such as owner/name.")
        key = content_hash(hub_id)[:16]
        made = Chosen(key, PurePath(hub_id).name, PREFIX + hub_id, "hub")
    return _kept("hub", made)


def forget() -> None:
    """Let go of what was sent, passwords included."""
    st.session_state.pop(SENT, None)


def address(host: str, port: int, name: str, user: str, *, tls: bool) -> str:
    """A connection string without a password; what people type cannot add another setting."""
    who = f"{quote(user, safe='')}@" if user else ""
    where = f"[{host}]" if ":" in host else quote(host, safe="")
    asked = "?sslmode=require" if tls else ""
    return f"postgresql://{who}{where}:{port}/{quote(name, safe='')}{asked}"


def _postgres() -> Chosen | None:
    with st.form("import-postgres-form", border=False):
        row = st.columns([3, 1, 2], gap="small")
        host = row[0].text_input("Host", key="import-host", placeholder="db.example.org").strip()
        port = row[1].number_input("Port", 1, 65_535, 5432, key="import-port", format="%d")
        name = row[2].text_input("Database", key="import-db").strip()
        row = st.columns([2, 2, 2], gap="small", vertical_alignment="bottom")
        user = row[0].text_input("User", key="import-user", autocomplete="off").strip()
        password = row[1].text_input(
            "Password", type="password", key="import-password", autocomplete="off",
            help="For this import alone: it is not kept.",
        )  # fmt: skip
        tls = row[2].toggle("Only encrypted", key="import-tls", help="Refuse a server without TLS")
        query = _query()
        sent = st.form_submit_button("Look at the rows", icon=":material/search:")
    if not sent:
        return None
    for field, value in (("Host", host), ("Database", name), ("Query", query)):
        if not value:
            raise Invalid(f"{field} is empty.", field=field, hint="Fill it in.")
    at = address(host, int(port), name, user, tls=tls)
    key = content_hash([at, query, bool(password)])[:16]
    return Chosen(key, name, at, "postgres", {"sql": query}, password or None)


def _file() -> Chosen | None:
    with st.form("import-database-form", border=False):
        path = st.text_input(
            "Path", key="import-database-path", placeholder="/data/shop.sqlite",
            help="Whole, of a file on the machine that Lathe runs on. A file of yours: Upload "
            "takes it, and a query under How it is read.",
        ).strip()  # fmt: skip
        query = _query()
        sent = st.form_submit_button("Look at the rows", icon=":material/search:")
    if not sent:
        return None
    for field, value in (("Path", path), ("Query", query)):
        if not value:
            raise Invalid(f"{field} is empty.", field=field, hint="Fill it in.")
    kind = "duckdb" if PurePath(path).suffix.lower() in (".duckdb", ".ddb") else "sqlite"
    key = content_hash([path, query])[:16]
    return Chosen(key, PurePath(path).name, path, kind, {"sql": query})


def _query() -> str:
    query = st.text_area(
        "Query", key="mono-import-query", placeholder=QUERY, height=110,
        help="One SELECT statement. The database is only read, and nothing beyond it.",
    )  # fmt: skip
    return query.strip().rstrip(";").strip()


def _kept(kind: str, sent: Chosen | None) -> Chosen | None:
    """What was sent last for this kind: a dialog runs again at every keystroke."""
    kept: dict[str, Any] = st.session_state.setdefault(SENT, {})
    if sent is not None:
        kept[kind] = sent
    found: Chosen | None = kept.get(kind)
    if found is not None and kind != "hub":
        st.caption(f"Rows of {text.code(text.shorten(str(found.options['sql']), 90))}")
    return found
