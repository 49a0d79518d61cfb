"""The import dialog where there is no file: a query on a database, the hub; and who may."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from app.dataset_foreign import address
from core.datasets.formats.databases import split_location
from core.datasets.locations import location_of
from core.settings import Settings
from core.workbench import OWNER, Workbench
from tests.app.test_datasets_page import arrived
from tests.datasets.test_databases import PASSWORD, postgres, prepared  # noqa: F401  # a fixture
from tests.pages_runner import Pages


@pytest.fixture
def settings(home: Path, tmp_path: Path) -> Settings:
    return Settings(home=home, import_folders=(tmp_path,))


def dialog(pages: Pages, kind: str) -> AppTest:
    page = pages.open("datasets", role="engineer")
    next(found for found in page.button if found.label == "Import dataset").click().run()
    page.session_state["import-from"] = kind
    page.run()
    assert not page.exception
    return page


def look(page: AppTest) -> None:
    next(found for found in page.button if found.label == "Look at the rows").click().run()
    assert not page.exception


def shown(page: AppTest) -> str:
    return "\n".join(m.value for m in [*page.markdown, *page.caption, *page.error])


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_what_people_type_cannot_add_a_setting(host: str, name: str, user: str) -> None:
    from psycopg.conninfo import conninfo_to_dict

    from core.errors import Invalid

    try:
        server, secret = split_location(address(host, 5432, name, user, tls=True))
    except Invalid:
        return
    assert secret is None
    parts = conninfo_to_dict(server)
    assert set(parts) <= {"host", "port", "dbname", "user", "sslmode"}
    assert parts["sslmode"] == "require"
    assert (parts.get("user") or "", parts.get("dbname") or "") == (user, name)


def test_an_address_is_what_the_form_says() -> None:
    made = address("db.example.org", 5433, "shop", "ann", tls=False)
    assert location_of(made).shown == "postgresql://ann@db.example.org:5433/shop"
    assert location_of(address("::1", 5432, "shop", "", tls=False)).shown.endswith("::1:5432/shop")


def test_a_query_on_a_file_is_looked_at_mapped_and_imported(
    pages: Pages, workbench: Workbench, tmp_path: Path
) -> None:
    path = tmp_path / "shop_tickets.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tickets (question TEXT, answer TEXT, closed INTEGER)")
        connection.executemany(
            "INSERT INTO tickets VALUES (?, ?, ?)",
            [("How?", "So.", 1), ("When?", "Now.", 0), ("Who?", "We.", 1)],
        )
    connection.close()
    page = dialog(pages, "Database")
    page.session_state["import-database"] = "SQLite or DuckDB"
    page.run()
    look(page)
    assert "Path is empty" in shown(page)
    page.text_input(key="import-database-path").input(str(path))
    page.text_area(key="mono-import-query").input("SELECT nothing FROM tickets")
    look(page)
    assert "could not run the query" in shown(page)
    page.text_area(key="mono-import-query").input(
        "SELECT question, answer FROM tickets WHERE closed = 1;"
    )
    look(page)
    assert "**2 rows**, 2 columns, SQLite" in shown(page)
    next(found for found in page.button if found.label == "Import 2 rows").click().run()
    assert not page.exception
    arrived(page)
    (dataset,) = workbench.datasets.list(OWNER)
    assert (dataset["name"], dataset["row_count"]) == ("Shop tickets", 2)


def test_postgres_is_looked_at_and_imported_and_the_password_is_let_go(
    pages: Pages,
    workbench: Workbench,
    postgres: dict[str, Any],  # noqa: F811  # the fixture
) -> None:
    prepared(postgres)
    page = dialog(pages, "Database")
    look(page)
    assert "Host is empty" in shown(page)
    for key, value in (("host", postgres["host"]), ("db", postgres["dbname"]),
                       ("user", postgres["user"]), ("password", "wrong")):  # fmt: skip
        page.text_input(key=f"import-{key}").input(value)
    page.number_input(key="import-port").set_value(postgres["port"])
    page.text_area(key="mono-import-query").input("SELECT q, n FROM t WHERE n < 12 ORDER BY n")
    look(page)
    assert "The database cannot be read" in shown(page)
    page.text_input(key="import-password").input(PASSWORD)
    look(page)
    assert "**12 rows**, 2 columns, Postgres" in shown(page)
    next(found for found in page.button if found.label == "Import 12 rows").click().run()
    assert not page.exception
    arrived(page)
    (dataset,) = workbench.datasets.list(OWNER)
    assert dataset["row_count"] == 12
    assert "import-foreign" not in page.session_state
    assert PASSWORD not in str(workbench.audit.list(OWNER))


def test_the_hub_is_refused_in_words_where_downloads_are_off(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    page = dialog(pages, "Hugging Face hub")
    look(page)
    assert "There is no name" in shown(page)
    page.text_input(key="import-hub").input("owner/name")
    look(page)
    assert "Downloads are off" in shown(page)
    assert {"Configuration", "Split", "Revision"} <= {found.label for found in page.text_input}


def offered(page: AppTest, key: str) -> list[str]:
    found = [control for control in page.get("button_group") if control.key == key]
    return [str(option) for control in found for option in control.options]


@pytest.mark.parametrize("folders", [(), ("shared",)])
@pytest.mark.parametrize("role", ["admin", "engineer"])
def test_the_field_for_a_path_is_there_for_those_who_may_name_one(
    home: Path, monkeypatch: pytest.MonkeyPatch, role: str, folders: tuple[str, ...]
) -> None:
    settings = Settings(home=home, import_folders=tuple(home.parent / name for name in folders))
    may = role == "admin" or bool(folders)
    with Workbench.open(settings, background=False) as opened:
        pages = Pages(opened, monkeypatch)
        page = pages.open("datasets", role=role)
        next(found for found in page.button if found.label == "Import dataset").click().run()
        assert len(offered(page, "import-from")) == 3 + may
        page.session_state["import-from"] = "Database"
        page.run()
        assert not page.exception
        assert bool(offered(page, "import-database")) is may
        if may:
            page.session_state["import-from"] = "Path on this machine"
            page.run()
            assert not page.exception
            assert (f", in `{home.parent}/shared`" in shown(page)) is (role == "engineer")
        pages.close()
