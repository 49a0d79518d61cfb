"""The structure, guarded: who imports whom, what stays out of a process, how long things are."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.settings import PROJECT_ROOT

HEAVY = ("streamlit", "torch", "transformers", "sentence_transformers", "bitsandbytes", "plotly")
# These run inside a model worker only, and are torch through and through. That nothing else
# imports them at module level follows from the others staying light.
INSIDE_THE_WORKER = "core.models.engines."
# So is the script of a fine-tune: it is copied into run folders and runs in processes of its own.
# What core takes from it (params, rows) is light, and is seen to be by those that import it.
THE_SCRIPT = "core.training.script."
PACKAGES = ("app", "core", "pages")
LONGEST_FILE = 400
LONGEST_SERVICE = 500  # a noun's actions stay in one class: split, they would be in two places
LONGEST_FUNCTION = 60


def python_files(*packages: str) -> list[Path]:
    return sorted(
        path
        for package in packages
        for path in (PROJECT_ROOT / package).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def modules(package: str) -> list[str]:
    """Every module of a package by its dotted name."""
    names = []
    for path in python_files(package):
        parts = path.relative_to(PROJECT_ROOT).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def relative(path: Path) -> str:
    return str(path.relative_to(PROJECT_ROOT))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """(name, lines) of every function in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{relative(path)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_core_leaves_the_heavy_packages_out() -> None:
    """One process a module would take minutes: one imports all, a culprit is then looked for."""
    inside = (INSIDE_THE_WORKER, THE_SCRIPT)
    light = [name for name in modules("core") if not name.startswith(inside)]
    if heavy_after(light):
        guilty = {name: heavy for name in light if (heavy := heavy_after([name]))}
        pytest.fail(f"imported at module level: {guilty}")


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    assert heavy_after(["app.cli"]) == []


def heavy_after(names: list[str]) -> list[str]:
    """Which heavy packages a fresh interpreter has after importing these modules."""
    code = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_set_up_needs_the_standard_library_alone() -> None:
    path = PROJECT_ROOT / "app" / "bootstrap.py"
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names, name


def test_a_page_is_a_script() -> None:
    for path in python_files("pages"):
        text = path.read_text(encoding="utf-8")
        assert "def main" not in text, path
        assert "import duckdb" not in text, path


def test_no_file_is_too_long_to_read_at_a_sitting() -> None:
    lengths = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files(*PACKAGES, "tests")
    }
    limits = {
        name: LONGEST_SERVICE if name.endswith("/service.py") else LONGEST_FILE for name in lengths
    }
    assert {name: n for name, n in lengths.items() if n > limits[name]} == {}


def test_no_function_is_too_long_to_see_at_once() -> None:
    long = {
        name: lines
        for path in python_files(*PACKAGES)
        for name, lines in functions(path)
        if lines > LONGEST_FUNCTION
    }
    assert long == {}


def test_every_module_says_what_it_knows() -> None:
    trees = {relative(p): ast.parse(p.read_text(encoding="utf-8")) for p in python_files(*PACKAGES)}
    # An empty __init__ has nothing to say.
    assert [n for n, tree in trees.items() if tree.body and not ast.get_docstring(tree)] == []


def test_nothing_is_left_for_later() -> None:
    words = ("TODO", "FIXME", "XXX", "raise NotImplementedError")
    texts = {relative(p): p.read_text(encoding="utf-8") for p in python_files(*PACKAGES)}
    assert {name: w for name, text in texts.items() for w in words if w in text} == {}
