"""The command line's nouns: what is there, as a list or one by one.

Knows: which columns people want to see of each noun. Does not know: SQL, HTTP, or how to run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from app.listing import show, to_json
from app.remote import Remote, open_workbench
from core.errors import Conflict, NotFound
from core.settings import Settings
from core.workbench import OWNER, Workbench

AnyWorkbench = Workbench | Remote

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def opened() -> AnyWorkbench:
    """The workbench of the environment's home."""
    return open_workbench(Settings.from_env())


def pick(rows: list[dict[str, Any]], name: str, noun: str) -> dict[str, Any]:
    """The row with that id or name; NotFound lists what there is, Conflict when two match."""
    found = [row for row in rows if name in (row["id"], row.get("name"))]
    if not found:
        names = ", ".join(str(row.get("name", row["id"])) for row in rows[:20])
        raise NotFound(f"There is no {noun} {name!r}.", hint=f"There are: {names or 'none yet'}.")
    if len(found) > 1:
        ids = ", ".join(row["id"] for row in found)
        raise Conflict(f"More than one {noun} is called {name!r}.", hint=f"Take an id: {ids}.")
    return found[0]


def _list_command(
    group: click.Group, noun: str, columns: dict[str, str], empty: str
) -> Callable[..., None]:
    """Add `lathe NOUN list [--json]`."""

    @group.command("list", help=f"All the {noun} there are.")
    @as_json_option
    def listed(as_json: bool) -> None:
        with opened() as workbench:
            rows = getattr(workbench, noun).list(OWNER)
        click.echo(show(rows, columns, as_json=as_json, empty=empty))

    return listed


@click.group()
def models() -> None:
    """Models: list, add, and serve one over HTTP."""


@click.group()
def prompts() -> None:
    """Prompts and their versions."""


@click.group()
def datasets() -> None:
    """Datasets and their versions."""


@click.group()
def runs() -> None:
    """Runs and their comparison."""


@click.group()
def jobs() -> None:
    """Jobs: list, read their log, cancel, resume."""


_list_command(
    models,
    "models",
    {
        "id": "ID",
        "name": "NAME",
        "kind": "KIND",
        "source": "SOURCE",
        "base_name": "BASE",
        "parameter_count": "PARAMETERS",
        "weight_bytes": "BYTES",
        "license": "LICENSE",
    },
    "No models yet. `make setup` fetches the starter model; `lathe models add` takes others.",
)
_list_command(
    prompts,
    "prompts",
    {"id": "ID", "name": "NAME", "version_count": "VERSIONS", "tags": "TAGS", "updated_at": "AT"},
    "No prompts yet.",
)
_list_command(
    datasets,
    "datasets",
    {"id": "ID", "name": "NAME", "version_count": "VERSIONS", "row_count": "ROWS"},
    "No datasets yet. `lathe datasets import FILE` reads CSV, JSONL and Parquet.",
)
_list_command(
    runs,
    "runs",
    {"id": "ID", "name": "NAME", "state": "STATE", "row_count": "ROWS", "created_at": "AT"},
    "No runs yet. `lathe eval CONFIG.yaml` makes one.",
)
_list_command(
    jobs,
    "jobs",
    {
        "id": "ID",
        "kind": "KIND",
        "title": "TITLE",
        "state": "STATE",
        "progress_done": "DONE",
        "progress_total": "OF",
        "created_at": "AT",
    },
    "No jobs yet.",
)


@jobs.command("log")
@click.argument("job_id")
def job_log(job_id: str) -> None:
    """The end of what a job's process printed."""
    with opened() as workbench:
        click.echo(workbench.jobs.log(OWNER, job_id), nl=False)


@jobs.command("cancel")
@click.argument("job_id")
def job_cancel(job_id: str) -> None:
    """Ask a job to stop; what it has done is kept."""
    with opened() as workbench:
        workbench.jobs.cancel(OWNER, job_id)


@jobs.command("resume")
@click.argument("job_id")
def job_resume(job_id: str) -> None:
    """Queue an ended job again; the running app starts it, else the next one does."""
    with opened() as workbench:
        workbench.jobs.resume(OWNER, job_id)


@prompts.command("show")
@click.argument("prompt")
@click.option("--version", "number", type=int, help="A version's number; the newest by default.")
@as_json_option
def prompt_show(prompt: str, number: int | None, as_json: bool) -> None:
    """One version of PROMPT, a name or an id, in full."""
    with opened() as workbench:
        row = pick(workbench.prompts.list(OWNER), prompt, "prompt")
        versions = workbench.prompts.versions(OWNER, row["id"])
        wanted = [v for v in versions if number is None or v["number"] == number]
        if not wanted:
            raise NotFound(f"{row['name']} has no version {number or ''}".rstrip() + ".")
        version = workbench.prompts.version(OWNER, wanted[0]["id"])
    if as_json:
        click.echo(to_json(version))
        return
    click.echo(f"{row['name']} v{version['number']}  {version['message']}".rstrip())
    click.echo(f"\nsystem:\n{version['system_template']}\n\nuser:\n{version['user_template']}")


@runs.command("show")
@click.argument("run_id")
@as_json_option
def run_show(run_id: str, as_json: bool) -> None:
    """The comparison of a run, as far as it has come."""
    from app.evaluate import report

    with opened() as workbench:
        summary = workbench.runs.summary(OWNER, run_id)
    click.echo(to_json(summary) if as_json else report(summary))


@runs.command("export")
@click.argument("run_id")
@click.option("--format", "kind", type=click.Choice(("csv", "jsonl", "parquet")), default="csv")
@click.option("--output", "-o", type=click.File("wb"), default="-", help="A file; stdout if none.")
def run_export(run_id: str, kind: str, output: Any) -> None:
    """Every result of a run with its scores."""
    with opened() as workbench:
        output.write(workbench.runs.export(OWNER, run_id, kind))
