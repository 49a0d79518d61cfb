"""One model served in this terminal: `lathe models serve MODEL`.

Knows: how a registered model becomes a worker without a folder. Does not know: HTTP, engines.
"""

from __future__ import annotations

import contextlib
import secrets
import socket

import click

from app.cli_nouns import opened, pick
from core.errors import Conflict
from core.workbench import OWNER


def serve(model: str, *, quantization: str, engine: str, port: int, api_key: str | None) -> None:
    """Resolve, load and answer until Ctrl+C; an empty key asks for none, None makes one."""
    _check_port(port)
    with opened() as workbench:
        row = pick(workbench.models.list(OWNER), model, "model")
        spec = workbench.models.resolve(
            OWNER, row["id"], engine=engine, quantization=quantization, purpose="batch"
        )
    if spec.engine == "endpoint":
        raise Conflict(
            f"{row['name']} is an endpoint already: {spec.base_url}.",
            title="Nothing to serve",
        )
    from core.models.worker import serve as serve_spec

    key = secrets.token_urlsafe(24) if api_key is None else api_key
    click.echo(f"Loading {spec.label} ...", err=True)
    if spec.why:
        click.echo(spec.why, err=True)
    click.echo(f"It will answer at http://127.0.0.1:{port}/v1 as {spec.model_name!r}.", err=True)
    click.echo(f"API key: {key or 'none is asked for'}", err=True)
    with contextlib.suppress(KeyboardInterrupt):
        serve_spec(spec.with_changes(idle_minutes=0.0), None, port=port, api_key=key)


def _check_port(port: int) -> None:
    """Before minutes of loading, not after."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise Conflict(
                f"Port {port} cannot be used: {error.strerror}.", hint="Take another by --port."
            ) from None
