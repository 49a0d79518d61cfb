"""The set-up: from a bare Python 3.11 to a running Lathe, with the standard library alone.

    python3 -m app.bootstrap setup|run|test|browser|clean

`make` calls it, and `python -m app` does where the packages are missing. What is done is marked
by a stamp, written last: a second start compares one hash, an interrupted one goes on.

Knows: the virtual environment, the locks, where Chromium comes from.
Does not know: anything that is installed by it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "lathe-setup.json"
LOG = VENV / "lathe-setup.log"
RUNTIME_LOCK = ROOT / "requirements.lock"
DEV_LOCK = ROOT / "requirements-dev.lock"
OLDEST_PYTHON = (3, 11)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NEEDED_BYTES = 5 * 10**9  # packages, the models and a workspace, with some room to work in


class SetupError(Exception):
    """The set-up cannot go on; the text says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what goes wrong is one message on stderr and exit code 1."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = COMMANDS.get(words[0] if words else "")
    if command is None:
        print(f"usage: python3 -m app.bootstrap {'|'.join(COMMANDS)}", file=sys.stderr)
        return 2
    try:
        return command(words[1:])
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The next start goes on from here.", file=sys.stderr)
        return 130


def enter(arguments: Sequence[str]) -> None:
    """Return where Lathe's packages can be imported; else set up and start over in the venv."""
    if all(importlib.util.find_spec(name) for name in ("streamlit", "duckdb", "transformers")):
        return
    code = main(["run", *arguments])
    sys.exit(code)


def setup(words: Sequence[str]) -> int:
    """Packages and starter models; `--dev` has what tests and checks need, and no models."""
    _install_locks(dev="--dev" in words)
    return 0 if "--dev" in words else _fetch_models()


def _install_locks(*, dev: bool) -> None:
    """Make the virtual environment true to the locks; costs one comparison when it is."""
    wanted = _wanted(dev)
    done = _stamp()
    if all(done.get(name) == value for name, value in wanted.items()) and _venv_works():
        return
    _check_python()
    _check_disk()
    started = time.monotonic()
    if not _venv_works():
        done = {}  # whatever was installed goes with the old one
        _make_venv()
    locks = [RUNTIME_LOCK, DEV_LOCK] if dev else [RUNTIME_LOCK]
    _install(locks)
    STAMP.write_text(json.dumps({**done, **wanted}, indent=1))
    print(f"The environment is ready ({time.monotonic() - started:.0f} s).", flush=True)


def _fetch_models() -> int:
    """Fetch and convert the models that every workspace begins with, where they are not there."""
    command = [str(venv_python()), "-m", "app.cli", "models", "fetch"]
    return subprocess.run(command, cwd=ROOT).returncode


def run(words: Sequence[str]) -> int:
    """Set up, then start the app in the environment; this process becomes the app."""
    if setup([]) != 0:
        print("Starting without the starter models; `lathe models fetch` tries again.", flush=True)
    os.chdir(ROOT)
    python = str(venv_python())
    os.execv(python, [python, "-m", "app", *words])  # noqa: S606


def test(words: Sequence[str]) -> int:
    """Set up with Chromium, then run pytest; this process becomes pytest."""
    setup(["--dev"])
    browser([])
    os.chdir(ROOT)
    python = str(venv_python())
    os.execv(python, [python, "-m", "pytest", *words])  # noqa: S606


