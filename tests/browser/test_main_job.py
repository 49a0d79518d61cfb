"""The main job, as a person does it: from a CSV to two quantizations compared, and to one trace."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from app.remote import Remote
from core.models.starter import ensure_starter
from core.settings import Settings
from core.workbench import OWNER
from tests.jobs.test_jobs import wait_for
from tests.running import RunningApp

ROWS = [
    ("The invoice shows the wrong amount", "billing"),
    ("I was charged twice this month", "billing"),
    ("The export button does nothing", "bug"),
    ("The app crashes when I open the map", "bug"),
]
SYSTEM = "Reply with the label only."


@pytest.fixture
def starter(app: RunningApp, remote: Remote) -> None:
    ensure_starter(app.home, cache=Settings.from_env().cache)
    remote.models.register_starter(OWNER)


def choose(page: Page, box: Locator, option: str) -> None:
    """Take an option of a Streamlit selectbox."""
    box.click()
    page.get_by_role("option", name=option).first.click()


def import_csv(page: Page, app: RunningApp, path: Path) -> None:
    page.goto(f"{app.url}/datasets")
    page.get_by_role("button", name="Import dataset").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input[type=file]").set_input_files(path)
    dialog.get_by_role("button", name=f"Import {len(ROWS)} rows").click()
    expect(page.get_by_role("heading", name="Desk tickets")).to_be_visible()


def write_two_versions(page: Page, app: RunningApp) -> None:
    page.goto(f"{app.url}/prompts")
    page.get_by_role("button", name="New prompt").click()
    page.get_by_role("dialog").get_by_label("Name").fill("Label a ticket")
    page.get_by_role("dialog").get_by_label("What it does").click()
    page.get_by_role("dialog").get_by_role("button", name="Create prompt").click()
    texts = ("{{text}}\nIs this billing or bug?", "Ticket: {{text}}\nbilling or bug?")
    for number, words in enumerate(texts, start=1):
        save = page.get_by_role("button", name=f"Save as v{number}")
        expect(save).to_be_visible()
        page.get_by_role("textbox", name="System template").fill(SYSTEM)
        page.get_by_role("textbox", name="User template").fill(words)
        page.get_by_role("spinbutton", name="Max tokens").fill("4")
        page.get_by_role("textbox", name="What changed").fill(f"Attempt {number}")
        page.get_by_role("textbox", name="What changed").press("Tab")
        expect(save).to_be_enabled()
        save.click()
    expect(page.get_by_role("button", name="Save as v3")).to_be_visible()


def start_run(page: Page, app: RunningApp) -> None:
    page.goto(f"{app.url}/runs")
    page.get_by_role("button", name="New run").click()
    ways = page.get_by_role("combobox", name="Engine and quantization")
    expect(ways).to_have_count(2)
    choose(page, ways.nth(0), "NF4")
    choose(page, ways.nth(1), "bf16")
    page.get_by_role("button", name=f"Run {len(ROWS)} rows").click()
    compare = page.get_by_role("dialog").get_by_role("button", name="Compare")
    expect(compare.first).to_be_visible()


@pytest.mark.starter
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_from_a_csv_to_two_quantizations_side_by_side(
    page: Page, app: RunningApp, remote: Remote, starter: None, tmp_path: Path
) -> None:
    path = tmp_path / "desk_tickets.csv"
    lines = ["text,label", *(f'"{text}",{label}' for text, label in ROWS)]
    path.write_text("\n".join(lines) + "\n")
    import_csv(page, app, path)
    write_two_versions(page, app)
    start_run(page, app)
    run = remote.runs.list(OWNER)[0]
    wait_for(lambda: remote.runs.get(OWNER, run["id"])["state"] == "succeeded", seconds=400)
    found = remote.runs.summary(OWNER, run["id"])["variants"]
    assert [v["quantization"] for v in found] == ["nf4", "bf16"]
    assert [v["result_count"] for v in found] == [len(ROWS), len(ROWS)]

    # the drawer's clock stops with the run: a click while it draws itself anew would be lost
    expect(page.get_by_role("dialog").get_by_text("succeeded")).to_be_visible()
    page.wait_for_timeout(1_500)
    page.get_by_role("dialog").get_by_role("button", name="Compare").first.click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    expect(page.get_by_text("pass rate, n = 4")).to_have_count(2)
    page.get_by_role("button", name="Use as baseline").click()
    wait_for(lambda: remote.runs.get(OWNER, run["id"])["baseline_variant_id"] == found[1]["id"])
    expect(page.get_by_text("The others are measured against this one.")).to_be_visible()

    page.goto(f"{app.url}/latency")
    expect(page.get_by_text("TTFT").first).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    trace = remote.runs.cell(OWNER, run["id"], found[0]["id"], _a_row(remote, run["id"]))
    page.goto(f"{app.url}/traces?trace={trace['result']['trace_id']}")
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_text("Label a ticket v1")).to_be_visible()
    drawer.get_by_role("tab", name="Exact prompt").click()
    expect(drawer.get_by_text(SYSTEM).filter(visible=True).first).to_be_visible()


def _a_row(remote: Remote, run_id: str) -> str:
    return str(remote.runs.grid(OWNER, run_id)["rows"][0]["row_id"])
