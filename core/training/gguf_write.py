"""A merged model as one GGUF file, written with llama.cpp's own `gguf` package.

Knows: names, layouts and types of tensors, metadata. Does not know: adapters, the registry.
Where the base has a GGUF of its own, metadata and tokenizer are copied from that, and the base's
weights are laid out as ours would be and compared with it first: another layout is refused. One
tensor is in memory at a time. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Invalid
from core.models import checkpoint, safetensors_file
from core.training.gguf_vocab import add_tokenizer

TYPES = ("f16", "q8_0", "f32")
ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3",
}
"""Those whose metadata can be written from config.json alone."""
BLOCK = 32
"""Numbers that share a scale in Q8_0."""
CLOSE_SHARE = 0.02
"""How far the base's weights may be from its own GGUF, which they were made from."""
_OWN_KEYS = ("GGUF.", "general.architecture", "general.name", "general.file_type",
             "general.quantization_version", "quantize.", "split.")  # fmt: skip

Tell = Callable[[float, str], None]
"""(share done from 0 to 1, what is being done); raises to stop."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One tensor on its way into the file."""

    name: str
    """In GGUF."""
    source: str
    """In the safetensors files."""
    file: Path
    shape: tuple[int, ...]
    kind: str


def write(
    merged: Path,
    target: Path,
    *,
    name: str,
    kind: str = "f16",
    base: Path | None = None,
    base_gguf: Path | None = None,
    tell: Tell = lambda share, text: None,
) -> None:
    """Write the model in the folder `merged` to the file `target`.

    `base` and `base_gguf` are the unmerged folder and its own GGUF, where there is one. Raises
    Invalid that says why where it cannot be done right.
    """
    import gguf

    if kind not in TYPES:
        raise Invalid(f"There is no GGUF type {kind!r}.", hint=f"There are {', '.join(TYPES)}.")
    config = json.loads((merged / "config.json").read_text(encoding="utf-8"))
    own = gguf.GGUFReader(base_gguf) if base_gguf is not None else None
    arch = _architecture(config, own)
    writer = gguf.GGUFWriter(target, arch)
    try:
        pieces = _pieces(merged, arch, config, kind)
        if own is not None and base is not None:
            tell(0.05, "comparing with the base's GGUF")
            _check_layout(own, _pieces(base, arch, config, kind), pieces, arch, config)
            _copy_metadata(writer, own)
        else:
            _add_metadata(writer, arch, config)
            size = next(piece.shape[0] for piece in pieces if piece.name == "token_embd.weight")
            add_tokenizer(writer, merged, size)
        writer.add_name(name)
        writer.add_file_type(_file_type(kind))
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _write_tensors(writer, pieces, arch, config, own, tell)
    finally:
        writer.close()


def _architecture(config: dict[str, Any], own: Any) -> str:
    if own is not None:
        return str(own.fields["general.architecture"].contents())
    name = (config.get("architectures") or ["?"])[0]
    arch = ARCHITECTURES.get(name)
    why = None
    if arch is None:
        why = f"{name} is not one of {', '.join(ARCHITECTURES)}"
    elif config.get("sliding_window") and config.get("use_sliding_window", True):
        why = "it has sliding attention"
    elif _rope(config)[1] not in ("default", "llama3"):
        why = f"its positions are scaled ({_rope(config)[1]})"
    if arch is None or why is not None:
        raise Invalid(
            f"The model cannot be written as GGUF: {why}.",
            title="No GGUF of this model",
            hint="Export it merged and convert that folder with llama.cpp's convert_hf_to_gguf.py.",
        )
    return arch


def _pieces(folder: Path, arch: str, config: dict[str, Any], kind: str) -> list[Piece]:
    import gguf

    found = {value: key for key, value in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(found[arch], int(config["num_hidden_layers"]))
    pieces = []
    for file in checkpoint.weight_files(folder):
        for tensor in safetensors_file.tensors(file):
            name = names.get_name(tensor.name, try_suffixes=(".weight", ".bias"))
            if name is None:
                raise Invalid(f"{tensor.name} has no place in a GGUF of the kind {arch}.")
            flat = len(tensor.shape) < 2
            whole = tensor.shape[-1] % BLOCK == 0 if tensor.shape else False
            type_ = "f32" if flat else "f16" if kind == "q8_0" and not whole else kind
            pieces.append(Piece(name, tensor.name, file, tensor.shape, type_))
    return pieces


def _values(piece: Piece, arch: str, config: dict[str, Any]) -> Any:
    """The tensor in fp32, laid out as llama.cpp wants it."""
    import numpy as np
    from safetensors import safe_open

    with safe_open(piece.file, framework="pt") as file:
        values = file.get_tensor(piece.source).float().numpy()
    heads = int(config["num_attention_heads"])
    if arch == "llama" and ".attn_q." in piece.name:
        values = _paired(values, heads)
    elif arch == "llama" and ".attn_k." in piece.name:
        values = _paired(values, int(config.get("num_key_value_heads") or heads))
    elif arch.startswith("gemma") and piece.name.endswith("norm.weight"):
        values = values + 1
    return np.ascontiguousarray(values, dtype=np.float32)


def _paired(values: Any, heads: int) -> Any:
    """Each head's two halves as pairs: llama.cpp turns neighbours, transformers halves."""
    split = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return split.swapaxes(1, 2).reshape(values.shape)


def _check_layout(
    own: Any, base: list[Piece], merged: list[Piece], arch: str, config: dict[str, Any]
) -> None:
    """Raise Invalid unless the base, written our way, is what its own GGUF has."""
    import gguf
    import numpy as np

    theirs = {tensor.name: tensor for tensor in own.tensors}
    ours = {piece.name: piece for piece in base}
    left_over = set(theirs) - set(ours) - {"rope_freqs.weight"}
    if config.get("tie_word_embeddings"):
        left_over -= {"output.weight"}
    if left_over or set(ours) - set(theirs) or {p.name for p in merged} != set(ours):
        raise Invalid("The base's GGUF has other tensors than its safetensors.")
    for name, piece in ours.items():
        if name.startswith("blk.") and not name.startswith("blk.0."):
            continue  # the layers are alike
        mine = _values(piece, arch, config)
        other = gguf.quants.dequantize(theirs[name].data, theirs[name].tensor_type)
        if other.size != mine.size or np.linalg.norm(
            mine.ravel() - other.ravel()
        ) > CLOSE_SHARE * np.linalg.norm(mine):
            raise Invalid(
                f"{name} of the base's GGUF is laid out otherwise than is known for {arch}.",
                title="No GGUF of this model",
            )


def _copy_metadata(writer: Any, own: Any) -> None:
    import gguf

    for name, field in own.fields.items():
        if name.startswith(_OWN_KEYS):
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, sub_type=sub)


