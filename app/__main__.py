"""`python -m app`: open the workspace, serve it, say once how to get in.

Knows: the order of starting and stopping, what is printed. Does not know: HTTP.
"""

from __future__ import annotations

import sys

from app import bootstrap

bootstrap.enter(sys.argv[1:])  # with the packages missing, this sets up and starts over in the venv

import argparse  # noqa: E402
import contextlib  # noqa: E402
import dataclasses  # noqa: E402
import logging  # noqa: E402
import threading  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

from core.errors import LatheError  # noqa: E402
from core.settings import Settings  # noqa: E402
from core.workbench import OWNER, Workbench  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; an error that a person can mend is printed, exit code 1."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        serve(_settings(options))
    except LatheError as error:
        print(f"{error.title}: {error.message}", file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        return 1
    return 0


def serve(settings: Settings) -> None:
    """Take the port, open the workspace, serve, close both."""
    from app import server

    with contextlib.closing(server.bind(settings)) as listening, Workbench.open(settings) as opened:
        url = server.url_of(settings, listening)
        welcome = _welcome(opened, url)

        def ready() -> None:
            print(welcome, flush=True)
            if settings.measure:
                threading.Thread(target=_measure, args=(opened,), daemon=True).start()

        server.serve(opened, listening, on_ready=ready)


def _measure(workbench: Workbench) -> None:
    """Queue the first measurement; where it cannot be, it is made when somebody asks for it."""
    with contextlib.suppress(LatheError):
        workbench.models.calibrate_starter(OWNER)


def _welcome(workbench: Workbench, url: str) -> str:
    first = workbench.users._first_admin()
    if first is None:
        return f"\nLathe is at {url}\n"
    from app.sign_in import link_url

    name, password, token = first
    return (
        f"\nLathe is at {url}\n\n"
        f"  Sign in once by this link, within a day:\n  {link_url(url, token)}\n\n"
        f"  or as {name!r} with the password {password}\n"
        "  Either way you choose a password next. This is shown only now.\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Serve the Lathe workbench.")
    parser.add_argument("--port", type=int, help="port to listen on (LATHE_PORT)")
    parser.add_argument("--home", type=Path, help="folder of the workspace (LATHE_HOME)")
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    settings = Settings.from_env()
    if options.port is not None:
        settings = dataclasses.replace(settings, port=options.port)
    if options.home is not None:
        settings = dataclasses.replace(settings, home=options.home.expanduser().resolve())
    return settings


if __name__ == "__main__":
    sys.exit(main())
