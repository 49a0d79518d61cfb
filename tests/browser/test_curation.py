"""From a messy file to a clean, split version, as a person does it, and the same at the shell."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page, expect

from app.remote import Remote
from core.datasets.samples import FOLDER
from core.governance.permissions import Actor
from core.models.starter import ensure_starter
from core.settings import PROJECT_ROOT, Settings
from core.workbench import OWNER
from tests.jobs.test_jobs import wait_for
from tests.running import RunningApp

pytestmark = [pytest.mark.starter, pytest.mark.slow]

FILE = FOLDER / "messy-tickets.csv"
TRUTH = Path(PROJECT_ROOT / "tests/curation/messy_truth.json")
MINUTES = 180_000
"""For what a job does."""


@pytest.fixture
def starter(app: RunningApp, remote: Remote) -> None:
    ensure_starter(app.home, cache=Settings.from_env().cache)
    remote.models.register_starter(OWNER)


def import_file(page: Page, app: RunningApp) -> None:
    page.goto(f"{app.url}/datasets")
    page.get_by_role("button", name="Import dataset").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("input[type=file]").set_input_files(FILE)
    dialog.get_by_role("button", name="Import 152 rows").click()
    expect(page.get_by_role("heading", name="Messy tickets")).to_be_visible()


def look_for_faults(page: Page, app: RunningApp, version: dict[str, Any]) -> None:
    page.goto(f"{app.url}/curate?version={version['id']}")
    page.get_by_role("button", name="Look for faults").click()
    expect(page.get_by_text("worst first")).to_be_visible(timeout=MINUTES)


def missed(remote: Remote, version: dict[str, Any]) -> dict[str, list[list[int]]]:
    """Planted groups of rows that no finding of their kind covers."""
    truth = json.loads(TRUTH.read_text(encoding="utf-8"))
    found: dict[str, list[set[int]]] = {}
    for finding in remote.curation.findings(OWNER, version["id"], limit=None, whole=True):
        found.setdefault(finding["kind"], []).append(set(finding["rows"]))
    left = {
        kind: [g for g in groups if not any(set(g) <= rows for rows in found.get(kind, []))]
        for kind, groups in truth.items()
    }
    return {kind: groups for kind, groups in left.items() if groups}


def settled(page: Page) -> None:
    """Wait until the page's script has run to its end."""
    page.wait_for_timeout(300)
    expect(page.get_by_test_id("stStatusWidgetRunningIcon")).to_have_count(0)


def take_out_personal_data(page: Page, app: RunningApp, version: dict[str, Any]) -> None:
    """The first hit by its key, the others by type, then all of them onto the recipe."""
    page.goto(f"{app.url}/curate?version={version['id']}&area=Personal+data")
    told = page.get_by_text(re.compile(r"^\d+ of \d+ decided$"))
    expect(told).to_have_text(re.compile("^0 of"))
    settled(page)
    page.keyboard.press("a")
    expect(told).to_have_text(re.compile("^1 of"))
    accept = page.locator("[class*='st-key-personal-all-accept'] button:enabled")
    while accept.count():
        before = told.inner_text()
        accept.first.click()
        expect(told).not_to_have_text(before)
        settled(page)
    page.get_by_role("button", name="Redact").filter(has_text="accepted hits").click()
    expect(page.get_by_text("1 pending step")).to_be_visible()


def drop_duplicates(page: Page, app: RunningApp, version: dict[str, Any]) -> None:
    page.goto(f"{app.url}/curate?version={version['id']}&area=Duplicates")
    for number, kind in enumerate(("Same text", "Nearly the same", "Same meaning"), start=2):
        page.get_by_role("radio", name=kind).click()
        settled(page)
        page.get_by_role("button", name="Apply rule to all").click()
        page.get_by_role("button", name=re.compile(r"Drop \d+ rows?$")).click()
        expect(page.get_by_text(f"{number} pending steps")).to_be_visible()


def split_anew(page: Page, app: RunningApp, version: dict[str, Any]) -> None:
    page.goto(f"{app.url}/curate?version={version['id']}&area=Split")
    page.get_by_role("button", name="Add split to the recipe").click()
    expect(page.get_by_text("5 pending steps")).to_be_visible()


def save(page: Page) -> None:
    settled(page)
    page.get_by_role("button", name="Save as v2").first.click()
    page.get_by_label("Message").fill("Cleaned")
    page.keyboard.press("Tab")
    settled(page)
    page.locator(".st-key-recipe-start button").click()
    version = page.get_by_role("combobox", name="Version")
    expect(version).to_have_value(re.compile("^v2 ·"), timeout=MINUTES)


def curate_at_the_shell(home: Path, recipe: str, out: Path) -> str:
    """The content hash that `lathe curate` gives for the same file."""
    path = out / "recipe.yaml"
    path.write_text(recipe, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "curate", str(path), "--input", str(FILE),
         "--output", str(out / "clean"), "--json"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "LATHE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["content_hash"])


def test_a_messy_file_becomes_a_clean_version(
    app: RunningApp, remote: Remote, page: Page, starter: None, tmp_path: Path
) -> None:
    page.set_default_timeout(30_000)
    expect.set_options(timeout=30_000)
    import_file(page, app)
    first = remote.datasets.find(OWNER, "Messy tickets")
    look_for_faults(page, app, first)
    assert missed(remote, first) == {}

    take_out_personal_data(page, app, first)
    drop_duplicates(page, app, first)
    split_anew(page, app, first)
    save(page)

    second = remote.datasets.find(OWNER, "Messy tickets")
    assert second["number"] == 2
    assert second["parent_id"] == first["id"]
    assert second["row_count"] < first["row_count"]
    job = remote.curation.analyse(
        OWNER, second["id"], detectors=["leakage", "exact", "near", "personal", "secrets"]
    )
    wait_for(lambda: remote.jobs.get(OWNER, job)["state"] == "succeeded", 180)
    assert remote.curation.finding_counts(OWNER, second["id"])["total"] == 0

    page.goto(f"{app.url}/datasets?dataset={first['dataset_id']}&view=Versions")
    expect(page.get_by_text("Cleaned").first).to_be_visible()
    diff = remote.versions.diff(OWNER, first["id"], second["id"])
    assert diff["counts"]["removed"] == first["row_count"] - second["row_count"]
    assert diff["counts"]["changed"] > 0

    recipe = remote.recipes.recipe_of(OWNER, second["id"])
    assert [step["step"] for step in yaml.safe_load(recipe)["steps"]] == [
        "redact", "deduplicate", "deduplicate", "deduplicate", "split",
    ]  # fmt: skip
    assert curate_at_the_shell(app.home, recipe, tmp_path) == second["content_hash"]

    third = remote.versions.rollback(OWNER, first["id"], "Too much was taken out")
    assert (third["number"], third["content_hash"]) == (3, first["content_hash"])
    page.goto(f"{app.url}/datasets?version={second['id']}")
    page.get_by_role("button", name="More").click()
    page.get_by_role("button", name="Export rows").click()
    expect(page.get_by_text("Archiving takes the dataset off the list")).to_be_hidden()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Messages", exact=True).click()
    dialog.get_by_role("button", name="Write files").click()
    expect(dialog.get_by_text("records written")).to_be_visible()
    (made,) = remote.exports.list(OWNER, second["id"])
    lines = (Path(made["folder"]) / made["files"][0]["name"]).read_text().splitlines()
    assert json.loads(lines[0])["messages"][-1]["role"] == "assistant"
    assert isinstance(OWNER, Actor)
