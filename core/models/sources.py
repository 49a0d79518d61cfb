"""Sources: where a model's weights come from, each inspected before it is registered.

Knows: what each source needs, and the facts in its files' headers.
Does not know: the registry's tables, nor how anything is loaded. Nothing here loads a weight,
runs code from a model or contacts a hub.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from core.errors import Invalid
from core.models import checkpoint, gguf_file

HASH_AT_ONCE_BYTES = 2 * 1024**3
"""Files up to this size are hashed when they are added; larger ones when a hash is given."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person gives to add a model."""

    source: str
    location: str
    """Folder, file, hub id or address, by the source."""
    kind: str = "chat"
    revision: str | None = None
    """A hub commit, or the model's name at an endpoint."""
    sha256: str | None = None
    """What the weights must hash to."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found; the columns of the registry."""

    location: str
    revision: str | None = None
    path: str | None = None
    gguf_path: str | None = None
    sha256: str | None = None
    license: str | None = None
    architecture: str | None = None
    parameter_count: int | None = None
    weight_bytes: int | None = None
    context_length: int | None = None
    details: dict[str, Any] = field(default_factory=dict)


def inspect(asked: Asked) -> Inspection:
    """Look at a source; raises Invalid that names the field and what to do."""
    if asked.source not in SOURCES:
        raise Invalid(
            f"There is no model source {asked.source!r}.",
            field="source",
            hint=f"There are {', '.join(SOURCES)}.",
        )
    if not asked.location.strip():
        raise Invalid("Say where the model is.", field="location")
    asked = replace(asked, location=asked.location.strip())
    return SOURCES[asked.source](asked)


def _directory(asked: Asked) -> Inspection:
    folder = Path(asked.location).expanduser().resolve()
    if folder.suffix in checkpoint.PICKLES and folder.is_file():
        raise checkpoint.refuse_pickle(folder.name)
    found = checkpoint.read(folder, kind=asked.kind)
    return Inspection(
        location=str(folder),
        path=str(folder),
        sha256=_checked_hash(checkpoint.weight_files(folder), asked.sha256),
        license=found.license,
        architecture=found.architecture,
        parameter_count=found.parameter_count,
        weight_bytes=found.weight_bytes,
        context_length=found.context_length,
        details=found.details,
    )


def _gguf(asked: Asked) -> Inspection:
    file = Path(asked.location).expanduser().resolve()
    if file.suffix in checkpoint.PICKLES:
        raise checkpoint.refuse_pickle(file.name)
    if not file.is_file():
        raise Invalid(
            f"{file} is not a file on this machine.",
            field="location",
            hint="Give the path of the .gguf file.",
        )
    if asked.kind != "chat":
        raise Invalid("Embedding models are loaded from safetensors folders.", field="kind")
    header = gguf_file.read(file)
    if "tokenizer.chat_template" not in header.metadata:
        raise Invalid(
            f"{file.name} has no chat template: it looks like a base model.",
            title="No chat template",
            field="location",
            hint="Use the GGUF of the instruct model.",
        )
    return Inspection(
        location=str(file),
        gguf_path=str(file),
        sha256=_checked_hash([file], asked.sha256),
        license=_text(header.metadata.get("general.license")),
        architecture=header.architecture or None,
        parameter_count=header.parameter_count,
        weight_bytes=header.weight_bytes,
        context_length=header.size("context_length") or None,
        details={
            **gguf_sizes(header),
            "gguf_type": header.file_type,
            "gguf_bytes": header.weight_bytes,
        },
    )


def gguf_sizes(header: gguf_file.GgufHeader) -> dict[str, int]:
    """A GGUF's layer sizes in the words of `checkpoint.sizes`."""
    heads = header.size("attention.head_count")
    hidden = header.size("embedding_length")
    return {
        "layer_count": header.size("block_count"),
        "kv_head_count": header.size("attention.head_count_kv", heads),
        "head_size": header.size("attention.key_length", hidden // heads if heads else 0),
        "hidden_size": hidden,
        "vocabulary_size": header.size("vocab_size")
        or int(header.metadata.get("tokenizer.ggml.tokens.length", 0)),
        "linear_parameter_count": header.linear_parameter_count,
    }


def _hub(asked: Asked) -> Inspection:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", asked.location):
        raise Invalid(
            f"{asked.location!r} is not a hub id.",
            field="location",
            hint="It looks like owner/name, such as HuggingFaceTB/SmolLM2-135M-Instruct.",
        )
    if not re.fullmatch(r"[0-9a-f]{40}", asked.revision or ""):
        raise Invalid(
            "A hub model needs a pinned revision: the 40 characters of a commit.",
            field="revision",
            hint="A branch such as main can change under you; its commit is on the model's page.",
        )
    return Inspection(location=asked.location, revision=asked.revision)


def _endpoint(asked: Asked) -> Inspection:
    if not (asked.revision or "").strip():
        raise Invalid(
            "Say the model's name at the endpoint.",
            field="revision",
            hint="It is what requests send as `model`.",
        )
    return Inspection(location=base_url(asked.location), revision=str(asked.revision).strip())


def base_url(text: str) -> str:
    """An OpenAI-compatible address in one spelling; /v1 is added to a bare host."""
    parts = urlsplit(text.strip())
    try:
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise Invalid(
            f"{text!r} is not an http or https address.",
            field="location",
            hint="Such as http://127.0.0.1:8000/v1.",
        )
    if parts.username or parts.password:
        raise Invalid("Give the key in its own field, not in the address.", field="location")
    if parts.query or parts.fragment:
        raise Invalid("The address must not have a query or fragment.", field="location")
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path.removesuffix('/chat/completions')}"


def _scripted(asked: Asked) -> Inspection:
    return Inspection(location=asked.location, license="CC0-1.0", context_length=8192)


SOURCES: dict[str, Callable[[Asked], Inspection]] = {
    "directory": _directory,
    "gguf": _gguf,
    "hub": _hub,
    "endpoint": _endpoint,
    "scripted": _scripted,
}


def _checked_hash(paths: list[Path], expected: str | None) -> str | None:
    expected = (expected or "").strip().lower() or None
    if expected and not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise Invalid("A sha256 has 64 hexadecimal characters.", field="sha256")
    if expected is None and sum(path.stat().st_size for path in paths) > HASH_AT_ONCE_BYTES:
        return None
    actual = checkpoint.sha256_of(paths)
    if expected and actual != expected:
        raise Invalid(
            f"The sha256 of the weights is {actual}, not {expected}.",
            title="Wrong hash",
            field="sha256",
            hint="The file is damaged or is another one: download it again.",
        )
    return actual


def _text(value: Any) -> str | None:
    return str(value) if value else None
