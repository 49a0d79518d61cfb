"""The command line of datasets beyond listing and importing: what is wrong with one.

Knows: words and columns. Does not know: how anything is found.
"""

from __future__ import annotations

from typing import Any

import click

from app.cli_nouns import AnyWorkbench, as_json_option, datasets
from app.listing import table, to_json
from core.curation.detectors import DETECTORS
from core.curation.findings import KINDS
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
