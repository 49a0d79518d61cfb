"""Quantizations: their names, what each engine can do, and how transformers is told.

Knows: names, bytes per weight, the settings that measured well. Does not know: the registry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.errors import Invalid


@dataclass(frozen=True, slots=True)
class Quantization:
    """One way to keep weights in memory."""

    name: str
    label: str
    linear_bytes: float
    """Bytes of one weight in a linear layer; the others stay at the compute type's."""
    meaning: str


QUANTIZATIONS: dict[str, Quantization] = {
    q.name: q
    for q in (
        Quantization("fp32", "fp32", 4.0, "Full precision: the fast one on most CPUs"),
        Quantization("bf16", "bf16", 2.0, "Half the memory: the usual one on GPUs"),
        Quantization("int8", "int8", 1.0, "8-bit linear layers by bitsandbytes"),
        # one fp32 scale for 64 weights; double quantization keeps 8-bit scales in blocks of 256
        Quantization("nf4", "NF4", 0.5 + 4 / 64, "4-bit NormalFloat by bitsandbytes"),
        Quantization(
            "nf4-dq",
            "NF4, double quantization",
            0.5 + 1 / 64 + 4 / (64 * 256),
            "NF4 with its scales quantized too: 8 % less memory, some speed",
        ),
        Quantization("gguf", "GGUF", 0.0, "As the GGUF file has it"),
        Quantization("remote", "remote", 0.0, "As the endpoint has it"),
    )
}

BY_ENGINE: dict[str, tuple[str, ...]] = {
    "transformers": ("fp32", "bf16", "int8", "nf4", "nf4-dq"),
    "llama.cpp": ("gguf",),
    "endpoint": ("remote",),
    "scripted": ("fp32",),
}


def load_arguments(quantization: str, device: str) -> dict[str, Any]:
    """What `from_pretrained` is told, so that nothing is left to its defaults."""
    arguments = {
        "dtype": compute_dtype(quantization, device=device),
        "device_map": {"": device},
        "quantization_config": bitsandbytes_config(quantization, device=device),
    }
    return {name: value for name, value in arguments.items() if value is not None}


def bitsandbytes_config(quantization: str, *, device: str) -> Any:
    """The BitsAndBytesConfig for a quantization, or None for those that need none.

    bitsandbytes' own defaults are the slow ones: quant type fp4, compute in fp32 on a GPU, and
    an outlier threshold of 6 that halves int8's speed.
    """
    if quantization in ("fp32", "bf16"):
        return None
    if quantization not in BY_ENGINE["transformers"]:
        raise Invalid(f"transformers has no quantization {quantization!r}.", field="quantization")
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=quantization == "nf4-dq",
        bnb_4bit_compute_dtype=compute_dtype(quantization, device=device),
    )


def compute_dtype(quantization: str, *, device: str) -> Any:
    """The torch dtype that arithmetic and unquantized weights use.

    Always said, never left to the checkpoint: transformers would load a bf16 checkpoint as bf16,
    which is 60 to 90 times slower than fp32 on a CPU without bf16 units.
    """
    import torch

    if quantization == "bf16" or (quantization != "fp32" and device != "cpu"):
        return torch.bfloat16
    return torch.float32


def compute_bytes(quantization: str, *, device: str) -> int:
    """Bytes of a number in arithmetic and in the key-value cache, without asking torch."""
    if quantization in ("bf16", "gguf"):
        return 2
    return 2 if quantization != "fp32" and device != "cpu" else 4


def label(quantization: str, details: dict[str, Any] | None = None) -> str:
    """A quantization as people read it: a GGUF's own type where it is known."""
    if quantization == "gguf":
        return str((details or {}).get("gguf_type", "GGUF"))
    found = QUANTIZATIONS.get(quantization)
    return found.label if found else quantization
