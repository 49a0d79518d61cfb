"""Exports of an adapter: where they lie, what an export job is asked, what is there.

    home/models/<model>/exports/<kind>/          peft, merged, gguf, gguf-q8_0, gguf-f32
        lathe-export.json   what it is; the folder appears whole, so it is always there
        README.md           the model card

Knows: these folders. Does not know: how any is written (`export_job`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import Conflict, Invalid
from core.store.files import read_json

KINDS: dict[str, str] = {
    "peft": "the adapter alone, for PEFT",
    "merged": "merged safetensors, for transformers and vLLM",
    "gguf": "one GGUF file, for llama.cpp",
}
GGUF_TYPES = ("f16", "q8_0", "f32")
FACTS, README = "lathe-export.json", "README.md"


def payload(
    home: Path,
    model: Mapping[str, Any],
    base: Mapping[str, Any],
    kind: str,
    *,
    card: str = "",
    gguf_type: str = "f16",
) -> dict[str, Any]:
    """What the job `adapter.export` is asked, from the registry's rows of adapter and base.

    `gguf_type` is one of GGUF_TYPES. Raises Invalid for a kind or type that is none, Conflict for a
    model that is no adapter.
    """
    if kind not in KINDS:
        raise Invalid(f"There is no export {kind!r}.", field="kind",
                      hint=f"There are {', '.join(KINDS)}.")  # fmt: skip
    if gguf_type not in GGUF_TYPES:  # it names folder and file
        raise Invalid(f"There is no GGUF type {gguf_type!r}.", field="gguf_type",
                      hint=f"There are {', '.join(GGUF_TYPES)}.")  # fmt: skip
    if model["source"] != "adapter":
        raise Conflict(f"{model['name']} is no adapter.", hint="Its files are there as they are.")
    usual = kind != "gguf" or gguf_type == "f16"
    folder = kind if usual else f"{kind}-{gguf_type}"
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", model["name"]).strip("-.") or "model"
    hub = _hub_id(base)
    return {
        "home": str(home),
        "model_id": model["id"],
        "name": model["name"],
        "kind": kind,
        "base_path": model["path"],
        "base_gguf_path": base["gguf_path"],
        "base_hub_id": hub,
        "adapter_path": model["adapter_path"],
        "gguf_type": gguf_type,
        "file": f"{slug}-{gguf_type.upper()}.gguf",
        "card": card,
        "target": str(folder_of(home, model["id"]) / folder),
    }


def folder_of(home: Path, model_id: str) -> Path:
    """Where the exports of a model lie."""
    return home / "models" / model_id / "exports"


def listed(home: Path, model_id: str) -> list[dict[str, Any]]:
    """The exports of a model that are there, by kind: {kind, path, files, bytes, created_at,
    gguf_type, max_logit_difference}, the last two where they mean something.
    """
    folders = sorted(folder_of(home, model_id).glob("[!.]*/"))
    return [found(folder) for folder in folders if (folder / FACTS).is_file()]


def found(folder: Path) -> dict[str, Any]:
    """One export: `path` is its folder, or its file where it is a single one."""
    facts = read_json(folder / FACTS)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != FACTS)
    return {
        **facts,
        "path": str(folder / facts["file"] if "file" in facts else folder),
        "files": [str(path.relative_to(folder)) for path in files],
        "bytes": sum(path.stat().st_size for path in files),
        "created_at": datetime.fromtimestamp((folder / FACTS).stat().st_mtime, UTC).replace(
            tzinfo=None
        ),
    }


def _hub_id(base: Mapping[str, Any]) -> str | None:
    return str(base["location"]) if base["source"] == "hub" else None