def browser(words: Sequence[str]) -> int:
    """See that there is a Chromium for the browser tests; install it where that is allowed."""
    if find_browser() is not None:
        return 0
    prefix = _root_prefix()
    if shutil.which("apt-get") is None or prefix is None:
        raise SetupError(
            "The browser tests need Chromium, and it cannot be installed from here.\n"
            "Install the package `chromium` (Debian: apt-get install chromium), then repeat.\n"
            "To leave the browser tests out: make test TESTS='-m \"not browser\"'"
        )
    print("Installing Chromium for the browser tests ...", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        done = subprocess.run(
            [*prefix, "apt-get", "-q", *step], env=environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise SetupError(f"apt-get {step[0]} failed:\n{_tail(done.stdout + done.stderr)}")
    if find_browser() is None:
        raise SetupError("apt-get installed no program named chromium.")
    return 0


def clean(words: Sequence[str]) -> int:
    """Remove the environment and every cache; the workspace with your data stays."""
    for name in (".venv", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "build"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    for folder in [ROOT / "lathe.egg-info", ROOT / ".import_linter_cache"]:
        shutil.rmtree(folder, ignore_errors=True)
    for folder in list(ROOT.glob("*/**/__pycache__")):
        shutil.rmtree(folder, ignore_errors=True)
    print("Removed the environment and the caches. The workspace was not touched.")
    return 0


COMMANDS = {"setup": setup, "run": run, "test": test, "browser": browser, "clean": clean}


def venv_python() -> Path:
    """The environment's interpreter."""
    return VENV / "bin" / "python"


def find_browser() -> str | None:
    """The path of a Chromium on this machine, or None."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def _wanted(dev: bool) -> dict[str, str]:
    """What the stamp must say: one hash per lock, over everything the result depends on."""
    shared = (ROOT / "pyproject.toml").read_bytes() + RUNTIME_LOCK.read_bytes()
    wanted = {"runtime": hashlib.sha256(shared).hexdigest()}
    if dev:
        wanted["dev"] = hashlib.sha256(shared + DEV_LOCK.read_bytes()).hexdigest()
    return wanted


def _stamp() -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _check_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        have = ".".join(str(part) for part in sys.version_info[:3])
        raise SetupError(
            f"Lathe needs Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer, "
            f"this is {have} ({sys.executable}).\n"
            "With a newer one elsewhere: make run PYTHON=/path/to/python3.11"
        )


def _check_disk() -> None:
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES and not _venv_works():
        raise SetupError(
            f"The set-up needs about {NEEDED_BYTES / 1e9:.0f} GB of disk, "
            f"{free / 1e9:.1f} GB are free at {ROOT}."
        )


def _venv_works() -> bool:
    """False where the environment is missing, or its Python has gone or is too old."""
    probe = f"import sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    try:
        done = subprocess.run([str(venv_python()), "-c", probe], capture_output=True, timeout=60)
    except OSError:
        return False
    return done.returncode == 0


def _make_venv() -> None:
    print(f"Making the virtual environment {VENV.name} ...", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(VENV)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SetupError(
            f"python -m venv failed:\n{_tail(done.stdout + done.stderr)}\n"
            "On Debian and Ubuntu it is a package of its own: apt-get install python3-venv"
        )


def _install(locks: Sequence[Path]) -> None:
    """Install the locks, then the checkout itself so that `lathe` and imports work anywhere."""
    count = sum(len(read_lock(lock)) for lock in locks)
    print(f"Installing {count} packages; the first time this takes several minutes.", flush=True)
    files = [word for lock in locks for word in ("-r", str(lock))]
    _pip(["install", *files], total=count)
    # The build backend is in the lock, so nothing is fetched or resolved a second time.
    _pip(["install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    _pip(["check"])


def read_lock(path: Path) -> dict[str, str]:
    """Names and versions in a lock file."""
    lines = (line.split("#")[0].strip() for line in path.read_text().splitlines())
    return dict(line.split("==", 1) for line in lines if line)


def _pip(words: Sequence[str], *, total: int = 0) -> None:
    """Run the environment's pip; shows how many packages it has seen, keeps its words in a log."""
    command = [str(venv_python()), "-m", "pip", "--disable-pip-version-check", "--no-input", *words]
    seen = 0
    with (
        LOG.open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        for line in process.stdout or ():
            log.write(line)
            if total and line.startswith(("Collecting ", "Requirement already satisfied")):
                seen += 1
                _show(f"  {min(seen, total)} of {total}  {line.split()[1][:40]}")
            elif line.startswith("Installing collected"):
                _show("  unpacking ...")
    _show("")
    if process.returncode != 0:
        raise SetupError(
            f"pip {words[0]} failed:\n{_tail(LOG.read_text())}\nThe whole log: {LOG}\n"
            "Once the cause is mended, the same command goes on from here."
        )


def _show(text: str) -> None:
    """Overwrite the line on a terminal; say nothing into a file."""
    if sys.stdout.isatty():
        print(f"\r{text:<72}", end="\r", flush=True)


def _root_prefix() -> list[str] | None:
    """What to put before a command that needs root; None where that is not to be had."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0:
        return [sudo, "-n"]
    return None


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join("  " + line for line in text.strip().splitlines()[-lines:])


if __name__ == "__main__":
    sys.exit(main())
