"""`lathe datasets diff`, `tag` and `rollback`: versions beside each other.

Knows: how a difference reads on a terminal. Does not know: how it is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from app.cli_nouns import as_json_option, datasets, opened
from app.listing import table, to_json
from core.workbench import OWNER

SIGNS = {"added": "+", "removed": "-", "changed": "~"}
WIDEST = 200
COLUMN_COLUMNS = {"name": "COLUMN", "state": "STATE", "was": "WAS", "now": "NOW", "rows": "ROWS"}


@datasets.command("diff")
@click.argument("old")
@click.argument("new")
@click.option("--rows", "limit", type=click.IntRange(0), default=0, show_default=True,
              help="How many of the rows that differ to print.")  # fmt: skip
@click.option("--kind", type=click.Choice(list(SIGNS)), help="Only rows of this kind.")
@click.option("--column", help="Only rows whose cell in this column changed.")
@click.option("--key", default="row_id", help="A column with unique values to match rows by.")
@as_json_option
def dataset_diff(
    old: str,
    new: str,
    limit: int,
    kind: str | None,
    column: str | None,
    key: str,
    as_json: bool,
) -> None:
    """What differs from version OLD to NEW (name@2, name@approved): rows and columns."""
    with opened() as workbench:
        ids = [workbench.datasets.find(OWNER, name)["id"] for name in (old, new)]
        found = workbench.versions.diff(OWNER, *ids, key=key)
        rows = []
        if limit:
            rows = workbench.versions.diff_rows(
                OWNER, *ids, kind=kind, column=column, limit=limit, key=key
            )
    if as_json:
        click.echo(to_json({**found, "rows": rows}))
    else:
        click.echo("\n".join(report(found, rows)))


@datasets.command("tag")
@click.argument("version")
@click.argument("tag")
@click.option("--remove", is_flag=True, help="Take the tag away from it.")
def dataset_tag(version: str, tag: str, remove: bool) -> None:
    """Point TAG at VERSION (name@2; name alone is the newest); a tag elsewhere moves."""
    with opened() as workbench:
        found = workbench.datasets.find(OWNER, f"{version.partition('@')[0]}@{tag}"
                                        if remove else version)  # fmt: skip
        if remove:
            workbench.versions.untag(OWNER, found["dataset_id"], tag)
        else:
            workbench.versions.tag(OWNER, found["id"], tag)
    click.echo(f"{tag} {'is no longer at' if remove else 'points at'} {found['label']}")


@datasets.command("rollback")
@click.argument("version")
@click.option("--message", default="", help="Why.")
@as_json_option
def dataset_rollback(version: str, message: str, as_json: bool) -> None:
    """Make a new version with the rows of VERSION (name@2, name@approved); nothing goes."""
    with opened() as workbench:
        found = workbench.datasets.find(OWNER, version)
        made = workbench.versions.rollback(OWNER, found["id"], message)
    said = f"{made['label']} has the {made['row_count']:,} rows of {found['label']} ({made['id']})"
    click.echo(to_json(made) if as_json else said)


def report(found: Mapping[str, Any], rows: list[dict[str, Any]]) -> Iterator[str]:
    """The difference, line by line."""
    counts = found["counts"]
    yield f"{found['old']['label']} ({found['old']['row_count']:,} rows) -> " + (
        f"{found['new']['label']} ({found['new']['row_count']:,} rows)"
    )
    yield ", ".join(f"{counts[kind]:,} {kind}" for kind in ("added", "removed", "changed", "same"))
    if found["rewritten_count"]:
        yield f"{found['rewritten_count']:,} of the changed have an edited input and another id"
    if found["reordered"]:
        yield "rows that are in both stand in another order"
    if found["note"]:
        yield found["note"]
    columns = [c for c in found["columns"] if c["state"] != "same" or c["changed_count"]]
    if columns:
        yield ""
        yield table([_column(column) for column in columns], COLUMN_COLUMNS)
    for row in rows:
        yield ""
        yield from _row(row)


def _column(column: Mapping[str, Any]) -> dict[str, Any]:
    def told(side: Mapping[str, Any] | None) -> str | None:
        return f"{side['role']}, {side['type']}" if side else None

    return {
        "name": column["name"],
        "state": "values" if column["state"] == "same" else column["state"],
        "was": told(column["before"]),
        "now": told(column["after"]),
        "rows": column["changed_count"],
    }


def _row(row: Mapping[str, Any]) -> Iterator[str]:
    yield f"{SIGNS[row['kind']]} row {row['row_index']:,}  {row['row_id']}"
    if row["kind"] == "changed":
        for name in row["changed"]:
            yield f"    {name}"
            yield f"      - {_cell(row['before'][name])}"
            yield f"      + {_cell(row['after'][name])}"
    else:
        for name, value in (row["after"] or row["before"]).items():
            yield f"    {name}: {_cell(value)}"


def _cell(value: Any) -> str:
    """On one line and within reason; the whole is in the JSON."""
    if value is None:
        return "(blank)"
    text = " ".join(str(value).split())
    return text if len(text) <= WIDEST else f"{text[:WIDEST]}… ({len(text):,} characters)"
