"""The process that has one model: `python -m core.models.worker FOLDER`.

Knows: how a worker starts, tells where it is, and ends. Does not know: how the model is loaded
(the engine does) nor what HTTP looks like.
It ends when asked (SIGTERM), when nobody used it for long, and when its folder is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from core.clock import utc_iso
from core.errors import LatheError, OutOfMemory
from core.models.adapter_http import AdapterHost
from core.models.engines import load
from core.models.spec import WorkerSpec
from core.store.files import FileLock, read_json, write_json

ALREADY_RUNNING = 3
WATCH_S = 1.0


def main(path: str) -> int:
    """Load what the folder's spec names and answer until it is time to end."""
    folder = Path(path)
    lock = FileLock(folder / "lock")
    if not lock.acquire():
        return ALREADY_RUNNING
    write_json(folder / "pid.json", {"pid": os.getpid()})
    spec = WorkerSpec.from_dict(read_json(folder / "spec.json"))
    try:
        serve(spec, folder)
    except LatheError as error:
        traceback.print_exc()
        _tell(folder, "failed", message=error.message, error=error.to_dict())
        return 1
    except Exception as error:  # the process edge: a model that does not load says why
        traceback.print_exc()
        known = _explained(error, spec)
        _tell(folder, "failed", message=known.message, error=known.to_dict())
        return 1
    with contextlib.suppress(OSError):  # the folder may be what is gone
        _tell(folder, "unloaded")
        (folder / "ready.json").unlink(missing_ok=True)
    return 0


def serve(
    spec: WorkerSpec, folder: Path | None, *, port: int = 0, api_key: str | None = None
) -> None:
    """Load and answer on loopback; returns when it ends. Without a folder it tells nobody."""
    import uvicorn

    from core.models.openai_http import ModelServer

    began = time.perf_counter()
    _tell(folder, "loading", message="importing", progress=0.0)
    engine = load(spec, lambda text, done: _tell(folder, "loading", message=text, progress=done))
    load_ms = (time.perf_counter() - began) * 1000
    key = secrets.token_urlsafe(24) if api_key is None else api_key
    server = ModelServer(engine, spec.model_name, key, host=_host(spec, engine, folder))
    config = uvicorn.Config(
        server.app(),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        lifespan="off",
    )
    listener = config.bind_socket()
    listener.listen(1024)  # before it says ready: uvicorn itself begins to listen a moment later

    async def run() -> None:
        web = uvicorn.Server(config)
        ready = {
            "port": listener.getsockname()[1],
            "api_key": key,
            "slots": engine.slots,
            "context_length": engine.context_length,
            "load_ms": load_ms,
            "ready_at": utc_iso(),
            **engine.facts,
        }
        _ready(folder, ready)
        watch = asyncio.create_task(_watch(web, server, spec, folder))
        await web.serve(sockets=[listener])
        watch.cancel()

    try:
        asyncio.run(run())
    finally:
        if server.host is not None:
            server.host.close()
        engine.close()


def _host(spec: WorkerSpec, engine: Any, folder: Path | None) -> AdapterHost | None:
    """Room for adapters beside a base: only in a worker of the pool, for adapters of its home."""
    if folder is None or spec.engine != "transformers" or spec.kind != "chat" or spec.adapter_path:
        return None
    from core.models.engines.hosting import Host

    return AdapterHost(Host(spec, engine), folder.parent.parent / "models")


async def _watch(web: Any, server: Any, spec: WorkerSpec, folder: Path | None) -> None:
    """End when idle for long, or when the home was removed under it."""
    while not web.should_exit:
        await asyncio.sleep(WATCH_S)
        idle_s = time.monotonic() - server.last_used_at
        idle = spec.idle_minutes and not server.in_flight_count and idle_s > spec.idle_minutes * 60
        if idle or (folder is not None and not folder.exists()):
            web.should_exit = True


def _tell(folder: Path | None, state: str, **detail: Any) -> None:
    if folder is not None and folder.exists():
        write_json(folder / "state.json", {"state": state, "at": utc_iso(), **detail})


def _ready(folder: Path | None, ready: dict[str, Any]) -> None:
    if folder is not None:
        write_json(folder / "ready.json", ready, mode=0o600)
        _tell(folder, "ready", message="ready", progress=1.0)


def _explained(error: Exception, spec: WorkerSpec) -> LatheError:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return OutOfMemory(
            f"{spec.label} does not fit in memory: {text}",
            hint="Choose a smaller quantization, a shorter context, or unload another model.",
        )
    return LatheError(text, title=f"{spec.label} could not be loaded")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
