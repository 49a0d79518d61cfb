"""A folder of safetensors: what is in it, and whether it can be loaded, without loading it.

Knows: config.json, shards, tokenizers, chat templates, pickles (refused).
Does not know: the registry, engines, GGUF.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Invalid
from core.models import architectures, safetensors_file
from core.models.safetensors_file import Tensor

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_EMBEDDINGS = re.compile(r"embed|lm_head|\bwte\b|\bwpe\b")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the headers of a folder say."""

    architecture: str
    parameter_count: int
    weight_bytes: int
    context_length: int | None
    license: str | None
    details: dict[str, Any]
    """Layer sizes for the memory forecast."""


def read(folder: Path, *, kind: str = "chat") -> Checkpoint:
    """Inspect a folder; raises Invalid that says what is missing or wrong, and in which file."""
    if not folder.is_dir():
        raise Invalid(
            f"{folder} is not a folder on this machine.",
            field="location",
            hint="Give the folder that holds config.json and the .safetensors files.",
        )
    weights = weight_files(folder)
    config = _config(folder)
    tensors = [tensor for path in weights for tensor in safetensors_file.tensors(path)]
    _check_index(folder, tensors)
    architecture = _architecture(config, kind)
    _check_tokenizer(folder, kind)
    return Checkpoint(
        architecture=architecture,
        parameter_count=sum(t.element_count for t in tensors),
        weight_bytes=sum(t.size_bytes for t in tensors),
        context_length=_context_length(folder, config, kind),
        license=_license(folder),
        details={
            **sizes(config),
            "linear_parameter_count": sum(t.element_count for t in tensors if _is_linear(t)),
            "checkpoint_bytes": sum(t.size_bytes for t in tensors),
            "dtypes": sorted({t.dtype for t in tensors}),
        },
    )


def weight_files(folder: Path) -> list[Path]:
    """The .safetensors files to load; Invalid when there are none, pickles named."""
    index = _json(folder / "model.safetensors.index.json")
    if index is not None:
        try:
            names = sorted(set(index["weight_map"].values()))
            paths = [folder / Path(name).name for name in names]
        except (KeyError, TypeError, AttributeError):
            raise Invalid("model.safetensors.index.json has no readable weight_map.") from None
        missing = [path.name for path in paths if not path.is_file()]
        if missing:
            raise Invalid(
                f"{len(missing)} of {len(paths)} weight files are missing, such as {missing[0]}.",
                hint="Download or copy the whole folder again.",
            )
        return paths
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise no_safetensors(folder)
    return found


def no_safetensors(folder: Path) -> Invalid:
    """The refusal for a folder without safetensors; says so when it holds pickles instead."""
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLES)
    if pickles:
        return refuse_pickle(pickles[0])
    if ggufs := sorted(folder.glob("*.gguf")):
        return Invalid(
            f"{folder.name} holds {ggufs[0].name} but no safetensors.",
            field="location",
            hint="Add it with the source GGUF file.",
        )
    return Invalid(f"{folder} holds no .safetensors file.", field="location")


def refuse_pickle(name: str) -> Invalid:
    """The refusal for pickled weights: loading one runs whatever code is in it."""
    return Invalid(
        f"{name} is a pickle: loading it would run whatever code it holds.",
        title="Pickled weights are refused",
        field="location",
        hint="Use the model's safetensors files, or save it again with safe_serialization=True.",
    )


def sha256_of(paths: list[Path]) -> str:
    """sha256 of a file; of several, that of their `sha256sum` lines in order of name."""
    hashes = {}
    for path in sorted(paths):
        with path.open("rb") as file:
            hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def sizes(config: dict[str, Any]) -> dict[str, int]:
    """Layers, heads and widths from a config.json, in one spelling; 0 where it does not say."""
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else None
    config = {**config, **(text or {})}

    def first(*names: str) -> int:
        for name in names:
            value = config.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return 0

    heads = first("num_attention_heads", "n_head", "num_heads")
    hidden = first("hidden_size", "n_embd", "d_model")
    return {
        "layer_count": first("num_hidden_layers", "n_layer", "num_layers"),
        "kv_head_count": first("num_key_value_heads") or heads,
        "head_size": first("head_dim") or (hidden // heads if heads else 0),
        "hidden_size": hidden,
        "vocabulary_size": first("vocab_size"),
    }


def _config(folder: Path) -> dict[str, Any]:
    config = _json(folder / "config.json")
    if config is None:
        raise Invalid(f"{folder.name} has no config.json.", field="location")
    if "quantization_config" in config:
        quantized = config["quantization_config"]
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
        raise Invalid(
            f"The weights are already quantized ({method}).",
            hint="Add the unquantized model: the quantization is chosen when it is loaded.",
        )
    return config


def _architecture(config: dict[str, Any], kind: str) -> str:
    names = config.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else ""
    if not name:
        raise Invalid("config.json names no architecture.", field="location")
    if name in architectures.known()[kind]:
        return name
    if "auto_map" in config:
        raise Invalid(
            f"{name} comes with code of its own, which would have to be trusted and run.",
            title="Remote code is refused",
            hint="Use a model whose architecture is part of transformers.",
        )
    import importlib.metadata

    raise Invalid(
        f"{name} is not a {kind} architecture that transformers "
        f"{importlib.metadata.version('transformers')} knows.",
        title="Unknown architecture",
        hint="A newer transformers may know it; a GGUF of the model may work with llama.cpp.",
    )


def _check_index(folder: Path, tensors: list[Tensor]) -> None:
    index = _json(folder / "model.safetensors.index.json")
    if index is None:
        return
    missing = set(index["weight_map"]) - {tensor.name for tensor in tensors}
    if missing:
        raise Invalid(
            f"{len(missing)} tensors of the index are in no weight file, such as {min(missing)}.",
            hint="Download or copy the whole folder again.",
        )


def _check_tokenizer(folder: Path, kind: str) -> None:
    has = {path.name for path in folder.iterdir()}
    if not has & {"tokenizer.json", "tokenizer.model", "vocab.txt"} and not (
        {"vocab.json", "merges.txt"} <= has
    ):
        raise Invalid(
            f"{folder.name} has no tokenizer.",
            field="location",
            hint="Copy tokenizer.json and tokenizer_config.json of the model into the folder.",
        )
    template = {"chat_template.jinja", "chat_template.json"} & has or "chat_template" in (
        _json(folder / "tokenizer_config.json") or {}
    )
    if kind == "chat" and not template:
        raise Invalid(
            f"{folder.name} has no chat template: it looks like a base model.",
            title="No chat template",
            field="location",
            hint="Use the instruct model, or put its chat_template.jinja into the folder.",
        )


def _context_length(folder: Path, config: dict[str, Any], kind: str) -> int | None:
    if kind == "embedding":
        limit = (_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
        if isinstance(limit, int):
            return limit
    text = config.get("text_config")
    merged = {**config, **(text if isinstance(text, dict) else {})}
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(merged.get(name), int):
            return int(merged[name])
    return None


def _license(folder: Path) -> str | None:
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license:\s*(\S+)", front.group(1), re.MULTILINE) if front else None
    return found.group(1) if found else None


def _is_linear(tensor: Tensor) -> bool:
    return len(tensor.shape) == 2 and not _EMBEDDINGS.search(tensor.name)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError):
        raise Invalid(f"{path.name} is not JSON.", field="location") from None
    if not isinstance(value, dict):
        raise Invalid(f"{path.name} is not a JSON object.", field="location")
    return value
