"""What tests of the training script share: a process that forks trainings, a run left in peace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.tiny import save_tiny_model
from tests.training.folders import DROPOUT, Warm, run_folder


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Forks a process for each training."""
    made = Warm()
    yield made
    made.close()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model; nobody writes into it."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def unbroken(warm: Warm, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed, with dropout and rows grouped by length."""
    folder = run_folder(tmp_path_factory.mktemp("unbroken") / "run", base=tiny_base, **DROPOUT)
    assert warm.train(folder) == 0
    return folder
