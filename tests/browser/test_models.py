"""The Models page in a real browser: add an endpoint, load a model, see it die and come back."""

from __future__ import annotations

import json
import os
import signal

import pytest
from playwright.sync_api import Page, expect

from app.remote import Remote
from core.governance.permissions import OWNER
from tests.browser.conftest import NewContext
from tests.running import RunningApp


@pytest.fixture
def parrot(remote: Remote) -> str:
    for model in remote.models.list(OWNER):
        if model["name"] == "Parrot in the browser":
            return str(model["id"])
    script = json.dumps({"default": "one two three"})
    return str(remote.models.add(OWNER, "Parrot in the browser", "scripted", script))


def test_an_endpoint_is_added_by_the_form(page: Page, app: RunningApp, remote: Remote) -> None:
    page.goto(f"{app.url}/models")
    page.get_by_role("button", name="Add model").click()
    page.get_by_text("Endpoint", exact=True).click()
    expect(page.get_by_label("Model there")).to_be_visible()
    page.get_by_label("Name", exact=True).fill("Far away")
    page.get_by_label("Address").fill("http://127.0.0.1:9")
    page.get_by_label("Model there").fill("far-1")
    page.get_by_role("button", name="Inspect and add").click()
    expect(page.get_by_text("Address and key")).to_be_visible()
    expect(page.get_by_label("Address", exact=True)).to_have_value("http://127.0.0.1:9/v1")
    (far,) = [m for m in remote.models.list(OWNER) if m["name"] == "Far away"]
    assert (far["location"], far["has_key"]) == ("http://127.0.0.1:9/v1", False)
    assert f"model={far['id']}" in page.url


def test_a_model_is_loaded_killed_and_loaded_again(
    page: Page, app: RunningApp, remote: Remote, parrot: str
) -> None:
    page.goto(f"{app.url}/models?model={parrot}")
    drawer = page.get_by_role("dialog")
    drawer.get_by_role("button", name="Load", exact=True).click()
    expect(drawer.get_by_text("in memory, loaded in")).to_be_visible()
    (state,) = remote.models.states(OWNER, model_id=parrot)
    os.kill(state["pid"], signal.SIGKILL)
    expect(drawer.get_by_text("The worker died")).to_be_visible()
    drawer.get_by_role("button", name="Load", exact=True).click()
    drawer.get_by_role("button", name="Unload").click()
    expect(drawer.get_by_role("button", name="Load", exact=True)).to_be_visible()
    expect(drawer.get_by_text("does not fit")).to_have_count(0)


def test_the_page_needs_no_sideways_scrolling_in_either_theme(
    app: RunningApp, new_context: NewContext, parrot: str
) -> None:
    for scheme in ("light", "dark"):
        page = new_context(color_scheme=scheme).new_page()
        page.goto(f"{app.url}/models")
        expect(page.get_by_text("Free for models")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
