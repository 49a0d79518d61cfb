"""The command line of datasets beyond listing and importing: what is wrong with one, exports.

Knows: words and columns. Does not know: how anything is found.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click

from app.cli_nouns import AnyWorkbench, as_json_option, datasets, opened
from app.listing import table, to_json
from core.curation.detectors import DETECTORS
from core.curation.exports import FORMATS
from core.curation.findings import KINDS
from core.curation.shapes import SHAPES
from core.errors import Conflict
from core.settings import Settings
from core.workbench import OWNER

FINDING_COLUMNS = {
    "severity": "SEVERITY",
    "kind": "KIND",
    "rows": "ROWS",
    "column": "COLUMN",
    "message": "MESSAGE",
}
SHOWN_ROWS = 5


@datasets.command("findings")
@click.argument("dataset")
@as_json_option
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only findings of this kind.")
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    type=click.Choice([name for name, found in DETECTORS.items() if found.kinds]),
    help="Only look for this; may be given again.",
)
@click.option("--again", is_flag=True, help="Look again where it has been looked for already.")
def dataset_findings(
    dataset: str, as_json: bool, kind: str | None, detectors: tuple[str, ...], again: bool
) -> None:
    """What is wrong with DATASET (name, name@2), worst first.

    It is looked for when it has not been yet. Rows are numbered from 0 as in the imported file.
    """
    from app.remote import open_workbench

    names = list(detectors) or [
        name
        for name, found in DETECTORS.items()
        if found.kinds and (kind is None or kind in found.kinds)
    ]
    with open_workbench(Settings.from_env(), background=True) as workbench:
        version = workbench.datasets.find(OWNER, dataset)
        failed = look(workbench, version["id"], names, again=again)
        rows = workbench.curation.findings(
            OWNER, version["id"], kind=kind, limit=None, whole=True,
            detectors=names if detectors else None,
        )  # fmt: skip
    for part in failed:
        click.echo(f"Not looked for: {part['label'].lower()}. {part['error']['message']}", err=True)
    click.echo(to_json(rows) if as_json else report(version, rows))


@datasets.command("export")
@click.argument("dataset")
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(path_type=Path),
    help="The file, or for hf the folder, to write.",
)
@click.option(
    "--format",
    "what",
    default="rows",
    help="A shape (rows, messages, prompt-completion, preference, kto) or a file format.",
)
@click.option(
    "--as",
    "file_format",
    type=click.Choice(list(FORMATS)),
    help="The file's format; by its ending when left out.",
)
@click.option("--split", help="Only the rows of this split.")
@click.option("--prompt", help="The prompt version (name@2) that words the question.")
@as_json_option
def dataset_export(
    dataset: str,
    output: Path,
    what: str,
    file_format: str | None,
    split: str | None,
    prompt: str | None,
    as_json: bool,
) -> None:
    """Write DATASET (name, name@2) for other tools; the manifest is written beside it."""
    shape, chosen = _shape_and_format(what, file_format, output)
    with opened() as workbench:
        version = workbench.datasets.find(OWNER, dataset)
        prompt_id = workbench.prompts.find(OWNER, prompt)["id"] if prompt else None
        made = workbench.exports.write(
            OWNER,
            version["id"],
            shape=shape,
            format=chosen,
            split=split,
            prompt_version_id=prompt_id,
        )
    _copied(made, output)
    if as_json:
        click.echo(to_json({**made, "output": str(output)}))
        return
    click.echo(f"{made['row_count']:,} records as {shape} in {output}")
    for reason, count in made["skipped"].items():
        click.echo(f"left out: {count:,} ({reason})", err=True)


def _shape_and_format(what: str, file_format: str | None, output: Path) -> tuple[str, str]:
    """`--format` may name either; a file's ending says the format when nothing else does."""
    by_ending = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", "": "hf"}
    guessed = file_format or by_ending.get(output.suffix.lower(), "jsonl")
    if what in FORMATS:
        return "rows", what
    if what not in SHAPES:
        known = ", ".join([*SHAPES, *FORMATS])
        raise click.BadParameter(f"{what!r} is none of {known}.", param_hint="--format")
    return what, guessed


def _copied(made: dict[str, Any], output: Path) -> None:
    """Out of the workspace to where it was asked for, whole or not at all."""
    folder = Path(made["folder"])
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.name}.part")
    if made["format"] == "hf":
        if output.exists():
            raise Conflict(f"{output} is there already.", hint="Name a folder that is not.")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(folder / "dataset", part)
    else:
        shutil.copyfile(folder / made["files"][0]["name"], part)
    part.replace(output)
    shutil.copyfile(folder / "manifest.json", output.with_name(f"{output.name}.manifest.json"))


def look(
    workbench: AnyWorkbench, version_id: str, names: list[str], *, again: bool = False
) -> list[dict[str, Any]]:
    """Run the detectors that have not run, and wait; those of them that failed."""
    from app.waiting import until_done

    known = {p["name"]: p for p in workbench.curation.status(OWNER, version_id)["parts"]}
    stale = workbench.curation.estimate(OWNER, version_id, detectors=names)["parts"]
    left = [
        name
        for name in names
        # leakage depends on what other datasets there are; the others on this one alone
        if again or known[name]["state"] != "done" or (name == "leakage" and name in stale)
    ]
    if left:
        job_id = workbench.curation.analyse(OWNER, version_id, detectors=left, again=again)
        until_done(workbench, job_id)
    parts = workbench.curation.status(OWNER, version_id)["parts"]
    return [part for part in parts if part["name"] in names and part["state"] == "failed"]


def report(version: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """The findings as a table, a line each."""
    if not rows:
        return f"Nothing was found in {version['label']}."
    lines = [{**row, "rows": _numbers(row["rows"])} for row in rows]
    count = f"{len(rows):,} finding{'' if len(rows) == 1 else 's'}"
    return f"{count} in {version['label']}\n\n{table(lines, FINDING_COLUMNS)}"


def _numbers(rows: list[int]) -> str:
    shown = ", ".join(str(row) for row in rows[:SHOWN_ROWS])
    more = len(rows) - SHOWN_ROWS
    return f"{shown} and {more:,} more" if more > 0 else shown
