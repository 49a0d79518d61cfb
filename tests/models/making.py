"""Small models made in the test: real files of the real formats, with nothing worth reading."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 16,
    "max_position_embeddings": 64,
}
TENSORS = {
    "model.embed_tokens.weight": (16, 8),
    "model.layers.0.mlp.up_proj.weight": (8, 8),
    "model.layers.0.input_layernorm.weight": (8,),
}


def safetensors_bytes(tensors: Mapping[str, tuple[int, ...]] = TENSORS) -> bytes:
    """A file of zeros in F32."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in tensors.items():
        size = 4 * prod(shape)
        header[name] = {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(offset)


def folder_of(
    path: Path, config: Mapping[str, Any] = LLAMA, *, without: Sequence[str] = ()
) -> Path:
    """A checkpoint that can be inspected; `without` names parts to leave out."""
    path.mkdir(parents=True)
    parts: dict[str, bytes] = {
        "config": json.dumps(config).encode(),
        "weights": safetensors_bytes(),
        "tokenizer": b"{}",
        "template": b"{{ messages }}",
        "readme": b"---\nlicense: mit\n---\nA model.",
    }
    names = {
        "config": "config.json",
        "weights": "model.safetensors",
        "tokenizer": "tokenizer.json",
        "template": "chat_template.jinja",
        "readme": "README.md",
    }
    for part, data in parts.items():
        if part not in without:
            (path / names[part]).write_bytes(data)
    return path


def gguf_of(path: Path, *, template: bool = True, tokens: int = 16) -> Path:
    """A GGUF that can be inspected, written by llama.cpp's own package."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_license("mit")
    writer.add_token_list([f"t{n}" for n in range(tokens)])
    if template:
        writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", np.zeros((tokens, 32), np.float32))
    quantized = gguf.quants.quantize(np.ones((32, 32), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("blk.0.attn_q.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
