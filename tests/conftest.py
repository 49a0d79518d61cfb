"""What every test may ask for: a home of its own, and a store in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from core.settings import Settings
from core.store.database import Store
from core.workbench import Workbench
from tests.pages_runner import Pages


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
