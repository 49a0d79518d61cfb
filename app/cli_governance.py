"""`lathe datasets card` and `lathe datasets erase`.

Knows: words, questions, exit codes. Does not know: how a card is made or a person found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from app.cli_nouns import as_json_option, datasets, opened
from app.listing import table, to_json
from core.workbench import OWNER

PLACE_COLUMNS = {"place": "WHERE", "count": "FOUND", "examples": "FOR EXAMPLE"}


@datasets.command("card")
@click.argument("dataset")
@as_json_option
def dataset_card(dataset: str, as_json: bool) -> None:
    """The card of DATASET (name, name@2) as Markdown; with --json what people wrote of it."""
    with opened() as workbench:
        version = workbench.datasets.find(OWNER, dataset)
        card = workbench.cards.get(OWNER, version["dataset_id"])
        markdown = workbench.cards.render(OWNER, version["id"])
    click.echo(to_json({**card, "markdown": markdown}) if as_json else markdown, nl=as_json)


@datasets.command("erase")
@click.argument("identifier")
@click.option("--reason", default="", help="Why; kept in the certificate.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
def dataset_erase(identifier: str, reason: str, yes: bool, as_json: bool) -> None:
    """Erase the person with IDENTIFIER (name, address, number) from the whole workspace.

    Shows what would go and asks first. With --json it prints the certificate when --yes is given,
    else what was found, erasing nothing.
    """
    with opened() as workbench:
        found = workbench.erasure.find(OWNER, identifier)
        if as_json and not yes:
            click.echo(to_json(found))
            return
        if not as_json:
            click.echo("\n".join(preview(found)))
        if not found["total"] and not found["begun"]:
            if as_json:
                click.echo(to_json(None))
            return
        if not yes:
            click.confirm("Erase all of it? There is no way back.", abort=True)
        made = workbench.erasure.erase(OWNER, identifier, reason)
    if as_json:
        click.echo(to_json(made))
        return
    left = sum(made["verification"]["found"].values())
    said = "nothing was found any more" if not left else f"{left:,} were found still"
    click.echo(f"Erased; looked for again: {said}. Certificate {made['id']}")


def preview(found: Mapping[str, Any]) -> Iterator[str]:
    """What was found, a line a place."""
    if not found["total"]:
        yield "Nothing in this workspace has it."
        return
    places = [{**place, "examples": "  ".join(place["examples"][:1])} for place in found["places"]]
    yield table(places, PLACE_COLUMNS)
    for job in found["running"]:
        yield f"In the way: the job {job['id']}, {job['title']!r}, runs."
