"""Adapters in their base's worker: found, attached and detached over its HTTP.

    workers/<key>/host.json   {"key", "port", "ready", "load_ms"}: the worker that answers for it

Knows: which loaded worker a spec can be attached to, these files. Does not know: starting workers.
A host that was restarted has another port: what it was asked before is gone with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from core.errors import ModelUnavailable
from core.models.spec import WorkerSpec
from core.store.files import is_locked, read_json, write_json

FILE = "host.json"
ATTACH_TIMEOUT_S = 600.0
_ALIKE = ("engine", "quantization", "kind", "device", "path", "threads", "context_length", "slots")


def can_host(host: WorkerSpec, spec: WorkerSpec) -> bool:
    """Whether a worker with the one spec can answer for the other too."""
    return (
        spec.adapter_path is not None
        and host.adapter_path is None
        and spec.engine == "transformers"
        and all(getattr(host, name) == getattr(spec, name) for name in _ALIKE)
    )


def host_of(root: Path, folder: Path) -> dict[str, Any] | None:
    """The living host that a spec's folder names, {"key", "port", "ready", "load_ms"}, or None."""
    told: dict[str, Any] | None = read_json(folder / FILE)
    if told is None:
        return None
    host = root / told["key"]
    ready = read_json(host / "ready.json")
    if ready is None or ready["port"] != told["port"] or not is_locked(host / "lock"):
        return None
    return told


def attach(root: Path, host_key: str, spec: WorkerSpec) -> None:
    """Load an adapter into a host and write down that it is there; returns when it can be asked.

    Raises ModelUnavailable when the host has just gone, and what it says when it refuses.
    """
    folder = root / spec.key
    ready = _ready(root, host_key)
    told = {"key": host_key, "port": ready["port"], "ready": False, "load_ms": None}
    write_json(folder / "spec.json", spec.to_dict(), mode=0o600)
    write_json(folder / FILE, told)
    try:
        body = {"model": spec.model_name, "adapter_path": spec.adapter_path}
        load_ms = _asked(ready, "POST", "/adapters", body)["load_ms"]
    except BaseException:
        (folder / FILE).unlink(missing_ok=True)
        raise
    write_json(folder / FILE, {**told, "ready": True, "load_ms": load_ms})


def in_flight(root: Path, folder: Path, spec: WorkerSpec) -> int | None:
    """Requests that an adapter has in its host now; None when no host has it."""
    told = host_of(root, folder)
    if told is None:
        return None
    try:
        rows = _asked(_ready(root, told["key"]), "GET", "/adapters", None)["data"]
    except ModelUnavailable:
        return None
    return sum(int(row["in_flight"]) for row in rows if row["model"] == spec.model_name)


def detach(root: Path, folder: Path, spec: WorkerSpec) -> None:
    """Unload an adapter from its host; harmless when either is gone."""
    told = host_of(root, folder)
    (folder / FILE).unlink(missing_ok=True)
    if told is not None:
        try:
            _asked(_ready(root, told["key"]), "DELETE", f"/adapters/{quote(spec.model_name)}", None)
        except ModelUnavailable:
            return


def _ready(root: Path, key: str) -> dict[str, Any]:
    ready: dict[str, Any] | None = read_json(root / key / "ready.json")
    if ready is None:
        raise ModelUnavailable("The base has just been unloaded.", hint="Try again.")
    return ready


def _asked(ready: dict[str, Any], method: str, path: str, body: Any) -> dict[str, Any]:
    import httpx

    try:
        response = httpx.request(
            method,
            f"http://127.0.0.1:{ready['port']}/v1{path}",
            json=body,
            headers={"authorization": f"Bearer {ready['api_key']}"},
            timeout=ATTACH_TIMEOUT_S,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise ModelUnavailable(f"The base's worker does not answer: {error}.") from error
    found: dict[str, Any] = response.json()
    if response.status_code >= 400:
        raise ModelUnavailable(
            str(found.get("error", {}).get("message", response.text)),
            title="The adapter could not be loaded",
        )
    return found
