"""The building blocks, drawn by Streamlit without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import queries, resources
from core.governance.permissions import OWNER
from core.workbench import Workbench
from tests.pages_runner import Pages


def run(script: Callable[..., None], **values: Any) -> AppTest:
    return AppTest.from_function(script, kwargs=values).run()


def test_an_error_shows_title_message_hint_and_where() -> None:
    def script() -> None:
        from app import ui
        from core.errors import Invalid

        with ui.errors():
            raise Invalid("Not a *number*.", row=4, field="age", hint="Mend it.")

    shown = run(script).error[0].value
    assert all(part in shown for part in ("Check this value", "Row 5, field age", "Mend it"))
    assert r"\*number\*" in shown


def test_an_error_with_many_rows_lists_them() -> None:
    def script() -> None:
        from app import ui
        from core.errors import Invalid

        error = Invalid("100 rows are wrong.")
        error.errors = [{"row": n, "field": "a", "message": "empty"} for n in range(100)]
        ui.show_error(error)

    page = run(script)
    assert len(page.dataframe[0].value) == 50
    assert "of 100" in page.caption[0].value


def test_an_error_that_is_not_ours_is_not_swallowed() -> None:
    def script() -> None:
        from app import ui

        with ui.errors():
            raise ZeroDivisionError

    assert run(script).exception


def test_a_guarded_callback_shows_its_error_at_the_next_run_of_the_page(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.open("account", role="lead")  # signs the role in for the script below

    def script() -> None:
        import streamlit as st

        from app import ui
        from core.errors import Conflict

        def act() -> None:
            raise Conflict("It is taken.")

        ui.page("Account", "For the test.", key="account")
        st.button("Act", on_click=ui.guarded(act))

    page = run(script)
    page.button[0].click().run()
    assert "It is taken" in page.error[0].value
    page.run()
    assert not page.error


def test_the_empty_state_s_button_acts() -> None:
    def script() -> None:
        import streamlit as st

        from app import ui

        ui.empty_state("Nothing yet", "Here will be things.", "Add", lambda: st.toast("added"))

    page = run(script)
    page.button[0].click().run()
    assert page.toast[0].value == "added"


def test_a_strip_of_metrics() -> None:
    def script() -> None:
        from app import ui

        ui.metric_strip(
            [
                ui.Metric("p95", "1.84 s", delta="-0.2 s", good="down", series=[3, 2, 1]),
                ui.Metric("Requests", "12"),
            ]
        )

    first, second = run(script).metric
    assert (first.label, first.value, first.delta) == ("p95", "1.84 s", "-0.2 s")
    assert second.delta == ""


def test_an_unexpected_error_is_shown_with_an_id_that_the_log_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def script() -> None:
        from app import shell

        shell.on_error(ValueError("a secret detail"))

    shown = run(script).error[0].value
    assert "err_" in shown
    assert "secret" not in shown
    assert "a secret detail" in caplog.text


def test_cached_reads_see_what_was_just_written_and_keep_actors_apart(
    pages: Pages, workbench: Workbench
) -> None:
    page = pages.open("users")
    before = len(page.dataframe[0].value)
    workbench.users.create(OWNER, "zoe", "lead")
    assert len(page.run().dataframe[0].value) == before + 1


def test_a_read_is_not_repeated_while_nothing_was_written(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app import auth

    asked: list[str] = []
    monkeypatch.setattr(auth, "actor", lambda: OWNER)
    monkeypatch.setattr(
        workbench.audit, "list", lambda actor, **_: asked.append(actor.id) or [{"id": "a"}]
    )
    resources.provide(workbench)
    try:
        first = queries.read("audit", "list", limit=5)
        first[0]["id"] = "changed by the page"
        assert queries.read("audit", "list", limit=5) == [{"id": "a"}]
        assert asked == [OWNER.id]
        queries.read("audit", "list", limit=6)
        assert len(asked) == 2
    finally:
        resources.provide(None)
        queries._read.clear()


def test_a_column_of_percents_holds_hundredths_and_a_gap_stays_one() -> None:
    from app import tables

    columns = {"share": tables.percent("Share"), "n": None, "done": tables.progress("Done")}
    rows = [{"share": 3 / 19, "n": 3, "done": 0.98684}, {"share": None, "n": 0, "done": None}]
    shown = tables.frame(rows, columns)
    assert shown["share"][0] == pytest.approx(15.789, abs=0.001)
    assert shown["share"].isna().tolist() == [False, True]
    assert shown["n"].tolist() == [3, 0]
    assert shown["done"][0] == 0.987
