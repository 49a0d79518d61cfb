"""The locks: complete, exact, and free of any machine."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app import lock
from app.bootstrap import DEV_LOCK, RUNTIME_LOCK, read_lock
from core.settings import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = read_lock(RUNTIME_LOCK)
DEV = read_lock(DEV_LOCK)


def asked(lines: list[str]) -> list[Requirement]:
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("needed", asked(PROJECT["dependencies"]), ids=str)
def test_each_dependency_is_locked_at_a_version_it_allows(needed: Requirement) -> None:
    assert needed.specifier.contains(RUNTIME[canonicalize_name(needed.name)])


@pytest.mark.parametrize("needed", asked(PROJECT["optional-dependencies"]["dev"]), ids=str)
def test_each_development_tool_is_locked(needed: Requirement) -> None:
    assert needed.specifier.contains({**RUNTIME, **DEV}[canonicalize_name(needed.name)])


def test_the_lock_names_everything_that_is_needed() -> None:
    # pip would resolve what a lock leaves out: a version that nobody has tested. Only a CUDA
    # build of torch brings parts of its own, pinned by torch itself.
    whole = {**RUNTIME, **DEV}
    missing = {name for name in lock.closure("dev") if name not in whole}
    assert {
        name for name in missing if not name.startswith(("nvidia-", "cuda-", "triton"))
    } == set()
    assert not RUNTIME.keys() & DEV.keys()


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="locked on Python 3.11")
def test_the_lock_names_nothing_else() -> None:
    assert RUNTIME.keys() <= lock.closure().keys()
    assert DEV.keys() <= lock.closure("dev").keys()


def test_this_environment_is_the_locked_one() -> None:
    here = {name: metadata.version(name).split("+")[0] for name in {**RUNTIME, **DEV}}
    assert here == {**RUNTIME, **DEV}


@pytest.mark.parametrize("path", [RUNTIME_LOCK, DEV_LOCK], ids=lambda path: path.name)
def test_a_lock_holds_names_and_versions_only(path: object) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    for line in text.splitlines():
        assert re.fullmatch(r"#.*|    # via [a-z0-9, .-]+|[a-z0-9._-]+==[0-9a-z.]+", line), line
    assert "//" not in text


def test_torch_is_locked_without_the_build_of_this_machine() -> None:
    assert RUNTIME["torch"] == "2.13.0"
