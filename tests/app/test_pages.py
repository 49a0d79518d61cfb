"""The admin pages as each role meets them, on a real workbench."""

from __future__ import annotations

import pytest

from core.governance.permissions import PAGES, ROLES, permits
from core.workbench import OWNER, Workbench
from tests.jobs.test_jobs import start, state, wait_for
from tests.pages_runner import Pages

OWN = ("account", "users", "audit", "settings", "jobs")


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("role", list(ROLES))
def test_a_page_opens_for_those_it_is_for_and_for_nobody_else(
    pages: Pages, name: str, role: str
) -> None:
    page = pages.open(name, role=role)
    assert not page.exception
    if permits(role, PAGES[name]):
        assert page.title
        assert not page.error
    else:
        assert not page.title
        assert "does not permit" in page.error[0].value


def test_a_password_is_set_on_the_account_page(pages: Pages, workbench: Workbench) -> None:
    token = pages.session("lead")
    actor = workbench.sessions.actor(token)
    assert actor is not None
    workbench.store.execute(
        "UPDATE users SET must_set_password = true WHERE id = $id", {"id": actor.id}
    )
    page = pages.open("account", role="lead")
    new, again = page.text_input
    new.input("turned on a lathe")
    again.input("turned on a loathe")
    page.button[0].click().run()
    assert "differ" in page.error[0].value
    page.text_input[1].input("short")
    page.text_input[0].input("short")
    page.button[0].click().run()
    assert "at least 10" in page.error[0].value
    page.text_input[0].input("turned on a lathe")
    page.text_input[1].input("turned on a lathe")
    page.button[0].click().run()
    assert workbench.sessions.sign_in("test-lead", "turned on a lathe")
    refreshed = workbench.sessions.actor(token)
    assert refreshed is not None
    assert refreshed.role == "lead"


def test_the_audit_log_is_filtered_by_what_it_is_about(pages: Pages, workbench: Workbench) -> None:
    workbench.users.create(OWNER, "ann", "lead")
    page = pages.open("audit", role="lead")
    everything = page.dataframe[0].value["action"].tolist()
    assert "users.create" in everything
    assert "sessions.sign_in" in everything
    page.selectbox[0].select("users").run()
    assert set(page.dataframe[0].value["action"]) == {"users.create"}


def test_settings_show_every_setting(pages: Pages) -> None:
    from core.settings import SETTINGS

    shown = pages.open("settings").dataframe[0].value
    assert set(shown["variable"]) == {setting.variable for setting in SETTINGS.values()}


def test_jobs_show_state_and_progress(pages: Pages, workbench: Workbench) -> None:
    assert "No jobs yet" in pages.open("jobs").markdown[0].value
    done = start(workbench, steps=4)
    broken = start(workbench, steps=4, fail_at=1)
    wait_for(lambda: state(workbench, done) == "succeeded" and state(workbench, broken) == "failed")
    rows = pages.open("jobs").dataframe[0].value
    assert [list(s) for s in rows["state"]] == [["failed"], ["succeeded"]]
    assert rows["share"].tolist()[1] == 1.0
    only = pages.open("jobs", state="failed").dataframe[0].value
    assert len(only) == 1
