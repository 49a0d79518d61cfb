"""Signing in as a person does: the printed link, a password, the roles, and out again."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from app.guard import COOKIE
from tests.browser.conftest import PASSWORD, NewContext
from tests.running import RunningApp, running_app


def set_password(page: Page, password: str) -> None:
    page.get_by_label("New password", exact=True).fill(password)
    page.get_by_label("New password again").fill(password)
    page.get_by_role("button", name="Set password").click()


def test_the_link_printed_at_the_first_start_leads_to_a_password_and_in(
    tmp_path: Path, new_context: NewContext
) -> None:
    with running_app(tmp_path / "home") as app:
        link = re.search(r"http\S+token=\S+", app.output)
        assert link is not None
        page = new_context(role=None).new_page()
        page.goto(link[0])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("Choose a password to go on")).to_be_visible()
        assert page.url == f"{app.url}/account"
        # Nothing else is there before the password is set.
        expect(page.get_by_role("link", name="Users")).to_have_count(0)
        page.goto(f"{app.url}/users")
        expect(page.get_by_text("Choose a password to go on")).to_be_visible()

        set_password(page, PASSWORD)
        expect(page.get_by_role("link", name="Users")).to_be_visible()
        cookie = page.context.cookies()[0]
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (COOKIE, True, "Strict")

        # The link is used up; the password is what counts from now on.
        stranger = new_context(role=None).new_page()
        stranger.goto(link[0])
        stranger.get_by_role("button", name="Sign in").click()
        expect(stranger.get_by_text("This link has been used")).to_be_visible()
        stranger.get_by_role("button", name="Sign in").click()
        stranger.get_by_label("Name").fill("admin")
        stranger.get_by_label("Password").fill("a wrong one")
        stranger.get_by_role("button", name="Sign in").click()
        expect(stranger.get_by_role("alert")).to_contain_text("not right")
        stranger.get_by_label("Password").fill(PASSWORD)
        stranger.get_by_role("button", name="Sign in").click()
        expect(stranger.get_by_role("link", name="Users")).to_be_visible()


def test_without_a_session_every_page_leads_to_signing_in_and_back(
    app: RunningApp, new_context: NewContext, page: Page
) -> None:
    stranger = new_context(role=None).new_page()
    stranger.goto(f"{app.url}/jobs?state=failed")
    assert "/sign-in?next=/jobs" in stranger.url
    stranger.get_by_label("Name").fill("browser-admin")
    stranger.get_by_label("Password").fill(PASSWORD)
    stranger.get_by_role("button", name="Sign in").click()
    expect(stranger.get_by_role("heading", name="Jobs")).to_be_visible()
    assert "state=failed" in stranger.url


def test_signing_out_ends_the_session_at_once(app: RunningApp, new_context: NewContext) -> None:
    context = new_context(role=None)
    page = context.new_page()
    page.goto(f"{app.url}/sign-in")
    page.get_by_label("Name").fill("browser-admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()
    page.get_by_role("link", name="Sign in").click()
    expect(page.get_by_label("Password")).to_be_visible()
    page.goto(f"{app.url}/jobs")  # the cookie is still there, and worth nothing
    expect(page.get_by_label("Password")).to_be_visible()


def test_a_lead_reads_the_audit_log_and_sees_no_users_page(
    app: RunningApp, new_context: NewContext
) -> None:
    page = new_context(role="lead").new_page()
    page.goto(f"{app.url}/audit")
    expect(page.get_by_role("heading", name="Audit log")).to_be_visible()
    expect(page.get_by_role("link", name="Settings")).to_have_count(0)
    expect(page.get_by_role("link", name="Users")).to_have_count(0)


def test_nothing_is_asked_of_another_server(app: RunningApp, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for name in ("jobs", "users", "audit", "settings", "account"):
        page.goto(f"{app.url}/{name}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    hosts = {url.split("/")[2] for url in asked if url.startswith(("http", "ws"))}
    assert hosts == {app.url.split("/")[2]}


def test_a_page_that_the_role_may_not_open_says_so(
    app: RunningApp, new_context: NewContext
) -> None:
    page = new_context(role="engineer").new_page()
    page.goto(f"{app.url}/users")
    expect(page.get_by_text("The role engineer does not permit")).to_be_visible()
