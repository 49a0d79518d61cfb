"""From a click in the playground to the first token on the screen, in real Chromium.

Baseline: the model's own time to read the prompt, as its worker reports it for the same request.
What is printed is what Lathe adds: the click, the app, the wire, the page.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import time

import pytest
from playwright.sync_api import Page

from app.remote import Remote
from core.errors import NotFound
from core.models.starter import ensure_starter
from core.settings import Settings
from core.store.database import Row
from core.workbench import OWNER
from tests.browser.conftest import app, new_context, page, remote, session_of
from tests.running import RunningApp

__all__ = ["app", "new_context", "page", "remote", "session_of"]

pytestmark = [pytest.mark.bench, pytest.mark.starter, pytest.mark.browser]

CLICKS = 7
MOST_ADDED_MS = 150
FIGURES = re.compile(r"first token \d")

WATCH = """
() => {
  const at = (window.lathe = {click: 0, old: null, first: 0});
  const text = () => {
    const found = document.querySelector('[data-testid="stCode"] code');
    return found ? found.innerText.trim() : '';
  };
  const run = [...document.querySelectorAll('button')].find(b => b.innerText.includes('Run 1'));
  run.addEventListener('click', () => {
    at.click = performance.now();
    at.old = text();
  }, {capture: true});
  new MutationObserver(() => {
    if (!at.click || at.first) return;
    const now = text();
    if (now === '') at.old = '';
    else if (now !== at.old) at.first = performance.now();
  }).observe(document.body, {subtree: true, childList: true, characterData: true});
}
"""


def told(remote: Remote, trace_id: str) -> Row:
    """The trace, once it has arrived."""
    for _ in range(100):
        with contextlib.suppress(NotFound):
            found: Row = remote.traces.get(OWNER, trace_id)
            return found
        time.sleep(0.1)
    raise AssertionError("the trace did not arrive")


def test_the_first_token_is_on_the_screen_soon_after_the_model_has_it(
    page: Page, app: RunningApp, remote: Remote
) -> None:
    ensure_starter(app.home, cache=Settings.from_env().cache)
    remote.models.register_starter(OWNER)
    page.goto(f"{app.url}/playground")
    page.get_by_role("button", name="Begin with the sample").click()
    page.get_by_role("button", name="Run 2 columns").wait_for()
    page.get_by_role("button", name=re.compile("tune")).first.click()
    page.get_by_role("button", name="Remove this column").click()
    run = page.get_by_role("button", name="Run 1 column")
    run.click()  # loads the model
    page.get_by_text(FIGURES).first.wait_for(timeout=120_000)
    added, shown, prefill = [], [], []
    for number in range(CLICKS):
        run.wait_for()
        row = page.get_by_role("spinbutton", name="Row")
        row.fill(str(number + 2))  # another row: another answer, and a prompt that is not cached
        row.press("Enter")
        page.wait_for_timeout(1500)
        page.evaluate(WATCH)
        run.click()
        page.wait_for_function("() => window.lathe.first > 0", timeout=60_000)
        seen_ms = page.evaluate("() => window.lathe.first - window.lathe.click")
        page.get_by_text(FIGURES).first.wait_for()
        link = page.get_by_role("link", name="Trace").last.get_attribute("href") or ""
        trace = told(remote, link.rpartition("=")[2])
        own_ms = (trace["prefill_ms"] or 0) + (trace["queue_ms"] or 0)
        shown.append(seen_ms)
        prefill.append(own_ms)
        added.append(seen_ms - own_ms)
    print(
        f"\nfirst token on the screen, {CLICKS} clicks, llama.cpp"
        f"\n  the model's own prefill      {statistics.median(prefill):7.0f} ms   1.00x"
        f"\n  click to screen              {statistics.median(shown):7.0f} ms "
        f"{statistics.median(shown) / statistics.median(prefill):6.2f}x"
        f"\n  added, median and worst      {statistics.median(added):7.0f} ms {max(added):7.0f} ms"
    )
    assert statistics.median(added) < MOST_ADDED_MS
