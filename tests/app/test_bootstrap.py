"""The set-up, really done: a checkout of its own, a real venv and pip, no registry needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app import bootstrap
from core.settings import PROJECT_ROOT

# A build backend in the tree itself: pip's editable install then fetches nothing.
BACKEND = """
import zipfile, pathlib
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "tiny-1.0-py3-none-any.whl"
    here = str(pathlib.Path(__file__).parent)
    info = "tiny-1.0.dist-info"
    files = {
        "tiny.pth": here,
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = "".join(f"{n},,\\n" for n in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)
    return name
build_wheel = build_editable
"""  # noqa: E501
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "tiny"
version = "1.0"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A clone as small as can be: the real bootstrap, locks with nothing in them."""
    (tmp_path / "app").mkdir()
    for name in ("__init__.py", "bootstrap.py"):
        shutil.copy(PROJECT_ROOT / "app" / name, tmp_path / "app")
    (tmp_path / "app" / "__main__.py").write_text("import sys; print('started', sys.argv[1:])")
    (tmp_path / "app" / "cli.py").write_text("import os, sys; sys.exit(int(os.environ['FETCH']))")
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "requirements.lock").write_text("# nothing\n")
    (tmp_path / "requirements-dev.lock").write_text("# nothing\n")
    return tmp_path


def call(checkout: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.bootstrap", *words],
        cwd=checkout,
        env={**os.environ, "PIP_NO_INDEX": "1", "FETCH": "0", **env},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_a_bare_checkout_is_set_up_once_and_then_starts(checkout: Path) -> None:
    first = call(checkout, "run", "--port", "1")
    assert "Making the virtual environment" in first.stdout, first.stderr
    assert first.stdout.endswith("started ['--port', '1']\n")
    second = call(checkout, "run")
    assert second.stdout == "started []\n"
    without = call(checkout, "run", FETCH="1")
    assert "without the starter models" in without.stdout
    assert without.stdout.endswith("started []\n")
    assert call(checkout, "setup", FETCH="1").returncode == 1
    # The locks say something new: only then is the installer asked again.
    (checkout / "requirements-dev.lock").write_text("# other\n")
    assert call(checkout, "setup").stdout == ""
    assert "Installing" in call(checkout, "setup", "--dev").stdout
    # An environment whose interpreter has gone is made anew.
    (checkout / ".venv/bin/python").unlink()
    assert "Making the virtual environment" in call(checkout, "setup").stdout
    assert "Installing" in call(checkout, "setup", "--dev").stdout
    assert call(checkout, "clean").returncode == 0
    assert not (checkout / ".venv").exists()


@pytest.mark.slow
def test_a_failed_install_says_why_and_leaves_no_stamp(checkout: Path) -> None:
    (checkout / "requirements.lock").write_text("no-such-package-of-ours==9.9\n")
    done = call(checkout, "setup")
    assert done.returncode == 1
    assert "pip install failed" in done.stderr
    assert "no-such-package-of-ours" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv/lathe-setup.json").exists()


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main(["dance"]) == 2
    assert "setup|run|test" in capsys.readouterr().err


def test_too_little_disk_is_said_before_anything_is_made(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "ROOT", checkout)
    monkeypatch.setattr(bootstrap, "VENV", checkout / ".venv")
    monkeypatch.setattr(bootstrap, "STAMP", checkout / ".venv/lathe-setup.json")
    monkeypatch.setattr(bootstrap, "NEEDED_BYTES", 10**18)
    assert bootstrap.main(["setup"]) == 1
    assert "GB of disk" in capsys.readouterr().err
    assert not (checkout / ".venv").exists()


def test_an_older_python_is_told_which_one_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST_PYTHON", (9, 0))
    monkeypatch.setattr(bootstrap, "STAMP", Path("/nowhere"))
    assert bootstrap.main(["setup"]) == 1
    assert "needs Python 9.0 or newer" in capsys.readouterr().err


def test_a_machine_without_a_browser_or_root_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert bootstrap.main(["browser"]) == 1
    assert 'not browser"' in capsys.readouterr().err


def test_the_stamp_depends_on_locks_and_project(checkout: Path) -> None:
    code = "import json; from app import bootstrap as b; print(json.dumps(b._wanted(True)))"

    def wanted() -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=checkout, capture_output=True, text=True, check=True
        )
        found: dict[str, str] = json.loads(done.stdout)
        return found

    before = wanted()
    (checkout / "requirements-dev.lock").write_text("x==1\n")
    after = wanted()
    assert before["runtime"] == after["runtime"]
    assert before["dev"] != after["dev"]
