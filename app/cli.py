"""The command line: `lathe`. What a page can do is possible here too.

Knows: words, options, exit codes. Does not know: how anything is done; core does it, here when
the home is free, else in the running app that has it (see `app.remote`).
Exit codes: 0 done, 1 an error of Lathe's (title, message and hint on stderr), 2 wrong usage.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from typing import Any

import click

import app.cli_datasets  # adds its commands to `datasets`
import app.cli_governance  # adds its commands to `datasets`
import app.cli_import  # adds its commands to `datasets`
import app.cli_models  # adds its commands to `models`
import app.cli_versions  # noqa: F401  adds its commands to `datasets`
from app.cli_curate import curate
from app.cli_finetune import finetune
from app.cli_nouns import datasets, jobs, models, prompts, runs
from app.listing import to_json
from core.errors import Invalid, LatheError, NotFound
from core.generation import Generation
from core.governance.permissions import ACTIONS, PUBLIC
from core.settings import SETTINGS, Settings
from core.workbench import OWNER


class Lathe(click.Group):
    """The root: the edge where an error becomes words on stderr."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command; a LatheError is shown, never a traceback."""
        try:
            return super().invoke(context)
        except LatheError as error:
            click.echo(f"{error.title}: {error.message}", err=True)
            if error.hint:
                click.echo(error.hint, err=True)
            context.exit(1)


@click.group(cls=Lathe, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lathe", prog_name="lathe")
def main() -> None:
    """The workbench for people who work with large language models on their own machines.

    Everything lives in one folder, LATHE_HOME. While the app runs there, these commands go
    through it; otherwise they open the folder themselves.
    """


for group in (models, prompts, datasets, runs, jobs):
    main.add_command(group)


main.add_command(curate)
main.add_command(finetune)


@main.command("app")
@click.option("--host", help="Address to listen on; loopback by default.")
@click.option("--port", type=int, help="Port to listen on; 8501 by default.")
def start_app(host: str | None, port: int | None) -> None:
    """Start the app in this terminal."""
    chosen = {"host": host, "port": port}
    for name, value in chosen.items():
        if value is not None:
            os.environ[SETTINGS[name].variable] = str(value)
    os.execv(sys.executable, [sys.executable, "-m", "app"])  # noqa: S606


@main.command("eval")
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--detach", is_flag=True, help="Start it and return; only while the app runs.")
def evaluate(config: str, as_json: bool, detach: bool) -> None:
    """Run variants over a dataset as CONFIG, a YAML file, says; wait, and print the comparison.

    Exit code 1 when a variant stays under the file's `require`.
    """
    from app.evaluate import run_config

    sys.exit(run_config(config, as_json=as_json, detach=detach))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(as_json: bool) -> None:
    """Look at everything that has to be right, and run one small job."""
    from app.doctor import FAILED, examine

    findings = []
    marks = {"ok": "✓ ok     ", "warning": "! warning", "failed": "✗ failed "}
    for finding in examine(Settings.from_env()):
        findings.append(finding)
        if not as_json:
            click.echo(f"{marks[finding.state]}  {finding.name:<10} {finding.text}")
            if finding.hint:
                click.echo(f"{'':<23}{finding.hint}")
    if as_json:
        click.echo(to_json([finding.to_dict() for finding in findings]))
    sys.exit(any(finding.state == FAILED for finding in findings))


@main.command()
@click.argument("user", default="admin")
def link(user: str) -> None:
    """Print a new one-time sign-in link for USER; earlier links of theirs end."""
    from app.remote import open_workbench, read_card

    settings = Settings.from_env()
    with open_workbench(settings) as workbench:
        rows = {row["name"]: row for row in workbench.users.list(OWNER)}
        if user not in rows and user == "admin" and not rows:
            token = workbench.users.create(OWNER, "admin", "admin")["token"]
        elif user in rows:
            token = workbench.users.create_link(OWNER, rows[user]["id"])
        else:
            raise NotFound(
                f"There is no user {user!r}.",
                hint=f"Users: {', '.join(rows) or 'none yet'}.",
            )
        card = read_card(settings.home) if hasattr(workbench, "url") else None
    base = card.url if card else f"http://{settings.host}:{settings.port}"
    click.echo(f"{base}/sign-in/link?token={token}")


@main.command()
@click.argument("action", metavar="NOUN.VERB")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
def call(action: str, arguments: tuple[str, ...]) -> None:
    """Call any action there is and print its answer as JSON.

    A VALUE is read as JSON where it is JSON, else as text; @FILE takes a file's text.
    For example: lathe call prompts.create name=triage description='Sorts tickets'
    """
    from app.remote import open_workbench

    noun, _, verb = action.partition(".")
    if ACTIONS.get(action, PUBLIC) == PUBLIC:
        known = sorted(name for name in ACTIONS if name.startswith(f"{noun}.")) or sorted(
            {name.split(".")[0] for name in ACTIONS}
        )
        raise NotFound(f"There is no action {action!r}.", hint=f"There are {', '.join(known)}.")
    named = dict(_argument(text) for text in arguments)
    with open_workbench(Settings.from_env()) as workbench:
        method = getattr(getattr(workbench, noun), verb)
        try:
            inspect.signature(method).bind(OWNER, **named)
        except TypeError as error:  # a name it does not take, or one that is missing
            raise Invalid(f"{action}: {error}.", title="Wrong arguments") from None
        answer = method(OWNER, **named)
    click.echo(to_json(answer))


def _argument(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"{text!r} is not NAME=VALUE.")
    if value.startswith("@"):
        with open(value[1:], encoding="utf-8") as file:
            return name, file.read()
    try:
        parsed = json.loads(value)
    except ValueError:
        return name, value
    return name, Generation.from_dict(parsed) if name == "generation" else parsed


if __name__ == "__main__":
    main()
