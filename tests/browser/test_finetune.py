"""A fine-tune as a person does it: set up, watched, paused, resumed, better than its base; then
the votes on the two become the next one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.remote import Remote
from core.generation import Generation
from core.workbench import OWNER
from tests.browser.test_curation import settled
from tests.models.tiny import save_tiny_model
from tests.running import RunningApp

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

MINUTES = 240_000
"""For what a job does on a busy machine."""
VOTES = 8
POINTS = """() => {
    const plot = document.querySelector('[class*="st-key-loss-"] .js-plotly-plot');
    return plot && plot.data && plot.data.length ? plot.data[0].x.length : 0;
}"""
RANGE = """() => document.querySelector('[class*="st-key-loss-"] .js-plotly-plot')
    ._fullLayout.xaxis.range.map(Math.round)"""


def animals(remote: Remote, folder: Path) -> dict[str, str]:
    """A model of random weights, and rows from which it can learn which animal is meant."""
    path = save_tiny_model(folder / "tiny")
    rows = [
        {"text": f"{n} the {'quick fox' if n % 2 else 'lazy dog'}",
         "label": "fox" if n % 2 else "dog"}
        for n in range(80)
    ]  # fmt: skip
    version = remote.datasets.import_rows(
        OWNER, name="Animals", filename="animals.jsonl",
        data="\n".join(map(json.dumps, rows)).encode(),
        mapping={"text": "input", "label": "expected"},
    )  # fmt: skip
    prompt = remote.prompts.create(OWNER, "Name the animal")
    saved = remote.prompts.save_version(
        OWNER, prompt, system_template="", user_template="{{text}}",
        generation=Generation(max_tokens=4),
    )  # fmt: skip
    base = remote.models.add(OWNER, "tiny animals", "directory", str(path))
    return {"dataset": version["id"], "prompt": saved["id"], "base": base}


def fill(page: Page, label: str, value: str) -> None:
    """Type into a number input, and wait until the page has taken it."""
    page.get_by_role("spinbutton", name=label, exact=True).fill(value)
    page.keyboard.press("Tab")
    settled(page)


def set_up(page: Page, app: RunningApp, asked: dict[str, str]) -> None:
    named = "&".join(f"{name}={value}" for name, value in asked.items())
    page.goto(f"{app.url}/finetune?new=1&{named}")
    expect(page.get_by_role("combobox", name="Base model")).to_have_value("tiny animals")
    settled(page)
    for label, value in (("LoRA rank", "8"), ("Learning rate", "0.002"), ("Epochs", "150"),
                         ("Longest row, tokens", "128")):  # fmt: skip
        fill(page, label, value)
    page.get_by_text("Advanced", exact=False).first.click()
    for label, value in (("Steps between evaluations", "200"), ("CPU threads", "1")):
        fill(page, label, value)


def points(page: Page, more_than: int) -> int:
    """How many points the loss has, once they are more than so many."""
    for _ in range(MINUTES // 250):  # the page's policy forbids playwright's own waiting
        found = int(page.evaluate(POINTS))
        if found > more_than:
            return found
        page.wait_for_timeout(250)
    raise AssertionError(f"the curve did not get past {more_than} points")


def zoom(page: Page) -> list[int]:
    """Drag over the middle of the loss; the steps that are shown then."""
    place = page.locator("[class*='st-key-loss-'] .nsewdrag").first
    place.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    box = place.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    for move in (
        lambda: page.mouse.move(box["x"] + box["width"] * 0.3, middle),
        page.mouse.down,
        lambda: page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=12),
        page.mouse.up,
    ):
        move()
        page.wait_for_timeout(150)  # plotly follows a hand, not a jump
    page.wait_for_timeout(600)
    return list(page.evaluate(RANGE))


def watch_pause_and_resume(page: Page) -> None:
    """The curve grows and keeps its zoom; a pause keeps a step, and Resume goes on from it."""
    first = points(page, 0)
    shown = zoom(page)
    points(page, first)
    assert page.evaluate(RANGE) == shown
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text(re.compile(r"Step \d+ is kept\."))).to_be_visible(timeout=MINUTES)
    settled(page)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible(timeout=MINUTES)


def ahead(page: Page, remote: Remote) -> dict[str, Any]:
    """Wait for the comparison, open it; the fine-tune."""
    opens = page.get_by_role("button", name="Open the comparison")
    expect(opens).to_be_visible(timeout=MINUTES)
    row: dict[str, Any] = remote.finetunes.list(OWNER)[0]
    found = row["comparison"]
    assert found["adapter"]["pass_rate"] > found["base"]["pass_rate"]
    assert found["versus"]["interval"]["low"] > 0
    settled(page)
    opens.click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    expect(page.get_by_text("pass rate, n = 20")).to_have_count(2)
    expect(page.get_by_text("fixed").first).to_be_visible()
    return row


def vote(page: Page) -> None:
    """Say of some rows which answer is better, by the key, without knowing whose it is."""
    page.get_by_role("button", name="Vote blind").click()
    for _ in range(VOTES):
        expect(page.get_by_role("button", name="Left is better")).to_be_visible()
        settled(page)
        page.keyboard.press("1")
        settled(page)
    page.get_by_role("button", name="Show the tally").click()


def test_a_fine_tune_beats_its_base_and_the_votes_on_it_are_the_next_one(
    page: Page, app: RunningApp, remote: Remote, tmp_path: Path
) -> None:
    set_up(page, app, animals(remote, tmp_path))
    page.get_by_role("button", name="Start 1,200 steps").click()
    watch_pause_and_resume(page)
    first = ahead(page, remote)
    assert first["result"]["steps"] == 1200

    vote(page)
    tune = page.get_by_role("button", name="Fine-tune on these votes")
    expect(tune).to_be_enabled()
    tune.click()
    method = page.get_by_role("combobox", name="Method")
    expect(method).to_have_value(re.compile("DPO"))
    settled(page)
    page.get_by_role("button", name=re.compile(r"Start \d+ step")).click()
    expect(page.get_by_text("Trained in")).to_be_visible(timeout=MINUTES)
    expect(
        page.get_by_text("Does the chosen answer gain on the rejected one?", exact=True)
    ).to_be_visible()
    second = remote.finetunes.list(OWNER)[0]
    assert (second["method"], second["state"]) == ("dpo", "succeeded")
    assert second["adapter_model_id"] not in (None, first["adapter_model_id"])
