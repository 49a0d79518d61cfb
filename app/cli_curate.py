"""The command line of recipes: `lathe curate`, from a file to a clean one.

Knows: words and files. Does not know: what a step does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from app.listing import to_json
from core.errors import Invalid, NotFound
from core.settings import Settings
from core.workbench import OWNER

COUNTED = (("changed", "cells changed"), ("removed", "rows removed"))


@click.command("curate")
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--input", "file", required=True, type=click.Path(exists=True, path_type=Path),
    help="The file to clean: any format that `lathe datasets import` reads.",
)  # fmt: skip
@click.option(
    "--output", "out", required=True, type=click.Path(path_type=Path),
    help="The folder for data.parquet, manifest.json, report.json and recipe.yaml.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def curate(recipe: Path, file: Path, out: Path, as_json: bool) -> None:
    """Do the steps of RECIPE, a YAML file, to a file, and print the content hash.

    Needs no workspace, but for steps that ask a model of one. The hash is that of the version
    which the same recipe makes on the page Curate.
    """
    from core.curation.offline import REPORT, curate_file, models_of
    from core.curation.recipe import Recipe
    from core.curation.steps import STEPS
    from core.curation.tools import Tools
    from core.models import starter
    from core.store.files import read_json

    settings = Settings.from_env()
    chosen = Recipe.parse(_text_of(recipe))

    def say(text: str) -> None:
        if not as_json:
            click.echo(text, err=True)

    def on_step(number: int, step: dict[str, Any]) -> None:
        say(f"{number + 1} of {len(chosen.steps)}: {STEPS[step['step']].label}")

    there = (settings.home / "lathe.lock").exists()
    tools = Tools(
        cache=settings.home / "cache" / "curation" if there else settings.cache / "curation",
        embedding_model=starter.available(settings.home, settings.cache, "all-minilm-l6-v2"),
        answer=_asking(settings, models_of(chosen.steps)),
    )
    manifest = curate_file(
        chosen, file, out, tools, on_step=on_step, on_import=lambda rows: say(f"{rows:,} rows read")
    )
    report = read_json(out / REPORT)
    if as_json:
        click.echo(to_json({**manifest, "steps": report["steps"], "output": str(out)}))
        return
    for number, step in enumerate(report["steps"]):
        said = [f"{step[name]:,} {word}" for name, word in COUNTED if step[name]]
        counts = ", ".join(f"{name} {count:,}" for name, count in step["counts"].items())
        label = STEPS[step["step"]].label
        click.echo(f"{number + 1}. {label}: {'; '.join([*said, counts]).strip('; ') or 'nothing'}")
    click.echo(f"{manifest['row_count']:,} rows in {out}")
    click.echo(manifest["content_hash"])


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}.", field="recipe") from None


def _asking(settings: Settings, names: list[str]) -> Any:
    """The models that a recipe names, from the workspace; None where it names none."""
    from app.remote import open_workbench
    from core.curation.asking import Asking

    if not names:
        return None
    with open_workbench(settings) as workbench:
        listed = {row["name"]: row["id"] for row in workbench.models.list(OWNER)}
        for name in names:
            if name not in listed:
                raise NotFound(f"There is no model {name!r} in this workspace.",
                               hint=f"There are {', '.join(listed) or 'none yet'}.")  # fmt: skip
        specs = {
            name: workbench.models.resolve(OWNER, listed[name], purpose="batch").to_dict()
            for name in names
        }
    return Asking(settings.home, specs)