def _add_metadata(writer: Any, arch: str, config: dict[str, Any]) -> None:
    heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
    size = int(config.get("head_dim") or width // heads)
    writer.add_block_count(int(config["num_hidden_layers"]))
    writer.add_context_length(int(config["max_position_embeddings"]))
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(int(config["intermediate_size"]))
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_layer_norm_rms_eps(float(config["rms_norm_eps"]))
    writer.add_rope_freq_base(_rope(config)[0])
    writer.add_vocab_size(int(config["vocab_size"]))
    if arch == "llama":
        writer.add_rope_dimension_count(size)
    if size != width // heads or arch == "qwen3":
        writer.add_key_length(size)
        writer.add_value_length(size)


def _rope(config: dict[str, Any]) -> tuple[float, str]:
    """(base of the frequencies, how positions are scaled)."""
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = said.get("rope_theta") or config.get("rope_theta") or 10000.0
    return float(theta), str(said.get("rope_type") or said.get("type") or "default")


def _rope_factors(config: dict[str, Any]) -> Any:
    """Llama 3's factors, (size / 2): how much longer each frequency's wave gets."""
    import numpy as np

    said = config.get("rope_parameters") or config["rope_scaling"]
    heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
    size = int(config.get("head_dim") or width // heads)
    waves = 2 * np.pi * _rope(config)[0] ** (np.arange(0, size, 2) / size)
    factor, old = said["factor"], said["original_max_position_embeddings"]
    low, high = said["low_freq_factor"], said["high_freq_factor"]
    smooth = np.clip((old / waves - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def _write_tensors(
    writer: Any, pieces: list[Piece], arch: str, config: dict[str, Any], own: Any, tell: Tell
) -> None:
    extra = dict(_extra(config, own))
    for piece in pieces:
        _announce(writer, piece.name, piece.shape, piece.kind)
    for name, values in extra.items():
        _announce(writer, name, values.shape, "f32")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for number, piece in enumerate(pieces):
        tell(0.1 + 0.85 * number / len(pieces), f"writing {piece.name}")
        writer.write_tensor_data(_typed(_values(piece, arch, config), piece.kind))
    for values in extra.values():
        writer.write_tensor_data(values)


def _extra(config: dict[str, Any], own: Any) -> Iterator[tuple[str, Any]]:
    """Tensors that are in no safetensors file."""
    import numpy as np

    if own is not None:
        for tensor in own.tensors:
            if tensor.name == "rope_freqs.weight":
                yield tensor.name, np.array(tensor.data, dtype=np.float32)
    elif _rope(config)[1] == "llama3":
        yield "rope_freqs.weight", _rope_factors(config)


def _announce(writer: Any, name: str, shape: tuple[int, ...], kind: str) -> None:
    import gguf
    import numpy as np

    if kind == "q8_0":
        type_ = gguf.GGMLQuantizationType.Q8_0
        in_bytes = gguf.quants.quant_shape_to_byte_shape(shape, type_)
        writer.add_tensor_info(name, in_bytes, np.dtype(np.uint8), int(np.prod(in_bytes)), type_)
        return
    dtype = np.dtype(np.float16 if kind == "f16" else np.float32)
    writer.add_tensor_info(name, shape, dtype, int(np.prod(shape)) * dtype.itemsize)


def _typed(values: Any, kind: str) -> Any:
    import gguf
    import numpy as np

    if kind == "q8_0":
        return gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
    return values.astype(np.float16 if kind == "f16" else np.float32)


def _file_type(kind: str) -> Any:
    import gguf

    types = gguf.LlamaFileType
    return {"f16": types.MOSTLY_F16, "q8_0": types.MOSTLY_Q8_0, "f32": types.ALL_F32}[kind]
