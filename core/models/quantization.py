"""Quantizations: their names, what each engine can do, what a weight takes.

Knows: names and bytes. Does not know: the registry, nor how transformers is told
(`engines.precision`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
