"""Keys of endpoints: written, used, never shown again.

Knows: one file per model under the home, readable by its owner only, bound to a host.
Does not know: what the key opens, nor who may write it.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from core.store.files import inside, read_json, write_json


def write(home: Path, model_id: str, key: str, base_url: str) -> None:
    """Keep a key for an endpoint; it is good for the host of `base_url` and no other."""
    write_json(_path(home, model_id), {"host": host_of(base_url), "key": key}, mode=0o600)


def read(home: Path, model_id: str, base_url: str | None = None) -> str:
    """The key, or "" when there is none or it was written for another host than `base_url`'s."""
    kept = read_json(_path(home, model_id))
    if kept is None or (base_url is not None and kept["host"] != host_of(base_url)):
        return ""
    return str(kept["key"])


def has(home: Path, model_id: str) -> bool:
    """Whether a key is kept; all that a page may know of it."""
    return _path(home, model_id).exists()


def clear(home: Path, model_id: str) -> None:
    """Forget the key; harmless when there is none."""
    _path(home, model_id).unlink(missing_ok=True)


def host_of(base_url: str) -> str:
    """Scheme, host and port: what a key is bound to."""
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _path(home: Path, model_id: str) -> Path:
    return inside(home / "secrets", f"{model_id}.json")
