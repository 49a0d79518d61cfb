"""A file becomes rows, and rows are read in a prompt, in a real browser."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.running import RunningApp

CSV = "question,answer\nWhat is 1+1?,2\nCapital of France?,Paris\n"


def test_a_file_is_imported_and_a_row_opened_and_left_by_keys(app: RunningApp, page: Page) -> None:
    page.goto(f"{app.url}/datasets")
    page.get_by_role("button", name="Import dataset").click()
    page.locator("input[type=file]").set_input_files(
        {"name": "browser_questions.csv", "mimeType": "text/csv", "buffer": CSV.encode()}
    )
    page.get_by_role("button", name="Import 2 rows").click()
    expect(page.get_by_role("heading", name="Browser questions")).to_be_visible()
    expect(page.get_by_text("1 to 2 of 2 rows")).to_be_visible()

    table = page.locator("[data-testid=stDataFrame] canvas").first
    table.click(position={"x": 16, "y": 48}, force=True)  # the box before the first row
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_text("What is 1+1?")).to_be_visible()
    expect(drawer.get_by_role("button", name="Previous")).to_be_disabled()
    page.keyboard.press("j")
    expect(drawer.get_by_text("Capital of France?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)


def test_a_draft_survives_a_reload_and_is_compared_once_saved(app: RunningApp, page: Page) -> None:
    page.goto(f"{app.url}/prompts")
    page.get_by_role("button", name="New prompt").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name").fill("Browser prompt")
    dialog.get_by_role("textbox", name="Name").press("Tab")
    dialog.get_by_role("button", name="Create prompt").click()
    expect(page.get_by_role("heading", name="Browser prompt")).to_be_visible()

    user = page.get_by_role("textbox", name="User template")
    for number, text in ((1, "Answer {{question}} briefly"), (2, "Answer {{question}} in full")):
        user.fill(text)
        user.press("Control+Enter")
        expect(page.get_by_text("kept as you write")).to_be_visible()
        page.reload()
        expect(user).to_have_value(text)
        page.get_by_role("button", name=f"Save as v{number}").click()
        expect(page.get_by_text(f"v{number}, the newest version")).to_be_visible()

    page.get_by_role("tab", name="Versions").click()
    expect(page.locator("del", has_text="briefly")).to_be_visible()
    expect(page.locator("ins", has_text="in full")).to_be_visible()
