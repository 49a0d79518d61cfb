"""Real Chromium against the real app.

    def test_x(page: Page, app: RunningApp) -> None:      # signed in as an admin, 1280 x 800
        page.goto(f"{app.url}/jobs")

`app` is one `python -m app` for the whole session, in a home of its own. A page that logged an
error of its own script fails its test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from app.guard import COOKIE
from app.remote import Remote
from core.settings import Settings
from core.workbench import OWNER
from tests.running import RunningApp, running_app

PASSWORD = "turned on a lathe"

expect.set_options(timeout=30_000)  # the machine may be busy with the rest of the suite

NewContext = Callable[..., BrowserContext]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/browser/" in str(item.path):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    with running_app(tmp_path_factory.mktemp("browser") / "home") as started:
        yield started


@pytest.fixture(scope="session")
def remote(app: RunningApp) -> Iterator[Remote]:
    """The running app's workbench, as its owner: to prepare what a test looks at."""
    with Remote(app.card, Settings(home=app.home)) as opened:
        yield opened


@pytest.fixture(scope="session")
def session_of(app: RunningApp, remote: Remote) -> Callable[[str], str]:
    """A session token for a role, of a user who has set PASSWORD."""
    tokens: dict[str, str] = {}

    def token_of(role: str) -> str:
        if role not in tokens:
            link = remote.users.create(OWNER, f"browser-{role}", role)["token"]
            with httpx.Client(
                base_url=app.url, headers={"Origin": app.url}, trust_env=False, timeout=60
            ) as client:
                client.post("/sign-in/link", data={"token": link})
                tokens[role] = client.cookies[COOKIE]
                client.post(
                    "/api/actions/users/set_password",
                    json={"args": [PASSWORD], "kwargs": {"keep_session": tokens[role]}},
                ).raise_for_status()
        return tokens[role]

    return token_of


@pytest.fixture
def new_context(
    browser: Browser, app: RunningApp, session_of: Callable[[str], str]
) -> Iterator[NewContext]:
    """Makes browser windows: `new_context(role="lead", color_scheme="dark")`; role None: nobody."""
    opened: list[BrowserContext] = []

    def make(*, role: str | None = "admin", **options: object) -> BrowserContext:
        options = {"viewport": {"width": 1280, "height": 800}, **options}
        context = browser.new_context(**options)  # type: ignore[arg-type]
        if role is not None:
            context.add_cookies(
                [{"name": COOKIE, "value": session_of(role), "url": app.url, "httpOnly": True}]
            )
        opened.append(context)
        return context

    yield make
    for context in opened:
        context.close()


@pytest.fixture
def page(new_context: NewContext) -> Iterator[Page]:
    """A signed-in admin's window."""
    opened = new_context().new_page()
    broken: list[str] = []
    opened.on("pageerror", lambda error: broken.append(str(error)))
    yield opened
    assert broken == []
    assert not re.search(r"on our side", opened.content()), "the page showed an unexpected error"
