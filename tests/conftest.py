"""What every test may ask for: a home of its own, and a store in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from app.bootstrap import find_browser
from core.settings import Settings
from core.store.database import Store
from core.workbench import Workbench
from tests.pages_runner import Pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser


# Two cores shared with model workers: how long an example takes says nothing here. A suite that
# decides what lands draws the same examples each time; HYPOTHESIS_PROFILE=search looks for others.
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

CHROMIUM_FLAGS = [
    "--no-sandbox",  # Chromium refuses its sandbox to root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The one real Chromium of the whole session."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=find_browser(), args=CHROMIUM_FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home)


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    opened = Store(home)
    yield opened
    opened.close()


@pytest.fixture
def workbench(settings: Settings) -> Iterator[Workbench]:
    """A whole workbench with its threads running."""
    with Workbench.open(settings) as opened:
        yield opened


@pytest.fixture
def starter_home(home: Path) -> Path:
    """A home with the starter models in it: linked from the cache, fetched the first time."""
    from core.models.starter import ensure_starter

    ensure_starter(home, cache=Settings.from_env().cache)
    return home


@pytest.fixture
def pages(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    """Opens single pages over `workbench` without a server: `pages.open("jobs", role="lead")`."""
    opener = Pages(workbench, monkeypatch)
    yield opener
    opener.close()
