"""The jobs page, watched and worked as a person does."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from app.remote import Remote
from core.workbench import OWNER
from tests.browser.conftest import NewContext
from tests.jobs.test_jobs import wait_for
from tests.running import RunningApp


def open_first_job(page: Page) -> None:
    # The table is a canvas: its rows are reached by place, the first lies under the head.
    table = page.get_by_test_id("stDataFrame").first
    expect(table).to_be_visible()
    page.wait_for_timeout(1500)  # the grid takes clicks only once it has drawn itself
    table.click(position={"x": 16, "y": 48})


def test_a_job_is_seen_cancelled_and_resumed(
    page: Page, app: RunningApp, remote: Remote, new_context: NewContext
) -> None:
    job_id = remote.jobs.start(OWNER, "selftest", "Count to 600", {"steps": 600, "delay_ms": 100})
    wait_for(lambda: remote.jobs.get(OWNER, job_id)["progress_done"] >= 3)
    page.goto(f"{app.url}/jobs?state=running")
    open_first_job(page)
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_text("Count to 600")).to_be_visible()
    first = drawer.get_by_text("of 600, about").inner_text()
    expect(drawer.get_by_text(first)).to_have_count(0)  # it moves by itself

    drawer.get_by_role("button", name="Cancel job").click()
    expect(drawer.get_by_text("cancelled").first).to_be_visible()
    done = remote.jobs.get(OWNER, job_id)["progress_done"]
    drawer.get_by_role("button", name="Resume job").click()
    expect(drawer.get_by_text("running").first).to_be_visible()
    wait_for(lambda: remote.jobs.get(OWNER, job_id)["progress_done"] > done)
    remote.jobs.cancel(OWNER, job_id)

    drawer.get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.wait_for_timeout(3000)  # longer than the list takes to look again
    expect(page.get_by_role("dialog")).to_have_count(0)

    lead = new_context(role="lead").new_page()
    lead.goto(f"{app.url}/jobs")
    open_first_job(lead)
    expect(lead.get_by_role("dialog").get_by_text("Count to 600")).to_be_visible()
    expect(lead.get_by_role("button", name="Cancel job")).to_have_count(0)
    expect(lead.get_by_role("button", name="Resume job")).to_have_count(0)
