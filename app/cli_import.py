"""`lathe datasets import`: a file of any size, a query or a dataset of the hub, here or in the
running app.

Knows: words for the mapping, which way a file goes. Does not know: formats, what makes a row bad.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any

import click

from app.cli_nouns import AnyWorkbench, as_json_option, datasets
from app.listing import to_json
from core.datasets.formats import OPTIONS
from core.datasets.formats.hub import PREFIX
from core.datasets.locations import is_location, location_of
from core.datasets.mapping import ROLES
from core.errors import Invalid
from core.settings import Settings
from core.workbench import OWNER

SMALL_BYTES = 16 * 2**20
"""Up to here the file is sent to the app that has the home; beyond, a job of it reads the file."""
PREVIEW_BYTES = 16 * 2**20
PASSWORD = "LATHE_DB_PASSWORD"  # noqa: S105  # a name


@datasets.command("import")
@click.argument("file", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--from", "origin", metavar="LOCATION",
    help="In place of FILE: postgresql://user@host/database, or a SQLite or DuckDB file. The "
    f"password in it, or in {PASSWORD}.",
)  # fmt: skip
@click.option("--sql", help="One SELECT statement on a database; its rows are imported.")
@click.option("--hub", metavar="OWNER/NAME", help="In place of FILE: a dataset on the hub.")
@click.option("--name", help="The dataset's name; the file's by default. A known one: new version.")
@click.option("--expected", help="Column with the expected answer.")
@click.option("--input", "inputs", multiple=True, help="Input column; all others by default.")
@click.option(
    "--map", "maps", multiple=True, metavar="COLUMN=FIELD",
    help="Call a column FIELD; or its role (input, expected, metadata, ignore); or role:FIELD.",
)  # fmt: skip
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE",
    help=f"How FILE is read: {', '.join(OPTIONS)}; or repair_encoding=yes.",
)  # fmt: skip
@click.option("--message", default="", help="What this version is.")
@click.option("--stage", is_flag=True, help="Let a further version wait until it is accepted.")
@as_json_option
def dataset_import(
    file: Path | None,
    origin: str | None,
    sql: str | None,
    hub: str | None,
    name: str | None,
    expected: str | None,
    inputs: tuple[str, ...],
    maps: tuple[str, ...],
    options: tuple[str, ...],
    message: str,
    stage: bool,
    as_json: bool,
) -> None:
    """Import FILE, a query or a dataset of the hub, all of it or nothing.

    CSV, JSON lines and other formats, a folder of them, or one that save_to_disk wrote.
    """
    from app.remote import open_workbench

    asked = dict(_pair(word, "--option") for word in options)
    if sql:
        asked["sql"] = sql.strip().rstrip(";")
    chosen = _chosen(file, origin, hub)
    with open_workbench(Settings.from_env(), background=stage) as workbench:
        found = import_file(
            workbench, chosen, name=name, inputs=inputs, expected=expected, maps=maps,
            options=asked, message=message, stage=stage,
        )  # fmt: skip
    if as_json:
        click.echo(to_json(found))
    elif "number" in found:
        click.echo(f"{found['row_count']:,} rows as version {found['number']} ({found['id']})")
    else:
        click.echo(f"{found['row_count']:,} rows wait to be accepted ({found['job_id']})")


def import_file(
    workbench: AnyWorkbench,
    file: Path | str,
    *,
    name: str | None = None,
    inputs: Iterable[str] = (),
    expected: str | None = None,
    maps: Iterable[str] = (),
    options: dict[str, Any] | None = None,
    message: str = "",
    stage: bool = False,
) -> dict[str, Any]:
    """Import with the guessed roles, or those given; the version, or what waits with `stage`.

    `file` that is text is an address, as `core.datasets.locations` has them. Raises Invalid for a
    column that FILE does not have and whatever stands against the import.
    """
    from app.remote import Remote

    if isinstance(file, str):
        return _from_location(
            workbench, file, name, (tuple(inputs), expected, tuple(maps)), options, message,
            stage=stage,
        )  # fmt: skip
    path = file.resolve()
    size = path.stat().st_size if path.is_file() else SMALL_BYTES + 1
    remote = isinstance(workbench, Remote)
    sent = path.read_bytes() if remote and size <= SMALL_BYTES else str(path)
    preview = workbench.datasets.preview(
        OWNER, file.name, sent, options=options, most_bytes=PREVIEW_BYTES
    )
    mapping = mapped(preview["mapping"], file.name, tuple(inputs), expected, maps)
    named = name or file.stem
    if stage or (remote and size > SMALL_BYTES):
        return _by_job(workbench, str(path), named, mapping, options, message, stage=stage)
    version = workbench.datasets.import_rows(
        OWNER, name=named, filename=file.name, data=sent if remote else path, mapping=mapping,
        options=options, message=message,
    )  # fmt: skip
    return dict(version)


def mapped(
    guessed: dict[str, Any],
    filename: str,
    inputs: tuple[str, ...],
    expected: str | None,
    maps: Iterable[str],
) -> dict[str, Any]:
    """The mapping: what was guessed, then --input and --expected, then each --map."""
    mapping = {name: dict(asked) for name, asked in guessed.items()}
    pairs = [_pair(word, "--map") for word in maps]
    for column in (*inputs, *([expected] if expected else []), *(column for column, _ in pairs)):
        if column not in mapping:
            raise Invalid(
                f"{filename} has no column {column!r}.",
                field=column,
                hint=f"It has {', '.join(mapping)}.",
            )
    for column, asked in mapping.items():
        asked["role"] = _role(column, asked["role"], inputs, expected)
    for column, field in pairs:
        role, _, rest = field.partition(":")
        if role not in ROLES:
            role, rest = mapping[column]["role"], field
        if role == "expected":  # the one that was guessed gives way
            for other in mapping.values():
                other["role"] = "metadata" if other["role"] == "expected" else other["role"]
        optional = mapping[column].get("optional", False) and role == "input"
        was = mapping[column]["name"]
        mapping[column] = {"role": role, "name": rest.strip() or was, "optional": optional}
        if rest and mapping[column]["role"] == "ignore":
            raise Invalid(f"{column!r} is not imported and needs no name.", field=column)
    return mapping


def _chosen(file: Path | None, origin: str | None, hub: str | None) -> Path | str:
    """The one of the three that was given; a path, or an address."""
    if (file is not None) + (origin is not None) + (hub is not None) != 1:
        raise click.UsageError("Give one of FILE, --from and --hub.")
    if file is not None:
        return file
    if hub is not None:
        return PREFIX + hub.removeprefix(PREFIX)
    if is_location(origin):
        return str(origin)
    if not Path(str(origin)).exists():  # what was given may hold a password
        raise click.UsageError("--from takes postgresql://user@host/database, or a file there is.")
    return Path(str(origin))


def _from_location(
    workbench: AnyWorkbench,
    address: str,
    name: str | None,
    roles: tuple[tuple[str, ...], str | None, tuple[str, ...]],
    options: dict[str, Any] | None,
    message: str,
    *,
    stage: bool,
) -> dict[str, Any]:
    """Import from an address: here, or by a job of the app that has the home."""
    from app.remote import Remote

    secret = os.environ.get(PASSWORD) if not address.lower().startswith(PREFIX) else None
    found = location_of(address, password=secret, trusted=True)
    named = name or PurePath(found.shown).name
    preview = workbench.datasets.preview(
        OWNER, named, address, options=options, most_bytes=PREVIEW_BYTES, password=secret
    )
    mapping = mapped(preview["mapping"], found.shown, *roles)
    if stage or isinstance(workbench, Remote):
        return _by_job(
            workbench, address, named, mapping, options, message, stage=stage, password=secret
        )
    version = workbench.datasets.import_rows(
        OWNER, name=named, filename=named, data=address, mapping=mapping, options=options,
        message=message, password=secret,
    )  # fmt: skip
    return dict(version)


def _by_job(
    workbench: AnyWorkbench,
    path: str,
    name: str,
    mapping: dict[str, Any],
    options: dict[str, Any] | None,
    message: str,
    *,
    stage: bool,
    password: str | None = None,
) -> dict[str, Any]:
    from app.waiting import until_done

    job_id = workbench.datasets.start_import(
        OWNER, path, dataset=name, mapping=mapping, options=options, message=message,
        accept=not stage, password=password,
    )  # fmt: skip
    until_done(workbench, job_id)
    outcome = workbench.datasets.import_outcome(OWNER, job_id)
    return dict(outcome["version"] or outcome["staged"])


def _pair(word: str, option: str) -> tuple[str, str]:
    """`column=field`; a column may hold an equals sign, a field cannot."""
    column, equals, field = word.rpartition("=")
    if not equals or not column or not field:
        raise click.UsageError(f"{option} takes NAME=VALUE, not {word!r}.")
    return column, field


def _role(column: str, guessed: str, inputs: tuple[str, ...], expected: str | None) -> str:
    if column == expected:
        return "expected"
    if column in inputs:
        return "input"
    if inputs and guessed == "input":
        return "metadata"
    return "metadata" if expected and guessed == "expected" else guessed
