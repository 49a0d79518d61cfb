"""Forecast: what a model will take in memory, before a byte of it is loaded.

Knows: weights, key-value cache, what a worker takes besides. Does not know: the registry, torch.
A worker's resident memory is measured against this in the tests; the band is stated there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import OutOfMemory
from core.models.devices import Device
from core.models.quantization import QUANTIZATIONS, compute_bytes
from core.models.spec import WorkerSpec

MB = 1_000_000
TYPICAL_TOKENS = 512
"""Of one request. A batch holds what its requests need, not slots times the longest possible."""
CACHE_LIMIT_BYTES = 1536 * 1024**2
"""An engine takes no more for all requests together, or one whole context."""
LLAMA_CPP_SLOTS = 8
"""The most that engine makes."""

BASE_BYTES = {
    ("transformers", "plain"): 450 * MB,  # Python, torch, transformers, tokenizer, buffers
    ("transformers", "bitsandbytes"): 550 * MB,
    ("transformers", "cuda"): 700 * MB,  # of it the CUDA context and cuBLAS work space
    ("llama.cpp", "plain"): 220 * MB,
}


@dataclass(frozen=True, slots=True)
class Forecast:
    """What loading takes on one device, against what is free there."""

    label: str
    device: str
    weight_bytes: int
    cache_bytes: int
    """Keys and values of the requests in flight."""
    overhead_bytes: int
    """The worker itself, activations, logits."""
    mapped_bytes: int
    """The source's pages beside the loaded weights: seen in the resident memory, but the system
    takes them back when it needs room, so they refuse nothing."""
    free_bytes: int
    lever: str = ""
    """The change that would save most, in words."""

    @property
    def total_bytes(self) -> int:
        """What has to be free, when it is loaded and busy."""
        return self.weight_bytes + self.cache_bytes + self.overhead_bytes

    @property
    def fits(self) -> bool:
        """Whether that is free."""
        return self.total_bytes <= self.free_bytes

    def require_fit(self) -> None:
        """Raise OutOfMemory that says how much is missing and what would help most."""
        if self.fits:
            return
        raise OutOfMemory(
            f"{self.label} needs about {_gb(self.total_bytes)} on {self.device} "
            f"({_gb(self.weight_bytes)} weights, {_gb(self.cache_bytes)} cache, "
            f"{_gb(self.overhead_bytes)} for the worker); {_gb(self.free_bytes)} is free.",
            hint=self.lever,
        )


def forecast(
    model: Mapping[str, Any],
    spec: WorkerSpec,
    device: Device,
    *,
    free_bytes: int | None = None,
    loaded: Mapping[str, int] | None = None,
) -> Forecast:
    """Forecast `spec`; `model` is a registry row, `loaded` what other models hold, by label.

    An endpoint takes nothing here.
    """
    free = device.free_bytes if free_bytes is None else free_bytes
    label = f"{spec.model_name} ({spec.engine}, {spec.quantization})"
    if spec.engine in ("endpoint", "scripted"):
        return Forecast(label, device.name, 0, 0, 0, 0, free)
    details = model.get("details") or {}
    weights = weight_bytes(model, spec)
    cache = cache_bytes(details, spec)
    made = Forecast(
        label=label,
        device=device.name,
        weight_bytes=weights,
        cache_bytes=cache,
        overhead_bytes=_base(spec) + _activations(details, spec),
        mapped_bytes=_mapped(model, spec),
        free_bytes=free,
    )
    return _with_lever(made, model, spec, loaded or {})


def weight_bytes(model: Mapping[str, Any], spec: WorkerSpec) -> int:
    """Bytes of the weights as they lie in memory."""
    details = model.get("details") or {}
    if spec.engine == "llama.cpp":
        return int(details.get("gguf_bytes") or model.get("weight_bytes") or 0)
    count = int(model.get("parameter_count") or 0)
    linear = int(details.get("linear_parameter_count") or 0)
    each = QUANTIZATIONS[spec.quantization].linear_bytes
    rest = compute_bytes(spec.quantization, device=spec.device)
    # beside the base, or while it is merged: at its computing precision
    adapter = int(details.get("adapter_parameter_count") or 0) if spec.adapter_path else 0
    return int(linear * each + (count - linear + adapter) * rest)


def cache_bytes(details: Mapping[str, Any], spec: WorkerSpec) -> int:
    """Bytes of keys and values: llama.cpp sets all of it aside, transformers takes what is used."""
    if spec.kind == "embedding":
        return 0
    numbers = [int(details.get(k) or 0) for k in ("layer_count", "kv_head_count", "head_size")]
    token = 2 * numbers[0] * numbers[1] * numbers[2]
    token *= compute_bytes(spec.quantization, device=spec.device)
    if spec.engine == "llama.cpp":
        context = max(1, token * spec.context_length)
        slots = min(spec.slots, LLAMA_CPP_SLOTS, CACHE_LIMIT_BYTES // context)
        return context * max(1, slots)
    typical = token * min(spec.context_length, TYPICAL_TOKENS) * spec.slots
    return max(min(typical, CACHE_LIMIT_BYTES), token * spec.context_length)


def _base(spec: WorkerSpec) -> int:
    if spec.engine == "llama.cpp":
        return BASE_BYTES[("llama.cpp", "plain")]
    if spec.device != "cpu":
        return BASE_BYTES[("transformers", "cuda")]
    quantized = spec.quantization not in ("fp32", "bf16")
    return BASE_BYTES[("transformers", "bitsandbytes" if quantized else "plain")]


def _activations(details: Mapping[str, Any], spec: WorkerSpec) -> int:
    """Logits of one step for every slot, and the widest layer over a chunk of prompt."""
    width = int(details.get("hidden_size") or 0)
    vocabulary = int(details.get("vocabulary_size") or 0) if spec.kind == "chat" else 0
    logits = (512 if spec.engine == "llama.cpp" else 2 * spec.slots) * vocabulary * 4
    return logits + 2048 * width * 4 * 4


def _mapped(model: Mapping[str, Any], spec: WorkerSpec) -> int:
    """On the CPU the source's pages stay mapped beside weights of another type."""
    details = model.get("details") or {}
    if spec.engine != "transformers" or spec.device != "cpu":
        return 0
    in_type = {"fp32": ["F32"], "bf16": ["BF16"]}.get(spec.quantization)
    floats = [name for name in details.get("dtypes") or () if "F" in name]
    if in_type is not None and floats == in_type:
        return 0
    return int(details.get("checkpoint_bytes") or model.get("weight_bytes") or 0)


def _with_lever(
    made: Forecast, model: Mapping[str, Any], spec: WorkerSpec, loaded: Mapping[str, int]
) -> Forecast:
    """Name the change that frees most: another quantization, fewer slots, unloading a model."""
    from dataclasses import replace

    savings: dict[str, int] = {}
    if spec.engine == "transformers" and spec.kind == "chat":
        smallest = weight_bytes(model, spec.with_changes(quantization="nf4-dq"))
        savings["load it as NF4 with double quantization"] = made.weight_bytes - smallest
    if made.cache_bytes:
        half = made.cache_bytes // 2
        savings["halve the context length or the requests in flight"] = half
    for label, size in loaded.items():
        savings[f"unload {label}"] = size
    if not savings:
        return made
    words, saved = max(savings.items(), key=lambda item: item[1])
    if saved <= 0:
        return replace(made, lever="Use a smaller model.")
    enough = "" if made.total_bytes - saved <= made.free_bytes else "; alone it is not enough"
    return replace(made, lever=f"Biggest lever: {words}, which saves {_gb(saved)}{enough}.")


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10_000_000 else f"{count / 1e6:.1f} MB"
