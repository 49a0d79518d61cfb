"""The README says what there is: every page, setting, command and job kind.

python -m tests.test_readme     writes the generated tables into it
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import click
import pytest

from app import evaluate
from app.cli import main
from app.navigation import ENTRIES
from core.governance.permissions import JOB_KINDS, PAGES
from core.jobs.kinds import KINDS
from core.settings import PROJECT_ROOT, SETTINGS
from core.training import config

README = PROJECT_ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def settings_table() -> str:
    lines = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for setting in SETTINGS.values():
        default = f"`{setting.default}`" if setting.default else "none"
        lines.append(f"| `{setting.variable}` | {default} | {setting.meaning} |")
    return "\n".join(lines)


def every_command(group: click.Group, path: str = "lathe") -> dict[str, click.Command]:
    found = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= every_command(command, f"{path} {name}")
        else:
            found[f"{path} {name}"] = command
    return found


def commands_table() -> str:
    lines = ["| command | what it does |", "| --- | --- |"]
    for name, command in every_command(main).items():
        context = click.Context(command)
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        words = [argument.make_metavar(context) for argument in arguments]
        lines.append(f"| `{' '.join([name, *words])}` | {command.get_short_help_str(200)} |")
    return "\n".join(lines)


def evaluation_example() -> str:
    """The example in the module's own docstring, so that there is one of it."""
    return example_of(evaluate.__doc__)


def finetune_example() -> str:
    """The same of a fine-tune."""
    return example_of(config.__doc__)


def example_of(docstring: str | None) -> str:
    lines = (docstring or "").splitlines()
    example = textwrap.dedent("\n".join(line for line in lines if line.startswith("    ")))
    return f"```yaml\n{example}\n```"


GENERATED = {
    "settings": settings_table,
    "commands": commands_table,
    "evaluation": evaluation_example,
    "finetune": finetune_example,
}


def block(name: str) -> str:
    found = re.search(f"<!-- {name} -->\n(.*)<!-- /{name} -->", TEXT, re.DOTALL)
    assert found, f"the README has no block {name}"
    return found[1].strip()


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_table_is_up_to_date(name: str) -> None:
    assert block(name) == GENERATED[name](), "python -m tests.test_readme writes it anew"


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_in_the_table(name: str) -> None:
    assert f"\n| {ENTRIES[name].title} | " in TEXT


@pytest.mark.parametrize("kind", JOB_KINDS)
def test_every_job_kind_is_in_the_table(kind: str) -> None:
    assert kind in KINDS
    assert f"\n| `{kind}` | " in TEXT


def test_every_make_target_is_in_the_table() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+): .*##", makefile, re.MULTILINE)
    assert {"run", "setup", "test", "check", "bench", "clean"} <= set(targets)
    for target in targets:
        if target != "help":
            assert f"| `make {target}` | " in TEXT


def test_the_example_of_an_evaluation_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(evaluation_example().removeprefix("```yaml").removesuffix("```"))
    config = evaluate.read_config(file)
    assert config["baseline"] == config["variants"][0]["name"]
    assert set(config) == evaluate.KEYS
    assert set(config["variants"][0]) == evaluate.VARIANT_KEYS


def test_every_link_and_picture_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (PROJECT_ROOT / target).exists(), target


def write() -> None:
    text = TEXT
    for name, make in GENERATED.items():
        text = re.sub(
            f"(<!-- {name} -->\n).*(<!-- /{name} -->)",
            lambda found, make=make: found[1] + make() + "\n" + found[2],
            text,
            flags=re.DOTALL,
        )
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
